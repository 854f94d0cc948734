//! `infer` on a real server and on files: what it writes passes `check` word for word, and every sampled event decodes by it.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::orders::Orders;

fn alluvium(dir: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_alluvium"));
    command.env_clear().current_dir(dir).args(arguments).output().unwrap()
}

fn succeed(dir: &Path, arguments: &[&str]) -> String {
    let output = alluvium(dir, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Infers a file, checks what was written, and runs a view of all its columns: no event is set aside.
fn assert_decodes(dir: &Path, file: &str, what: &str) -> String {
    succeed(dir, &["infer", file, "--name", "events", "--out", "sources.sql"]);
    let sql = std::fs::read_to_string(dir.join("sources.sql")).unwrap();
    assert!(succeed(dir, &["check"]).contains("1 source: no errors"), "{what}: {sql}");
    std::fs::write(dir.join("all.sql"), "CREATE MATERIALIZED VIEW all_of_them AS SELECT * FROM events;").unwrap();
    let output = alluvium(dir, &["run", "--until-caught-up", "--http", "off"]);
    assert!(output.status.success(), "{what}: {}\n{sql}", String::from_utf8_lossy(&output.stderr));
    sql
}

/// Events from public bug reports of other engines, one kind a section.
const INPUTS: &str = include_str!("infer/inputs.txt");

#[test]
fn odd_events_are_declared_so_that_all_decode() {
    for section in INPUTS.split("## ").filter(|section| !section.is_empty()) {
        let (what, events) = section.split_once('\n').unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("e.json"), events).unwrap();
        assert_decodes(folder.path(), "e.json", what);
    }
}

#[test]
fn an_example_is_declared_as_its_file_is() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    succeed(dir, &["init", "mine"]);
    std::fs::rename(dir.join("mine/events.jsonl"), dir.join("events.jsonl")).unwrap();
    let sql = assert_decodes(dir, "events.jsonl", "init");
    assert!(sql.contains("order_id") && sql.contains("DECIMAL(12, 2)") && sql.contains("LOCATION 'events.jsonl'"), "{sql}");
}

#[test]
fn a_stream_is_declared_and_nothing_is_left_on_the_server() {
    let mut orders = Orders::new(&[]);
    orders.publish_on("orders.placed.eu", 300);
    orders.publish_on("orders.paid", 200);
    orders.publish_on("orders.placed.us", 100);
    std::fs::remove_file(orders.dir().join("sources.sql")).unwrap();
    let place = format!("{}/ORDERS", orders.server.url());
    let sql = orders.succeed(&["infer", &place, "--sample", "400"]);
    assert!(sql.starts_with(&format!("-- Inferred from 400 of 600 events of {place}, sequences 1 to 600")), "{sql}");
    for line in [
        "CREATE EXTERNAL TABLE orders (",
        "orders.placed.eu      200   subject 'orders.placed.eu'",
        "orders.paid",
        "STORED AS NATS",
    ] {
        assert!(sql.contains(line), "{line}: {sql}");
    }
    for column in [
        "order_id   BIGINT NOT NULL",
        "total      DECIMAL(12, 2) NOT NULL",
        "placed_at  TIMESTAMP NOT NULL",
        "_subject   VARCHAR",
    ] {
        assert!(sql.contains(column), "{column}: {sql}");
    }
    let filtered = orders.succeed(&["infer", &place, "--subject", "orders.placed.>", "--sample", "10", "--name", "placed"]);
    assert!(filtered.contains("from 10 of 400 events") && filtered.contains("OPTIONS (subject 'orders.placed.>')"), "{filtered}");
    assert!(filtered.contains("sequences 1 to 600") && !filtered.contains("orders.paid"), "{filtered}");

    assert_eq!(consumers(&orders), 0);
    std::fs::write(orders.dir().join("sources.sql"), &sql).unwrap();
    orders.succeed(&["check"]);
    orders.declare("counts", "SELECT _subject, count(*) AS n, sum(total) AS total FROM orders GROUP BY _subject");
    orders.catch_up();
    let output = orders.ask(&["infer", &place.replace("nats://", "nats://me:hunter2@")]);
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(log.contains("LOCATION holds a user or a password") && !log.contains("hunter2"), "{log}");
}

fn consumers(orders: &Orders) -> usize {
    orders.with_jetstream(async |context| context.get_stream("ORDERS").await.unwrap().info().await.unwrap().state.consumer_count)
}

#[test]
fn mistakes_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    std::fs::write(dir.join("empty.json"), "").unwrap();
    std::fs::write(dir.join("a.json"), "{\"a\":1}\n").unwrap();
    for (arguments, said) in [
        (&["infer", "empty.json"][..], "empty.json has no events to infer from"),
        (&["infer", "none.json"], "there is no file or folder"),
        (&["infer", "http://host/a.json"], "neither a stream nor a file"),
        (&["infer", "a.json", "--option", "delimitr=;"], "option 'delimitr' is not known"),
        (&["infer", "a.json", "--name", "my events"], "cannot be a folder's name"),
        (&["infer", "a.json", "--option", "format=avro"], "columns cannot be inferred of format 'avro'"),
        (&["infer", "a.json", "--out", "empty.json"], "empty.json exists already"),
    ] {
        let output = alluvium(dir, arguments);
        let log = String::from_utf8_lossy(&output.stderr)
            .split_whitespace()
            .filter(|word| *word != "\u{2502}")
            .collect::<Vec<_>>()
            .join(" ");
        assert_eq!(output.status.code(), Some(1), "{log}");
        assert!(log.contains(said), "{said}: {log}");
    }
    assert_eq!(std::fs::read_to_string(dir.join("empty.json")).unwrap(), "");
}

