//! `alluvium dead-letters retry`, the table of letters, and the alerts.

use crate::damage::joined;
use crate::orders::{Orders, Running, wait_until};

const REVENUE: (&str, &str) = ("revenue", "SELECT sum(total) AS revenue, count(total) AS n FROM orders");
const COUNTRIES: (&str, &str) = ("countries", "SELECT country, count(*) AS n FROM orders GROUP BY country");

#[test]
fn letters_are_a_table_of_queries() {
    let mut orders = Orders::new(&[COUNTRIES]);
    let empty = orders.succeed(&["query", "SELECT count(*) AS n FROM dead_letters", "--format", "csv"]);
    assert_eq!(empty, "n\n0\n");
    orders.publish(10);
    orders.publish_bodies(vec![b"no order".to_vec(), b"neither".to_vec()]);
    orders.catch_up_with_letters();
    let counted = orders.succeed(&[
        "query",
        "SELECT l.source, l.kind, count(*) AS letters, (SELECT sum(n) FROM countries) AS n FROM dead_letters l GROUP BY l.source, l.kind",
        "--format",
        "csv",
    ]);
    assert_eq!(counted, "source,kind,letters,n\norders,not_json,2,10\n");
    let body = orders.succeed(&["query", "SELECT CAST(payload AS VARCHAR) AS body FROM dead_letters WHERE sequence = 12"]);
    assert!(body.contains("neither"), "{body}");
    assert!(orders.succeed(&["query", "SHOW TABLES"]).contains("dead_letters"));
}

/// Publishes 100 orders, on the fiftieth of which the view revenue has panicked.
fn with_a_crash() -> Orders {
    let mut orders = Orders::new(&[COUNTRIES, REVENUE]);
    orders.publish(49);
    orders.catch_up();
    // Alone, so that it is found at once.
    orders.publish(1);
    let mut events = orders.alluvium(&["run", "--until-caught-up"]);
    let output = events.env("ALLUVIUM_FAILPOINT", "panic:revenue:50").output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", joined(&output));
    orders.publish(50);
    orders
}

#[test]
fn what_is_mended_is_retried_by_a_rebuild_and_what_is_not_stays() {
    let orders = with_a_crash();
    // Broken for good.
    orders.publish_bodies(vec![b"no order".to_vec()]);
    orders.catch_up_with_letters();

    let nothing = orders.succeed(&["dead-letters", "retry", "--kind", "missing"]);
    assert!(nothing.contains("no such event"), "{nothing}");
    // The program still panics: the view serves as before, and the event is not met again.
    let mut again = orders.alluvium(&["dead-letters", "retry", "--kind", "crash"]);
    let output = again.env("ALLUVIUM_FAILPOINT", "panic:revenue:50").output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", joined(&output));
    let mut still = orders.alluvium(&["rebuild", "revenue"]);
    let output = still.env("ALLUVIUM_FAILPOINT", "panic:revenue:50").output().unwrap();
    assert!(output.status.success(), "{}", joined(&output));

    let output = orders.ask(&["dead-letters", "retry", "--kind", "crash"]);
    let said = joined(&output);
    assert!(said.contains("1eventsbelongamongothers,intheirorder:revenueisrebuilt"), "{said}");
    // The event that is broken is one of the same view.
    assert!(output.status.code() == Some(3) && said.contains("1eventsoforders"), "{said}");
    orders.assert_equal(&[COUNTRIES, REVENUE]);
}

#[test]
fn a_retry_beside_an_engine_waits_for_its_rebuild() {
    let orders = with_a_crash();
    orders.catch_up();
    let said = orders.succeed(&["dead-letters", "retry", "--kind", "crash"]);
    assert!(said.contains("revenue: no event of orders is set aside any more"), "{said}");
    orders.assert_equal(&[COUNTRIES, REVENUE]);
    orders.succeed(&["dead-letters", "drop", "--yes"]);

    orders.publish_bodies(vec![b"no order".to_vec()]);
    let mut command = orders.alluvium(&["run", "--http", "127.0.0.1:0"]);
    let _running = Running(orders.logging(&mut command).spawn().unwrap());
    wait_until("it commits", || orders.offset("revenue") == 102 && orders.offset("countries") == 102);
    let output = orders.ask(&["dead-letters", "retry"]);
    let said = joined(&output);
    assert!(output.status.code() == Some(3) && said.contains("1eventsofordersarestillsetaside"), "{said}");
    assert_eq!(orders.succeed(&["dead-letters", "list", "--format", "csv"]).lines().count(), 2);
    orders.assert_equal(&[COUNTRIES, REVENUE]);
}

#[test]
fn a_kill_in_the_middle_of_a_retry_forgets_nothing() {
    let orders = with_a_crash();
    let mut retry = orders.alluvium(&["dead-letters", "retry", "--kind", "crash"]);
    let output = retry.env("ALLUVIUM_FAILPOINT", "before_state:1").output().unwrap();
    assert!(output.status.code().is_none(), "{}", joined(&output));
    // The event on which the program panics is not met by a rebuild.
    let mut rebuild = orders.alluvium(&["rebuild", "revenue"]);
    let output = rebuild.env("ALLUVIUM_FAILPOINT", "panic:revenue:50").output().unwrap();
    assert!(output.status.success(), "{}", joined(&output));
    orders.catch_up();
    orders.succeed(&["dead-letters", "retry", "--kind", "crash"]);
    orders.assert_equal(&[COUNTRIES, REVENUE]);
    // And what a retry has applied is met by every rebuild from then on.
    orders.succeed(&["rebuild", "revenue"]);
    orders.assert_equal(&[COUNTRIES, REVENUE]);
}

#[test]
fn a_retry_is_refused_where_another_source_of_the_view_has_lost_events() {
    use async_nats::jetstream::stream;

    let mut orders = Orders::new(&[]);
    let url = orders.server.url();
    let payments = format!(
        "CREATE EXTERNAL TABLE payments (order_id BIGINT, paid BIGINT) STORED AS NATS LOCATION '{url}/PAYMENTS' OPTIONS (subject 'paid');\n"
    );
    std::fs::write(orders.dir().join("payments.sql"), payments).unwrap();
    orders.declare("settled", "SELECT o.order_id, p.paid FROM orders o JOIN payments p ON o.order_id = p.order_id");
    orders.publish(10);
    orders.publish_bodies(vec![b"no order".to_vec()]);
    orders.with_jetstream(async |context| {
        let config = stream::Config { name: "PAYMENTS".into(), subjects: vec!["paid".into()], ..Default::default() };
        let stream = context.create_stream(config).await.unwrap();
        for order in 1..=4 {
            let body = format!("{{\"order_id\":{order},\"paid\":7}}");
            context.publish("paid", body.into()).await.unwrap().await.unwrap();
        }
        drop(stream);
    });
    orders.catch_up_with_letters();
    orders.with_jetstream(async |context| {
        context.get_stream("PAYMENTS").await.unwrap().purge().sequence(3).await.unwrap();
    });
    let output = orders.ask(&["dead-letters", "retry"]);
    let said = joined(&output);
    assert!(output.status.code() == Some(1) && said.contains("ofpayments") && said.contains("gone"), "{said}");
    let count = orders.succeed(&["query", "SELECT count(*) AS n FROM settled", "--format", "csv"]);
    assert_eq!(count, "n\n4\n");
}
