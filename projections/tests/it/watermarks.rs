//! Tests `emit = 'final'` and `retain`: the law holds with their filters written out as SQL, and expired state is evicted.

use std::sync::Arc;

use alluvium_sql::{Catalog, SqlFile};
use arrow::array::{Array, ArrayRef, AsArray, Int64Array, StringArray, TimestampMillisecondArray};
use arrow::datatypes::TimestampMillisecondType;
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

/// A query, the sources whose watermarks bound it, and what it still stores under `retain`.
struct Asked {
    query: String,
    sources: &'static [&'static str],
    remembers: Remembers,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Remembers {
    /// Only retained windows.
    Retained,
    /// Only retained windows, since rows that arrive too late for them are dropped.
    RetainedInTime,
    /// Some state for ever.
    More,
}

fn asked(query: &str, sources: &'static [&'static str], remembers: Remembers) -> Asked {
    let query = query.replace("{SEEN}", TUMBLE).replace("{PAID}", "TUMBLE(paid, at_ms, INTERVAL '3 seconds')");
    Asked { query, sources, remembers }
}

// A list.
#[allow(clippy::too_many_lines)]
fn queries() -> Vec<Asked> {
    use Remembers::{More, Retained, RetainedInTime};
    let (seen, both): (&[&str], &[&str]) = (&["seen"], &["seen", "paid"]);
    vec![
        asked("SELECT window_end, k, count(*) AS n, max(id) AS m FROM {SEEN} GROUP BY window_end, k", seen, Retained),
        asked("SELECT window_start, window_end, id FROM {SEEN} WHERE id % 3 > 0", seen, Retained),
        asked(
            "SELECT k, window_end, sum(id) AS s FROM HOP(seen, at_ms, INTERVAL '1 second', INTERVAL '3 seconds') GROUP BY window_end, k HAVING count(*) > 1",
            seen,
            Retained,
        ),
        asked("SELECT DISTINCT k, window_end FROM {SEEN}", seen, Retained),
        asked(
            "SELECT k, date_bin(INTERVAL '3 seconds', at_ms) + INTERVAL '3 seconds' AS window_end, count(DISTINCT id) AS n FROM seen GROUP BY 1, 2",
            seen,
            Retained,
        ),
        // Ranks, and other window functions by partition.
        asked(
            "SELECT window_end, id FROM (SELECT window_end, id, row_number() OVER (PARTITION BY window_end ORDER BY k NULLS LAST, id DESC) AS place FROM {SEEN}) WHERE place <= 2",
            seen,
            Retained,
        ),
        asked("SELECT window_end, id, rank() OVER (PARTITION BY window_end, k ORDER BY id) AS place FROM {SEEN}", seen, Retained),
        asked("SELECT window_end, id, sum(id) OVER (PARTITION BY k ORDER BY id) AS s FROM {SEEN}", seen, More),
        // Sessions.
        asked(
            "SELECT k, min(at_ms) AS first, window_end FROM SESSION(seen, at_ms, INTERVAL '1 second' PARTITION BY k) GROUP BY k, window_end",
            seen,
            RetainedInTime,
        ),
        asked(
            "SELECT id, window_start, window_end FROM SESSION(seen, at_ms, INTERVAL '700 ms' PARTITION BY k) WHERE id > 2",
            seen,
            RetainedInTime,
        ),
        // Only the column of the watermark tells which rows are late.
        asked(
            "SELECT k, window_end FROM SESSION((SELECT k, at_ms + INTERVAL '1 ms' AS t FROM seen), t, INTERVAL '1 second' PARTITION BY k)",
            seen,
            More,
        ),
        // A `window_end` that is an ordinary column, with NULLs.
        asked("SELECT id, CASE WHEN id % 5 > 0 THEN at_ms END AS window_end FROM seen", seen, Retained),
        // Joins by the window.
        asked(
            "SELECT s.window_end, s.n, p.m FROM (SELECT window_end, k, count(*) AS n FROM {SEEN} GROUP BY window_end, k) AS s
             JOIN (SELECT window_end, k, count(*) AS m FROM {PAID} GROUP BY window_end, k) AS p
             ON s.window_end = p.window_end AND s.k = p.k",
            both,
            Retained,
        ),
        asked(
            "SELECT s.window_end, s.id, p.id AS other FROM {SEEN} AS s JOIN {PAID} AS p ON s.window_end = p.window_end AND s.k = p.k",
            both,
            Retained,
        ),
        asked(
            "SELECT s.window_end, s.id, p.id AS other FROM {SEEN} AS s LEFT JOIN {PAID} AS p ON s.window_end = p.window_end AND s.k = p.k",
            both,
            Retained,
        ),
        asked(
            "SELECT p.window_end, s.id, p.id AS other FROM {SEEN} AS s RIGHT JOIN {PAID} AS p ON s.window_end = p.window_end AND s.id = p.id",
            both,
            Retained,
        ),
        asked(
            "SELECT s.window_end, s.id, p.id AS other FROM {SEEN} AS s FULL JOIN {PAID} AS p ON s.window_end = p.window_end AND s.k = p.k",
            both,
            More,
        ),
        asked(
            "SELECT window_end, id FROM {SEEN} AS s WHERE EXISTS (SELECT 1 FROM {PAID} AS p WHERE p.window_end = s.window_end AND p.k = s.k)",
            both,
            Retained,
        ),
        asked(
            "SELECT window_end, id FROM {SEEN} AS s WHERE NOT EXISTS (SELECT 1 FROM {PAID} AS p WHERE p.window_end = s.window_end AND p.id = s.id)",
            both,
            Retained,
        ),
        asked("SELECT window_end, id FROM {SEEN} AS s WHERE window_end NOT IN (SELECT window_end FROM {PAID} AS p)", both, More),
        asked("SELECT w.window_end, w.id, n.k FROM {SEEN} AS w LEFT JOIN named AS n ON w.id = n.id", seen, More),
        // Operators over input that retracts rows.
        asked(
            "SELECT s.window_end, count(*) AS n, count(p.id) AS m, sum(p.id) AS t FROM {SEEN} AS s LEFT JOIN {PAID} AS p ON s.window_end = p.window_end AND s.k = p.k GROUP BY s.window_end",
            both,
            Retained,
        ),
        asked(
            "SELECT s.window_end, s.k, max(p.id) AS m FROM {SEEN} AS s LEFT JOIN {PAID} AS p ON s.window_end = p.window_end AND s.k = p.k GROUP BY s.window_end, s.k",
            both,
            Retained,
        ),
        asked(
            "SELECT window_end, n, count(*) AS keys FROM (SELECT window_end, k, count(*) AS n FROM {SEEN} GROUP BY window_end, k) GROUP BY window_end, n",
            seen,
            Retained,
        ),
        asked("SELECT window_end, k FROM {SEEN} INTERSECT SELECT window_end, k FROM {PAID}", both, Retained),
        asked("SELECT window_end, k FROM {SEEN} EXCEPT SELECT window_end, k FROM {PAID}", both, Retained),
        asked("SELECT window_end, id FROM {SEEN} UNION SELECT window_end, id FROM {PAID}", both, Retained),
        // Joins bounded by time.
        asked(
            "SELECT s.at_ms AS window_end, s.id, p.id AS other FROM seen AS s JOIN paid AS p ON s.k = p.k AND p.at_ms BETWEEN s.at_ms AND s.at_ms + INTERVAL '1 second'",
            both,
            Retained,
        ),
        asked(
            "SELECT s.window_end, s.id, p.id AS other FROM {SEEN} AS s LEFT JOIN paid AS p ON s.k = p.k AND p.at_ms > s.at_ms - INTERVAL '1 second' AND p.at_ms < s.at_ms + INTERVAL '1 second'",
            both,
            Retained,
        ),
        asked(
            "SELECT s.window_end, count(p.id) AS n FROM {SEEN} AS s LEFT JOIN paid AS p ON s.id = p.id AND p.at_ms >= s.at_ms GROUP BY s.window_end",
            both,
            Retained,
        ),
        asked(
            "SELECT s.window_end, s.id, p.id AS other FROM {SEEN} AS s JOIN paid AS p ON s.k = p.k AND p.at_ms <= s.at_ms",
            both,
            More,
        ),
        asked("SELECT min(window_end) AS window_end, count(*) AS n FROM {SEEN}", seen, More),
        // A column under the name of another; a time of another unit; NULL beyond a range; a cast that may fail.
        asked(
            "SELECT s.at_ms AS window_end, s.id, p.id AS other FROM
             (SELECT id, k, CASE WHEN id > 9 THEN at_ms + INTERVAL '1 hour' ELSE at_ms END AS at_ms, at_ms AS raw FROM seen) AS s
             LEFT JOIN paid AS p ON s.k = p.k AND s.raw <= p.at_ms",
            both,
            More,
        ),
        asked(
            "SELECT id, CAST(window_end AS TIMESTAMP(3)) AS window_end
             FROM SESSION((SELECT id, k, CAST(at_ms AS TIMESTAMP(0)) AS t FROM seen), t, INTERVAL '2 seconds' PARTITION BY k)",
            seen,
            More,
        ),
        asked(
            "SELECT date_bin(INTERVAL '3 seconds', s.at_ms) AS window_end, s.id, p.id AS other FROM seen AS s LEFT JOIN paid AS p ON s.k = p.k AND p.at_ms >= s.at_ms",
            both,
            More,
        ),
        asked(
            "SELECT CAST(CAST(s.at_ms AS VARCHAR) AS TIMESTAMP(3)) AS window_end, s.id, p.id AS other FROM seen AS s JOIN paid AS p ON s.id = p.id",
            both,
            More,
        ),
    ]
}