#[test]
fn a_project_over_a_stream_runs_at_once() {
    let mut orders = Orders::new(&[]);
    orders.publish_on("orders.placed", 300);
    let place = format!("{}/ORDERS", orders.server.url());
    let folder = tempfile::tempdir().unwrap();
    let said = succeed(folder.path(), &["init", "mine", "--from", &place]);
    assert!(said.contains("the source orders and the views orders_by_minute and latest_orders"), "{said}");
    let dir = folder.path().join("mine");
    let latest = std::fs::read_to_string(dir.join("latest_orders.sql")).unwrap();
    assert!(latest.contains("PARTITION BY order_id"), "{latest}");
    let counts = std::fs::read_to_string(dir.join("orders_by_minute.sql")).unwrap();
    assert!(
        counts.contains("SELECT window_start, country, count(*) AS events") && counts.contains("TUMBLE(orders, placed_at,"),
        "{counts}"
    );
    succeed(&dir, &["check", "--sample"]);
    succeed(&dir, &["run", "--until-caught-up", "--http", "off"]);
    let rows = |sql: &str| succeed(&dir, &["query", "--format", "csv", sql]);
    assert_eq!(rows("SELECT sum(events) AS n FROM orders_by_minute"), "n\n300\n");
    assert_eq!(rows("SELECT count(*) AS n FROM latest_orders"), "n\n300\n");
    assert_eq!(alluvium(folder.path(), &["init", "mine", "--from", &place]).status.code(), Some(1), "nothing is overwritten");
}

#[test]
fn a_project_over_files_runs_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let lines: String =
        (0..200).map(|n| format!("{{\"user id\":\"u{}\",\"kind\":\"{}\",\"n\":{n}}}\n", n % 20, ["in", "out"][n % 2])).collect();
    std::fs::write(dir.join("Visits.ndjson"), lines).unwrap();
    let said = succeed(dir, &["init", "mine", "--from", "Visits.ndjson"]);
    assert!(said.contains("the source visits and the views visits_by_type and latest_visits"), "{said}");
    let dir = dir.join("mine");
    succeed(&dir, &["run", "--until-caught-up", "--http", "off"]);
    let rows = |sql: &str| succeed(&dir, &["query", "--format", "csv", sql]);
    assert_eq!(rows("SELECT * FROM visits_by_type ORDER BY kind"), "kind,events\nin,100\nout,100\n");
    assert_eq!(rows("SELECT count(*) AS n, min(n) AS least FROM latest_visits"), "n,least\n20,180\n");
}

#[test]
fn files_of_other_kinds_are_declared_as_what_they_are() {
    let rows = "SELECT i AS id, 'w' || i % 5 AS word, (i * 7 % 1000 / 100)::DECIMAL(10, 2) AS amount, i / 3 AS x, DATE '2024-01-01' + (i % 40)::INT AS day, TIMESTAMP '2024-01-01 10:00:00' + INTERVAL (i * 1001) MILLISECOND AS seen, i % 2 = 0 AS even FROM range(3000) r(i)";
    for (file, options, stored_as) in [
        ("e.parquet", "FORMAT parquet", "STORED AS PARQUET"),
        ("e.csv.gz", "FORMAT csv, HEADER, DELIMITER ';', COMPRESSION gzip", "STORED AS CSV"),
        ("e.json.gz", "FORMAT json, COMPRESSION gzip", "STORED AS JSON"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        crate::duckdb::rows(&format!("COPY ({rows}) TO '{}' ({options})", folder.path().join(file).display())).unwrap();
        let sql = assert_decodes(folder.path(), file, file);
        for said in [
            stored_as,
            "id         BIGINT NOT NULL",
            "day        DATE NOT NULL",
            "seen       TIMESTAMP NOT NULL",
            "even       BOOLEAN NOT NULL",
        ] {
            assert!(sql.contains(said), "{file}: {said}: {sql}");
        }
    }
}

#[test]
fn standard_input_is_read_to_its_end_whatever_its_pauses() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_alluvium"));
    command.env_clear().current_dir(folder.path()).args(["infer", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    for n in 0..5 {
        // The answer is the same however long the pauses are.
        input.write_all(format!("{{\"n\":{n}}}\n").as_bytes()).unwrap();
        input.flush().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(60));
    }
    drop(input);
    let sql = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    assert!(sql.contains("Inferred from 5 events of -"), "{sql}");
}

#[test]
fn events_none_of_which_decodes_are_no_source() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("e.json"), "[1]\n[2]\n").unwrap();
    let output = alluvium(folder.path(), &["init", "mine", "--from", "e.json"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(!folder.path().join("mine").exists());
    let output = alluvium(folder.path(), &["init", "mine", "--name", "x"]);
    assert_eq!(output.status.code(), Some(1), "--name without --from");
}
