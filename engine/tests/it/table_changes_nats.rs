//! Sources of changes, and events that come more than once, from a real server: Debezium with its tombstones, a bucket, copies.

use async_nats::HeaderMap;
use async_nats::jetstream::stream;

use crate::duckdb;
use crate::orders::Orders;

/// Subject, body and perhaps a header.
type Sent<'a> = (&'a str, &'a str, Option<(&'a str, &'a str)>);

/// Publishes to subjects, in order.
fn publish(orders: &Orders, name: &str, subjects: &str, kept: i64, messages: &[Sent<'_>]) {
    orders.with_jetstream(async |context| {
        let config = stream::Config {
            name: name.into(),
            subjects: vec![subjects.into()],
            max_messages_per_subject: kept,
            duplicate_window: std::time::Duration::from_millis(100),
            allow_direct: true,
            ..Default::default()
        };
        context.get_or_create_stream(config).await.unwrap();
        for (subject, body, header) in messages {
            let mut headers = HeaderMap::new();
            if let Some((name, value)) = header {
                headers.insert(*name, *value);
            }
            let (subject, body) = ((*subject).to_owned(), (*body).to_owned().into());
            context.publish_with_headers(subject, headers, body).await.unwrap().await.unwrap();
        }
    });
}

fn declare(orders: &Orders, source: &str, query: &str) {
    std::fs::write(orders.dir().join("sources.sql"), source.replace("$URL", &orders.server.url())).unwrap();
    orders.declare("v", query);
}

fn rows(orders: &Orders) -> Vec<String> {
    let files = orders.view("v").join("current/*.parquet");
    let sql = format!("SELECT v::VARCHAR AS row FROM read_parquet('{}') v ORDER BY 1", files.display());
    duckdb::rows(&sql).unwrap().iter().map(|row| row["row"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn debezium_over_a_stream_with_its_tombstones() {
    let orders = Orders::new(&[]);
    let source = "CREATE EXTERNAL TABLE t (id BIGINT PRIMARY KEY, name VARCHAR) STORED AS NATS LOCATION '$URL/CDC'
                  OPTIONS (subject 'cdc.t', format 'debezium', truncate 'apply');\n";
    declare(&orders, source, "SELECT id, name FROM t");
    let send = |bodies: &[&str]| {
        let messages: Vec<_> = bodies.iter().map(|body| ("cdc.t", *body, None)).collect();
        publish(&orders, "CDC", "cdc.>", -1, &messages);
        orders.catch_up();
    };
    send(&[
        r#"{"before":null,"after":{"id":1,"name":"a"},"op":"r"}"#,
        r#"{"before":null,"after":{"id":2,"name":"b"},"op":"r"}"#,
        r#"{"before":null,"after":{"id":3,"name":"c"},"op":"c"}"#,
    ]);
    assert_eq!(rows(&orders), ["{'id': 1, 'name': a}", "{'id': 2, 'name': b}", "{'id': 3, 'name': c}"]);
    send(&[
        r#"{"before":{"id":2,"name":null},"after":null,"op":"d"}"#,
        "",
        r#"{"before":{"id":3,"name":"c"},"after":{"id":4,"name":"c"},"op":"u"}"#,
    ]);
    assert_eq!(rows(&orders), ["{'id': 1, 'name': a}", "{'id': 4, 'name': c}"]);
    assert!(!orders.succeed(&["dead-letters", "list"]).contains("not_json"));
    orders.succeed(&["verify"]);
    send(&[r#"{"op":"t"}"#, r#"{"after":{"id":2,"name":"z"},"op":"c"}"#]);
    assert_eq!(rows(&orders), ["{'id': 2, 'name': z}"]);
    orders.succeed(&["verify"]);
    orders.succeed(&["rebuild", "v"]);
    orders.catch_up();
    assert_eq!(rows(&orders), ["{'id': 2, 'name': z}"]);
}

#[test]
fn a_bucket_is_what_its_keys_hold_now() {
    let orders = Orders::new(&[]);
    let source =
        "CREATE EXTERNAL TABLE t (_subject VARCHAR, n BIGINT) STORED AS NATS LOCATION '$URL/KV_b' OPTIONS (format 'kv');\n";
    declare(&orders, source, "SELECT _subject AS key, n FROM t");
    let delete = Some(("KV-Operation", "DEL"));
    publish(
        &orders,
        "KV_b",
        "$KV.b.>",
        5,
        &[("$KV.b.x", r#"{"n":1}"#, None), ("$KV.b.y", r#"{"n":2}"#, None), ("$KV.b.x", r#"{"n":3}"#, None)],
    );
    orders.catch_up();
    assert_eq!(rows(&orders), ["{'key': $KV.b.x, 'n': 3}", "{'key': $KV.b.y, 'n': 2}"]);
    publish(&orders, "KV_b", "$KV.b.>", 5, &[("$KV.b.x", "", delete), ("$KV.b.z", r#"{"n":4}"#, None)]);
    orders.catch_up();
    assert_eq!(rows(&orders), ["{'key': $KV.b.y, 'n': 2}", "{'key': $KV.b.z, 'n': 4}"]);
}

#[test]
fn what_a_bucket_overwrites_is_neither_missing_nor_lost() {
    let orders = Orders::new(&[]);
    let source =
        "CREATE EXTERNAL TABLE t (_subject VARCHAR, n BIGINT) STORED AS NATS LOCATION '$URL/KV_b' OPTIONS (format 'kv');\n";
    declare(&orders, source, "SELECT _subject AS key, n FROM t");
    let put = |values: &[(&str, u64)]| {
        let bodies: Vec<(String, String)> =
            values.iter().map(|(key, n)| (format!("$KV.b.{key}"), format!("{{\"n\":{n}}}"))).collect();
        let messages: Vec<Sent<'_>> = bodies.iter().map(|(key, body)| (key.as_str(), body.as_str(), None)).collect();
        publish(&orders, "KV_b", "$KV.b.>", 1, &messages);
    };
    put(&[("x", 1), ("y", 2), ("z", 3)]);
    orders.catch_up();
    // Each value is overwritten twice while nothing runs.
    put(&[("x", 10), ("y", 20), ("z", 30), ("x", 11), ("y", 21), ("z", 31)]);
    let log = orders.catch_up_saying();
    assert!(!log.contains("missing"), "{log}");
    let now = ["{'key': $KV.b.x, 'n': 11}", "{'key': $KV.b.y, 'n': 21}", "{'key': $KV.b.z, 'n': 31}"];
    assert_eq!(rows(&orders), now);
    assert!(orders.succeed(&["verify"]).contains("equal: 3 rows"));
    orders.succeed(&["rebuild", "v"]);
    assert_eq!(rows(&orders), now);
}

#[test]
fn copies_are_left_out_by_a_column_or_the_header() {
    let orders = Orders::new(&[]);
    let source =
        "CREATE EXTERNAL TABLE t (id VARCHAR, n BIGINT) STORED AS NATS LOCATION '$URL/S' OPTIONS (deduplicate 'Nats-Msg-Id');\n";
    declare(&orders, source, "SELECT count(*) AS n, sum(n) AS total FROM t");
    let id = |id| Some(("Nats-Msg-Id", id));
    publish(&orders, "S", "s.>", -1, &[("s.a", r#"{"id":"1","n":1}"#, id("1")), ("s.a", r#"{"id":"2","n":10}"#, id("2"))]);
    orders.catch_up();
    // The server itself forgets identifiers after its window.
    std::thread::sleep(std::time::Duration::from_millis(300));
    publish(
        &orders,
        "S",
        "s.>",
        -1,
        &[("s.b", r#"{"id":"1","n":5}"#, id("1")), ("s.b", r#"{"n":100}"#, None), ("s.b", r#"{"n":100}"#, None)],
    );
    orders.catch_up();
    assert_eq!(rows(&orders), ["{'n': 4, 'total': 211}"]);
    orders.succeed(&["verify"]);
    declare(&orders, &source.replace("Nats-Msg-Id", "id"), "SELECT count(*) AS n, sum(n) AS total FROM t");
    orders.catch_up();
    assert_eq!(rows(&orders), ["{'n': 4, 'total': 211}"]);
}
