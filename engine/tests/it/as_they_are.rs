//! Events as they arrive in practice: values written differently from their type, options for reading them, and files that are not JSON
//! lines.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::duckdb;

/// Runs until caught up. Returns whether that succeeded, with or without events that were set aside (exit code 3), and the log.
fn run(dir: &Path) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_alluvium"))
        .env_clear()
        .args(["run", "--until-caught-up", "--http", "off", "-C"])
        .arg(dir)
        .output()
        .unwrap();
    (matches!(output.status.code(), Some(0 | 3)), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Returns the rows of view `v`, sorted.
fn rows(dir: &Path) -> Vec<Value> {
    let sql =
        format!("SELECT to_json(v) AS row FROM read_parquet('{}/data/views/v/current/*.parquet') v ORDER BY v", dir.display());
    let of_text = |row: &Value| row["row"].as_str().map_or_else(|| row["row"].clone(), value);
    duckdb::rows(&sql).unwrap().iter().map(of_text).collect()
}

fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// Checks a project of one source and one view, with all events in one run and with one more in each run.
fn check(columns: &str, options: &str, query: &str, events: &[&str], expected: &[&str]) {
    for runs in [1, events.len()] {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let sql = format!(
            "CREATE EXTERNAL TABLE t ({columns}) STORED AS FILE LOCATION 'e.ndjson' {options};\nCREATE MATERIALIZED VIEW v AS {query};\n"
        );
        std::fs::write(dir.join("views.sql"), sql).unwrap();
        for upto in (1..=runs).map(|run| run * events.len() / runs) {
            std::fs::write(dir.join("e.ndjson"), events[..upto].concat()).unwrap();
            let (succeeded, log) = run(dir);
            assert!(succeeded, "{log}");
        }
        let expected: Vec<Value> = expected.iter().map(|row| value(row)).collect();
        assert_eq!(rows(dir), expected, "{query} in {runs} runs");
    }
}

#[test]
fn members_are_read_where_that_loses_nothing() {
    check(
        "id BIGINT, b BOOLEAN, at TIMESTAMP, d DECIMAL(10, 2)",
        "",
        "SELECT id, b, at FROM t WHERE d > 0",
        &[
            "{\"id\":1,\"b\":\"true\",\"d\":1}\n",
            "{\"id\":2.0,\"b\":1,\"d\":1}\n",
            "{\"id\":5,\"b\":true,\"d\":3.14159}\n",
            "{\"id\":6,\"b\":2,\"d\":1}\n",
            "{\"id\":\"7\",\"b\":true,\"at\":\"2024-05-01T10:00Z\",\"d\":\"1.50\"}\n",
            "{\"id\":8,\"at\":\"Wed, 01 May 2024 10:00:00 +0200\",\"d\":1}\n",
            "{\"id\":9,\"at\":1714557600,\"d\":1}\n",
        ],
        &[
            r#"{"id":1,"b":true,"at":null}"#,
            r#"{"id":2,"b":true,"at":null}"#,
            r#"{"id":7,"b":true,"at":"2024-05-01 10:00:00"}"#,
            r#"{"id":8,"b":null,"at":"2024-05-01 08:00:00"}"#,
        ],
    );
}

#[test]
fn options_say_how_members_are_read() {
    check(
        "id BIGINT, n BIGINT, b TIMESTAMP(3), d TIMESTAMP(0), e TIMESTAMP",
        "OPTIONS (on_bad_member 'null', on_bad_member.id 'dead_letter', epoch.e 'us', null_text 'N/A')",
        "SELECT id, n, b, d, e FROM t",
        &[
            "{\"id\":1,\"n\":\"x\",\"b\":1629900061733,\"d\":1629900061,\"e\":1629900061733000}\n",
            "{\"id\":2,\"n\":\"N/A\",\"b\":\"N/A\",\"d\":1.5,\"e\":\"2021-08-25T14:01:01.733Z\"}\n",
            "{\"id\":\"x\",\"n\":1}\n",
        ],
        &[
            r#"{"id":1,"n":null,"b":"2021-08-25 14:01:01.733","d":"2021-08-25 14:01:01","e":"2021-08-25 14:01:01.733"}"#,
            r#"{"id":2,"n":null,"b":null,"d":null,"e":"2021-08-25 14:01:01.733"}"#,
        ],
    );
}

#[test]
fn a_type_is_what_its_text_says() {
    check(
        "x STRUCT<a INT, b STRUCT<c INT>>[]",
        "",
        "SELECT x[1]['b']['c'] AS c, x[2].a AS a FROM t",
        &["{\"x\":[{\"a\":1,\"b\":{\"c\":2}},{\"a\":3}]}\n"],
        &[r#"{"c":2,"a":3}"#],
    );
}

#[test]
fn a_file_may_be_an_array_or_printed_over_several_lines() {
    let expected = &[r#"{"id":1}"#, r#"{"id":2}"#];
    check("id BIGINT", "", "SELECT id FROM t", &["[{\"id\":1},\n", "{\"id\":2}]\n"], expected);
    check("id BIGINT", "", "SELECT id FROM t", &["{\n  \"id\": 1\n}\n", "{\n  \"id\":", " 2\n}"], expected);
}

#[test]
fn a_file_may_be_compressed() {
    let packed = |way: &str| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(format!("e.ndjson.{way}"));
        let numbers = "SELECT i AS id, repeat('x', 50) AS text FROM range(200000) r(i)";
        let compression = if way == "gz" { "gzip" } else { "zstd" };
        duckdb::rows(&format!("COPY ({numbers}) TO '{}' (FORMAT json, COMPRESSION {compression})", path.display())).unwrap();
        let sql = format!(
            "CREATE EXTERNAL TABLE t (id BIGINT) STORED AS FILE LOCATION '{}';\n\
             CREATE MATERIALIZED VIEW v AS SELECT count(*) AS n, max(id) AS ids FROM t;\n",
            path.display()
        );
        std::fs::write(dir.path().join("views.sql"), sql).unwrap();
        for _ in 0..2 {
            let (succeeded, log) = run(dir.path());
            assert!(succeeded, "{log}");
        }
        rows(dir.path())
    };
    assert_eq!(packed("gz"), [value(r#"{"n":200000,"ids":199999}"#)]);
    assert_eq!(packed("zst"), packed("gz"));

    let dir = tempfile::tempdir().unwrap();
    let sql = "CREATE EXTERNAL TABLE t (id BIGINT) STORED AS JSON LOCATION 'e.parquet'; CREATE MATERIALIZED VIEW v AS SELECT id FROM t;";
    std::fs::write(dir.path().join("views.sql"), sql).unwrap();
    duckdb::rows(&format!("COPY (SELECT 1 AS id) TO '{}/e.parquet'", dir.path().display())).unwrap();
    let (succeeded, log) = run(dir.path());
    assert!(!succeeded && log.contains("is a Parquet file"), "{log}");
}
