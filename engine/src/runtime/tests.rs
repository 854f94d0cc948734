//! Tests of the runtime over a scripted source: whatever fails, each view equals its SQL over the events below its committed offset.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use alluvium_connectors::dead_letters::DeadLetterFolder;
use alluvium_connectors::source::scripted::{Failure, ScriptedSource, Step};
use alluvium_connectors::source::{Read, Source, Start};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use futures::TryStreamExt;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::changes::losses::Guard;
use super::commit::CommitOptions;
use super::commit::failpoint::in_tests::panic_at;
use super::component::Component;
use super::drive::pipeline::Pipeline;
use super::rebuilder::Rebuilder;
use super::shared::Shared;
use super::supervise::Supervisor;
use super::surroundings::Machine;
use super::{Accept, COMMIT_POINTS, Outcome, RunRequest};
use crate::error::{Error, Kind};
use crate::layout::Layout;
use crate::project::Project;
use crate::query::query;
use crate::record::{Record, Store, newest_records, read_records};
use crate::settings::Overrides;
use crate::status::Board;

/// Events in a batch. The last one of each batch does not decode.
const EACH: u64 = 6;

/// A project with two views, one of which reads the other, over a source that follows a script.
struct Folder {
    folder: tempfile::TempDir,
    project: Arc<Project>,
    source: ScriptedSource,
    /// Named after the test, so that a fault on demand meets only this test's view.
    view: String,
    batches: u64,
}

impl Folder {
    fn new(name: &str, settings: &str) -> Folder {
        let folder = tempfile::tempdir().unwrap();
        let view = format!("{name}_sums");
        let sql = format!(
            "CREATE EXTERNAL TABLE t (k BIGINT, x BIGINT) STORED AS FILE LOCATION 'unused.jsonl';
             CREATE MATERIALIZED VIEW {view} AS SELECT k, count(*) AS n, sum(x) AS s FROM t GROUP BY k;
             CREATE MATERIALIZED VIEW {name}_sizes AS SELECT n, count(*) AS c FROM {view} GROUP BY n;"
        );
        std::fs::write(folder.path().join("views.sql"), sql).unwrap();
        std::fs::write(folder.path().join("alluvium.toml"), format!("commit_interval = \"1ms\"\n{settings}\n")).unwrap();
        let project = Arc::new(Project::load(folder.path(), &Overrides::default()).unwrap());
        let source = ScriptedSource::new(project.sources["t"].clone()).unwrap();
        Folder { folder, project, source, view, batches: 0 }
    }

    /// Adds a batch to the script.
    fn batch(&mut self) -> &mut Folder {
        let first = self.batches * EACH + 1;
        self.batches += 1;
        let payload = |sequence| match sequence == first + EACH - 1 {
            true => "not an event".to_owned(),
            false => format!("{{\"k\":{},\"x\":{sequence}}}", sequence % 4),
        };
        self.source.then(Step::events((first..first + EACH).map(payload)));
        self
    }

    fn then(&mut self, step: Step) -> &mut Folder {
        self.source.then(step);
        self
    }

    fn data(&self) -> std::path::PathBuf {
        self.folder.path().join("data")
    }

