//! Records over many commits: both places hold each commit whole, write what changed, and survive what a crash leaves of them.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;

use super::entries::Entries;
use super::*;
use crate::layout::Layout;

/// A pipeline of some views, of which each has `parts` parts and as many state files.
struct Views {
    records: Vec<Record>,
}

impl Views {
    fn new(names: &[&str], parts: u64) -> Views {
        let committed_with: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let record = |view: &&str| {
            let listed: Vec<_> = (0..parts).map(|index| part(0, index)).collect();
            Record {
                format: FORMAT,
                view: (*view).to_owned(),
                epoch: 0,
                incarnation: "ab12-17".to_owned(),
                fingerprint: "ab12cd".to_owned(),
                positions: BTreeMap::new(),
                state: vec![TableRecord {
                    table: "0".to_owned(),
                    files: (0..parts).map(|index| format!("0-{index}.arrow")).collect(),
                    checksums: (0..parts).map(|index| u32::try_from(index * 77_777).unwrap()).collect(),
                    batches: (0..parts).map(|index| (index, usize::try_from(index).unwrap(), 0)).collect(),
                }],
                commit: CommitFacts {
                    view: (*view).to_owned(),
                    epoch: 0,
                    offsets: BTreeMap::new(),
                    fingerprint: "ab12cd".to_owned(),
                    committed_ms: 1_793_491_200_123,
                    committed_with: committed_with.clone(),
                },
                sink: Token::new(&listed).unwrap(),
                size: Size { rows: 5, parts, bytes: 7 },
                dead_letters: Vec::new(),
                tallies: BTreeMap::new(),
                definition: None,
            }
        };
        Views { records: names.iter().map(record).collect() }
    }

    /// The records of the next commit, which replaces three parts and three state files of each view.
    fn commit(&mut self) -> &[Record] {
        for record in &mut self.records {
            record.epoch += 1;
            record.commit.epoch += 1;
            record.commit.committed_ms += 50;
            let mut listed: Vec<(String, u64)> = record.sink.content().unwrap();
            let table = &mut record.state[0];
            for step in 0..3 {
                let index = (record.epoch * 7 + step * 13) % record.size.parts;
                let at = usize::try_from(index).unwrap();
                listed[at] = part(record.epoch, index);
                table.files[at] = format!("0-{index}-{}.arrow", record.epoch);
                table.checksums[at] = table.checksums[at].wrapping_add(977);
            }
            record.sink = Token::new(&listed).unwrap();
        }
        &self.records
    }
}

fn part(epoch: u64, index: u64) -> (String, u64) {
    (format!("{epoch:010}-{:016x}-{index}.parquet", (epoch << 20 | index).wrapping_mul(0x9e37_79b9_7f4a_7c15)), 900 + epoch)
}

fn commit(store: &Store, views: &mut Views) {
    let records = views.commit().to_vec();
    store.write(&Write { records: records.clone(), ..Write::default() }).unwrap();
    store.write_twins(&records).unwrap();
}

fn written(layout: &Layout, view: &str) -> Vec<u8> {
    fs::read(layout.record(view)).unwrap()
}

#[test]
fn each_commit_is_read_whole_from_the_database_and_from_each_twin() {
    let folder = tempfile::tempdir().unwrap();
    let layout = Layout::new(folder.path());
    let mut views = Views::new(&["a", "ab", "b"], 150);
    let mut store = Store::open(&layout).unwrap();
    for epoch in 1..400 {
        commit(&store, &mut views);
        assert_eq!(store.records().unwrap(), views.records, "epoch {epoch}");
        for (view, records) in records_beside(&layout).unwrap() {
            assert_eq!(records.unwrap(), views.records, "beside {view} at epoch {epoch}");
        }
        match epoch % 130 {
            20 => {
                drop(store);
                assert_eq!(records_in_database(&layout).unwrap().unwrap(), views.records);
                store = Store::open(&layout).unwrap();
            }
            40 => {
                // The database is lost, and the twins hold what it held.
                drop(store);
                fs::remove_dir_all(layout.checkpoints()).unwrap();
                store = Store::open(&layout).unwrap();
                assert_eq!(store.records().unwrap(), views.records);
            }
            60 => {
                // The twins are lost.
                drop(store);
                fs::remove_dir_all(layout.views()).unwrap();
                store = Store::open(&layout).unwrap();
                assert_eq!(newest_records(&layout).unwrap().into_values().collect::<Vec<_>>(), views.records);
            }
            80 => fs::remove_file(layout.record("b")).unwrap(),
            90 => fs::write(layout.record("a"), "damage").unwrap(),
            // As where the store opens its database again.
            100 => write_beside(&layout, &views.records).unwrap(),
            _ => {}
        }
    }
    store.forget("a").unwrap();
    drop(store);
    assert_eq!(records_in_database(&layout).unwrap().unwrap(), views.records[1..]);
}

