//! The cost of a step as state grows, by class: the time of 1,000 changes with 10,000, 100,000 and 1,000,000 rows of state.
//!
//! A step is a push, flush and checkpoint of one view's operators in this process, without source and disk. There are a tenth as many
//! keys as rows, and the rows of a step have distinct keys, so that a step touches the same number of rows at each size of the state.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use alluvium_projections::{Delta, Projection};
use alluvium_sql::{Catalog, SqlFile, ViewPlan};
use arrow::array::{ArrayRef, Int64Array};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::RecordBatch;
use miette::{Context, IntoDiagnostic, Result, miette};

use crate::report::machine;

/// The number of changes in a step.
const STEP: usize = 1_000;
/// The least number of measured steps. Small states are filled several times to reach it, since each step adds to the state.
const STEPS: usize = 60;
/// The steps after one filling add at most one row for this many rows of state.
const ADDED: usize = 4;
/// The number of rows that are pushed at once to fill the state.
const FILL: usize = 20_000;
/// The numbers of rows with which the state is filled.
const SIZES: [usize; 3] = [10_000, 100_000, 1_000_000];
/// The largest factor by which a step may take longer with the most state than with the least.
const MOST_GROWTH: f64 = 2.0;

const SOURCES: &str = "CREATE EXTERNAL TABLE l (k BIGINT, v BIGINT, id BIGINT) STORED AS FILE LOCATION 'l';
    CREATE EXTERNAL TABLE r (k BIGINT, v BIGINT, id BIGINT) STORED AS FILE LOCATION 'r';";

const SHAPES: [(&str, &str); 24] = [
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
    (
        "left join to few keys",
        "SELECT l.id, t.g FROM l LEFT JOIN (SELECT DISTINCT k % 50 AS g FROM r WHERE k % 5 < 4) AS t ON l.k % 50 = t.g",
    ),
    ("left join with a condition", "SELECT l.id, r.id AS other, r.v FROM l LEFT JOIN r ON l.k = r.k AND l.v < r.v"),
    ("full join", "SELECT l.id, r.id AS other, r.v FROM l FULL JOIN r ON l.k = r.k"),
    (
        "full join of changing rows with a condition",
        "SELECT l.k, l.n, t.k AS other, t.m FROM (SELECT k, count(*) AS n, sum(v) AS s FROM l GROUP BY k) AS l \
         FULL JOIN (SELECT k, count(*) AS m, sum(v) AS s FROM r GROUP BY k) AS t ON l.k = t.k AND l.s < t.s",
    ),
    ("semi join", "SELECT l.id, l.v FROM l WHERE EXISTS (SELECT 1 FROM r WHERE r.k = l.k)"),
    ("anti join", "SELECT l.id, l.v FROM l WHERE NOT EXISTS (SELECT 1 FROM r WHERE r.k = l.k)"),
    ("except", "SELECT k, v FROM l EXCEPT SELECT k, v FROM r"),
    ("window", "SELECT id, sum(v) OVER (PARTITION BY k ORDER BY id) AS s FROM l"),
    ("window of few keys", "SELECT id, sum(v) OVER (PARTITION BY k % 50 ORDER BY id) AS s FROM l"),
    ("window without a key", "SELECT id, sum(v) OVER (ORDER BY id) AS s FROM l"),
    ("window of few keys, in the middle", "SELECT id, sum(v) OVER (PARTITION BY k % 50 ORDER BY v, id) AS s FROM l"),
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
    ("max of all changing rows", "SELECT max(s) AS m FROM (SELECT k, sum(v) AS s FROM l GROUP BY k) AS t"),
    (
        "max over changing rows",
        "SELECT k % 100000 AS g, max(s) AS m FROM (SELECT k, sum(v) AS s FROM l GROUP BY k) AS t GROUP BY k % 100000",
    ),
];

/// Measures all shapes whose names contain one of `only`, and writes the table.
pub(crate) fn measure(scale: f64, only: &[String], report: &Path) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().into_diagnostic()?;
    let mut text = format!(
        "# The cost of a step\n\nMeasured by `make steps` on {}. A step is the push, flush and checkpoint of {STEP} changes. `step` is the \
         median of at least {STEPS} steps, `95%` their 95th percentile. `growth` compares the median with that of the smallest state; \
         its target is at most {MOST_GROWTH}.\n\n",
        machine()
    );
    text.push_str("| shape | class | rows | step, ms | 95%, ms | changes emitted | state rows | bytes per row | growth | |\n");
    text.push_str("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n");
    print!("{text}");
    for (name, sql) in SHAPES.iter().filter(|(name, _)| only.is_empty() || only.iter().any(|part| name.contains(part))) {
        let mut least = None;
        for rows in SIZES.map(|rows| (rows as f64 * scale) as usize) {
            let measured = runtime.block_on(steps(sql, rows)).wrap_err_with(|| format!("{name}, {rows} rows"))?;
            let median = measured.median.as_secs_f64() * 1e3;
            let growth = median / *least.get_or_insert(median);
            let mut line = format!("| {name} | {} | {rows} | {median:.2} | ", measured.class);
            let late = measured.late.as_secs_f64() * 1e3;
            let _ = write!(line, "{late:.2} | {} | {} | ", measured.changes, measured.state_rows);
            let missed = if growth > MOST_GROWTH { "missed" } else { "" };
            let _ = writeln!(line, "{} | {growth:.1} | {missed} |", measured.state_bytes / measured.state_rows.max(1));
            print!("{line}");
            text.push_str(&line);
        }
    }
    std::fs::write(report, text).into_diagnostic().wrap_err_with(|| format!("writing {}", report.display()))?;
    println!("written to {}", report.display());
    Ok(())
}

