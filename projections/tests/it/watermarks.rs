//! `emit = 'final'` and `retain`: the law with the filters that they stand for, written out as SQL; and that what is old is dropped.

use std::sync::Arc;

use alluvium_sql::{Catalog, SqlFile};
use arrow::array::{ArrayRef, Int64Array, StringArray, TimestampMillisecondArray};
use arrow::record_batch::RecordBatch;
use fastrand::Rng;

use crate::law::{Cut, Event, Prefixes, hold};
use crate::oracle;
use crate::pipeline::Pipeline;

const SOURCES: &str = "
CREATE EXTERNAL TABLE seen (id BIGINT, k VARCHAR, at_ms TIMESTAMP(3)) STORED AS FILE LOCATION 'seen' OPTIONS (watermark 'at_ms - 2 seconds');
CREATE EXTERNAL TABLE paid (id BIGINT, k VARCHAR, at_ms TIMESTAMP(3)) STORED AS FILE LOCATION 'paid' OPTIONS ('watermark' 'at_ms');
CREATE EXTERNAL TABLE named (id BIGINT, k VARCHAR, at_ms TIMESTAMP(3)) STORED AS FILE LOCATION 'named';
";

const TUMBLE: &str = "TUMBLE(seen, at_ms, INTERVAL '3 seconds')";

/// Queries, and of which sources they have watermarks.
fn queries() -> Vec<(String, &'static [&'static str])> {
    vec![
        (format!("SELECT window_end, k, count(*) AS n, max(id) AS m FROM {TUMBLE} GROUP BY window_end, k"), &["seen"]),
        (format!("SELECT window_start, window_end, id FROM {TUMBLE} WHERE id % 3 > 0"), &["seen"]),
        (
            "SELECT k, window_end, sum(id) AS s FROM HOP(seen, at_ms, INTERVAL '1 second', INTERVAL '3 seconds') GROUP BY window_end, k HAVING count(*) > 1"
                .to_owned(),
            &["seen"],
        ),
        (
            format!(
                "SELECT window_end, id FROM (SELECT window_end, id, row_number() OVER (PARTITION BY window_end ORDER BY k NULLS LAST, id DESC) AS place FROM {TUMBLE}) WHERE place <= 2"
            ),
            &["seen"],
        ),
        ("SELECT k, min(at_ms) AS first, window_end FROM SESSION(seen, at_ms, INTERVAL '1 second' PARTITION BY k) GROUP BY k, window_end".to_owned(), &["seen"]),
        // A column of that name, and NULL in it.
        ("SELECT id, CASE WHEN id % 5 > 0 THEN at_ms END AS window_end FROM seen".to_owned(), &["seen"]),
        (
            format!(
                "SELECT s.window_end, s.n, p.m FROM (SELECT window_end, k, count(*) AS n FROM {TUMBLE} GROUP BY window_end, k) AS s
                 JOIN (SELECT window_end, k, count(*) AS m FROM TUMBLE(paid, at_ms, INTERVAL '3 seconds') GROUP BY window_end, k) AS p
                 ON s.window_end = p.window_end AND s.k = p.k"
            ),
            &["seen", "paid"],
        ),
        (format!("SELECT w.window_end, w.id, n.k FROM {TUMBLE} AS w LEFT JOIN named AS n ON w.id = n.id"), &["seen"]),
        (format!("SELECT min(window_end) AS window_end, count(*) AS n FROM {TUMBLE}"), &["seen"]),
    ]
}

/// A query with the filters that the options stand for.
fn written_out(query: &str, sources: &[&str], emits_final: bool, retains: bool) -> String {
    let reached = |source: &&str| {
        let delay = if *source == "seen" { 2 } else { 0 };
        format!("(SELECT max(at_ms) - INTERVAL '{delay} seconds' FROM {source})")
    };
    let over: Vec<String> = sources.iter().map(|source| format!("window_end <= {}", reached(source))).collect();
    let old: Vec<String> = sources
        .iter()
        .map(|source| format!("coalesce(window_end <= {} - INTERVAL '5 seconds', false)", reached(source)))
        .collect();
    let mut filters = Vec::new();
    if emits_final {
        filters.push(over.join(" AND "));
    }
    if retains {
        filters.push(format!("NOT ({})", old.join(" AND ")));
    }
    format!("SELECT * FROM ({query}) AS q WHERE {}", filters.join(" AND "))
}

