//! `sample` on a real server and on a file: rows, what does not decode and why, and nothing left behind.

use serde_json::Value;

use crate::orders::Orders;

fn json(orders: &Orders, arguments: &[&str]) -> Value {
    let text = orders.succeed(&[&["sample", "orders", "--format", "json"], arguments].concat());
    serde_json::from_str(&text).unwrap()
}

fn sequences(of: &Value) -> Vec<u64> {
    let sequence = |one: &Value| one["_sequence"].as_u64().or(one["sequence"].as_u64()).unwrap();
    of.as_array().unwrap().iter().map(sequence).collect()
}

#[test]
fn rows_and_what_does_not_decode_are_shown_and_nothing_is_left() {
    let mut orders = Orders::new(&[]);
    orders.publish(10);
    orders.publish_bodies(vec![
        b"no JSON".to_vec(),
        br#"{"order_id":12,"customer":"twelve","country":"DE","total":"1.234"}"#.to_vec(),
    ]);
    orders.publish(30);

    let first = json(&orders, &[]);
    assert_eq!(sequences(&first["rows"]), (1..=20).filter(|sequence| *sequence != 11).collect::<Vec<_>>());
    assert_eq!(first["rows"][0]["order_id"], 1);
    let bad = first["not_decoded"].as_array().unwrap();
    let found: Vec<_> = bad
        .iter()
        .map(|one| (one["sequence"].as_u64().unwrap(), one["column"].as_str(), one["kind"].as_str().unwrap()))
        .collect();
    assert_eq!(found.len(), 3);
    assert_eq!((found[0].0, found[0].1), (11, None));
    assert_eq!([found[1], found[2]], [(12, Some("customer"), "wrong_type"), (12, Some("total"), "out_of_range")]);
    assert_eq!(bad[0]["payload"], "no JSON");
    assert!(first["rows"][10]["customer"].is_null() && first["rows"][10]["country"] == "DE", "{}", first["rows"][10]);

    assert_eq!(sequences(&json(&orders, &["--last", "3"])["rows"]), [40, 41, 42]);
    assert_eq!(sequences(&json(&orders, &["--from", "40", "--limit", "2"])["rows"]), [40, 41]);
    assert_eq!(sequences(&json(&orders, &["--from", "50"])["rows"]), [0_u64; 0]);

    let table = orders.succeed(&["sample", "orders", "--limit", "12"]);
    for said in ["(does not fit)", "did not decode:", "(all)", "no JSON", "12 of 42 events, 2 with values that do not fit"] {
        assert!(table.contains(said), "{said}: {table}");
    }
    let consumers = orders
        .with_jetstream(async |context| context.get_stream("ORDERS").await.unwrap().info().await.unwrap().state.consumer_count);
    assert_eq!(consumers, 0);
    assert!(!orders.dir().join("data").exists(), "nothing is committed");
}

#[test]
fn a_source_of_files_is_sampled_at_both_ends() {
    let orders = Orders::new(&[]);
    let lines: String = (1..=5000).map(|n| format!("{{\"n\":{n}}}\n")).collect();
    std::fs::write(orders.dir().join("n.ndjson"), lines).unwrap();
    let sql = "CREATE EXTERNAL TABLE numbers (n BIGINT) STORED AS JSON LOCATION 'n.ndjson';";
    std::fs::write(orders.dir().join("numbers.sql"), sql).unwrap();
    let rows = |arguments: &[&str]| {
        let text = orders.succeed(&[&["sample", "numbers", "--format", "json"], arguments].concat());
        let answer: Value = serde_json::from_str(&text).unwrap();
        answer["rows"].as_array().unwrap().iter().map(|row| row["n"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(rows(&["--limit", "2"]), [1, 2]);
    assert_eq!(rows(&["--last", "2"]), [4999, 5000]);
    assert_eq!(rows(&["--from", "3000", "--limit", "2"]), [3000, 3001]);
    let output = orders.ask(&["sample", "number"]);
    let log = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(log.contains("no SQL file declares a source number") && log.contains("did you mean numbers?"), "{log}");
}
