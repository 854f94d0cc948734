//! Messages that hold several events, through the program: each event is a row or a dead letter of its own, and their order decides.

use crate::duckdb;
use crate::orders::Orders;

fn rows(orders: &Orders, view: &str) -> Vec<String> {
    let files = orders.view(view).join("current/*.parquet");
    let sql = format!("SELECT v::VARCHAR AS row FROM read_parquet('{}') v ORDER BY 1", files.display());
    duckdb::rows(&sql).unwrap().iter().map(|row| row["row"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_events_of_a_message_are_told_apart() {
    let orders = Orders::new(&[]);
    let at = format!("STORED AS NATS LOCATION '{}/ORDERS'", orders.server.url());
    let columns = "id BIGINT, kind VARCHAR, total BIGINT, _sequence BIGINT UNSIGNED, _ordinal INT UNSIGNED";
    let sources = format!(
        "CREATE EXTERNAL TABLE t ({columns}) {at} OPTIONS (batch 'lines');
         CREATE EXTERNAL TABLE once (id BIGINT, kind VARCHAR) {at} OPTIONS (batch 'lines', deduplicate 'id');
         CREATE EXTERNAL TABLE now (id BIGINT PRIMARY KEY, kind VARCHAR) {at} OPTIONS (batch 'lines', envelope 'upsert');"
    );
    std::fs::write(orders.dir().join("sources.sql"), sources).unwrap();
    orders.declare("shares", "SELECT kind, count(*) AS n, sum(100 / total) AS s FROM t GROUP BY kind");
    orders.declare("newest", "SELECT kind, last_value(id ORDER BY _sequence) AS id FROM t GROUP BY kind");
    orders.declare("places", "SELECT _sequence, _ordinal, id, lag(id) OVER (ORDER BY _sequence) AS before FROM t");
    orders.declare("firsts", "SELECT id, kind FROM once");
    orders.declare("lasts", "SELECT id, kind FROM now");
    let event = |id: u64, kind: &str, total: &str| format!("{{\"id\":{id},\"kind\":\"{kind}\",\"total\":{total}}}\n");
    let first =
        [event(1, "a", "4"), event(2, "b", "0"), "not json\n".into(), event(3, "a", "\"x\""), event(4, "a", "2")].concat();
    orders.publish_bodies(vec![first.into_bytes(), event(5, "b", "5").into_bytes()]);
    orders.catch_up_with_letters();
    assert_eq!(rows(&orders, "shares"), ["{'kind': a, 'n': 2, 's': 75}", "{'kind': b, 'n': 1, 's': 20}"]);
    let second = [event(5, "c", "9"), event(6, "c", "1"), event(6, "d", "1"), event(7, "d", "1"), event(6, "e", "1")].concat();
    orders.publish_bodies(vec![second.into_bytes()]);
    orders.catch_up();
    let newest =
        ["{'kind': a, 'id': 4}", "{'kind': b, 'id': 5}", "{'kind': c, 'id': 6}", "{'kind': d, 'id': 7}", "{'kind': e, 'id': 6}"];
    assert_eq!(rows(&orders, "newest"), newest);
    let places = rows(&orders, "places");
    assert_eq!(places.len(), 10);
    assert_eq!(places[1], "{'_sequence': 1, '_ordinal': 2, 'id': 2, 'before': 1}");
    assert_eq!(places[9], "{'_sequence': 3, '_ordinal': 5, 'id': 6, 'before': 7}");
    let firsts = rows(&orders, "firsts");
    assert_eq!(firsts[4..], ["{'id': 5, 'kind': b}", "{'id': 6, 'kind': c}", "{'id': 7, 'kind': d}"]);
    let lasts = rows(&orders, "lasts");
    assert_eq!(lasts[4..], ["{'id': 5, 'kind': c}", "{'id': 6, 'kind': e}", "{'id': 7, 'kind': d}"]);
    let letters = orders.succeed(&[
        "query",
        "--format",
        "json",
        "SELECT DISTINCT kind, error, payload FROM dead_letters WHERE source = 't'",
    ]);
    assert_eq!(letters.matches("of the message").count(), 3, "{letters}");
    for said in ["in event 2 of the message", "in event 3 of the message", "in event 4 of the message"] {
        assert!(letters.contains(said), "{letters}");
    }
    orders.succeed(&["verify"]);
}
