//! What a source says of events that are gone before they are read, of the way to its stream, and of events that belong together.

use async_nats::HeaderMap;
use async_nats::jetstream::stream;
use serde_json::Value;

use crate::orders::{Orders, wait_until};
use crate::served::Served;

const TOTALS: (&str, &str) = ("totals", "SELECT count(*) AS n, sum(order_id) AS ids FROM orders");

/// Replaces a part of the declaration of the source.
fn declare(orders: &Orders, from: &str, to: &str) {
    let path = orders.dir().join("sources.sql");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{text}");
    std::fs::write(path, text.replace(from, to)).unwrap();
}

fn purge_before(orders: &Orders, sequence: u64) {
    orders.with_jetstream(async |context| {
        let stream = context.get_stream("ORDERS").await.unwrap();
        stream.purge().sequence(sequence).await.unwrap();
    });
}

fn rows(orders: &Orders) -> Vec<Value> {
    let files = orders.view("totals").join("current/*.parquet");
    crate::duckdb::rows(&format!("SELECT n, ids::BIGINT AS ids FROM read_parquet('{}')", files.display())).unwrap()
}

fn incarnation(orders: &Orders) -> String {
    orders.record("totals").unwrap().incarnation
}

#[test]
fn a_source_goes_on_without_missing_events_and_status_and_verify_say_so() {
    let mut orders = Orders::new(&[TOTALS]);
    declare(&orders, "subject 'orders.>'", "subject 'orders.placed', on_gap 'continue'");
    orders.publish_on("orders.other", 10);
    orders.catch_up();
    // Orders 1 to 30 have the sequences 11 to 40.
    orders.publish(30);
    purge_before(&orders, 31);
    let log = orders.catch_up_saying();
    assert!(log.contains("events are missing") && log.contains("first=11") && log.contains("last=30"), "{log}");
    assert_eq!(rows(&orders), [serde_json::json!({"n": 10, "ids": (21..=30).sum::<u64>()})]);

    // It is kept, whether an engine runs or not.
    for _ in 0..2 {
        let status = orders.succeed(&["status"]);
        assert!(status.contains("totals: sequences 11 to 30 of orders are missing since 20"), "{status}");
        assert!(status.contains("expected sequence 11, but the first that still existed was 31"), "{status}");
        let status: Value = serde_json::from_str(&orders.succeed(&["status", "--format", "json"])).unwrap();
        let gap = &status["views"][0]["gaps"]["orders"][0];
        assert!(gap["first"] == 11 && gap["last"] == 30 && gap["found_ms"].as_u64() > Some(1_600_000_000_000), "{status}");
        assert_eq!(status["views"][0]["sources"]["orders"]["missing"], 20);
        orders.publish(5);
        orders.catch_up();
    }
    let verified = orders.succeed(&["verify"]);
    assert_eq!(verified, "totals: equal: 1 rows at sequence 50 of orders, but for the gap of sequences 11 to 30 of orders\n");
    let verified: Value = serde_json::from_str(&orders.succeed(&["verify", "--format", "json"])).unwrap();
    assert_eq!(verified[0]["gaps"]["orders"][0]["last"], 30, "{verified}");

    // It is shown while the engine runs too, and one more is found there.
    let mut served = Served::start(&orders, &[]);
    let metric = |served: &Served, line: &str| served.get("/metrics").1.lines().any(|found| found == line);
    wait_until("it is counted", || metric(&served, "alluvium_view_missing_sequences{view=\"totals\",source=\"orders\"} 20"));
    assert_eq!(served.view("totals")["gaps"]["orders"][0]["first"], 11);
    assert_eq!(served.running.end(), Some(0), "{}", orders.log());

    // A rebuild begins with what is there: nothing is missing in it.
    orders.succeed(&["rebuild", "totals"]);
    assert!(!orders.succeed(&["status"]).contains("missing"));
    assert_eq!(orders.succeed(&["verify"]), "totals: equal: 1 rows at sequence 50 of orders\n");
}

