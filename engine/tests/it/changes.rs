//! Changes of SQL over a stream that no longer holds all that the views have applied: nothing is swapped that would lose events.

use std::process::Output;

use alluvium::layout::Layout;
use alluvium::record::records_beside;
use async_nats::jetstream::stream;

use crate::duckdb;
use crate::orders::{Orders, Running, wait_until};

const VIEWS: &[(&str, &str)] = &[
    ("totals", "SELECT count(*) AS n, sum(total) AS revenue FROM orders"),
    ("by_bucket", "SELECT customer % 10 AS bucket, count(*) AS n, sum(total) AS revenue FROM orders GROUP BY customer % 10"),
    ("busy", "SELECT bucket, n FROM by_bucket WHERE n > 3"),
];
/// Other versions of these.
const TOTALS: (&str, &str) = ("totals", "SELECT count(*) AS n, sum(total) AS revenue, max(total) AS most FROM orders");
const BY_BUCKET: (&str, &str) = (
    "by_bucket",
    "SELECT customer % 10 AS bucket, count(*) AS n, sum(total) AS revenue, max(total) AS most FROM orders GROUP BY customer % 10",
);
const BUSY: (&str, &str) = ("busy", "SELECT bucket, n FROM by_bucket WHERE n > 6");

/// `VIEWS` over 100 orders, of which the stream has lost the first half.
fn half_gone() -> Orders {
    let mut orders = Orders::new(VIEWS);
    orders.publish(100);
    orders.catch_up();
    purge(&orders, 51);
    orders
}

fn purge(orders: &Orders, first: u64) {
    orders.with_jetstream(async |context| {
        context.get_stream("ORDERS").await.unwrap().purge().sequence(first).await.unwrap();
    });
}