fn catalog(views: &str) -> Catalog {
    let text = format!("{SOURCES}{views}");
    Catalog::load(&[SqlFile { path: "watermarks.sql".to_owned(), text }]).unwrap_or_else(|errors| panic!("{errors}"))
}

/// Events whose time goes on, some of them late, some very late, some without a time.
fn events(random: &mut Rng, catalog: &Catalog, count: i64) -> Vec<Event> {
    (0..count)
        .map(|number| {
            let source = ["seen", "seen", "paid", "named"][random.usize(..4)];
            let now = number * 300;
            let time = match random.u8(..10) {
                0 => None,
                1 => Some(now - random.i64(0..30_000)),
                2 | 3 => Some(now / 1_000 * 1_000),
                _ => Some(now - random.i64(0..3_000)),
            };
            let key = (random.u8(..5) > 0).then(|| ["p", "q"][random.usize(..2)]);
            let columns: Vec<ArrayRef> = vec![
                Arc::new(Int64Array::from(vec![random.i64(0..20)])),
                Arc::new(StringArray::from(vec![key])),
                Arc::new(TimestampMillisecondArray::from(vec![time])),
            ];
            let rows = RecordBatch::try_new(Arc::clone(&catalog.sources[source].schema), columns).unwrap();
            Event { source: source.to_owned(), rows }
        })
        .collect()
}

#[tokio::test(flavor = "current_thread")]
async fn windows_come_when_they_are_over_and_go_when_they_are_old() {
    let seed = std::env::var("ALLUVIUM_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    println!("seed {seed}");
    let mut random = Rng::with_seed(seed);
    for (query, sources) in queries() {
        let mut shown = 0;
        for (emits_final, retains) in [(true, false), (false, true), (true, true)] {
            let options = match (emits_final, retains) {
                (true, false) => "emit = 'final'",
                (false, _) => "retain = '5 seconds'",
                (true, true) => "emit = 'final', retain = '5s'",
            };
            let over_it =
                "CREATE MATERIALIZED VIEW over_it AS SELECT window_end, count(*) AS rows FROM asked GROUP BY window_end;";
            let ours = catalog(&format!("CREATE MATERIALIZED VIEW asked WITH ({options}) AS {query};\n{over_it}"));
            let theirs = catalog(&format!(
                "CREATE MATERIALIZED VIEW asked AS {};\n{over_it}",
                written_out(&query, sources, emits_final, retains)
            ));
            let events = events(&mut random, &ours, 60);
            for count in (0..=events.len()).step_by(5) {
                let (ours, theirs) = (
                    oracle::views(&ours, &events[..count]).await.unwrap(),
                    oracle::views(&theirs, &events[..count]).await.unwrap(),
                );
                for (ours, theirs) in ours.iter().zip(&theirs) {
                    shown += usize::from(!ours.0.is_empty());
                    if let Some(difference) = ours.difference(theirs) {
                        panic!("{options} {query} after {count}: the filter as planned and as written:\n{difference}");
                    }
                }
            }
            let mut prefixes = Prefixes::default();
            for cut in [Cut::Every(1), Cut::Every(7), Cut::Every(usize::MAX), Cut::Random(seed), Cut::Random(seed + 1)] {
                hold(&ours, &events, &cut, &mut prefixes).await;
            }
        }
        assert!(shown > 0, "{query} shows nothing");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn what_is_old_is_dropped() {
    let query = format!("SELECT window_end, id, count(*) AS n FROM {TUMBLE} GROUP BY window_end, id");
    let mut held = Vec::new();
    for options in ["emit = 'changes'", "emit = 'final'", "emit = 'final', retain = '5 seconds'"] {
        let catalog = catalog(&format!("CREATE MATERIALIZED VIEW asked WITH ({options}) AS {query};"));
        let mut random = Rng::with_seed(1);
        let mut pipeline = Pipeline::new(&catalog).await;
        let mut most = 0;
        for step in events(&mut random, &catalog, 3_000).chunks(10) {
            for event in step {
                pipeline.push(&event.source, &event.rows).await;
            }
            pipeline.flush().await;
            pipeline.checkpoint();
            most = most.max(pipeline.state_rows());
        }
        held.push(most);
    }
    // Of 900 seconds, and of those that are not over or not old.
    assert!(held[0] > 1_000, "{held:?}");
    assert!(held[1] > held[0], "{held:?}");
    assert!(held[2] < 250, "{held:?}");
}
