//! Bad events among good ones. Good events are in all views, events with a bad member are in the views that do not read it, and each bad
//! event is kept exactly once as a dead letter.

use std::fmt::Write as _;

use crate::duckdb;
use crate::orders::{Orders, Running, VIEWS, wait_until};

/// Fails on orders whose number is a multiple of 1000.
const FUSSY: &str =
    "SELECT order_id, CAST(CASE WHEN order_id % 1000 = 0 THEN country ELSE '7' END AS BIGINT) AS number FROM orders";

/// The names of the views that read the number of an order, sorted.
const READ_NUMBER: &str = "by_customer, fussy, large_orders, totals";

/// Makes a broken body of one kind from a good one, or returns `None` if there is no such kind.
fn broken(kind: usize, good: &str) -> Option<Vec<u8>> {
    Some(match kind {
        0 => good.as_bytes()[..good.len() / 2].to_vec(),
        1 => b"out of order".to_vec(),
        2 => format!("{good} {good}").into_bytes(),
        3 => good.replacen("\"order_id\":", "\"order_id\":\"x\",\"was\":", 1).into_bytes(),
        4 => Vec::new(),
        5 => format!("{{\"order_id\":{}1{}}}", "[".repeat(5000), "]".repeat(5000)).into_bytes(),
        6 => [&good.as_bytes()[..good.len() - 3], b"\xff\xfe\"}"].concat(),
        7 => good.replacen("\"order_id\":", "\"order_id\":123456789012345678901234567890,\"was\":", 1).into_bytes(),
        _ => return None,
    })
}

/// Whether only the order's number is wrong in bodies of this kind.
fn is_bad_number(kind: usize) -> bool {
    kind == 3 || kind == 7
}

/// Returns a good order without its number.
fn without_number(good: &str) -> String {
    good.replacen("\"order_id\":", "\"order_id\":null,\"was\":", 1)
}

/// A stream with bad events among good ones, and the expected dead letters.
struct Mixture {
    orders: Orders,
    sequence: u64,
    /// Sequence, views, length and the beginning of the body in hexadecimal, as DuckDB prints them.
    letters: Vec<String>,
}

impl Mixture {
    fn publish(&mut self, count: usize) {
        let mut bodies = Vec::new();
        let mut good_lines = String::new();
        let huge = self.orders.rng.usize(..count);
        for index in 0..count {
            let good = self.orders.next();
            self.sequence += 1;
            let kind = self.orders.rng.usize(..100);
            let bad = if index == huge {
                Some(format!("{{\"country\":\"{}", "x".repeat(5 << 20)).into_bytes())
            } else {
                broken(kind, &good)
            };
            let order: u64 = good.split([':', ',']).nth(1).unwrap().parse().unwrap();
            if bad.is_some() || order.is_multiple_of(1000) {
                let body = bad.as_deref().unwrap_or(good.as_bytes());
                let view = match &bad {
                    None => "fussy",
                    Some(_) if index != huge && is_bad_number(kind) => READ_NUMBER,
                    Some(_) => "-",
                };
                let start: String = body.iter().take(500).fold(String::new(), |mut text, byte| {
                    write!(text, "{byte:02X}").unwrap();
                    text
                });
                self.letters.push(format!("{:09} {view} {} {start}", self.sequence, body.len()));
            }
            if bad.is_none() {
                writeln!(good_lines, "{good}").unwrap();
            } else if index != huge && is_bad_number(kind) {
                writeln!(good_lines, "{}", without_number(&good)).unwrap();
            }
            bodies.push(bad.unwrap_or_else(|| good.into_bytes()));
        }
        self.orders.append(&good_lines);
        self.orders.publish_bodies(bodies);
    }

    /// Whether every view has committed everything.
    fn all_committed(&self) -> bool {
        VIEWS.iter().map(|(name, _)| *name).chain(["fussy", "hopeless"]).all(|view| self.orders.offset(view) == self.sequence + 1)
    }

    fn assert_right(&self) {
        self.orders.assert_equal(VIEWS);
        let files = self.orders.dir().join("data/dead_letters/*.parquet");
        let letters = duckdb::rows(&format!(
            "SELECT format('{{:09d}}', sequence) || ' ' || coalesce(array_to_string(list_sort(string_split(view, ', ')), ', '), '-') || ' ' || octet_length(payload) || ' ' \
             || left(hex(payload), 1000) AS letter FROM read_parquet('{}') \
             WHERE source = 'orders' AND subject = 'orders.placed' AND length(error) > 0 ORDER BY letter",
            files.display()
        ));
        let letters: Vec<String> = letters.unwrap().iter().map(|row| row["letter"].as_str().unwrap().to_owned()).collect();
        let difference = letters.iter().zip(&self.letters).find(|(found, expected)| found != expected);
        assert_eq!(difference, None);
        assert_eq!(letters.len(), self.letters.len());
        let fussy = format!(
            "CREATE TABLE orders AS SELECT * FROM read_json('{}', format = 'newline_delimited');
             SELECT count(*) AS n, count(*) FILTER (number <> 7) AS wrong,
               (SELECT count(*) FROM orders WHERE order_id % 1000 <> 0) AS expected
             FROM read_parquet('{}/current/*.parquet')",
            self.orders.file().display(),
            self.orders.view("fussy").display()
        );
        let fussy = &duckdb::rows(&fussy).unwrap()[0];
        assert_eq!((&fussy["n"], fussy["wrong"].as_u64()), (&fussy["expected"], Some(0)));
    }
}