/// Writes out the filters of the options around a query.
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

pub fn catalog(views: &str) -> Catalog {
    let text = format!("{SOURCES}{views}");
    Catalog::load(&[SqlFile { path: "watermarks.sql".to_owned(), text }]).unwrap_or_else(|errors| panic!("{errors}"))
}

/// Makes events whose time advances. Some are late, some very late, and some have no time.
pub fn events(random: &mut Rng, catalog: &Catalog, count: i64) -> Vec<Event> {
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

/// Drops the events of `seen` that are too late, on arrival, for any retained session.
fn in_time(events: &[Event]) -> Vec<Event> {
    let mut latest = None;
    let time = |event: &Event| {
        let times = event.rows.column(2).as_primitive::<TimestampMillisecondType>();
        (event.source == "seen" && times.is_valid(0)).then(|| times.value(0))
    };
    let comes_in_time = |event: &&Event| {
        latest = latest.max(time(event));
        // The 2 seconds of the watermark, plus the 5 of `retain`.
        time(event).is_none_or(|time| Some(time) > latest.map(|latest| latest - 7_000))
    };
    events.iter().filter(comes_in_time).cloned().collect()
}

#[tokio::test(flavor = "current_thread")]
async fn windows_come_when_they_are_over_and_go_when_they_are_old() {
    let seed = std::env::var("ALLUVIUM_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    println!("seed {seed}");
    let mut random = Rng::with_seed(seed);
    let mut left_out = 0;
    for Asked { query, sources, remembers } in queries() {
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
                let all = &events[..count];
                let counted = if retains && remembers == Remembers::RetainedInTime { in_time(all) } else { all.to_vec() };
                left_out += all.len() - counted.len();
                let (ours, theirs) = (oracle::views(&ours, all).await.unwrap(), oracle::views(&theirs, &counted).await.unwrap());
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
    assert!(left_out > 0, "no event came too late");
}

/// Runs a view in steps of ten events. Returns the largest number of rows that its state has held, and the final one.
pub async fn held(catalog: &Catalog) -> (u64, u64) {
    let mut random = Rng::with_seed(1);
    let mut pipeline = Pipeline::new(catalog).await;
    let mut most = 0;
    for (number, step) in events(&mut random, catalog, 1_500).chunks(10).enumerate() {
        for event in step {
            pipeline.push(&event.source, &event.rows).await;
        }
        pipeline.flush().await;
        pipeline.checkpoint();
        most = most.max(pipeline.state_rows());
        if number % 40 == 39 {
            pipeline.restart().await;
        }
    }
    (most, pipeline.state_rows())
}

/// Compares the state of 450 seconds of events with that of the retained 5 seconds.
#[tokio::test(flavor = "current_thread")]
async fn what_is_old_is_dropped() {
    let mut most_kept = 0;
    for Asked { query, remembers, .. } in queries() {
        let asked = |options: &str| catalog(&format!("CREATE MATERIALIZED VIEW asked WITH ({options}) AS {query};"));
        let kept = held(&asked("emit = 'final'")).await;
        let dropped = held(&asked("emit = 'final', retain = '5 seconds'")).await;
        let catalog = catalog(&format!("CREATE MATERIALIZED VIEW asked WITH (retain = '5 seconds') AS {query};"));
        let warnings = alluvium_sql::describe::summary(&catalog.views[0]).warnings;
        let warned = warnings.iter().any(|warning| warning.reason.contains("retain takes"));
        assert_eq!(warned, remembers == Remembers::More, "{query}: {warnings:?}");
        if remembers != Remembers::More {
            assert!(dropped.0 < 300 && dropped.1 < 200, "{query}: {kept:?} {dropped:?}");
            most_kept = most_kept.max(kept.1);
        }
    }
    assert!(most_kept > 1_000, "{most_kept} without retain");
}
