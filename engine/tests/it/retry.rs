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
