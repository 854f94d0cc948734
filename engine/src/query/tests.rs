#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use alluvium_connectors::sink::parquet::{Manifest, Part};
use arrow::array::{AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::Int64Type;
use datafusion::parquet::arrow::ArrowWriter;
use futures::TryStreamExt;

use super::*;

/// Commits a view by hand as the engine does: writes a part, a kept snapshot's manifest, then the manifest.
fn commit(layout: &Layout, view: &str, pipeline: &[&str], epoch: u64, rows: RecordBatch) {
    let folder = layout.view(view);
    let kept = folder.join("snapshots").join(format!("{epoch:010}-{epoch:013}-{epoch:016x}"));
    fs::create_dir_all(folder.join("parts")).unwrap();
    fs::create_dir_all(&kept).unwrap();
    let file = format!("{epoch:010}-x.parquet");
    let path = folder.join("parts").join(&file);
    let mut writer = ArrowWriter::try_new(fs::File::create(&path).unwrap(), rows.schema(), None).unwrap();
    writer.write(&rows).unwrap();
    writer.close().unwrap();
    let part = Part {
        file,
        rows: rows.num_rows() as u64,
        bytes: fs::metadata(&path).unwrap().len(),
        prefix: 0,
        bits: 0,
        crc32: Vec::new(),
    };
    let manifest = Manifest {
        format: 1,
        view: view.into(),
        epoch,
        fingerprint: "f".into(),
        offsets: [("orders".to_owned(), epoch)].into(),
        committed: "2026-01-01T00:00:00Z".into(),
        committed_ms: epoch,
        committed_with: pipeline.iter().map(|view| (*view).to_owned()).collect(),
        rows: part.rows,
        files: vec![path.display().to_string()],
        parts: vec![part],
        hashed_by: None,
    };
    let bytes = serde_json::to_vec(&manifest).unwrap();
    fs::write(kept.join("manifest.json"), &bytes).unwrap();
    let staged = folder.join("manifest.json.new");
    fs::write(&staged, &bytes).unwrap();
    fs::rename(&staged, folder.join("manifest.json")).unwrap();
}

#[tokio::test]
async fn two_versions_are_compared_by_key_in_the_columns_that_both_have() {
    let folder = tempfile::tempdir().unwrap();
    let layout = Layout::new(folder.path());
    let newest = async || newest::NewestCommits::new(layout.clone()).of("v").await.unwrap().unwrap();
    let column = |values: &[i64]| Arc::new(Int64Array::from(values.to_vec())) as arrow::array::ArrayRef;
    let text = |values: &[&str]| Arc::new(StringArray::from(values.to_vec())) as arrow::array::ArrayRef;
    let before = [("k", column(&[1, 2, 3, 3])), ("n", column(&[10, 20, 30, 30])), ("old", column(&[0, 0, 0, 0]))];
    commit(&layout, "v", &["v"], 1, RecordBatch::try_from_iter(before).unwrap());
    let before = newest().await;
    let after =
        [("k", column(&[1, 2, 4, 5, 5])), ("n", text(&["10", "21", "40", "50", "50"])), ("new", column(&[0, 0, 0, 0, 0]))];
    commit(&layout, "v", &["v"], 2, RecordBatch::try_from_iter(after).unwrap());
    let after = newest().await;
    // A part that the later commit does not name may be gone.
    fs::remove_file(layout.view("v").join("parts/0000000001-x.parquet")).unwrap();

    let key = ["k".to_owned()];
    let compared = compared::compare(&before, &after, Some(&key), 3).await.unwrap();
    assert_eq!(compared.columns, ["~ column n: BIGINT -> VARCHAR", "- column old BIGINT", "+ column new BIGINT"]);
    assert_eq!((compared.added, compared.removed, compared.changed), (3, 2, 1));
    assert_eq!(compared.rows, ["~ k 2: n 20 -> 21", "- k 3, n 30 (2 times)", "+ k 4, n 40"]);
    assert_eq!(compared.more, 2);

    // Without a key, a row that has changed has gone and come.
    let compared = compared::compare(&before, &after, None, 20).await.unwrap();
    assert_eq!((compared.added, compared.removed, compared.changed), (4, 3, 0));
    // A view of at most one row has a key of no column.
    commit(&layout, "v", &["v"], 3, RecordBatch::try_from_iter([("n", column(&[1]))]).unwrap());
    let one = newest().await;
    commit(&layout, "v", &["v"], 4, RecordBatch::try_from_iter([("n", column(&[2]))]).unwrap());
    let other = newest().await;
    assert_eq!(compared::compare(&one, &other, Some(&[]), 3).await.unwrap().rows, ["~ n 1 -> 2"]);
    assert!(compared::compare(&one, &one, Some(&[]), 3).await.unwrap().is_same());

    // Rows that were there several times become one. A NULL is another key than the text.
    commit(
        &layout,
        "v",
        &["v"],
        5,
        RecordBatch::try_from_iter([("k", text(&["a", "a", "a", "NULL"])), ("n", column(&[1, 1, 1, 1]))]).unwrap(),
    );
    let several = newest().await;
    let null = Arc::new(StringArray::from(vec![Some("a"), None])) as arrow::array::ArrayRef;
    commit(&layout, "v", &["v"], 6, RecordBatch::try_from_iter([("k", null), ("n", column(&[3, 1]))]).unwrap());
    let compared = compared::compare(&several, &*newest().await, Some(&key), 9).await.unwrap();
    assert_eq!((compared.added, compared.removed, compared.changed), (1, 3, 1));
    assert_eq!(compared.rows, ["+ k NULL, n 1", "- k NULL, n 1", "~ k a: n 1 -> 3 (3 times before, 1 now)"]);
}

fn rows(epoch: u64) -> RecordBatch {
    let epoch = i64::try_from(epoch).unwrap();
    let values = Int64Array::from_iter_values((0..100).map(|_| epoch));
    RecordBatch::try_from_iter([("e", Arc::new(values) as arrow::array::ArrayRef)]).unwrap()
}

async fn ask(layout: &Layout, sql: &str) -> Result<Vec<RecordBatch>, Error> {
    Ok(query(layout, sql, None).await?.stream().await?.try_collect().await?)
}

async fn numbers(layout: &Layout, sql: &str) -> Vec<i64> {
    let batches = ask(layout, sql).await.unwrap();
    batches[0].columns().iter().map(|column| column.as_primitive::<Int64Type>().value(0)).collect()
}

#[tokio::test]
async fn reads_the_last_commit_of_each_view() {
    let folder = tempfile::tempdir().unwrap();
    let layout = Layout::new(folder.path());
    commit(&layout, "a", &["a"], 1, rows(1));
    commit(&layout, "b", &["b"], 7, rows(7));
    commit(&layout, "a", &["a"], 2, rows(2));
    let sql = "WITH x AS (SELECT * FROM a) SELECT (SELECT max(e) FROM x), (SELECT min(e) FROM a), (SELECT max(e) FROM b), (SELECT count(*) FROM b)";
    assert_eq!(numbers(&layout, sql).await, [2, 2, 7, 100]);
    let tables =
        ask(&layout, "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 1").await.unwrap();
    assert_eq!(tables.iter().map(RecordBatch::num_rows).sum::<usize>(), 2);
    assert!(!ask(&layout, "SHOW TABLES").await.unwrap().is_empty());
}

#[tokio::test]
async fn a_pipeline_of_which_one_view_is_behind_is_read_at_the_older_commit() {
    let folder = tempfile::tempdir().unwrap();
    let layout = Layout::new(folder.path());
    for (view, epochs) in [("a", 1..=3), ("b", 1..=2)] {
        epochs.for_each(|epoch| commit(&layout, view, &["a", "b"], epoch, rows(epoch)));
    }
    assert_eq!(numbers(&layout, "SELECT (SELECT max(e) FROM a), (SELECT max(e) FROM b)").await, [2, 2]);
    assert_eq!(numbers(&layout, "SELECT max(e) FROM a").await, [3]);
}

/// The writer commits without pause and removes old parts. Each query must read exactly one commit, and none may fail.
#[tokio::test(flavor = "multi_thread")]
async fn queries_beside_a_writer_see_one_commit() {
    const KEPT: u64 = 40;
    let folder = tempfile::tempdir().unwrap();
    let layout = Layout::new(folder.path());
    let write = |epoch: u64| ["a", "b"].iter().for_each(|view| commit(&layout, view, &["a", "b"], epoch, rows(epoch)));
    write(1);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for epoch in 2.. {
                if done.load(Ordering::Relaxed) {
                    break;
                }
                write(epoch);
                if let Some(old) = epoch.checked_sub(KEPT).filter(|old| *old > 0) {
                    for view in ["a", "b"] {
                        fs::remove_dir_all(layout.view(view).join("snapshots").join(format!("{old:010}-{old:013}-{old:016x}")))
                            .unwrap();
                        fs::remove_file(layout.view(view).join("parts").join(format!("{old:010}-x.parquet"))).unwrap();
                    }
                }
            }
        });
        // Stop the writer even if a check fails, since the scope waits for it.
        let _stop = StopWhenDropped(&done);
        tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(async {
                let sql =
                    "SELECT (SELECT max(e) FROM a), (SELECT min(e) FROM b), (SELECT count(*) FROM a), (SELECT max(e) FROM b)";
                let mut seen = BTreeSet::new();
                for _ in 0..200 {
                    let row = numbers(&layout, sql).await;
                    assert!(row[0] == row[1] && row[1] == row[3] && row[2] == 100, "{row:?}");
                    seen.insert(row[0]);
                }
                assert!(seen.len() > 1, "the writer never committed");
            });
        });
    });
}

