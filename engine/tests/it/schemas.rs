//! Bodies in a stream that name their Avro schema in a registry, Protobuf bodies, and JSON that is checked, through the program.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use crate::duckdb;
use crate::orders::Orders;

/// Starts a registry with two schemas that answers only to `me:geheim`, the first time not at all. Returns its address and the paths that
/// it was asked for. It ends with the test.
fn registry() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let paths = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let path = lines.next().unwrap().unwrap().split(' ').nth(1).unwrap().to_owned();
            let headers = lines.map_while(Result::ok).take_while(|line| !line.is_empty());
            // The base64 of `me:geheim`.
            let known = headers.into_iter().filter(|line| line.ends_with("Basic bWU6Z2VoZWlt")).count() == 1;
            let field = |name: &str, of: &str| serde_json::json!({"name": name, "type": of});
            let fields = match path.as_str() {
                "/schemas/ids/1" => Some(vec![field("n", "long"), field("word", "string")]),
                "/schemas/ids/2" => Some(vec![field("more", "string"), field("word", "string"), field("n", "int")]),
                _ => None,
            };
            let mut paths = paths.lock().unwrap();
            let (status, body) = match fields {
                _ if paths.is_empty() => (503, String::new()),
                _ if !known => (401, String::new()),
                None => (404, String::new()),
                Some(fields) => {
                    let schema = serde_json::json!({"type": "record", "name": "R", "fields": fields}).to_string();
                    (200, serde_json::json!({ "schema": schema }).to_string())
                }
            };
            paths.push(path);
            let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            stream.write_all((head + &body).as_bytes()).unwrap();
        }
    });
    (url, asked)
}

fn rows(orders: &Orders) -> Vec<String> {
    let files = orders.view("v").join("current/*.parquet");
    let sql = format!("SELECT v::VARCHAR AS row FROM read_parquet('{}') v ORDER BY 1", files.display());
    duckdb::rows(&sql).unwrap().iter().map(|row| row["row"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn bodies_name_their_schema_in_a_registry() {
    let orders = Orders::new(&[]);
    let (url, asked) = registry();
    let source = format!(
        "CREATE EXTERNAL TABLE t (n BIGINT, word VARCHAR) STORED AS NATS LOCATION '{}/ORDERS'
         OPTIONS (format 'avro', registry '{url}', registry_credentials 'registry.txt');",
        orders.server.url()
    );
    std::fs::write(orders.dir().join("sources.sql"), source).unwrap();
    std::fs::write(orders.dir().join("registry.txt"), "me:geheim\n").unwrap();
    orders.declare("v", "SELECT n, word FROM t");
    orders.publish_bodies(vec![
        b"\0\0\0\0\x01\x0a\x02a".to_vec(),
        b"\0\0\0\0\x02\x02x\x02b\x0c".to_vec(),
        b"\0\0\0\0\x03\x02".to_vec(),
        b"{}".to_vec(),
        b"\0\0\0\0\x01\x0e\x02c".to_vec(),
    ]);
    let log = orders.catch_up_with_letters();
    assert!(log.contains("answers with status 503") && log.contains("the registry has no schema 3"), "{log}");
    assert!(!log.contains("geheim"), "{log}");
    assert_eq!(rows(&orders), ["{'n': 5, 'word': a}", "{'n': 6, 'word': b}", "{'n': 7, 'word': c}"]);
    let paths = asked.lock().unwrap().clone();
    // The live reader and one of its own may ask at the same time.
    let times = paths.iter().filter(|path| *path == "/schemas/ids/2").count();
    assert!((1..=2).contains(&times), "{paths:?}");
    orders.succeed(&["verify"]);
}

const PROTO: &str = r#"syntax = "proto3";
package shop;
enum Kind { UNKNOWN = 0; PAID = 1; }
message Order {
  int64 id = 1;
  optional string name = 2;
  repeated int32 counts = 3;
  Kind kind = 4;
}
"#;

#[test]
fn protobuf_bodies_are_read_by_their_schema() {
    let orders = Orders::new(&[]);
    let source = format!(
        "CREATE EXTERNAL TABLE t (id BIGINT, name VARCHAR, counts INT[], kind VARCHAR) STORED AS NATS LOCATION '{}/ORDERS'
         OPTIONS (format 'protobuf', schema 'order.proto', message 'shop.Order');",
        orders.server.url()
    );
    std::fs::write(orders.dir().join("sources.sql"), &source).unwrap();
    std::fs::write(orders.dir().join("order.proto"), PROTO).unwrap();
    orders.declare("v", "SELECT id, name, counts, kind FROM t");
    orders.publish_bodies(vec![b"\x08\x05\x12\x01x\x1a\x02\x01\x02\x20\x01".to_vec(), b"\x08".to_vec(), Vec::new()]);
    let log = orders.catch_up_with_letters();
    assert!(log.contains("1 of 3 events") && log.contains("not_protobuf"), "{log}");
    let expected =
        ["{'id': 0, 'name': NULL, 'counts': [], 'kind': UNKNOWN}", "{'id': 5, 'name': x, 'counts': [1, 2], 'kind': PAID}"];
    assert_eq!(rows(&orders), expected);
    orders.succeed(&["verify"]);
    std::fs::write(orders.dir().join("sources.sql"), source.replace("name VARCHAR", "nmae VARCHAR")).unwrap();
    orders.declare("v", "SELECT id FROM t");
    let output = orders.ask(&["check"]);
    let said = String::from_utf8_lossy(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(!output.status.success() && said.contains("did you mean name?"), "{said}");
}

#[test]
fn json_events_are_checked_and_have_the_columns_of_their_schema() {
    let orders = Orders::new(&[]);
    let source = format!(
        "CREATE EXTERNAL TABLE t (_sequence BIGINT UNSIGNED) STORED AS NATS LOCATION '{}/ORDERS' OPTIONS (schema 'order.json');",
        orders.server.url()
    );
    std::fs::write(orders.dir().join("sources.sql"), source).unwrap();
    let schema = serde_json::json!({"type": "object", "required": ["Id"], "properties": {
        "Id": {"type": "integer", "minimum": 1}, "at": {"type": "string", "format": "date-time"}, "any": {}}});
    std::fs::write(orders.dir().join("order.json"), schema.to_string()).unwrap();
    orders.declare("v", "SELECT id, at, any, _sequence FROM t");
    assert!(orders.succeed(&["check"]).contains("t: any: JSON text, since the schema does not say its type"));
    let body = |value: serde_json::Value| value.to_string().into_bytes();
    orders.publish_bodies(vec![
        body(serde_json::json!({"Id": 1, "at": "2026-01-01T10:00:00Z", "any": [1]})),
        body(serde_json::json!({"Id": 0})),
        body(serde_json::json!({"Id": 2})),
    ]);
    let log = orders.catch_up_with_letters();
    assert!(log.contains("not_conforming") && log.contains("/Id: 0 is less than 1 (#/properties/Id/minimum)"), "{log}");
    let expected = [
        "{'id': 1, 'at': '2026-01-01 10:00:00', 'any': '[1]', '_sequence': 1}",
        "{'id': 2, 'at': NULL, 'any': NULL, '_sequence': 3}",
    ];
    assert_eq!(rows(&orders), expected);
    orders.succeed(&["verify"]);
}
