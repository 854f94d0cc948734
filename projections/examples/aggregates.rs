//! Measures aggregation without any input or output: rows a second, the cost of a small epoch, memory for each key.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;
use std::time::Instant;

use alluvium_projections::{Delta, Projection};
use alluvium_sql::{Catalog, SqlFile};
use arrow::array::{ArrayRef, Int64Array};
use arrow::record_batch::RecordBatch;

const BATCH: usize = 65_536;

async fn projection(sql: &str) -> Projection {
    let text = format!(
        "CREATE EXTERNAL TABLE events (k BIGINT, v BIGINT) STORED AS FILE LOCATION 'x'; CREATE MATERIALIZED VIEW measured AS {sql};"
    );
    let catalog = Catalog::load(&[SqlFile { path: "measured.sql".to_owned(), text }]).unwrap();
    Projection::new(&catalog.views[0].plan).await.unwrap()
}

fn events(random: &mut fastrand::Rng, rows: usize, keys: i64) -> Delta {
    let schema = arrow::datatypes::Schema::new(vec![
        arrow::datatypes::Field::new("k", arrow::datatypes::DataType::Int64, true),
        arrow::datatypes::Field::new("v", arrow::datatypes::DataType::Int64, true),
    ]);
    let k: ArrayRef = Arc::new(Int64Array::from_iter_values((0..rows).map(|_| random.i64(0..keys))));
    let v: ArrayRef = Arc::new(Int64Array::from_iter_values((0..rows).map(|_| random.i64(0..1000))));
    Delta::insertions(RecordBatch::try_new(Arc::new(schema), vec![k, v]).unwrap())
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

fn peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

async fn throughput(sql: &str, keys: i64) {
    let mut random = fastrand::Rng::with_seed(1);
    let batches: Vec<Delta> = (0..16).map(|_| events(&mut random, BATCH, keys)).collect();
    let mut projection = projection(sql).await;
    let started = Instant::now();
    let rounds = if keys < 1000 { 20 } else { 4 };
    for _ in 0..rounds {
        // A flush about each second at two million rows a second.
        for batch in &batches {
            projection.push("events", &[0, 1], batch).await.unwrap();
        }
        projection.flush().await.unwrap();
        projection.checkpoint();
    }
    let rows = rounds * batches.len() * BATCH;
    println!("{keys:>9} keys: {:.1} M rows/s: {sql}", rows as f64 / started.elapsed().as_secs_f64() / 1e6);
}

async fn small_epochs(keys: i64) {
    let before = resident_bytes();
    let mut random = fastrand::Rng::with_seed(1);
    let mut projection = projection("SELECT k, count(*), sum(v), max(v) FROM events GROUP BY k").await;
    for start in (0..keys).step_by(50_000) {
        let count = 50_000.min(keys - start) as usize;
        let mut delta = events(&mut random, count, keys);
        let k: ArrayRef = Arc::new(Int64Array::from_iter_values(start..start + count as i64));
        delta.rows = RecordBatch::try_new(delta.rows.schema(), vec![k, Arc::clone(delta.rows.column(1))]).unwrap();
        projection.push("events", &[0, 1], &delta).await.unwrap();
        if start % 250_000 == 0 {
            projection.flush().await.unwrap();
            projection.checkpoint();
        }
    }
    projection.flush().await.unwrap();
    projection.checkpoint();
    let (rows, bytes) = projection.state_size();
    println!("{keys:>9} keys: state {} bytes a key, resident {} more bytes a key, peak {} MB", bytes / rows, resident_bytes().saturating_sub(before) / rows, peak_bytes() >> 20);
    let (mut times, mut written) = (Vec::new(), Vec::new());
    for _ in 0..400 {
        let delta = events(&mut random, 100, keys);
        let started = Instant::now();
        projection.push("events", &[0, 1], &delta).await.unwrap();
        let changes: usize = projection.flush().await.unwrap().iter().map(|delta| delta.rows.num_rows()).sum();
        let tables = projection.checkpoint();
        times.push(started.elapsed());
        assert!(changes <= 200);
        let batches = tables.iter().flat_map(|table| &table.added);
        written.push(batches.map(|(_, rows)| rows.get_array_memory_size()).sum::<usize>());
    }
    times.sort();
    written.sort();
    println!(
        "{keys:>9} keys, 100 changed: push, flush and checkpoint {:?} median, {:?} p99, {:?} most; state written {} median, {} most",
        times[200], times[396], times[399], written[200], written[399]
    );
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    // Alone in its process, so that memory freed by the others is not counted as its own.
    if std::env::args().nth(1).is_some_and(|argument| argument == "memory") {
        return small_epochs(1_000_000).await;
    }
    for keys in [5, 1_000, 100_000, 1_000_000] {
        throughput("SELECT k, count(*), sum(v) FROM events GROUP BY k", keys).await;
        throughput("SELECT k, count(*), sum(v), max(v) FROM events GROUP BY k", keys).await;
    }
    throughput("SELECT count(*), sum(v) FROM events", 5).await;
    throughput("SELECT k + 1 AS k, v FROM events WHERE v > 500", 5).await;
    for keys in [10_000, 1_000_000] {
        small_epochs(keys).await;
    }
}
