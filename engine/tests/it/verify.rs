//! `alluvium verify`: it finds equal views equal, finds a planted wrong row, and says why it cannot tell.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use datafusion::arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use datafusion::arrow::datatypes::Int64Type;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::duckdb;
use crate::orders::{Orders, Running, VIEWS, wait_until};
use crate::served::Served;

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Adds 1 to the column `n` of one row of a view's last commit.
fn plant(view: &Path) {
    let file = view.join("manifest.json");
    let mut manifest: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let part = manifest["parts"].as_array_mut().unwrap().iter_mut().find(|part| part["rows"] != 0).unwrap();
    let path = view.join("parts").join(part["file"].as_str().unwrap());
    let reader = ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(&path).unwrap()).unwrap().build().unwrap();
    let batches: Vec<RecordBatch> = reader.map(Result::unwrap).collect();
    let mut writer = ArrowWriter::try_new(Vec::new(), batches[0].schema(), None).unwrap();
    for (index, batch) in batches.iter().enumerate() {
        let (n, _) = batch.schema_ref().column_with_name("n").unwrap();
        let mut values = batch.column(n).as_primitive::<Int64Type>().values().to_vec();
        values[0] += i64::from(index == 0);
        let mut columns = batch.columns().to_vec();
        columns[n] = std::sync::Arc::new(Int64Array::from(values)) as ArrayRef;
        writer.write(&RecordBatch::try_new(batch.schema(), columns).unwrap()).unwrap();
    }
    let bytes = writer.into_inner().unwrap();
    part["bytes"] = bytes.len().into();
    // As a program would have written it that computed it wrong.
    manifest["parts"].as_array_mut().unwrap().iter_mut().for_each(|part| drop(part.as_object_mut().unwrap().remove("crc32")));
    manifest.as_object_mut().unwrap().remove("crc32");
    std::fs::write(&path, bytes).unwrap();
    std::fs::write(&file, serde_json::to_vec(&manifest).unwrap()).unwrap();
}

#[test]
fn views_are_equal_and_a_planted_wrong_row_is_found() {
    let mut orders = Orders::new(VIEWS);
    let early = orders.ask(&["verify", "totals"]);
    assert!(early.status.code() == Some(4) && text(&early).contains("not been committed yet"), "{}", text(&early));
    orders.publish(30_000);
    orders.publish_bodies(vec![b"no order".to_vec()]);
    orders.catch_up_with_letters();
    let said = orders.succeed(&["verify"]);
    assert_eq!(said.lines().count(), VIEWS.len(), "{said}");
    assert!(said.contains("by_country: equal: 5 rows at sequence 30001 of orders"), "{said}");

    let sampled = orders.succeed(&["verify", "by_customer", "totals", "--sample", "10%"]);
    let rows = |said: &str| said.lines().next().unwrap().split(' ').nth(2).unwrap().parse::<u64>().unwrap();
    let all = rows(&orders.succeed(&["verify", "by_customer"]));
    assert!(sampled.contains("rows of a sample of 10% at") && (all / 12..all / 8).contains(&rows(&sampled)), "{all}: {sampled}");
    let refused = orders.ask(&["verify", "--sample", "10"]);
    assert!(refused.status.code() == Some(2) && text(&refused).contains("such as 1%"), "{}", text(&refused));

    // DuckDB computes an average of decimals as a floating-point number, which is no proof.
    orders.declare("averages", "SELECT country, avg(total) AS average FROM orders GROUP BY country");
    orders.catch_up_perhaps_with_letters();
    let duckdb = duckdb::program();
    let said = orders.ask(&["verify", "averages", "--with", "duckdb", duckdb.to_str().unwrap()]);
    assert!(said.status.code() != Some(1), "{}", text(&said));
    std::fs::remove_file(orders.dir().join("averages.sql")).unwrap();
    orders.succeed(&["drop", "averages", "--yes"]);
    let judge = ["verify", "--with", "duckdb", duckdb.to_str().unwrap()];
    let said = orders.succeed(&judge);
    assert_eq!(said.matches(": equal: ").count(), VIEWS.len(), "{said}");

    plant(&orders.view("by_customer"));
    let said = orders.ask(&judge);
    assert!(said.status.code() == Some(1) && text(&said).contains("by_customer: differs: 2 rows"), "{}", text(&said));
    assert_eq!(orders.ask(&["verify", "by_customer", "--sample", "100%"]).status.code(), Some(1));
    let found = orders.ask(&["verify", "by_customer", "--format", "json"]);
    assert_eq!(found.status.code(), Some(1), "{}", text(&found));
    let found: serde_json::Value = serde_json::from_slice(&found.stdout).unwrap();
    let (rows, n) = (found[0]["differing"].as_array().unwrap(), 1);
    assert_eq!((rows.len(), &found[0]["count"], &found[0]["at_least"]), (2, &2.into(), &false.into()), "{found}");
    assert_eq!(rows[0]["values"][0], rows[1]["values"][0], "both are of one customer: {found}");
    let count = |in_view: bool| {
        let row = rows.iter().find(|row| row["in_view"] == in_view).unwrap();
        row["values"][n].as_str().unwrap().parse::<i64>().unwrap()
    };
    assert_eq!(count(true), count(false) + 1, "{found}");
    let all = orders.ask(&["verify"]);
    let said = text(&all);
    assert!(all.status.code() == Some(1) && said.contains("by_customer: differs: 2 rows at sequence 30001 of orders"), "{said}");
    assert!(said.contains("totals: equal: 1 rows") && said.contains("1 of 6 views differ"), "{said}");
    orders.succeed(&["rebuild", "by_customer"]);
    orders.succeed(&["verify"]);
}