struct StopWhenDropped<'a>(&'a AtomicBool);

impl Drop for StopWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn files_that_go_while_a_query_runs_are_read_to_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let layout = Layout::new(folder.path());
    commit(&layout, "a", &["a"], 1, rows(1));
    let answer = query(&layout, "SELECT count(*) AS n, max(e) AS e FROM a WHERE e > 0", None).await.unwrap();
    fs::remove_dir_all(layout.view("a")).unwrap();
    let batches: Vec<RecordBatch> = answer.stream().await.unwrap().try_collect().await.unwrap();
    assert_eq!(batches[0].column(0).as_primitive::<Int64Type>().value(0), 100);
}

#[tokio::test]
async fn nothing_can_be_changed_and_names_are_helped_with() {
    let folder = tempfile::tempdir().unwrap();
    let layout = Layout::new(folder.path().join("data"));
    let none = ask(&layout, "SELECT * FROM revenue").await.unwrap_err();
    assert!(none.help().unwrap().contains("alluvium run"), "{none:?}");
    commit(&layout, "revenue", &["revenue"], 1, rows(1));
    let error = ask(&layout, "SELECT * FROM revenu").await.unwrap_err();
    assert_eq!(error.help().as_deref(), Some("did you mean revenue?"));
    assert_eq!(numbers(&layout, "SELECT max(value) FROM generate_series(1, 9)").await, [9], "a table function is no view");
    let error = ask(&layout, "SELEC 1").await.unwrap_err().to_string();
    assert!(error.starts_with("query:1:1: expected"), "{error}");
    let target = folder.path().join("out.csv");
    for sql in [
        "CREATE TABLE x AS SELECT 1".to_owned(),
        "CREATE VIEW x AS SELECT 1".to_owned(),
        "INSERT INTO revenue VALUES (1)".to_owned(),
        "DROP TABLE revenue".to_owned(),
        "SET datafusion.execution.batch_size = 1".to_owned(),
        format!("COPY (SELECT 1) TO '{}'", target.display()),
    ] {
        assert_eq!(ask(&layout, &sql).await.unwrap_err().to_string(), "a query can only read", "{sql}");
    }
    assert!(!target.exists());
}