#[test]
fn a_commit_writes_what_it_changes_and_not_what_is_listed() {
    let folder = tempfile::tempdir().unwrap();
    let mut bytes = Vec::new();
    for parts in [200, 10_000] {
        let layout = Layout::new(folder.path().join(parts.to_string()));
        let mut views = Views::new(&["a", "b", "c"], parts);
        let store = Store::open(&layout).unwrap();
        commit(&store, &mut views);
        let before = written(&layout, "a").len();
        (0..5).for_each(|_| commit(&store, &mut views));
        bytes.push((written(&layout, "a").len() - before) / 5 / 3);
        let files: std::collections::BTreeSet<u64> =
            ["a", "b", "c"].iter().map(|view| fs::metadata(layout.record(view)).unwrap().ino()).collect();
        assert_eq!(files.len(), 2, "two copies, and links to them");
    }
    assert!(bytes[1] < 1_000 && bytes[1] < bytes[0] + 200, "bytes a commit and view: {bytes:?}");

    let db = sled::Config::new().temporary(true).open().unwrap();
    let (entries, mut views) = (Entries::default(), Views::new(&["a"], 10_000));
    for epoch in 1..6 {
        let prepared = entries.prepare(&db, views.commit()).ok().expect("entries");
        let bytes: usize = prepared.operations.iter().map(|(key, value)| key.len() + value.as_ref().map_or(0, Vec::len)).sum();
        assert!(epoch == 1 || bytes < 1_000, "{bytes} bytes in the database");
        entries.written(prepared);
    }
}

#[test]
fn a_twin_that_ends_within_a_line_holds_the_commit_before_and_a_damaged_line_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let layout = Layout::new(folder.path());
    let mut views = Views::new(&["a"], 10);
    let store = Store::open(&layout).unwrap();
    let mut ends = Vec::new();
    let mut commits = Vec::new();
    for _ in 0..4 {
        commit(&store, &mut views);
        ends.push(written(&layout, "a").len());
        commits.push(views.records.clone());
    }
    let all = written(&layout, "a");
    let read = |bytes: &[u8]| {
        fs::write(layout.record("a"), bytes).unwrap();
        records_beside(&layout).unwrap()["a"].clone()
    };
    for length in ends[0]..=all.len() {
        // Without its line feed, a line is whole, too.
        let whole = ends.iter().rposition(|end| *end <= length + 1).unwrap();
        assert_eq!(read(&all[..length]).unwrap(), commits[whole], "{length} of {} bytes", all.len());
        let whole = ends.iter().rposition(|end| *end <= length).unwrap();
        // A file system may have kept the length, and not the bytes.
        let mut torn = all[..length].to_vec();
        torn.resize(all.len(), 0);
        assert_eq!(read(&torn).unwrap(), commits[whole], "{length} of {} bytes, then zeros", all.len());
    }
    for at in 0..all.len() {
        let mut damaged = all.clone();
        damaged[at] ^= 2;
        let read = read(&damaged);
        // Damage of the last line looks like what a crash leaves. Without the line feed before it, two lines are the last one.
        match at {
            at if at + 1 < ends[2] => assert!(read.is_err(), "byte {at}"),
            at if at + 1 == ends[2] => assert_eq!(read.unwrap(), commits[1]),
            _ => assert_eq!(read.unwrap(), commits[2], "byte {at}"),
        }
    }
    // The start of a line may be lost, and its end be there.
    let mut torn = all.clone();
    torn[ends[2]..ends[2] + 20].fill(0);
    assert_eq!(read(&torn).unwrap(), commits[2]);
    // The next start has it from the database.
    drop(store);
    let store = Store::open(&layout).unwrap();
    assert_eq!(read(&written(&layout, "a")).unwrap(), commits[3]);
    commit(&store, &mut views);
    assert_eq!(records_beside(&layout).unwrap()["a"].clone().unwrap(), views.records);
}