#[test]
fn an_engine_that_verifies_at_an_interval_says_what_it_finds() {
    let mut orders = Orders::new(VIEWS);
    orders.publish(2_000);
    let mut served = Served::start(&orders, &[("ALLUVIUM_VERIFY_INTERVAL", "200ms")]);
    let found = |view: &str| served.view(view)["verification"].clone();
    wait_until("every view is verified at its end", || {
        VIEWS.iter().all(|(view, _)| found(view)["verdict"] == "equal" && found(view)["offsets"]["orders"] == 2_001)
    });
    let metrics = served.get("/metrics").1;
    assert!(metrics.contains("alluvium_view_differs{view=\"totals\"} 0"), "{metrics}");
    assert!(metrics.contains("alluvium_view_verified_seconds{view=\"totals\"}"), "{metrics}");
    plant(&orders.view("by_customer"));
    wait_until("it is found", || found("by_customer")["differs"] == true);
    let metrics = served.get("/metrics").1;
    assert!(metrics.contains("alluvium_view_differs{view=\"by_customer\"} 1"), "{metrics}");
    let status = orders.succeed(&["status"]);
    assert!(status.contains("by_customer: verified: differs"), "{status}");
    assert!(orders.log().contains("the view differs from its SQL"), "{}", orders.log());
    assert_eq!(served.running.end(), Some(0), "{}", orders.log());
}

#[test]
fn views_are_verified_beside_a_running_engine() {
    let mut orders = Orders::new(VIEWS);
    let mut running = orders.start();
    let bodies: Vec<Vec<u8>> = (0..20_000).map(|_| orders.next().into_bytes()).collect();
    let publisher = crate::orders::Paced::start(&orders, "totals", bodies);
    wait_until("it commits", || VIEWS.iter().all(|(name, _)| orders.offset(name) > 1));
    let mut offsets: Vec<u64> = Vec::new();
    while offsets.len() < 4 {
        let said = orders.ask(&["verify", "--format", "json"]);
        assert_eq!(said.status.code(), Some(0), "{}", text(&said));
        let said: serde_json::Value = serde_json::from_slice(&said.stdout).unwrap();
        assert!(said.as_array().unwrap().iter().all(|view| view["verdict"] == "equal"), "{said}");
        offsets.push(said[0]["offsets"]["orders"].as_u64().unwrap());
    }
    println!("verified at {offsets:?}");
    assert!(offsets[0] < 20_001, "the engine was still at work: {offsets:?}");
    publisher.finish();
    assert_eq!(running.end(), Some(0), "{}", orders.log());
}