struct Measured {
    class: String,
    median: Duration,
    late: Duration,
    /// The number of row changes that a step emits, on average.
    changes: usize,
    state_rows: u64,
    state_bytes: u64,
}

/// Makes the rows of one source.
struct Feed {
    random: fastrand::Rng,
    keys: Vec<i64>,
    /// The index of the next key. Every key is used once before any is used again.
    key: usize,
    next: i64,
}

impl Feed {
    fn new(keys: usize) -> Feed {
        let mut random = fastrand::Rng::with_seed(1);
        let mut all: Vec<i64> = (0..keys as i64).collect();
        random.shuffle(&mut all);
        Feed { random, keys: all, key: 0, next: 0 }
    }

    fn rows(&mut self, rows: usize) -> Result<Delta> {
        let fields = ["k", "v", "id"].map(|name| Field::new(name, DataType::Int64, true));
        let keys = (0..rows).map(|row| self.keys[(self.key + row) % self.keys.len()]);
        let k: ArrayRef = Arc::new(Int64Array::from_iter_values(keys));
        let v: ArrayRef = Arc::new(Int64Array::from_iter_values((0..rows).map(|_| self.random.i64(0..1_000_000))));
        let id: ArrayRef = Arc::new(Int64Array::from_iter_values(self.next..self.next + rows as i64));
        self.key = (self.key + rows) % self.keys.len();
        self.next += rows as i64;
        let rows = RecordBatch::try_new(Arc::new(Schema::new(fields.to_vec())), vec![k, v, id]).into_diagnostic()?;
        Ok(Delta::insertions(rows))
    }
}

/// Fills the state of a view, and times the steps that follow.
async fn steps(sql: &str, rows: usize) -> Result<Measured> {
    let text = format!("{SOURCES} CREATE MATERIALIZED VIEW measured AS {sql};");
    let catalog = Catalog::load(&[SqlFile { path: "measured.sql".to_owned(), text }])
        .map_err(|errors| miette!("the view does not load: {errors:?}"))?;
    let plan = &catalog.views.first().ok_or_else(|| miette!("there is no view"))?.plan;
    let at_once = (rows / ADDED / STEP).clamp(1, STEPS);
    let (mut times, mut changes, mut state) = (Vec::new(), 0, (0, 0));
    while times.len() < STEPS {
        let mut filled = Filled::new(plan, rows).await?;
        state = filled.projection.state_size();
        for _ in 0..at_once {
            let (took, changed) = filled.step().await?;
            times.push(took);
            changes += changed;
        }
    }
    let count = times.len();
    times.sort();
    Ok(Measured {
        class: plan.root.most_expensive_class().to_string(),
        median: times[count / 2],
        late: times[count * 95 / 100],
        changes: changes / count,
        state_rows: state.0,
        state_bytes: state.1,
    })
}

/// A view's operators with filled state, and the feeds of their sources.
struct Filled<'a> {
    projection: Projection,
    feeds: Vec<(&'a str, Feed)>,
}

impl<'a> Filled<'a> {
    async fn new(plan: &'a ViewPlan, rows: usize) -> Result<Filled<'a>> {
        let mut projection = Projection::new(plan).await.into_diagnostic()?;
        let mut feeds: Vec<(&str, Feed)> = plan.reads.iter().map(|(_, name)| (name.as_str(), Feed::new(rows / 10))).collect();
        let sources = feeds.len();
        for filled in (0..rows).step_by(FILL) {
            for (source, feed) in &mut feeds {
                let rows = feed.rows(FILL.min(rows - filled) / sources)?;
                projection.push(source, &[0, 1, 2], &rows).await.into_diagnostic()?;
            }
            projection.flush().await.into_diagnostic()?;
            projection.checkpoint();
        }
        Ok(Filled { projection, feeds })
    }

    /// Runs a step. Returns how long it takes, and how many row changes it emits.
    async fn step(&mut self) -> Result<(Duration, usize)> {
        let sources = self.feeds.len();
        let rows = self.feeds.iter_mut().map(|(_, feed)| feed.rows(STEP / sources)).collect::<Result<Vec<Delta>>>()?;
        let began = Instant::now();
        for ((source, _), rows) in self.feeds.iter().zip(&rows) {
            self.projection.push(source, &[0, 1, 2], rows).await.into_diagnostic()?;
        }
        let changes = self.projection.flush().await.into_diagnostic()?;
        self.projection.checkpoint();
        Ok((began.elapsed(), changes.iter().map(|delta| delta.rows.num_rows()).sum()))
    }
}