    /// Runs until the whole script is committed, and releases each wait of the script after a commit. Also returns the number of restarts.
    async fn run(&self) -> (Result<Outcome, Error>, u64) {
        let board = Arc::new(Board::default());
        let (_sender, commands) = mpsc::channel(1);
        let request = RunRequest {
            meet_again: BTreeSet::new(),
            project: Arc::clone(&self.project),
            until_caught_up: true,
            rebuild: Vec::new(),
            accept: Accept::default(),
            only: Vec::new(),
            board: Arc::clone(&board),
            commands,
            shutdown: CancellationToken::new(),
        };
        let source: Arc<dyn Source> = Arc::new(self.source.clone());
        let running = tokio::spawn(Supervisor::over(request, vec![source]).unwrap().run());
        let began = Instant::now();
        let mut committed = 0;
        while !running.is_finished() {
            assert!(began.elapsed() < Duration::from_secs(60), "the run does not end: {:?}", board.all());
            let now = board.all().iter().filter_map(|view| view.sources.get("t")).map(|place| place.offset).max().unwrap_or(0);
            if now >= committed + EACH {
                committed = now - now % EACH;
                self.source.release();
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let restarts = board.all().iter().map(|view| view.restarts).max().unwrap_or(0);
        (running.await.unwrap(), restarts)
    }

    /// Asserts that each view equals its SQL over the events below its offset, and that each bad event below it is kept once. Returns the
    /// offset.
    async fn assert_the_law(&self) -> u64 {
        let layout = Layout::new(self.data());
        let records = read_records(&layout).unwrap();
        let offsets: Vec<u64> = records.iter().map(|record| record.sources["t"].offset).collect();
        assert!(offsets.len() == 2 && offsets[0] == offsets[1], "views that are committed together: {offsets:?}");
        let end = offsets[0];
        let mut sums: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
        for sequence in (1..end).filter(|sequence| sequence % EACH != 0) {
            let (n, s) = sums.entry(sequence % 4).or_default();
            (*n, *s) = (*n + 1, *s + sequence);
        }
        let mut sizes: BTreeMap<u64, u64> = BTreeMap::new();
        sums.values().for_each(|(n, _)| *sizes.entry(*n).or_default() += 1);
        let sums: Vec<String> = sums.iter().map(|(k, (n, s))| format!("{k} {n} {s}")).collect();
        let sizes: Vec<String> = sizes.iter().map(|(n, c)| format!("{n} {c}")).collect();
        assert_eq!(rows(&layout, &format!("SELECT k, n, s FROM {} ORDER BY k", self.view)).await, sums);
        let sized = self.view.replace("_sums", "_sizes");
        assert_eq!(rows(&layout, &format!("SELECT n, c FROM {sized} ORDER BY n")).await, sizes);
        assert_eq!(letters(&layout.dead_letters()), (1..end).filter(|sequence| sequence % EACH == 0).collect::<Vec<_>>());
        end
    }

    /// What pipelines share, and the one component.
    fn opened(&self) -> (Arc<Shared>, Component) {
        let layout = Layout::new(self.data());
        let source: Arc<dyn Source> = Arc::new(self.source.clone());
        let store = Store::open(&layout).unwrap();
        let letters = DeadLetterFolder::open(&layout.dead_letters()).unwrap();
        let board = Arc::new(Board::default());
        let shared = Shared::new(Arc::clone(&self.project), vec![source], layout, store, board, letters, Arc::new(Machine));
        let component = Component::all(&self.project.catalog, &shared.read_once()).remove(0);
        (Arc::new(shared), component)
    }

    fn end(&self) -> u64 {
        self.batches * EACH + 1
    }
}

async fn rows(layout: &Layout, sql: &str) -> Vec<String> {
    let batches: Vec<_> = query(layout, sql, None).await.unwrap().stream().await.unwrap().try_collect().await.unwrap();
    let mut rows = Vec::new();
    for batch in batches {
        let options = FormatOptions::default();
        let columns: Vec<_> = batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options).unwrap()).collect();
        rows.extend(
            (0..batch.num_rows())
                .map(|row| columns.iter().map(|column| column.value(row).to_string()).collect::<Vec<_>>().join(" ")),
        );
    }
    rows
}

