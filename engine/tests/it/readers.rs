//! Readers at work while commits replace the files that they read. Orders are numbered from 1, so that the sum of the numbers proves
//! that a view holds exactly the first n orders.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::duckdb;
use crate::orders::{Orders, offset_in, publish_to};

/// How many queries of each kind to run.
const QUERIES: usize = 2_000;
/// How many of the DuckDB queries run in a process of their own.
const PROCESSES: usize = 100;

const NUMBERED: &[(&str, &str)] = &[
    ("numbers", "SELECT customer % 1000 AS bucket, count(*) AS n, sum(order_id) AS ids FROM orders GROUP BY customer % 1000"),
    ("counts", "SELECT bucket, n FROM numbers"),
];

/// Asserts that the answer holds exactly the first n orders, and no fewer than the previous answer.
fn check(row: &serde_json::Value, last: &mut u64) {
    let number = |name: &str| row[name].as_u64().unwrap_or_else(|| panic!("{row}"));
    let n = number("n");
    assert_eq!(number("ids"), n * (n + 1) / 2, "{row}");
    assert!(n >= *last, "{n} orders after {last}");
    if !row["other"].is_null() {
        assert_eq!(number("other"), n, "views that are committed together differ: {row}");
    }
    *last = n;
}

const SUMS: &str = "CAST(sum(n) AS BIGINT) AS n, CAST(sum(ids) AS BIGINT) AS ids";

#[test]
fn every_answer_is_one_commit() {
    let mut orders = Orders::new(NUMBERED);
    orders.publish(5_000);
    orders.catch_up();
    let mut running = orders.start();
    let stop = Arc::new(AtomicBool::new(false));
    let bodies: Vec<Vec<u8>> = (0..1_000_000).map(|_| orders.next().into_bytes()).collect();
    let publisher = std::thread::spawn({
        let (stop, url, manifest) = (Arc::clone(&stop), orders.server.url(), orders.view("numbers").join("manifest.json"));
        move || {
            // Keep a few events ahead of the view, so that there is always something to commit. A million is more than is ever needed.
            let mut published = 5_000;
            for chunk in bodies.chunks(100) {
                while published + 1 > offset_in(&manifest) + 500 && !stop.load(Ordering::SeqCst) {
                    std::thread::sleep(std::time::Duration::from_millis(5));
                }
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                publish_to(&url, chunk.to_vec());
                published += chunk.len() as u64;
            }
        }
    });
    let first_epoch = orders.epoch("numbers");

    let (mut last, mut retried) = (0, 0);
    let mut session = duckdb::Session::start();
    let mut ask = |query: usize, sql: &str| if query < PROCESSES { duckdb::rows(sql) } else { session.rows(sql) };
    for query in 0..QUERIES {
        let sql = format!("SELECT {SUMS} FROM read_parquet('{}/current/*.parquet')", orders.view("numbers").display());
        let row = loop {
            match ask(query, &sql) {
                Ok(rows) => break rows[0].clone(),
                Err(error) if error.contains("No such file") || error.contains("No files found") => retried += 1,
                Err(error) => panic!("{error}"),
            }
            assert!(retried < QUERIES, "more often retried than answered");
        };
        check(&row, &mut last);
    }
    println!("current: {retried} of {QUERIES} were asked again");

    for query in 0..QUERIES {
        let files = |view: &str| {
            let manifest: serde_json::Value =
                serde_json::from_slice(&std::fs::read(orders.view(view).join("manifest.json")).unwrap()).unwrap();
            (manifest["epoch"].clone(), manifest["files"].to_string().replace('"', "'"))
        };
        let (numbers, counts) = loop {
            let (numbers, counts) = (files("numbers"), files("counts"));
            if numbers.0 == counts.0 {
                break (numbers.1, counts.1);
            }
        };
        let sql = format!(
            "SELECT {SUMS}, (SELECT CAST(sum(n) AS BIGINT) FROM read_parquet({counts})) AS other FROM read_parquet({numbers})"
        );
        check(&ask(query, &sql).unwrap()[0], &mut last);
    }

    let while_asked = orders.epoch("numbers");
    for _ in 0..QUERIES {
        let sql = format!("SELECT {SUMS}, (SELECT CAST(sum(n) AS BIGINT) FROM counts) AS other FROM numbers");
        let answer = orders.succeed(&["query", &sql, "--format", "json"]);
        check(&serde_json::from_str(answer.trim()).unwrap(), &mut last);
    }
    stop.store(true, Ordering::SeqCst);
    let ended_early = publisher.is_finished();
    publisher.join().unwrap();
    let (duckdb, query) = (while_asked - first_epoch, orders.epoch("numbers") - while_asked);
    println!("{duckdb} commits under DuckDB and {query} under alluvium query, {last} orders");
    assert!(!ended_early, "the last queries saw no commits");
    assert!(duckdb > 20 && query > 20, "too few commits to prove anything: {duckdb} and {query}");
    assert_eq!(running.end(), Some(0), "{}", orders.log());
}
