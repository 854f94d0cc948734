//! Interrupts publishing at each of its steps, and tests sweeping.

use std::fs;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use super::*;
use crate::durable;
use crate::sink::parquet::snapshots::{self, FolderName};

fn shown(root: &Path) -> (u64, i64) {
    let current: Vec<_> = fs::read_dir(root.join("current"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "parquet"))
        .collect();
    let manifest = read_manifest(root).unwrap().unwrap();
    let files: Vec<_> = manifest.files.iter().map(std::path::PathBuf::from).collect();
    assert!(files.iter().all(|file| file.is_absolute()));
    let (through_current, through_manifest) = (rows_and_sum(&current).unwrap(), rows_and_sum(&files).unwrap());
    assert_eq!(through_current, through_manifest);
    assert_eq!(manifest.rows, through_manifest.0);
    through_current
}

/// Performs the first `step` steps of publishing by hand.
fn publish_up_to(root: &Path, snapshot: &Snapshot, step: usize) {
    let name = FolderName::of(snapshot).name;
    let folder = root.join("snapshots").join(&name);
    let steps: [&dyn Fn(); 7] = [
        &|| durable::create_folder(&folder).unwrap(),
        &|| fs::hard_link(root.join("parts").join(&snapshot.parts[0].file), folder.join(&snapshot.parts[0].file)).unwrap(),
        &|| {
            for part in &snapshot.parts[1..] {
                fs::hard_link(root.join("parts").join(&part.file), folder.join(&part.file)).unwrap();
            }
        },
        &|| fs::write(folder.join(".manifest.json.0123.tmp"), b"{\"half").unwrap(),
        &|| fs::write(root.join(".current.0123.tmp"), b"").unwrap(),
        &|| durable::replace_link(&root.join("current"), &Path::new("snapshots").join(&name)).unwrap(),
        &|| fs::write(root.join(".manifest.json.0123.tmp"), b"").unwrap(),
    ];
    steps[..step].iter().for_each(|step| step());
}

#[test]
fn publishing_again_after_a_crash_at_any_step_ends_right() {
    for step in 0..=7 {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("v");
        let mut writer = ViewWriter::open(&root, simple_schema(), PartLayout::Append, Vec::new()).unwrap();
        let first = writer.write(1, &[Delta { rows: simple_rows([(1, 1), (2, 2)]), weights: None }]).unwrap();
        publish(&root, &snapshot(1, 1_000, &first)).unwrap();
        assert_eq!(shown(&root), (2, 3));
        let second = writer.write(2, &[Delta { rows: simple_rows([(3, 3)]), weights: None }]).unwrap();
        assert_eq!(shown(&root), (2, 3), "nothing is seen before it is published");
        let committed = snapshot(2, 2_000, &second);
        publish_up_to(&root, &committed, step);
        // A part that was written and never committed.
        let mut lost = ViewWriter::open(&root, simple_schema(), PartLayout::Append, second.clone()).unwrap();
        let lost = lost.write(3, &[Delta { rows: simple_rows([(4, 4)]), weights: None }]).unwrap().pop().unwrap();

        publish(&root, &committed).unwrap();
        let swept = sweep_orphans(&root, &second).unwrap();
        assert_eq!((swept.parts, swept.snapshots), (1, 0), "step {step}");
        assert!(!root.join("parts").join(&lost.file).exists());
        assert_eq!(shown(&root), (3, 6), "step {step}");
        assert_eq!(read_snapshot(&root, 1).unwrap().unwrap().rows, 2);
        for place in [&root, &root.join("snapshots").join(FolderName::of(&committed).name)] {
            assert!(durable::names(place).unwrap().iter().all(|name| !name.ends_with(".tmp")), "step {step}");
        }
        publish(&root, &committed).unwrap();
        assert_eq!(sweep_orphans(&root, &second).unwrap(), Swept::default());
    }
}

#[test]
fn an_unfinished_snapshot_that_was_never_committed_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("v");
    let mut writer = ViewWriter::open(&root, simple_schema(), PartLayout::Append, Vec::new()).unwrap();
    let first = writer.write(1, &[Delta { rows: simple_rows([(1, 1)]), weights: None }]).unwrap();
    publish(&root, &snapshot(1, 1_000, &first)).unwrap();
    let second = writer.write(2, &[Delta { rows: simple_rows([(2, 2)]), weights: None }]).unwrap();
    publish_up_to(&root, &snapshot(2, 2_000, &second), 3);
    // sled has lost the record of epoch 2, so epoch 1 is the last commit again.
    publish(&root, &snapshot(1, 1_000, &first)).unwrap();
    let swept = sweep_orphans(&root, &first).unwrap();
    assert_eq!((swept.snapshots, swept.parts), (1, 1));
    assert_eq!(shown(&root), (1, 1));
}

