//! Measures a step of 1,000 changes with 10,000, 100,000 and 1,000,000 rows of state, for each class: push, flush and checkpoint.
//!
//! Keys are as many as a tenth of the rows, so that a change touches as many rows whatever the size of the state.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use alluvium_projections::{Delta, Projection};
use alluvium_sql::{Catalog, SqlFile};
use arrow::array::{ArrayRef, Int64Array};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::RecordBatch;

const STEP: usize = 1_000;
const STEPS: usize = 60;

const SOURCES: &str = "CREATE EXTERNAL TABLE l (k BIGINT, v BIGINT, id BIGINT) STORED AS FILE LOCATION 'l';
    CREATE EXTERNAL TABLE r (k BIGINT, v BIGINT, id BIGINT) STORED AS FILE LOCATION 'r';";

const QUERIES: [(&str, &str); 16] = [
    ("merge", "SELECT k, count(*) AS n, sum(v) AS s, max(v) AS m FROM l GROUP BY k"),
    ("distinct, insert-only", "SELECT DISTINCT k, v FROM l"),
    (
        "sums over changing rows",
        "SELECT m, count(*) AS n, sum(k) AS s FROM (SELECT k, max(v) AS m FROM l GROUP BY k) AS t GROUP BY m",
    ),
    ("distinct over changing rows", "SELECT DISTINCT m FROM (SELECT k, sum(v) AS m FROM l GROUP BY k) AS t"),
    ("inner join", "SELECT l.id, r.id AS other, r.v FROM l JOIN r ON l.k = r.k AND l.v < r.v"),
    ("left join", "SELECT l.id, r.id AS other, r.v FROM l LEFT JOIN r ON l.k = r.k"),
    (
        "left join of changing rows",
        "SELECT l.id, t.n FROM l LEFT JOIN (SELECT k, count(*) AS n FROM r GROUP BY k) AS t ON l.k = t.k",
    ),
    ("semi join", "SELECT l.id, l.v FROM l WHERE EXISTS (SELECT 1 FROM r WHERE r.k = l.k)"),
    ("anti join", "SELECT l.id, l.v FROM l WHERE NOT EXISTS (SELECT 1 FROM r WHERE r.k = l.k)"),
    ("except", "SELECT k, v FROM l EXCEPT SELECT k, v FROM r"),
    ("window", "SELECT id, sum(v) OVER (PARTITION BY k ORDER BY id) AS s FROM l"),
    (
        "latest by key",
        "SELECT k, v FROM (SELECT k, v, row_number() OVER (PARTITION BY k ORDER BY id DESC) AS n FROM l) AS t WHERE n = 1",
    ),
    (
        "top 3 by key",
        "SELECT id, v FROM (SELECT id, v, row_number() OVER (PARTITION BY k ORDER BY v DESC, id) AS n FROM l) AS t WHERE n <= 3",
    ),
    ("top 10 of all", "SELECT id, v FROM l ORDER BY v DESC, id LIMIT 10"),
    ("top 10 of changing rows", "SELECT k, sum(v) AS s FROM l GROUP BY k ORDER BY s DESC, k LIMIT 10"),
    (
        "max over changing rows",
        "SELECT k % 100000 AS g, max(s) AS m FROM (SELECT k, sum(v) AS s FROM l GROUP BY k) AS t GROUP BY k % 100000",
    ),
];

struct Feed {
    random: fastrand::Rng,
    keys: i64,
    next: i64,
}

impl Feed {
    fn rows(&mut self, rows: usize) -> Delta {
        let fields = ["k", "v", "id"].map(|name| Field::new(name, DataType::Int64, true));
        let k: ArrayRef = Arc::new(Int64Array::from_iter_values((0..rows).map(|_| self.random.i64(0..self.keys))));
        let v: ArrayRef = Arc::new(Int64Array::from_iter_values((0..rows).map(|_| self.random.i64(0..1_000_000))));
        let id: ArrayRef = Arc::new(Int64Array::from_iter_values(self.next..self.next + rows as i64));
        self.next += rows as i64;
        Delta::insertions(RecordBatch::try_new(Arc::new(Schema::new(fields.to_vec())), vec![k, v, id]).unwrap())
    }
}

/// Median and 95th percentile of a step, changes that a step gives, state rows and bytes.
async fn measure(sql: &str, rows: usize) -> (Duration, Duration, usize, u64, u64) {
    let text = format!("{SOURCES} CREATE MATERIALIZED VIEW measured AS {sql};");
    let catalog = Catalog::load(&[SqlFile { path: "measured.sql".to_owned(), text }]).unwrap();
    let plan = &catalog.views[0].plan;
    let mut projection = Projection::new(plan).await.unwrap();
    let sources: Vec<String> = plan.reads.iter().map(|(_, name)| name.clone()).collect();
    let mut feed = Feed { random: fastrand::Rng::with_seed(1), keys: rows as i64 / 10, next: 0 };
    let mut filled = 0;
    while filled < rows {
        let count = 20_000.min(rows - filled);
        for source in &sources {
            projection.push(source, &[0, 1, 2], &feed.rows(count / sources.len())).await.unwrap();
        }
        filled += count;
        projection.flush().await.unwrap();
        projection.checkpoint();
    }
    let (mut times, mut changes) = (Vec::new(), 0);
    for _ in 0..STEPS {
        let deltas: Vec<Delta> = sources.iter().map(|_| feed.rows(STEP / sources.len())).collect();
        let started = Instant::now();
        for (source, delta) in sources.iter().zip(&deltas) {
            projection.push(source, &[0, 1, 2], delta).await.unwrap();
        }
        changes += projection.flush().await.unwrap().iter().map(|delta| delta.rows.num_rows()).sum::<usize>();
        projection.checkpoint();
        times.push(started.elapsed());
    }
    times.sort();
    let (state_rows, bytes) = projection.state_size();
    (times[STEPS / 2], times[STEPS * 95 / 100], changes / STEPS, state_rows, bytes)
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let only = std::env::args().nth(1).unwrap_or_default();
    println!("| shape | rows | step, median ms | 95% ms | changes a step | state rows | bytes a row | growth |");
    println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
    for (name, sql) in QUERIES.iter().filter(|(name, _)| name.contains(&only)) {
        let mut first = None;
        for rows in [10_000, 100_000, 1_000_000] {
            let (median, late, changes, state, bytes) = measure(sql, rows).await;
            let median = median.as_secs_f64() * 1e3;
            let growth = median / *first.get_or_insert(median);
            let late = late.as_secs_f64() * 1e3;
            let each = bytes / state.max(1);
            println!("| {name} | {rows} | {median:.2} | {late:.2} | {changes} | {state} | {each} | {growth:.1} |");
        }
    }
}