fn refused(output: &Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{error}");
    // An error is wrapped to the width of a terminal.
    error.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What `plan` says of a view.
fn step(orders: &Orders, view: &str) -> serde_json::Value {
    let plan: serde_json::Value = serde_json::from_str(&orders.succeed(&["plan", "--format", "json"])).unwrap();
    plan.as_array().unwrap().iter().find(|one| one["view"] == view).unwrap().clone()
}

fn steps(orders: &Orders) -> Vec<String> {
    VIEWS.iter().map(|(view, _)| step(orders, view)["step"].as_str().unwrap().to_owned()).collect()
}

/// One row of a view.
fn row(orders: &Orders, view: &str) -> serde_json::Value {
    duckdb::rows(&format!("SELECT * FROM read_parquet('{}/current/*.parquet')", orders.view(view).display())).unwrap().remove(0)
}

#[test]
fn a_change_that_would_lose_events_is_held_back_and_the_old_version_follows() {
    let mut orders = half_gone();
    orders.declare(TOTALS.0, TOTALS.1);
    let blocked = step(&orders, "totals");
    assert_eq!(blocked["losses"], serde_json::json!(["events 1 to 50 of orders are gone"]), "{blocked}");
    assert_eq!(
        (blocked["follows"].clone(), steps(&orders)),
        (true.into(), ["blocked", "unchanged", "unchanged"].map(str::to_owned).to_vec())
    );
    let said = orders.succeed(&["check"]);
    assert!(
        said.contains("changed: totals: blocked: events 1 to 50 of orders are gone; the version that serves goes on"),
        "{said}"
    );
    let said = orders.succeed(&["status"]);
    assert!(said.contains("totals: its SQL has changed since its last commit: `alluvium plan`"), "{said}");
    for _ in 0..3 {
        orders.publish(10);
        let error = refused(&orders.ask(&["run", "--until-caught-up"]));
        assert!(error.contains("the new version of totals is held back: events 1 to 50 of orders are gone"), "{error}");
        assert!(error.contains("--accept-loss"), "{error}");
        orders.assert_equal(VIEWS);
    }
    let error = refused(&orders.ask(&["rebuild", "totals"]));
    assert!(error.contains("events 1 to 50 of orders are gone"), "{error}");

    // Taken back, nothing has happened.
    orders.declare(VIEWS[0].0, VIEWS[0].1);
    assert_eq!(steps(&orders), ["unchanged", "unchanged", "unchanged"]);
    orders.publish(10);
    let log = orders.catch_up_saying();
    assert!(!log.contains("rebuilding"), "a refused rebuild is not tried again: {log}");
    orders.assert_equal(VIEWS);

    orders.declare(TOTALS.0, TOTALS.1);
    orders.succeed(&["run", "--until-caught-up", "--accept-loss"]);
    assert_eq!(row(&orders, "totals")["n"], 90);
    // What was accepted is no loss from then on.
    orders.declare(VIEWS[0].0, VIEWS[0].1);
    assert_eq!(step(&orders, "totals")["from"], serde_json::json!([{"source": "orders", "first": 51, "events": 90}]));
    orders.catch_up();
    assert_eq!(row(&orders, "totals")["n"], 90);
    orders.assert_equal(&VIEWS[1..]);
}

#[test]
fn views_that_read_each_other_wait_for_each_other_and_a_view_over_a_view_is_made_from_its_rows() {
    let mut orders = half_gone();
    orders.declare(BUSY.0, BUSY.1);
    assert_eq!(steps(&orders), ["unchanged", "unchanged", "from_state"]);
    orders.catch_up();
    let changed = [VIEWS[0], VIEWS[1], BUSY];
    orders.assert_equal(&changed);

    orders.declare(BY_BUCKET.0, BY_BUCKET.1);
    orders.declare(VIEWS[2].0, VIEWS[2].1);
    orders.declare("lazy", "SELECT bucket FROM by_bucket WHERE n < 5");
    assert_eq!(steps(&orders), ["unchanged", "blocked", "blocked"]);
    orders.publish(50);
    let error = refused(&orders.ask(&["run", "--until-caught-up"]));
    assert!(error.contains("held back: events 1 to 50 of orders are gone"), "{error}");
    orders.assert_equal(&changed);
    assert!(!orders.view("lazy").join("manifest.json").exists(), "it reads a version that is not there yet");

    // A source that is declared otherwise, and a view whose file is gone: the old versions need both.
    std::fs::remove_file(orders.dir().join("by_bucket.sql")).unwrap();
    std::fs::remove_file(orders.dir().join("lazy.sql")).unwrap();
    orders.declare("busy", "SELECT customer % 10 AS bucket, count(*) AS n FROM orders GROUP BY customer % 10");
    let sources = std::fs::read_to_string(orders.dir().join("sources.sql")).unwrap();
    std::fs::write(orders.dir().join("sources.sql"), sources.replace("(order_id BIGINT", "(note VARCHAR, order_id BIGINT"))
        .unwrap();
    orders.publish(50);
    let error = refused(&orders.ask(&["run", "--until-caught-up"]));
    assert!(error.contains("the new version of busy is held back"), "{error}");
    orders.assert_equal(&changed);
}

#[test]
fn a_running_engine_rebuilds_by_the_sql_on_disk() {
    let mut orders = Orders::new(VIEWS);
    orders.publish(100);
    let mut command = orders.alluvium(&["run", "--http", "127.0.0.1:0"]);
    let mut running = Running(orders.logging(&mut command).spawn().unwrap());
    let committed = |orders: &Orders, end: u64| VIEWS.iter().all(|(name, _)| orders.offset(name) == end);
    wait_until("every view has committed everything", || committed(&orders, 101));

    orders.declare(TOTALS.0, TOTALS.1);
    orders.succeed(&["rebuild", "totals"]);
    wait_until("the changed view is swapped in", || row(&orders, "totals").get("most").is_some());
    orders.publish(20);
    wait_until("it goes on", || committed(&orders, 121));
    let changed = [TOTALS, VIEWS[1], VIEWS[2]];
    orders.assert_equal(&changed);

    // What cannot be taken in is said.
    orders.declare("lazy", "SELECT bucket FROM by_bucket WHERE n < 5");
    for (view, said) in [("by_bucket", "busy, by_bucket, lazy committed together now"), ("lazy", "is not run yet")] {
        let error = refused(&orders.ask(&["rebuild", view]));
        assert!(error.contains(said) && error.contains("start the engine again"), "{error}");
    }
    std::fs::write(orders.dir().join("lazy.sql"), "CREATE MATERIALIZED VIEW lazy AS SELEC 1;").unwrap();
    assert!(refused(&orders.ask(&["rebuild", "totals"])).contains("lazy.sql:1"));
    std::fs::remove_file(orders.dir().join("lazy.sql")).unwrap();

    purge(&orders, 61);
    orders.declare(BY_BUCKET.0, BY_BUCKET.1);
    orders.succeed(&["rebuild", "by_bucket"]);
    wait_until("it is held back", || orders.succeed(&["status"]).contains("is held back: events 1 to 60 of orders are gone"));
    orders.publish(20);
    wait_until("the old version follows", || committed(&orders, 141));
    orders.assert_equal(&changed);
    orders.succeed(&["rebuild", "by_bucket", "--accept-loss"]);
    wait_until("the changed view is swapped in", || row(&orders, "by_bucket").get("most").is_some());
    wait_until("nothing is held back any more", || !orders.succeed(&["status"]).contains("held back"));
    assert_eq!(running.end(), Some(0), "{}", orders.log());
    let count = duckdb::rows(&format!(
        "SELECT sum(n)::INT AS n FROM read_parquet('{}/current/*.parquet')",
        orders.view("by_bucket").display()
    ));
    assert_eq!(count.unwrap()[0]["n"], 80);
}

#[test]
fn events_that_a_view_never_had_are_no_loss() {
    let mut orders = Orders::new(VIEWS);
    // Half of the stream is of other subjects, and some of it is gone before any view begins.
    orders.publish_on("orders.other", 50);
    orders.publish_on("orders.gone", 10);
    purge(&orders, 11);
    let sources = std::fs::read_to_string(orders.dir().join("sources.sql")).unwrap();
    std::fs::write(orders.dir().join("sources.sql"), sources.replace("'orders.>'", "'orders.placed'")).unwrap();
    orders.publish(50);
    orders.catch_up();
    for (name, subject) in [("totals", "orders.other"), ("by_bucket", "orders.gone")] {
        orders.with_jetstream(async |context| {
            context.get_stream("ORDERS").await.unwrap().purge().filter(subject).await.unwrap();
        });
        let changed = if name == "totals" { TOTALS } else { BY_BUCKET };
        orders.declare(changed.0, changed.1);
        let step = step(&orders, name);
        assert_eq!((&step["step"], &step["from"][0]["events"]), (&"rebuilt".into(), &50.into()), "{step}");
        orders.catch_up();
    }
    orders.assert_equal(&[TOTALS, BY_BUCKET, VIEWS[2]]);
    // A single event that is deleted is one.
    let first = orders.with_jetstream(async |context| {
        let stream = context.get_stream("ORDERS").await.unwrap();
        let last = stream.cached_info().state.last_sequence;
        stream.delete_message(last - 3).await.unwrap();
        last
    });
    orders.declare(VIEWS[0].0, VIEWS[0].1);
    let losses = step(&orders, "totals")["losses"][0].as_str().unwrap().to_owned();
    assert_eq!(losses, format!("1 of the 50 events of orders up to sequence {first} are gone"));
}

/// A stream that keeps so many messages loses the oldest with each new one.
#[test]
fn a_stream_with_a_limit_keeps_the_version_that_has_seen_more() {
    let mut orders = Orders::new(VIEWS);
    orders.with_jetstream(async |context| {
        let config =
            stream::Config { name: "ORDERS".into(), subjects: vec!["orders.>".into()], max_messages: 60, ..Default::default() };
        context.update_stream(config).await.unwrap();
    });
    orders.publish(60);
    orders.catch_up();
    orders.declare(TOTALS.0, TOTALS.1);
    orders.catch_up();
    orders.publish(30);
    orders.catch_up();
    orders.assert_equal(&[TOTALS, VIEWS[1], VIEWS[2]]);
    orders.declare(VIEWS[0].0, VIEWS[0].1);
    assert_eq!(step(&orders, "totals")["losses"][0], "events 1 to 30 of orders are gone");
    orders.publish(10);
    refused(&orders.ask(&["run", "--until-caught-up"]));
    orders.assert_equal(&[TOTALS, VIEWS[1], VIEWS[2]]);
}

/// Takes what later releases write out of all records.
fn make_old(orders: &Orders, format: impl Fn(&mut serde_json::Value)) {
    let layout = Layout::new(orders.dir().join("data"));
    for (view, records) in records_beside(&layout).unwrap() {
        let mut records = serde_json::to_value(records.unwrap()).unwrap();
        for record in records.as_array_mut().unwrap() {
            record.as_object_mut().unwrap().remove("definition").unwrap();
            format(record);
        }
        let commit = serde_json::json!({"records": records}).to_string();
        let text = format!("{{\"crc32\":{},\"commit\":{commit}}}", crc32fast::hash(commit.as_bytes()));
        std::fs::write(layout.record(&view), text).unwrap();
    }
    std::fs::remove_dir_all(orders.dir().join("data/checkpoints")).unwrap();
}

#[test]
fn records_of_an_earlier_release_lose_nothing_either() {
    // Of the same plans, they are gone on with, and have their SQL from then on.
    let mut orders = half_gone();
    make_old(&orders, |_| ());
    orders.publish(10);
    orders.catch_up();
    orders.assert_equal(VIEWS);
    orders.declare(TOTALS.0, TOTALS.1);
    orders.publish(10);
    refused(&orders.ask(&["run", "--until-caught-up"]));
    orders.assert_equal(VIEWS);

    // Of a release that planned otherwise, they are served as they are.
    make_old(&orders, |record| {
        record["fingerprint"] = "an earlier release".into();
        record["snapshot"]["fingerprint"] = "an earlier release".into();
        record.as_object_mut().unwrap().remove("tallies").unwrap();
    });
    let before = row(&orders, "totals");
    orders.publish(10);
    let blocked = step(&orders, "totals");
    assert_eq!(
        (&blocked["losses"][0], &blocked["follows"]),
        (&"events of orders before sequence 51 are gone".into(), &false.into())
    );
    let error = refused(&orders.ask(&["run", "--until-caught-up"]));
    assert!(error.contains("is held back: events of orders before sequence 51 are gone"), "{error}");
    assert_eq!(row(&orders, "totals"), before);
    let status = orders.succeed(&["status"]);
    assert!(status.contains("no version of it follows new events"), "{status}");
    orders.succeed(&["run", "--until-caught-up", "--accept-loss"]);
    assert_eq!(row(&orders, "totals")["n"], 80);
}

#[test]
fn a_stream_made_anew_does_not_take_the_place_of_the_old_one_by_a_change() {
    let mut orders = Orders::new(VIEWS);
    orders.publish(100);
    orders.catch_up();
    let before = row(&orders, "totals");
    orders.with_jetstream(async |context| context.delete_stream("ORDERS").await.unwrap());
    orders.make_stream();
    orders.publish_on("orders.placed", 5);
    orders.declare(TOTALS.0, TOTALS.1);
    assert_eq!(step(&orders, "totals")["step"], "blocked");
    let error = refused(&orders.ask(&["run", "--until-caught-up"]));
    assert!(error.contains("was recreated"), "{error}");
    assert_eq!(row(&orders, "totals"), before);
    // Asked for by name, it does.
    orders.succeed(&["rebuild", "totals"]);
    assert_eq!(row(&orders, "totals")["n"], 5);
}