#[tokio::test]
async fn a_view_may_have_any_name_and_any_text() {
    let folder = tempfile::tempdir().unwrap();
    let layout = Layout::new(folder.path());
    let text = StringArray::from(vec![Some("a,\"b\"\n"), None]);
    let rows = RecordBatch::try_from_iter([("the text", Arc::new(text) as arrow::array::ArrayRef)]).unwrap();
    commit(&layout, "By Day %2F", &["By Day %2F"], 1, rows);
    let batches = ask(&layout, "SELECT \"the text\" FROM \"By Day %2F\" WHERE \"the text\" IS NOT NULL").await.unwrap();
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 1);
}

#[tokio::test]
async fn what_views_may_use_queries_may_use_too() {
    let folder = tempfile::tempdir().unwrap();
    let layout = Layout::new(folder.path());
    commit(&layout, "a", &["a"], 1, rows(90));
    let windows = "SELECT count(*), min(CAST(window_start AS BIGINT))
                   FROM TUMBLE((SELECT to_timestamp_seconds(e) AS at FROM a), at, INTERVAL '1 minute');";
    assert_eq!(numbers(&layout, windows).await, [100, 60]);
    let of_a_view =
        "SELECT count(*) FROM (SELECT * FROM HOP(a, to_timestamp_seconds(e), INTERVAL '1 minute', INTERVAL '2 minutes'))";
    assert_eq!(numbers(&layout, of_a_view).await, [200]);
    assert_eq!(numbers(&layout, "SELECT count(*) FROM a WHERE '{\"k\": 1}' ? 'k'").await, [100]);
    let missing = ask(&layout, "SELECT * FROM TUMBLE(b, e, INTERVAL '1 minute')").await.unwrap_err();
    assert!(missing.to_string().contains("no committed view b"), "{missing}");
}