#[test]
fn an_event_that_is_set_aside_for_one_view_is_left_out_of_its_sql() {
    let mut orders = Orders::new(&VIEWS[..2]);
    orders.publish(2_000);
    let mut command = orders.alluvium(&["run"]);
    command.env("ALLUVIUM_FAILPOINT", "panic:by_country:1234");
    let mut running = Running(orders.logging(&mut command).spawn().unwrap());
    wait_until("everything is committed", || VIEWS[..2].iter().all(|(name, _)| orders.offset(name) == 2_001));
    assert_eq!(running.end(), Some(0), "{}", orders.log());
    let said = orders.succeed(&["verify"]);
    assert!(said.contains("by_country: equal") && said.contains("by_bucket: equal"), "{said}");
    // `verify` needs the record, not the letter.
    orders.succeed(&["dead-letters", "drop", "--kind", "crash", "--yes"]);
    orders.succeed(&["verify"]);
}

#[test]
fn a_stream_that_no_longer_holds_the_past_is_told_apart() {
    let mut orders = Orders::new(&VIEWS[..1]);
    orders.publish(1_000);
    orders.catch_up();
    let cannot_tell = |why: &str| {
        let said = orders.ask(&["verify"]);
        assert!(said.status.code() == Some(4) && text(&said).contains(why), "{why}: {}", text(&said));
    };
    orders.with_jetstream(async |context| {
        context.get_stream("ORDERS").await.unwrap().delete_message(500).await.unwrap();
    });
    cannot_tell("no longer holds 1 of the 1000 events that view by_country has read");
    orders.with_jetstream(async |context| {
        context.get_stream("ORDERS").await.unwrap().purge().sequence(601).await.unwrap();
    });
    cannot_tell("no longer holds the events from 1 to 600, which view by_country has read");
    // A view that begins now has read everything that the stream holds.
    orders.succeed(&["rebuild", "by_country", "--accept-loss"]);
    orders.succeed(&["verify"]);
    orders.with_jetstream(async |context| context.delete_stream("ORDERS").await.unwrap());
    orders.make_stream();
    orders.with_jetstream(async |context| {
        context.publish("orders.placed", "{}".into()).await.unwrap().await.unwrap();
    });
    cannot_tell("by_country: cannot tell");
}

/// A project with views over files.
struct Files(tempfile::TempDir);

impl Files {
    fn new(events: &str, sql: &str) -> Files {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("events.jsonl"), events).unwrap();
        std::fs::write(folder.path().join("views.sql"), sql).unwrap();
        Files(folder)
    }

    fn ask(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_alluvium"));
        command.env_clear().env("ALLUVIUM_HTTP", "off").arg("-C").arg(self.dir()).args(arguments).output().unwrap()
    }

    fn dir(&self) -> PathBuf {
        self.0.path().to_owned()
    }
}

const SOURCE: &str = "CREATE EXTERNAL TABLE events (id BIGINT, k VARCHAR, x DOUBLE, at_ms TIMESTAMP(3))
STORED AS FILE LOCATION 'events.jsonl' OPTIONS (watermark 'at_ms - 2 seconds');\n";