#[test]
fn a_record_is_read_while_commits_replace_it() {
    let folder = tempfile::tempdir().unwrap();
    let layout = Layout::new(folder.path());
    let mut views = Views::new(&["a"], 150);
    let store = Store::open(&layout).unwrap();
    commit(&store, &mut views);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| (0..300).for_each(|_| commit(&store, &mut views)));
        let mut last = 0;
        loop {
            let is_last = writer.is_finished();
            let record = store.record("a").unwrap().unwrap();
            assert!(record.epoch >= last);
            last = record.epoch;
            if is_last {
                break;
            }
        }
        assert_eq!(last, 301);
    });
}

#[test]
fn records_of_a_release_that_wrote_each_commit_whole_are_gone_on_with() {
    let folder = tempfile::tempdir().unwrap();
    let layout = Layout::new(folder.path());
    let mut views = Views::new(&["a"], 10);
    fs::create_dir_all(layout.view("a")).unwrap();
    let text = serde_json::to_string(&Commit { records: views.commit().to_vec() }).unwrap();
    let twin = format!("{{\"crc32\":{},\"commit\":{text}}}", crc32fast::hash(text.as_bytes()));
    fs::write(layout.record("a"), twin).unwrap();
    let store = Store::open(&layout).unwrap();
    assert_eq!(store.records().unwrap(), views.records);
    (0..3).for_each(|_| commit(&store, &mut views));
    drop(store);
    assert_eq!(Store::open(&layout).unwrap().records().unwrap(), views.records);
    assert_eq!(newest_records(&layout).unwrap().into_values().collect::<Vec<_>>(), views.records);
}

#[test]
fn changes_of_another_whole_record_count_for_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let layout = Layout::new(folder.path());
    let mut views = Views::new(&["a"], 150);
    let store = Store::open(&layout).unwrap();
    (0..5).for_each(|_| commit(&store, &mut views));
    drop(store);
    // A program that knows of no changes has gone on.
    let later = views.commit()[0].clone();
    let db = sled::open(layout.checkpoints()).unwrap();
    db.insert("view/a", value::encode(&later).unwrap()).unwrap();
    drop(db);
    let store = Store::open(&layout).unwrap();
    assert_eq!(store.record("a").unwrap().unwrap(), later);
    commit(&store, &mut views);
    drop(store);
    let db = sled::open(layout.checkpoints()).unwrap();
    assert_eq!(db.scan_prefix("view_changes/").count(), 0, "a whole record removes all changes");
}

#[test]
fn of_an_old_database_an_older_twin_and_a_newer_one_the_newer_one_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let layout = Layout::new(folder.path());
    let mut views = Views::new(&["a", "b"], 10);
    let store = Store::open(&layout).unwrap();
    commit(&store, &mut views);
    let older = written(&layout, "a");
    commit(&store, &mut views);
    drop(store);
    let old = folder.path().join("old");
    copy_folder(&layout.checkpoints(), &old).unwrap();
    let store = Store::open(&layout).unwrap();
    (0..2).for_each(|_| commit(&store, &mut views));
    drop(store);
    fs::remove_dir_all(layout.checkpoints()).unwrap();
    fs::rename(&old, layout.checkpoints()).unwrap();
    fs::write(layout.record("a"), older).unwrap();
    assert_eq!(Store::open(&layout).unwrap().records().unwrap(), views.records);
    for (view, records) in records_beside(&layout).unwrap() {
        assert_eq!(records.unwrap(), views.records, "beside {view}");
    }
}