#[test]
fn each_source_says_whether_missing_events_stop_its_views_or_rebuild_them() {
    for (folder, of_source, stops) in [("stop", "rebuild", false), ("rebuild", "stop", true), ("rebuild", "continue", false)] {
        let mut orders = Orders::new(&[TOTALS]);
        std::fs::write(orders.dir().join("alluvium.toml"), format!("on_stream_change = \"{folder}\"\n")).unwrap();
        declare(&orders, "subject 'orders.>'", &format!("subject 'orders.>', on_gap '{of_source}'"));
        orders.publish(30);
        orders.catch_up();
        let before = incarnation(&orders);
        orders.publish(30);
        purge_before(&orders, 41);
        let output = orders.ask(&["run", "--until-caught-up"]);
        let log = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.success(), !stops, "{folder} {of_source}: {log}");
        let goes_on = of_source == "continue";
        assert_eq!(incarnation(&orders) == before, stops || goes_on, "{folder} {of_source}: {log}");
        let n = if stops {
            30
        } else if goes_on {
            50
        } else {
            20
        };
        assert_eq!(rows(&orders)[0]["n"], n, "{folder} {of_source}: {log}");
        if goes_on {
            // A stream made anew is no gap: the folder decides.
            orders.with_jetstream(async |context| {
                context.delete_stream("ORDERS").await.unwrap();
            });
            orders.make_stream();
            orders.publish(7);
            let log = orders.catch_up_saying();
            assert!(log.contains("was recreated") && rows(&orders)[0]["n"] == 7, "{log}");
        }
    }
}

#[test]
fn another_way_to_the_same_stream_rebuilds_nothing_and_another_filter_is_no_other_stream() {
    let mut orders = Orders::new(&[TOTALS]);
    orders.publish(30);
    orders.publish_on("orders.other", 10);
    orders.catch_up();
    let before = incarnation(&orders);
    let settings = format!("[nats]\nurl = \"nats://localhost:{}\"\n", orders.server.port());
    std::fs::write(orders.dir().join("alluvium.toml"), settings).unwrap();
    let plan = orders.succeed(&["plan"]);
    assert!(plan.lines().any(|line| line.contains("totals") && line.contains("unchanged")), "{plan}");
    orders.publish_on("orders.other", 10);
    orders.catch_up();
    assert_eq!((incarnation(&orders), rows(&orders)[0]["n"].as_u64()), (before.clone(), Some(50)));

    declare(&orders, "subject 'orders.>'", "subject 'orders.placed'");
    let plan = orders.succeed(&["plan"]);
    assert!(plan.contains("rebuilt from sequence 1 of orders (30 events)"), "{plan}");
    let log = orders.catch_up_saying();
    assert!(!log.contains("recreated") && !log.contains("has lost"), "{log}");
    assert_ne!(incarnation(&orders), before);
    assert_eq!(rows(&orders)[0]["n"], 30);
}

#[test]
fn an_atomic_batch_is_committed_whole() {
    let orders = Orders::new(&[TOTALS]);
    let client = |batch: u64| {
        orders.with_jetstream(async |context| {
            if batch == 0 {
                context.delete_stream("ORDERS").await.unwrap();
                let (name, subjects) = ("ORDERS".into(), vec!["orders.>".into()]);
                context
                    .create_stream(stream::Config { name, subjects, allow_atomic_publish: true, ..Default::default() })
                    .await
                    .unwrap();
            }
            let client = context.client();
            for place in 1..=5_u64 {
                let mut headers = HeaderMap::new();
                headers.insert("Nats-Batch-Id", format!("b{batch}").as_str());
                headers.insert("Nats-Batch-Sequence", place.to_string().as_str());
                if place == 5 {
                    headers.insert("Nats-Batch-Commit", "1");
                }
                let body = format!("{{\"order_id\":{}}}", 5 * batch + place);
                let subject = "orders.placed";
                match place {
                    5 => drop(client.request_with_headers(subject, headers, body.into()).await.unwrap()),
                    _ => client.publish_with_headers(subject, headers, body.into()).await.unwrap(),
                }
            }
        });
    };
    client(0);
    let mut command = orders.alluvium(&["run"]);
    command.env("ALLUVIUM_BATCH_EVENTS", "2").env("ALLUVIUM_COMMIT_INTERVAL", "1ms").env("ALLUVIUM_SNAPSHOTS_KEPT", "1000");
    let mut running = crate::orders::Running(orders.logging(&mut command).spawn().unwrap());
    (1..60).for_each(client);
    wait_until("everything is committed", || orders.offset("totals") == 301);
    assert_eq!(running.end(), Some(0), "{}", orders.log());
    let mut offsets = Vec::new();
    for snapshot in std::fs::read_dir(orders.view("totals").join("snapshots")).unwrap() {
        let manifest = std::fs::read(snapshot.unwrap().path().join("manifest.json")).unwrap();
        let manifest: Value = serde_json::from_slice(&manifest).unwrap();
        offsets.push(manifest["offsets"]["orders"].as_u64().unwrap());
    }
    assert!(offsets.len() > 3 && offsets.iter().all(|offset| offset % 5 == 1), "{offsets:?}");
}