#[test]
fn views_of_every_class_are_equal() {
    let mut random = fastrand::Rng::with_seed(7);
    let mut events = String::new();
    for id in 0..3_000_i64 {
        let (second, ms) = (id / 60, random.u32(..1000));
        let key = ["p", "q", "r", "s"][random.usize(..4)];
        writeln!(
            events,
            "{{\"id\":{id},\"k\":\"{key}\",\"x\":{},\"at_ms\":\"2026-01-01T00:{:02}:{:02}.{ms:03}\"}}",
            random.f64(),
            second / 60,
            second % 60
        )
        .unwrap();
    }
    let views = [
        ("linear", "", "SELECT id, k, x FROM events WHERE id % 3 > 0"),
        ("merged", "", "SELECT k, count(*) AS n, sum(x) AS s, avg(x) AS a, max(id) AS m FROM events GROUP BY k"),
        ("total", "", "SELECT sum(x) AS s FROM events"),
        ("joined", "", "SELECT a.id, b.id AS other FROM events a JOIN linear b ON a.id = b.id * 2"),
        ("outer_joined", "", "SELECT a.id, b.id AS other FROM events a LEFT JOIN linear b ON a.id = b.id"),
        ("semi", "", "SELECT id FROM events e WHERE EXISTS (SELECT 1 FROM linear l WHERE l.id = e.id + 1)"),
        ("distinct_keys", "", "SELECT DISTINCT k FROM linear"),
        (
            "ranked",
            "",
            "SELECT id, k FROM (SELECT id, k, row_number() OVER (PARTITION BY k ORDER BY id DESC) AS r FROM events) WHERE r <= 3",
        ),
        ("running", "", "SELECT id, sum(id) OVER (PARTITION BY k ORDER BY id) AS s FROM events"),
        ("everything", "", "SELECT id, rank() OVER (ORDER BY x, id) AS r FROM linear"),
        ("top", "", "SELECT id, x FROM events ORDER BY x DESC, id LIMIT 7"),
        ("latest", "", "SELECT k, last_value(id ORDER BY at_ms) AS id FROM events GROUP BY k"),
        (
            "sessions",
            "",
            "SELECT k, count(*) AS n, window_end FROM SESSION(events, at_ms, INTERVAL '200 ms' PARTITION BY k) GROUP BY k, window_end",
        ),
        (
            "windows",
            "WITH (emit = 'final', retain = '20 seconds') ",
            "SELECT window_end, k, count(*) AS n FROM TUMBLE(events, at_ms, INTERVAL '3 seconds') GROUP BY window_end, k",
        ),
        ("over_windows", "", "SELECT window_end, sum(n) AS n FROM windows GROUP BY window_end"),
        ("without_columns", "", "SELECT count(*) AS n FROM events"),
    ];
    let mut sql = SOURCE.to_owned();
    for (name, options, query) in views {
        writeln!(sql, "CREATE MATERIALIZED VIEW {name} {options}AS {query};").unwrap();
    }
    let files = Files::new(&events, &sql);
    let checked = text(&files.ask(&["check"]));
    for class in ["linear", "merge", "join", "keyed recompute", "full recompute"] {
        assert!(checked.contains(class), "{class}: {checked}");
    }
    let ran = files.ask(&["run", "--until-caught-up"]);
    assert!(ran.status.success(), "{}", text(&ran));
    let verified = files.ask(&["verify"]);
    let said = text(&verified);
    assert_eq!(verified.status.code(), Some(0), "{said}");
    assert_eq!(said.matches(": equal: ").count(), views.len(), "{said}");
    for (name, ..) in views {
        assert!(!said.contains(&format!("{name}: equal: 0 rows")), "{said}");
    }
    let sampled = files.ask(&["verify", "--sample", "30%"]);
    assert_eq!(sampled.status.code(), Some(0), "{}", text(&sampled));
    // DuckDB knows no SESSION, no TUMBLE and no watermark.
    let judged = files.ask(&["verify", "--with", "duckdb", duckdb::program().to_str().unwrap()]);
    let said = text(&judged);
    assert!(judged.status.code() == Some(4) && said.contains("DuckDB cannot run its SQL") && !said.contains("differs"), "{said}");
    assert!(said.matches(": equal: ").count() >= views.len() - 4, "{said}");
}

#[test]
fn rows_on_which_an_expression_fails_are_left_out_of_the_sql_too() {
    let events: String = (0..200).map(|id| format!("{{\"id\":{},\"k\":\"{}\"}}\n", id % 7 - 3, id % 5)).collect();
    let views = [
        ("fussy", "SELECT 10 / id AS q, k FROM events"),
        ("in_no_branch", "SELECT 10 / id AS q FROM events UNION ALL SELECT id FROM events"),
        ("by_key", "SELECT k, count(*) AS n FROM events GROUP BY k"),
        ("of_x", "SELECT k, x FROM events"),
        ("sums", "SELECT k, id, sum(id) AS s FROM events GROUP BY k, id"),
        ("of_groups", "SELECT k, id, 100 / s AS r FROM sums"),
        ("groups_of_groups", "SELECT 100 / s AS r, count(*) AS n FROM sums GROUP BY 100 / s"),
        ("with_having", "SELECT k FROM events GROUP BY k, id HAVING 10 / sum(id) > 0"),
    ];
    let mut sql = SOURCE.to_owned();
    for (name, query) in views {
        writeln!(sql, "CREATE MATERIALIZED VIEW {name} AS {query};").unwrap();
    }
    let events = events + "no JSON\n{\"id\":\"x\",\"k\":\"q\"}\n{\"id\":1,\"k\":\"q\",\"x\":\"y\"}\n";
    let files = Files::new(&events, &sql);
    assert_eq!(files.ask(&["run", "--until-caught-up"]).status.code(), Some(3));
    let verified = files.ask(&["verify"]);
    let said = text(&verified);
    assert_eq!(verified.status.code(), Some(0), "{said}");
    assert_eq!(said.matches(": equal: ").count(), views.len(), "{said}");
}