/// Fails on its only row.
const HOPELESS: &str = "SELECT count(*) / (count(*) - count(*)) AS share FROM orders";

#[test]
fn each_bad_event_is_kept_exactly_once() {
    let orders = Orders::new(VIEWS);
    orders.declare("fussy", FUSSY);
    orders.declare("hopeless", HOPELESS);
    let mut mixture = Mixture { orders, sequence: 0, letters: Vec::new() };
    mixture.publish(50_000);

    let mut command = mixture.orders.alluvium(&["run", "--http", "127.0.0.1:0"]);
    let mut running = Running(mixture.orders.logging(&mut command).spawn().unwrap());
    wait_until("every view has committed everything", || mixture.all_committed());
    let info: serde_json::Value =
        serde_json::from_slice(&std::fs::read(mixture.orders.dir().join("data/run.lock")).unwrap()).unwrap();
    let url = format!("http://{}/metrics", info["http"].as_str().unwrap());
    let scraped = ureq::get(&url).call().unwrap().body_mut().read_to_string().unwrap();
    let scrape = prometheus_parse::Scrape::parse(scraped.lines().map(|line| Ok(line.to_owned()))).unwrap();
    let counted = |metric: &str| -> f64 {
        let samples = scrape.samples.iter().filter(|sample| sample.metric == metric);
        let counts = samples.map(|sample| match sample.value {
            prometheus_parse::Value::Counter(count) => count,
            ref other => panic!("{other:?}"),
        });
        counts.sum()
    };
    assert_eq!(counted("alluvium_dead_letters_total"), mixture.letters.len() as f64);
    // One row is left out at each commit, and there is at least one commit.
    assert!(counted("alluvium_rows_left_out_total") >= 1.0);
    let status = mixture.orders.alluvium(&["status", "--format", "json"]).output().unwrap();
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    let hopeless = status["views"].as_array().unwrap().iter().find(|view| view["view"] == "hopeless").unwrap();
    assert!(hopeless["left_out"].as_u64() >= Some(1), "{hopeless}");
    mixture.assert_right();

    mixture.publish(50_000);
    running.kill();
    let mut running = mixture.orders.start();
    let commits = mixture.orders.rng.u64(0..=3);
    mixture.orders.wait_for_commits(&mut running, "totals", commits, mixture.sequence + 1);
    running.kill();
    mixture.orders.catch_up_perhaps_with_letters();
    mixture.assert_right();
}

#[test]
fn a_views_rows_are_the_same_whichever_other_views_there_are() {
    let (by_country, totals) = (VIEWS[0], VIEWS[4]);
    let mut orders = Orders::new(&[by_country]);
    let mut bad = Vec::new();
    let mut sequence = 0;
    let mut publish = |orders: &mut Orders| {
        let mut lines = String::new();
        let bodies = (0..5_000).map(|_| {
            let good = orders.next();
            sequence += 1;
            let body = if sequence % 7 == 0 { broken(3, &good).unwrap() } else { good.clone().into_bytes() };
            if sequence % 7 == 0 {
                bad.push(sequence);
            }
            writeln!(lines, "{}", if sequence % 7 == 0 { without_number(&good) } else { good }).unwrap();
            body
        });
        let bodies = bodies.collect();
        orders.append(&lines);
        orders.publish_bodies(bodies);
        bad.clone()
    };
    let letters = |orders: &Orders| {
        let sql = format!(
            "SELECT CAST(sequence AS BIGINT) AS sequence, view, error FROM read_parquet('{}/data/dead_letters/*.parquet') ORDER BY ALL",
            orders.dir().display()
        );
        let rows = duckdb::rows(&sql).unwrap();
        assert!(rows.iter().all(|row| row["view"] == "totals"), "{:?}", rows.first());
        let error = "column order_id: expected BIGINT, found \"x\", at byte 12";
        assert!(rows.iter().all(|row| row["error"] == error), "{:?}", rows.first());
        rows.iter().map(|row| row["sequence"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    publish(&mut orders);
    orders.catch_up();
    orders.assert_equal(&[by_country]);
    assert!(!orders.dir().join("data/dead_letters").read_dir().unwrap().any(|entry| entry.unwrap().path().is_file()));

    // A view that is added later finds the same bad events as one that has been there from the start.
    orders.declare(totals.0, totals.1);
    let mut running = orders.start();
    let expected = publish(&mut orders);
    orders.wait_for_commits(&mut running, "totals", 1, 10_001);
    running.kill();
    orders.catch_up_perhaps_with_letters();
    let both = [by_country, totals];
    orders.assert_equal(&both);
    assert_eq!(letters(&orders), expected);
    for view in ["by_country", "totals"] {
        orders.succeed(&["rebuild", view]);
        orders.assert_equal(&both);
        assert_eq!(letters(&orders), expected);
    }
    std::fs::remove_file(orders.dir().join("totals.sql")).unwrap();
    orders.succeed(&["drop", "totals", "--yes"]);
    orders.catch_up();
    orders.succeed(&["rebuild", "by_country"]);
    orders.assert_equal(&[by_country]);
}
