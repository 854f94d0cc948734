//! `alluvium test`: given events, expected rows, with the real program.

use std::path::Path;
use std::process::Command;

const SQL: &str = "CREATE EXTERNAL TABLE orders (order_id BIGINT NOT NULL, country VARCHAR, total DECIMAL(12, 2), placed_at TIMESTAMP, \
    _subject VARCHAR, _headers VARCHAR)
STORED AS NATS LOCATION 'nats://127.0.0.1:1/ORDERS' OPTIONS (subject 'orders.>', format 'avro', schema 'event.avsc');
CREATE EXTERNAL TABLE customers (id BIGINT, name VARCHAR) STORED AS NATS LOCATION 'nats://127.0.0.1:1/CUSTOMERS' OPTIONS (format 'debezium', key 'id');
CREATE MATERIALIZED VIEW revenue AS SELECT country, count(*) AS orders, sum(total) AS revenue FROM orders GROUP BY country;
CREATE MATERIALIZED VIEW large AS SELECT country FROM revenue WHERE revenue > 10;
CREATE MATERIALIZED VIEW placed AS SELECT order_id, _subject, _headers->>'Trace' AS trace FROM orders;
CREATE MATERIALIZED VIEW names AS SELECT id, name FROM customers;
";

const AVSC: &str = r#"{"type":"record","name":"Order","fields":[{"name":"order_id","type":"long"},{"name":"country","type":["null","string"]},
{"name":"total","type":["null",{"type":"bytes","logicalType":"decimal","precision":12,"scale":2}]}]}"#;

fn test(dir: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_alluvium"));
    let output = command.env_clear().arg("-C").arg(dir).arg("test").args(arguments).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

fn project(tests: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("tests")).unwrap();
    std::fs::write(folder.path().join("views.sql"), SQL).unwrap();
    std::fs::write(folder.path().join("event.avsc"), AVSC).unwrap();
    std::fs::write(folder.path().join("tests/views.yaml"), tests).unwrap();
    folder
}

#[test]
fn tests_pass_in_every_way_and_touch_no_data() {
    let folder = project(
        r#"
- test: revenue is summed by country, also as it grows
  steps:
    - given:
        orders:
          - {order_id: 1, country: DE, total: "10.00"}
          - {order_id: 2, country: DE, total: 5.5}
          - {order_id: 3, country: FR, total: "3"}
      expect:
        revenue:
          - {country: FR, orders: 1, revenue: 3}
          - {country: DE, orders: 2, revenue: "15.50"}
        large: [{country: DE}]
    - given:
        orders: [{order_id: 4, country: FR, total: "8.00"}]
      expect:
        large: [{country: DE}, {country: FR}]

- test: a message has a subject and headers, and a bad body is set aside
  given:
    orders:
      - {order_id: 7, _subject: orders.placed.de, _headers: {Trace: abc}}
      - no event at all
  expect:
    placed: [{order_id: 7, _subject: orders.placed.de, trace: abc}]
  set_aside: 1

- test: changes of a database retract
  given:
    customers:
      - {op: c, before: null, after: {id: 1, name: Ada}}
      - {op: c, before: null, after: {id: 2, name: Bob}}
      - {op: u, before: {id: 1, name: Ada}, after: {id: 1, name: Eve}}
      - {op: d, before: {id: 2, name: Bob}, after: null}
  expect:
    names: [{id: 1, name: Eve}]
"#,
    );
    let report = folder.path().join("report.xml");
    let (code, said) = test(folder.path(), &["--junit", report.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("passed tests/views.yaml:2 revenue is summed by country, also as it grows"), "{said}");
    assert!(said.ends_with("3 tests passed, each at once, one by one, and restarted\n"), "{said}");
    assert!(!folder.path().join("data").exists(), "a test has made a data folder");
    let report = std::fs::read_to_string(report).unwrap();
    assert!(
        report.contains("tests=\"3\" failures=\"0\"") && report.contains("<testcase classname=\"tests/views.yaml\""),
        "{report}"
    );
    let (code, said) = test(folder.path(), &["retract"]);
    assert_eq!((code, said.lines().count()), (Some(0), 2), "{said}");
}

#[test]
fn a_test_that_fails_shows_the_rows_and_the_exit_code() {
    let folder = project(
        r#"
- test: wrong rows
  given: {orders: [{order_id: 1, country: DE, total: "10.00"}]}
  expect:
    revenue: [{country: DE, orders: 2}]
- test: bad events that the test does not know of
  given: {orders: [no event]}
  expect: {names: []}
- test: a view that is not there
  given: {orders: []}
  expect: {revenu: []}
- test: a source that is not there
  given: {order: []}
  expect: {revenue: []}
"#,
    );
    let report = folder.path().join("report.xml");
    let (code, said) = test(folder.path(), &["--junit", report.to_str().unwrap()]);
    assert_eq!(code, Some(1), "{said}");
    for line in [
        "failed tests/views.yaml:2 wrong rows",
        "at once, view revenue: - is missing, + is not expected",
        "- country=DE orders=2",
        "+ country=DE orders=1",
        "1 event was set aside, and `set_aside` is 0: not JSON",
        "view revenu: no SQL file declares this view; did you mean revenue?",
        "`given` names source order, which no SQL file declares; did you mean orders?",
        "4 of 4 tests failed",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
    let report = std::fs::read_to_string(report).unwrap();
    assert!(report.contains("failures=\"4\"") && report.contains("- country=DE orders=2"), "{report}");
    std::fs::remove_dir_all(folder.path().join("tests")).unwrap();
    let (code, said) = test(folder.path(), &[]);
    assert!(code == Some(1) && said.contains("there is no test in") && said.contains("- test: revenue"), "{said}");
}

#[test]
fn the_tests_of_a_new_project_and_of_the_example_pass() {
    let folder = tempfile::tempdir().unwrap();
    let created =
        Command::new(env!("CARGO_BIN_EXE_alluvium")).env_clear().args(["-C", "."]).arg("init").arg(folder.path()).output();
    assert!(created.unwrap().status.success());
    let (code, said) = test(folder.path(), &[]);
    assert!(code == Some(0) && said.contains("2 tests passed"), "{said}");
    let (code, said) = test(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/flights"), &[]);
    assert!(code == Some(0) && said.contains("2 tests passed"), "{said}");
}