/// Returns the sequences of the dead letters that readers see, sorted.
fn letters(folder: &Path) -> Vec<u64> {
    let mut sequences = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "parquet") {
            continue;
        }
        let file = std::fs::File::open(&path).unwrap();
        let reader = datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
        for batch in reader.build().unwrap() {
            let batch = batch.unwrap();
            let column = batch.column_by_name("sequence").unwrap();
            sequences.extend(arrow::array::AsArray::as_primitive::<arrow::datatypes::UInt64Type>(column).values().iter());
        }
    }
    sequences.sort_unstable();
    sequences
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_at_any_step_of_any_commit_changes_no_answer() {
    for point in COMMIT_POINTS {
        for passing in 1..=4 {
            let mut folder = Folder::new(&format!("{point}_{passing}"), "");
            folder.batch().then(Step::Wait).batch().then(Step::Wait).batch().batch();
            panic_at(&folder.view, point, passing);
            let (ended, restarts) = folder.run().await;
            assert_eq!(ended.unwrap(), Outcome::Complete, "{point} {passing}");
            assert_eq!(folder.assert_the_law().await, folder.end(), "{point} {passing}");
            println!("{point}, passing {passing}: {restarts} restarts");
            assert!(passing > 2 || restarts > 0, "{point} {passing}: the fault was not met");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_fails_at_any_batch_is_read_on() {
    let away = || Failure::Unavailable("the server is away".to_owned());
    for at in 0..4 {
        let mut folder = Folder::new(&format!("away_{at}"), "");
        for batch in 0..4 {
            if batch == at {
                folder.then(Step::unavailable("the server went away"));
                folder.source.refuse(away()).refuse(away());
            }
            folder.batch();
        }
        let (ended, _) = folder.run().await;
        assert_eq!(ended.unwrap(), Outcome::Complete, "{at}");
        assert_eq!(folder.assert_the_law().await, folder.end(), "{at}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_changed_stops_its_views_as_they_are_and_a_new_run_goes_on() {
    let mut folder = Folder::new("changed", "");
    folder.batch().then(Step::Wait).then(Step::changed("events are missing")).batch();
    let (ended, restarts) = folder.run().await;
    let error = ended.unwrap_err();
    assert!(error.is_stream_change() && restarts == 0, "{error}, {restarts} restarts");
    assert_eq!(folder.assert_the_law().await, EACH + 1);
    // The failure happens only once in the script.
    let (ended, _) = folder.run().await;
    assert_eq!(ended.unwrap(), Outcome::Complete);
    assert_eq!(folder.assert_the_law().await, folder.end());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_made_anew_is_rebuilt_from_where_the_settings_say_so() {
    let mut folder = Folder::new("anew", "on_stream_change = \"rebuild\"");
    folder.batch().batch();
    folder.run().await.0.unwrap();
    assert_eq!(folder.assert_the_law().await, folder.end());
    folder.source.make_anew("2");
    folder.batches = 0;
    folder.batch().batch().batch();
    std::fs::remove_dir_all(folder.data().join("dead_letters")).unwrap();
    folder.run().await.0.unwrap();
    assert_eq!(folder.assert_the_law().await, folder.end());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebuild_that_begins_with_the_record_of_an_older_commit_begins_again() {
    let mut folder = Folder::new("overtaken", "");
    let layout = Layout::new(folder.data());
    folder.batch().run().await.0.unwrap();
    let old = newest_records(&layout).unwrap();
    let files = named(&layout, &old[&folder.view]);
    assert!(!files.is_empty());
    while files.iter().all(|file| file.exists()) {
        folder.batch().run().await.0.unwrap();
    }
    let (shared, component) = folder.opened();
    let anew = BTreeSet::from([folder.view.replace("_sums", "_sizes")]);
    let guard = Guard { records: old.clone(), anew, kept: None, accept: Accept::AnotherStream };
    let error = Pipeline::rebuild(shared, component, &old, &guard).await.err().expect("the files are gone");
    assert_eq!(error.kind(), Kind::Unavailable, "{error}");
    assert!(error.to_string().contains("has committed epoch"), "{error}");
}

/// The state files that a record names.
fn named(layout: &Layout, record: &Record) -> Vec<std::path::PathBuf> {
    let folder = layout.state(&record.view, &record.incarnation);
    record.state.iter().flat_map(|table| &table.files).map(|file| folder.join(file)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_beside_a_rebuild_are_swept_but_for_the_record_with_which_it_begins() {
    let mut folder = Folder::new("beside", "snapshots_kept = 2\nsnapshots_min_age = \"0s\"");
    let layout = Layout::new(folder.data());
    folder.batch().run().await.0.unwrap();
    let old = newest_records(&layout).unwrap();
    let (held, anew) = (&old[&folder.view], &old[&folder.view.replace("_sums", "_sizes")]);
    for _ in 0..12 {
        folder.batch();
    }
    let (shared, component) = folder.opened();
    let source = shared.feed("t").unwrap().source().clone();
    let mut pipeline = Pipeline::restore(shared, component, &old).await.unwrap();
    let mut reader = source.read(Start::At(held.positions["t"].clone())).await.unwrap();
    let rebuilder = Rebuilder::default();
    rebuilder.begin(7, BTreeMap::from([(held.view.clone(), held.clone())]));
    let mut ended = false;
    let is_there = |record: &Record| named(&layout, record).iter().all(|file| file.exists());
    while let Read::Batch(batch) = reader.next().await.unwrap() {
        pipeline.apply("t", &source.config().columns, &batch).await.unwrap();
        pipeline.commit(CommitOptions { ends_rebuild: false, beside: Some(&rebuilder) }).await.unwrap();
        for record in [held, anew] {
            let snapshots = std::fs::read_dir(layout.view(&record.view).join("snapshots")).unwrap().count();
            assert!(snapshots <= 3, "{}: {snapshots} snapshots", record.view);
        }
        assert!(ended || is_there(held), "a file of the record with which the rebuild begins is gone");
        if !ended && !is_there(anew) && pipeline.epoch() > 8 {
            rebuilder.end(7);
            ended = true;
        }
    }
    assert!(ended && !is_there(held) && !is_there(anew));
}
