//! Compares TUMBLE, HOP and SESSION with the same windows written in DuckDB's SQL. The times are random: some are before 1970, some NULL.

use std::sync::Arc;

use alluvium_sql::{Catalog, SqlFile};
use arrow::array::{ArrayRef, Int64Array, StringArray, TimestampMillisecondArray};
use arrow::record_batch::RecordBatch;
use fastrand::Rng;

use super::{bag, from_environment, insert, rows};
use crate::law::{Cut, Event, Prefixes, hold};

const SOURCE: &str = "CREATE EXTERNAL TABLE w (id BIGINT, k VARCHAR, seen TIMESTAMP(3)) STORED AS FILE LOCATION 'w';\nCREATE MATERIALIZED VIEW v AS ";

/// Pairs of the same query in two dialects. Each returns the start and the end of every row's windows, in milliseconds.
fn pairs() -> Vec<(String, String)> {
    let ours = |from: &str| {
        format!("SELECT id, k, CAST(window_start AS BIGINT) AS starts, CAST(window_end AS BIGINT) AS ends FROM {from}")
    };
    let mut pairs = Vec::new();
    for size in [1_000, 1_500, 7_000, 86_400_000] {
        pairs.push((
            ours(&format!("TUMBLE(w, seen, INTERVAL '{size} milliseconds')")),
            format!(
                "SELECT id, k, epoch_ms(start) AS starts, epoch_ms(start) + {size} AS ends FROM
                 (SELECT *, time_bucket(INTERVAL '{size} milliseconds', seen, TIMESTAMP '1970-01-01') AS start FROM w WHERE seen IS NOT NULL)"
            ),
        ));
    }
    for (slide, size) in [(1_000, 3_000), (2_000, 5_000), (3_000, 1_000), (4_000, 4_000), (700, 2_000)] {
        pairs.push((
            ours(&format!("HOP(w, seen, INTERVAL '{slide} milliseconds', INTERVAL '{size} milliseconds')")),
            format!(
                "SELECT id, k, n * {slide} AS starts, n * {slide} + {size} AS ends FROM w, range(-40000 // {slide} - 20, 40000 // {slide} + 20) AS r(n)
                 WHERE epoch_ms(seen) >= n * {slide} AND epoch_ms(seen) < n * {slide} + {size}"
            ),
        ));
    }
    for gap in [500, 2_000, 10_000] {
        for (by, key) in [(" PARTITION BY k", "PARTITION BY k"), ("", ""), (" PARTITION BY k, id % 2", "PARTITION BY k, id % 2")]
        {
            pairs.push((
                ours(&format!("SESSION(w, seen, INTERVAL '{gap} milliseconds'{by})")),
                format!(
                    "WITH flagged AS (
                       SELECT *, CASE WHEN epoch_ms(seen) - lag(epoch_ms(seen)) OVER ({key} ORDER BY seen, id) <= {gap} THEN 0 ELSE 1 END AS opens
                       FROM w WHERE seen IS NOT NULL),
                     numbered AS (SELECT *, sum(opens) OVER ({key} ORDER BY seen, id ROWS UNBOUNDED PRECEDING) AS session FROM flagged)
                     SELECT id, k, min(epoch_ms(seen)) OVER ({key}{comma} session) AS starts, max(epoch_ms(seen)) OVER ({key}{comma} session) + {gap} AS ends
                     FROM numbered",
                    comma = if key.is_empty() { "PARTITION BY" } else { "," },
                ),
            ));
        }
    }
    pairs
}

fn events(random: &mut Rng, catalog: &Catalog) -> Vec<Event> {
    (0..60)
        .map(|id| {
            let time = (random.u8(..8) > 0).then(|| match random.u8(..3) {
                // Times on the edges of windows.
                0 => random.i64(-30..30) * 1_000,
                1 => random.i64(-30..30) * 500 - 1,
                _ => random.i64(-30_000..30_000),
            });
            let key = (random.u8(..5) > 0).then(|| ["p", "q"][random.usize(..2)]);
            let columns: Vec<ArrayRef> = vec![
                Arc::new(Int64Array::from(vec![id])),
                Arc::new(StringArray::from(vec![key])),
                Arc::new(TimestampMillisecondArray::from(vec![time])),
            ];
            let rows = RecordBatch::try_new(Arc::clone(&catalog.sources["w"].schema), columns).unwrap();
            Event { source: "w".to_owned(), rows }
        })
        .collect()
}

#[test]
fn time_windows_agree_with_duckdb() {
    let seed = from_environment("ALLUVIUM_SEED", 1);
    println!("seed {seed}");
    let mut random = Rng::with_seed(seed);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for (ours, theirs) in pairs() {
        let text = format!("{SOURCE}{ours};");
        let catalog = Catalog::load(&[SqlFile { path: "w.sql".to_owned(), text }]).unwrap_or_else(|errors| panic!("{errors}"));
        let events = events(&mut random, &catalog);
        let (kept, _) = runtime.block_on(hold(&catalog, &events, &Cut::Random(seed), &mut Prefixes::default()));
        let filled = format!("CREATE TABLE w (id BIGINT, k VARCHAR, seen TIMESTAMP);\n{}{theirs};\n", insert("w", &events));
        let answer = bag(&rows(&filled), &catalog.views[0].plan.schema);
        assert!(!answer.0.is_empty(), "{theirs}");
        if let Some(difference) = kept[0].difference(&answer) {
            panic!("{ours}\nkept and DuckDB:\n{difference}\n{filled}");
        }
    }
}
