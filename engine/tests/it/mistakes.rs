//! Mistakes of a declaration, each noticed by someone who looks only at the exit code, only at `status`, or only at what is served over HTTP.

use crate::orders::{Orders, Running, wait_until};

const COUNTRIES: (&str, &str) = ("countries", "SELECT country, count(*) AS n FROM orders GROUP BY country");
const REVENUE: (&str, &str) = ("revenue", "SELECT min(total) AS least, count(total) AS n FROM orders");
const CUSTOMERS: (&str, &str) = ("customers", "SELECT customer, count(*) AS n FROM orders GROUP BY customer");

/// Replaces a part of the declaration of the source.
fn declare(orders: &Orders, from: &str, to: &str) {
    let path = orders.dir().join("sources.sql");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{text}");
    std::fs::write(path, text.replace(from, to)).unwrap();
}

/// An engine that is asked over HTTP.
struct Served {
    running: Running,
    address: String,
}

impl Served {
    fn start(orders: &Orders) -> Served {
        let mut command = orders.alluvium(&["run", "--http", "127.0.0.1:0"]);
        let running = Running(orders.logging(&mut command).spawn().unwrap());
        let mut address = String::new();
        wait_until("it says where it listens", || {
            let bytes = std::fs::read(orders.dir().join("data/run.lock")).unwrap_or_default();
            let info: serde_json::Value = serde_json::from_slice(&bytes).unwrap_or_default();
            address = info["http"].as_str().unwrap_or_default().to_owned();
            !address.is_empty()
        });
        Served { running, address }
    }

    fn get(&self, path: &str) -> (u16, String) {
        let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
        let mut response = agent.get(format!("http://{}{path}", self.address)).call().unwrap();
        (response.status().as_u16(), response.body_mut().read_to_string().unwrap())
    }

    /// The values of a metric, each with its labels.
    fn metric(&self, name: &str) -> Vec<(String, f64)> {
        let (_, text) = self.get("/metrics");
        let lines = text.lines().filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with('{')));
        lines
            .map(|line| {
                let (labels, value) = line.rsplit_once(' ').unwrap();
                (labels[name.len()..].to_owned(), value.parse().unwrap())
            })
            .collect()
    }

    /// Waits until a metric of a view has a value.
    fn wait_for(&self, name: &str, view: &str, wanted: f64) {
        let label = format!("view=\"{view}\"");
        wait_until(&format!("{name} of {view} is {wanted}"), || {
            self.metric(name).iter().any(|(labels, value)| labels.contains(&label) && *value == wanted)
        });
    }
}

/// Asserts that a run that ends by itself tells a mistake by its exit code and its log, and `status` after it.
fn assert_told(orders: &Orders, reason: &str) {
    let output = orders.ask(&["run", "--until-caught-up"]);
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(5) && log.contains(reason), "{:?} {log}", output.status.code());
    let status = orders.succeed(&["status"]);
    assert!(status.contains(reason), "{status}");
}

#[test]
fn a_view_whose_column_is_misdeclared_stops_rather_than_stay_empty() {
    let mut orders = Orders::new(&[COUNTRIES, REVENUE]);
    declare(&orders, "total DECIMAL(12, 2)", "total TIMESTAMP");
    orders.publish(300);
    let reason = "51 of the last 51 events of orders cannot be applied, and max_dead_letters is 50%";

    let output = orders.ask(&["run", "--until-caught-up"]);
    let log = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{log}");
    assert!(log.contains(&format!("view revenue: {reason}")) && log.contains("wrong_type"), "{log}");
    let status = orders.succeed(&["status"]);
    assert!(status.contains("failed") && status.contains(reason), "{status}");
    orders.assert_equal(&[COUNTRIES]);

    let mut served = Served::start(&orders);
    served.wait_for("alluvium_view_failed", "revenue", 1.0);
    served.wait_for("alluvium_view_failed", "countries", 0.0);
    let (code, ready) = served.get("/readyz");
    assert!(code == 503 && ready.contains("revenue"), "{code} {ready}");
    served.running.kill();

    declare(&orders, "total TIMESTAMP", "total DECIMAL(12, 2)");
    orders.catch_up();
    orders.assert_equal(&[COUNTRIES, REVENUE]);
}

#[test]
fn a_few_bad_events_are_seen_by_their_share() {
    let mut orders = Orders::new(&[COUNTRIES, REVENUE]);
    declare(&orders, "total DECIMAL(12, 2)", "total TIMESTAMP");
    orders.publish(40);
    let log = orders.catch_up_with_letters();
    assert!(log.contains("40 of 40 events of orders were set aside in revenue"), "{log}");
    let status = orders.succeed(&["status"]);
    assert!(status.contains("40 (100.00%)"), "{status}");
    let mut served = Served::start(&orders);
    served.wait_for("alluvium_view_set_aside_ratio", "revenue", 1.0);
    orders.publish(5);
    let count = |served: &Served, name: &str| served.metric(name);
    wait_until("letters are counted by source, view and kind", || !count(&served, "alluvium_dead_letters_total").is_empty());
    wait_until("all are counted", || count(&served, "alluvium_dead_letters_total")[0].1 == 5.0);
    let (labels, _) = &count(&served, "alluvium_dead_letters_total")[0];
    for label in ["source=\"orders\"", "view=\"revenue\"", "kind=\"wrong_type\""] {
        assert!(labels.contains(label), "{labels}");
    }
    assert_eq!(count(&served, "alluvium_view_set_aside_events_total")[0].1, 5.0);
    served.running.kill();
}

