//! Bodies in a stream that name their Avro schema in a registry, Protobuf bodies, and JSON that is checked, through the program.

use crate::damage::joined;
use crate::duckdb;
use crate::orders::Orders;
use crate::registry_server::serve;

/// What a registry answers: a schema of Avro with these fields.
fn avro(fields: serde_json::Value) -> String {
    let schema = serde_json::json!({"type": "record", "name": "R", "fields": fields}).to_string();
    serde_json::json!({ "schema": schema }).to_string()
}

fn field(name: &str, of: &str) -> serde_json::Value {
    serde_json::json!({"name": name, "type": of})
}

fn rows(orders: &Orders) -> Vec<String> {
    let files = orders.view("v").join("current/*.parquet");
    let sql = format!("SELECT v::VARCHAR AS row FROM read_parquet('{}') v ORDER BY 1", files.display());
    duckdb::rows(&sql).unwrap().iter().map(|row| row["row"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn bodies_name_their_schema_in_a_registry() {
    let orders = Orders::new(&[]);
    let two = |one, other| avro(serde_json::json!([one, other]));
    let (url, answers) = serve(&[
        ("/schemas/ids/1", 200, two(field("n", "long"), field("word", "string"))),
        ("/schemas/ids/2", 200, avro(serde_json::json!([field("more", "string"), field("word", "string"), field("n", "int")]))),
    ]);
    // The first request fails; the rest is for `me:geheim`, in base64.
    {
        let mut answers = answers.lock().unwrap();
        (answers.away, answers.only) = (1, Some("Basic bWU6Z2VoZWlt".to_owned()));
    }
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
    let asked = answers.lock().unwrap().asked.clone();
    // The live reader and one of its own may ask at the same time.
    let times = asked.iter().filter(|(path, _)| path == "/schemas/ids/2").count();
    assert!((1..=2).contains(&times), "{asked:?}");
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

#[test]
fn avro_bodies_have_the_columns_of_their_schema() {
    let orders = Orders::new(&[]);
    let source = format!(
        "CREATE EXTERNAL TABLE t STORED AS NATS LOCATION '{}/ORDERS' OPTIONS (format 'avro', schema 'order.avsc');",
        orders.server.url()
    );
    std::fs::write(orders.dir().join("sources.sql"), source).unwrap();
    let decimal = serde_json::json!({"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2});
    let fields = serde_json::json!([field("Id", "int"), {"name": "total", "type": ["null", decimal]}, {"name": "me", "type": ["null", "R"]}]);
    let schema = serde_json::json!({"type": "record", "name": "R", "fields": fields});
    std::fs::write(orders.dir().join("order.avsc"), schema.to_string()).unwrap();
    orders.declare("v", "SELECT id, total, me FROM t");
    let said = orders.succeed(&["check"]);
    assert!(said.contains("t: the columns of its schema: id INT NOT NULL, total DECIMAL(9, 2), me VARCHAR"), "{said}");
    assert!(said.contains("t: me: JSON text, since the schema refers to itself"), "{said}");
    let bodies = vec![vec![10, 2, 4, 7, 208, 0], vec![12, 0, 2, 14, 0, 0], vec![14]];
    orders.publish_bodies(bodies);
    let log = orders.catch_up_with_letters();
    assert!(log.contains("1 of 3 events") && log.contains("cut off"), "{log}");
    let expected =
        ["{'id': 5, 'total': 20.00, 'me': NULL}", "{'id': 6, 'total': NULL, 'me': '{\"Id\":7,\"total\":null,\"me\":null}'}"];
    assert_eq!(rows(&orders), expected);
    orders.succeed(&["verify"]);
    let place = format!("{}/ORDERS", orders.server.url());
    let inferred =
        orders.succeed(&["infer", &place, "--name", "inferred", "--option", "format=avro", "--option", "schema=order.avsc"]);
    for line in ["id         INT NOT NULL,  -- in 2 of 2", "total      DECIMAL(9, 2),  -- in 1 of 2", "1 of these do not decode"]
    {
        assert!(inferred.contains(line), "{line}: {inferred}");
    }
    std::fs::write(orders.dir().join("inferred.sql"), &inferred).unwrap();
    assert!(orders.succeed(&["check"]).contains("2 sources: no errors"));
}

#[test]
fn a_new_version_of_a_subject_adds_a_column_and_rebuilds_nothing() {
    let orders = Orders::new(&[]);
    let first = serde_json::json!([field("n", "long"), field("word", "string")]);
    let (url, answers) = serve(&[
        ("/subjects/orders-value/versions", 200, "[1]".to_owned()),
        ("/subjects/orders-value/versions/1", 200, avro(first.clone())),
        ("/schemas/ids/1", 200, avro(first)),
        ("/config", 200, serde_json::json!({"compatibilityLevel": "FULL_TRANSITIVE"}).to_string()),
    ]);
    let source = format!(
        "CREATE EXTERNAL TABLE t (_sequence BIGINT UNSIGNED) STORED AS NATS LOCATION '{}/ORDERS'
         OPTIONS (format 'avro', registry '{url}', registry_subject 'orders-value');",
        orders.server.url()
    );
    std::fs::write(orders.dir().join("sources.sql"), source).unwrap();
    orders.declare("v", "SELECT n, word, _sequence FROM t");
    let said = orders.succeed(&["check"]);
    assert!(said.contains("t: the columns of its schema: n BIGINT, word VARCHAR"), "{said}");
    assert!(
        said.contains("t: the registry asks for compatibility FULL_TRANSITIVE of each new version of orders-value"),
        "{said}"
    );
    orders.publish_bodies(vec![b"\0\0\0\0\x01\x0a\x02a".to_vec()]);
    orders.catch_up();
    let before = orders.record("v").unwrap();

    let second = serde_json::json!([field("n", "long"), field("word", "string"), {"name": "more", "type": ["null", "string"], "default": null}]);
    {
        let mut answers = answers.lock().unwrap();
        answers.by_path.insert("/subjects/orders-value/versions".to_owned(), (200, "[1, 2]".to_owned()));
        answers.by_path.insert("/subjects/orders-value/versions/2".to_owned(), (200, avro(second.clone())));
        answers.by_path.insert("/schemas/ids/2".to_owned(), (200, avro(second)));
    }
    let said = orders.succeed(&["check"]);
    assert!(said.contains("word VARCHAR, more VARCHAR") && !said.contains("changed:"), "{said}");
    orders.declare("w", "SELECT n, more FROM t");
    orders.publish_bodies(vec![b"\0\0\0\0\x02\x0c\x02b\x02\x02m".to_vec()]);
    orders.catch_up();
    let after = orders.record("v").unwrap();
    assert_eq!((&before.fingerprint, &before.incarnation), (&after.fingerprint, &after.incarnation));
    assert_eq!(rows(&orders), ["{'n': 5, 'word': a, '_sequence': 1}", "{'n': 6, 'word': b, '_sequence': 2}"]);
    orders.succeed(&["verify"]);
    // Another type of a column that `v` reads, where the stream has lost its first event: the version that serves goes on as it was.
    orders.with_jetstream(async |context| {
        context.get_stream("ORDERS").await.unwrap().purge().sequence(2).await.unwrap();
    });
    {
        let third = avro(serde_json::json!([field("n", "string"), field("word", "string")]));
        let mut answers = answers.lock().unwrap();
        answers.by_path.insert("/subjects/orders-value/versions".to_owned(), (200, "[1, 2, 3]".to_owned()));
        answers.by_path.insert("/subjects/orders-value/versions/3".to_owned(), (200, third));
    }
    orders.publish_bodies(vec![b"\0\0\0\0\x01\x0e\x02c".to_vec()]);
    let output = orders.ask(&["run", "--until-caught-up"]);
    let said = joined(&output);
    assert!(output.status.code() == Some(1) && said.contains("heldback"), "{said}");
    let kept = orders.record("v").unwrap();
    assert_eq!((&kept.fingerprint, &kept.incarnation), (&before.fingerprint, &before.incarnation));
    assert_eq!(rows(&orders).last().unwrap(), "{'n': 7, 'word': c, '_sequence': 3}");
    // A registry that is away says so, and what to do.
    answers.lock().unwrap().away = 1_000;
    let output = orders.ask(&["check"]);
    let said = joined(&output);
    assert!(!output.status.success() && said.contains("answerswithstatus503") && said.contains("declarethecolumns"), "{said}");
}