#[test]
fn snapshots_of_a_day_to_come_expire_once_the_clock_is_set_back() {
    const DAY_MS: u64 = 24 * 60 * 60 * 1_000;
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("v");
    let mut writer = ViewWriter::open(&root, simple_schema(), PartLayout::Hashed { columns: vec![0] }, Vec::new()).unwrap();
    let retention = Retention { kept: 2, min_age: Duration::from_secs(60) };
    // Commits 1 to 9 a day ahead, 10 to 19 a second apart after the clock was set back.
    let time = |epoch: u64| if epoch < 10 { DAY_MS + epoch * 1_000 } else { epoch * 1_000 };
    let epochs = |root: &Path| snapshots::folders(root).unwrap().into_iter().map(|folder| folder.epoch).collect::<Vec<_>>();
    for epoch in 1..=19_u64 {
        let parts = writer.write(epoch, &[change(simple_rows([(1, 1)]), 1)]).unwrap();
        publish(&root, &snapshot(epoch, time(epoch), &parts)).unwrap();
        sweep(&root, writer.parts(), retention, UNIX_EPOCH + Duration::from_millis(time(epoch))).unwrap();
    }
    assert_eq!(epochs(&root), (1..=19).collect::<Vec<_>>(), "readers may still use each of them");
    // A minute after commit 12, those before it have been superseded for a minute.
    sweep(&root, writer.parts(), retention, UNIX_EPOCH + Duration::from_secs(72)).unwrap();
    assert_eq!(epochs(&root), (12..=19).collect::<Vec<_>>());
    assert_eq!(shown(&root), (19, 19));
    // As on a disk that is nearly full.
    for left in [16..=19, 18..=19, 18..=19] {
        sweep_older_half(&root, writer.parts(), &snapshots::folders(&root).unwrap(), 2).unwrap();
        assert_eq!(epochs(&root), left.collect::<Vec<_>>());
    }
    assert_eq!(shown(&root), (19, 19));
}

#[test]
fn sweeping_keeps_what_a_kept_snapshot_or_a_live_list_names() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("v");
    let layout = PartLayout::Hashed { columns: vec![0] };
    let mut writer = ViewWriter::open(&root, simple_schema(), layout.clone(), Vec::new()).unwrap();
    let mut rebuilt = ViewWriter::open(&root, simple_schema(), layout, Vec::new()).unwrap();
    let staged = rebuilt.write(1, &[Delta { rows: simple_rows([(7, 7)]), weights: None }]).unwrap();
    let retention = Retention { kept: 3, min_age: Duration::from_millis(5_000) };
    for epoch in 1..=20_u64 {
        let n = epoch as i64;
        let mut changes = vec![change(simple_rows([(1, n)]), 1)];
        if epoch > 1 {
            changes.push(change(simple_rows([(1, n - 1)]), -1));
        }
        let parts = writer.write(epoch, &changes).unwrap();
        publish(&root, &snapshot(epoch, epoch * 1_000, &parts)).unwrap();
        let live: Vec<Part> = parts.iter().chain(&staged).cloned().collect();
        sweep(&root, &live, retention, UNIX_EPOCH + Duration::from_millis(epoch * 1_000)).unwrap();
        assert_eq!(shown(&root), (1, n));
        // Snapshots superseded less than five seconds ago are kept. A snapshot is superseded by the commit of the next one.
        let kept = (1..=epoch).filter(|kept| kept + 1 + 5 > epoch);
        for kept in kept {
            let manifest = read_snapshot(&root, kept).unwrap().unwrap_or_else(|| panic!("snapshot {kept} is gone at {epoch}"));
            let files: Vec<_> = manifest.files.iter().map(std::path::PathBuf::from).collect();
            assert_eq!(rows_and_sum(&files).unwrap(), (1, kept as i64));
        }
        let names = durable::names(&root.join("parts")).unwrap();
        assert_eq!(names.len() as u64, epoch.min(6) + 1, "at {epoch}: {names:?}");
    }
    assert_eq!(rebuilt.read_all().count(), 1, "the rebuilt view's parts stay");
    // Later all old snapshots have exceeded the minimum age, so only the number counts.
    sweep(&root, writer.parts(), retention, UNIX_EPOCH + Duration::from_secs(100)).unwrap();
    assert_eq!(durable::names(&root.join("snapshots")).unwrap().len(), 3);
    assert_eq!(durable::names(&root.join("parts")).unwrap().len(), 4, "sweeping does not touch parts that no snapshot named");
    let live: Vec<Part> = writer.parts().iter().chain(&staged).cloned().collect();
    assert_eq!(sweep_orphans(&root, &live).unwrap().parts, 0, "a live list names them");
    assert_eq!(sweep_orphans(&root, writer.parts()).unwrap().parts, 1, "parts of an abandoned rebuild are removed");
    assert_eq!(sweep_orphans(&root, &[]).unwrap().parts, 0, "a snapshot names the others");
    assert_eq!(shown(&root), (1, 20));
}

#[test]
fn damaged_parts_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("v");
    let layout = PartLayout::Hashed { columns: vec![0] };
    let mut writer = ViewWriter::open(&root, simple_schema(), layout.clone(), Vec::new()).unwrap();
    let parts = writer.write(1, &[Delta { rows: simple_rows((0..100).map(|n| (n, n))), weights: None }]).unwrap();
    let path = root.join("parts").join(&parts[0].file);
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let error = writer.write(2, &[change(simple_rows([(1, 1)]), -1)]).unwrap_err();
    assert!(matches!(&error, crate::Error::Corrupt { path: named, .. } if *named == path), "{error}");
    let halves = [(0, 2), (1, 1), (2, 1)];
    for broken in [vec![(1, 1)], vec![(0, 1)], vec![(0, 0), (0, 1)], vec![(0, 1), (3, 2)], halves.to_vec()] {
        let list = broken.iter().map(|(prefix, bits)| Part { prefix: *prefix, bits: *bits, ..parts[0].clone() }).collect();
        assert!(ViewWriter::open(&root, simple_schema(), layout.clone(), list).is_err(), "{broken:?}");
    }
    fs::remove_file(&path).unwrap();
    assert!(publish(&root, &snapshot(1, 1, &parts)).unwrap_err().to_string().contains(&parts[0].file));
}