#[test]
fn what_a_view_may_set_aside_is_said_by_view_source_or_folder() {
    let mut orders = Orders::new(&[COUNTRIES, REVENUE]);
    declare(&orders, "total DECIMAL(12, 2)", "total TIMESTAMP");
    orders.publish(20);
    let stops = |orders: &Orders, said: &str| {
        let output = orders.ask(&["run", "--until-caught-up"]);
        let log = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(1) && log.contains(said), "{said}: {log}");
    };
    declare(&orders, "format 'json'", "format 'json', on_error 'stop'");
    stops(&orders, "event 1 of orders cannot be applied, and on_error is 'stop'");
    declare(&orders, "on_error 'stop'", "max_dead_letters '5%'");
    stops(&orders, "6 of the last 6 events of orders cannot be applied, and max_dead_letters is 5%");
    declare(&orders, "max_dead_letters '5%'", "max_dead_letters 'few'");
    stops(&orders, "option 'max_dead_letters' is 'few'");
    declare(&orders, ", max_dead_letters 'few'", "");
    std::fs::write(orders.dir().join("alluvium.toml"), "on_error = \"stop\"\n").unwrap();
    stops(&orders, "on_error is 'stop'");
    let text =
        format!("CREATE MATERIALIZED VIEW revenue WITH (on_error = 'dead_letter', max_dead_letters = 'off') AS {};", REVENUE.1);
    std::fs::write(orders.dir().join("revenue.sql"), text).unwrap();
    orders.publish(200);
    orders.catch_up_with_letters();
    orders.assert_equal(&[COUNTRIES]);

    // An edit of its SQL is not stopped by what the version that serves has set aside.
    orders.declare(REVENUE.0, "SELECT max(total) AS most, count(total) AS n FROM orders");
    orders.catch_up_with_letters();
    assert!(orders.succeed(&["query", "SELECT * FROM revenue"]).contains("most"));
}

#[test]
fn a_subject_that_the_stream_cannot_have_is_refused_and_one_that_it_has_not_is_told() {
    let mut orders = Orders::new(&[COUNTRIES]);
    orders.publish(150);
    declare(&orders, "subject 'orders.>'", "subject 'order.>'");
    let output = orders.ask(&["run", "--until-caught-up"]);
    let log = String::from_utf8(output.stderr).unwrap();
    let reason = "option 'subject' names 'order.>', which no event of stream ORDERS can have: its subjects are orders.>";
    assert!(output.status.code() == Some(1) && log.contains(reason), "{log}");
    let status = orders.succeed(&["status"]);
    assert!(status.contains("failed") && status.contains(reason), "{status}");

    declare(&orders, "subject 'order.>'", "subject 'orders.plcaed'");
    let reason = "source orders selects none of the 150 events that it has passed";
    assert_told(&orders, reason);
    let mut served = Served::start(&orders);
    served.wait_for("alluvium_view_warnings", "countries", 1.0);
    served.running.kill();

    declare(&orders, "format 'json'", "format 'json', on_no_events 'ignore'");
    orders.catch_up();
    declare(&orders, "orders.plcaed", "orders.placed");
    orders.catch_up();
    orders.assert_equal(&[COUNTRIES]);
}

#[test]
fn a_column_that_no_event_has_a_member_for_is_told() {
    let mut orders = Orders::new(&[COUNTRIES]);
    declare(&orders, "customer BIGINT", "custmer BIGINT");
    orders.declare(CUSTOMERS.0, "SELECT custmer, count(*) AS n FROM orders GROUP BY custmer");
    orders.publish(150);
    let reason = "customers: none of the 150 events of orders has a member custmer; they have customer, which no column reads";
    for _ in 0..2 {
        assert_told(&orders, reason);
    }
    let mut served = Served::start(&orders);
    served.wait_for("alluvium_view_warnings", "customers", 1.0);
    served.wait_for("alluvium_view_warnings", "countries", 0.0);
    served.running.kill();

    declare(&orders, "format 'json'", "format 'json', on_absent_member.custmer 'ignore'");
    orders.publish(1);
    orders.catch_up();
    declare(&orders, "custmer BIGINT", "customer BIGINT");
    declare(&orders, ", on_absent_member.custmer 'ignore'", "");
    orders.declare(CUSTOMERS.0, CUSTOMERS.1);
    orders.catch_up();
    orders.assert_equal(&[COUNTRIES, CUSTOMERS]);
}
