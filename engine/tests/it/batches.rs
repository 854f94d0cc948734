//! Messages that hold several events, through the program: each event is a row or a dead letter of its own, and their order decides.

use std::os::unix::process::ExitStatusExt;

use alluvium::runtime::COMMIT_POINTS;

use crate::duckdb;
use crate::orders::{Orders, Running, offset_in};

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

/// What is wrong with the rows of `messages` beside the messages below its offset, which the file holds.
fn cut_messages(orders: &Orders, offset: u64) -> Vec<serde_json::Value> {
    let (view, sent) = (orders.view("messages").join("current/*.parquet"), orders.file());
    let sql = format!(
        "CREATE TABLE sent AS SELECT s::BIGINT AS s, n::BIGINT AS n, t::BIGINT AS t, l::BIGINT AS l FROM read_json('{}') WHERE s < {offset};
         CREATE TABLE kept AS SELECT _sequence::BIGINT AS s, n::BIGINT AS n, total::BIGINT AS t, \"last\"::BIGINT AS l FROM read_parquet('{}');
         (FROM sent EXCEPT ALL FROM kept) UNION ALL (FROM kept EXCEPT ALL FROM sent) LIMIT 5",
        sent.display(),
        view.display()
    );
    duckdb::rows(&sql).unwrap()
}

#[test]
fn killed_between_and_within_commits_no_message_is_cut() {
    let mut orders = Orders::new(&[]);
    let at = format!("STORED AS NATS LOCATION '{}/ORDERS'", orders.server.url());
    let source = format!(
        "CREATE EXTERNAL TABLE orders (id BIGINT, _sequence BIGINT UNSIGNED, _ordinal INT UNSIGNED) {at} OPTIONS (batch 'lines');"
    );
    std::fs::write(orders.dir().join("sources.sql"), source).unwrap();
    let query = "SELECT _sequence, count(*) AS n, sum(id) AS total, max(_ordinal) AS last FROM orders GROUP BY _sequence";
    orders.declare("messages", query);
    let mut sequence = 0;
    let publish = |orders: &mut Orders, count: usize, sequence: &mut u64| {
        let (mut bodies, mut lines) = (Vec::new(), String::new());
        for _ in 0..count {
            *sequence += 1;
            let ids: Vec<u32> = (0..orders.rng.usize(1..=12)).map(|_| orders.rng.u32(..1_000)).collect();
            let body: String = ids.iter().map(|id| format!("{{\"id\":{id}}}\n")).collect();
            bodies.push(body.into_bytes());
            let (n, total) = (ids.len(), ids.iter().sum::<u32>());
            lines.push_str(&format!("{{\"s\":{sequence},\"n\":{n},\"t\":{total},\"l\":{n}}}\n"));
        }
        orders.append(&lines);
        orders.publish_bodies(bodies);
    };
    publish(&mut orders, 60_000, &mut sequence);
    let (mut offsets, mut between) = (Vec::new(), 0);
    for round in 0..12 {
        let mut command = orders.alluvium(&["run"]);
        // Batches of odd sizes, so that they end within what a message holds if anything lets them.
        command.env("ALLUVIUM_COMMIT_INTERVAL", "20ms").env("ALLUVIUM_BATCH_EVENTS", (501 + 7 * round).to_string());
        let mut running = Running(orders.logging(&mut command).spawn().unwrap());
        let commits = orders.rng.u64(0..=2);
        orders.wait_for_commits(&mut running, "messages", commits, sequence + 1);
        running.kill();
        // The folder of the rows has its own manifest. That of the view moves after it.
        let offset = offset_in(&orders.view("messages").join("current/manifest.json"));
        offsets.push(offset);
        if offset > 1 {
            assert!(
                cut_messages(&orders, offset).is_empty(),
                "round {round}, offset {offset}: {:?}",
                cut_messages(&orders, offset)
            );
            between += u64::from(offset <= sequence);
        }
    }
    assert!(offsets.is_sorted(), "a commit was lost: {offsets:?}");
    assert!(between > 0, "no kill fell before the end: {offsets:?}");
    println!("offsets after each kill: {offsets:?}, {between} of them before the end");
    for point in COMMIT_POINTS {
        publish(&mut orders, 300, &mut sequence);
        let mut command = orders.alluvium(&["run", "--until-caught-up"]);
        let status = orders.logging(command.env("ALLUVIUM_FAILPOINT", format!("{point}:1"))).status().unwrap();
        assert_eq!(status.signal(), Some(6), "{point}: {}", orders.log());
        // The folder of the rows has its own manifest. That of the view moves after it.
        let offset = offset_in(&orders.view("messages").join("current/manifest.json"));
        assert!(cut_messages(&orders, offset).is_empty(), "{point}, offset {offset}");
    }
    orders.catch_up();
    assert_eq!(orders.offset("messages"), sequence + 1);
    assert!(cut_messages(&orders, sequence + 1).is_empty());
}
