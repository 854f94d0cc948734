//! Tests `watermark()` in queries: the law holds with the watermark written out as a subquery, and rows that it has passed are dropped.

use fastrand::Rng;

use crate::law::{Cut, Prefixes, hold};
use crate::oracle;
use crate::watermarks::{catalog, events, held};

/// A query, and whether it stores only what the watermark has not passed.
struct Asked {
    query: &'static str,
    drops: bool,
}

const fn drops(query: &'static str) -> Asked {
    Asked { query, drops: true }
}

const fn keeps(query: &'static str) -> Asked {
    Asked { query, drops: false }
}

// `{W}` is the watermark of `seen`, `{P}` that of `paid`.
const QUERIES: &[Asked] = &[
    drops("SELECT id, k FROM seen WHERE at_ms > {W} - INTERVAL '5 seconds'"),
    drops("SELECT id, k FROM seen WHERE at_ms >= {W} - INTERVAL '5 seconds' AND id % 3 > 0"),
    drops("SELECT id, k FROM seen WHERE {W} - INTERVAL '5 seconds' < at_ms"),
    drops("SELECT id, k FROM seen WHERE at_ms + INTERVAL '5 seconds' >= {W}"),
    drops("SELECT id, k FROM seen WHERE CASE WHEN id > 3 THEN at_ms END > {W} - INTERVAL '1 second'"),
    drops("SELECT id, k FROM seen WHERE at_ms > {W}"),
    drops("SELECT id, k FROM seen WHERE at_ms > {W} + INTERVAL '1 second'"),
    drops("SELECT id, k FROM seen WHERE at_ms > {W} - INTERVAL '9 seconds' AND at_ms <= {W} - INTERVAL '3 seconds'"),
    drops("SELECT id, k FROM seen WHERE at_ms BETWEEN {W} - INTERVAL '4 seconds' AND {W}"),
    keeps("SELECT id, k FROM seen WHERE at_ms < {W}"),
    keeps("SELECT id, k FROM seen WHERE {W} >= at_ms - INTERVAL '1 second'"),
    // A relation that has no watermark itself, or another one.
    drops("SELECT id, k FROM paid WHERE at_ms > {W} - INTERVAL '3 seconds'"),
    drops("SELECT id, k FROM named WHERE at_ms > {W} - INTERVAL '3 seconds' AND at_ms > {P} - INTERVAL '4 seconds'"),
    // Operators above.
    drops("SELECT k, count(*) AS n, sum(id) AS s, max(id) AS m FROM seen WHERE at_ms > {W} - INTERVAL '5 seconds' GROUP BY k"),
    drops("SELECT count(*) AS n, avg(id) AS a, min(k) AS m FROM seen WHERE at_ms > {W} - INTERVAL '5 seconds'"),
    drops("SELECT DISTINCT k FROM seen WHERE at_ms > {W} - INTERVAL '5 seconds'"),
    drops(
        "SELECT id, row_number() OVER (PARTITION BY k ORDER BY id, at_ms DESC) AS place, at_ms FROM seen WHERE at_ms > {W} - INTERVAL '5 seconds'",
    ),
    drops(
        "SELECT s.id, p.id AS other FROM seen s JOIN paid p ON s.k = p.k AND p.at_ms > {P} - INTERVAL '2 seconds' WHERE s.at_ms > {W} - INTERVAL '2 seconds'",
    ),
    drops(
        "SELECT s.id, p.id AS other FROM (SELECT * FROM seen WHERE at_ms > {W} - INTERVAL '2 seconds') s LEFT JOIN (SELECT * FROM paid WHERE at_ms > {P} - INTERVAL '2 seconds') p ON s.k = p.k",
    ),
    drops(
        "SELECT id FROM seen WHERE at_ms > {W} - INTERVAL '5 seconds' UNION ALL SELECT id FROM paid WHERE at_ms > {P} - INTERVAL '1 second'",
    ),
    // Operators below.
    drops(
        "SELECT window_end, k, count(*) AS n FROM TUMBLE(seen, at_ms, INTERVAL '3 seconds') GROUP BY window_end, k HAVING window_end > {W} - INTERVAL '6 seconds'",
    ),
    drops(
        "SELECT * FROM (SELECT at_ms, count(*) AS n, max(id) AS m FROM seen GROUP BY at_ms) WHERE at_ms > {W} - INTERVAL '6 seconds' AND n < 9",
    ),
    keeps("SELECT k, max(at_ms) AS last, count(*) AS n FROM seen GROUP BY k HAVING max(at_ms) > {W} - INTERVAL '1 second'"),
    keeps("SELECT * FROM SESSION(seen, at_ms, INTERVAL '1 second' PARTITION BY k) WHERE window_end > {W} - INTERVAL '6 seconds'"),
    // A filter within another.
    drops(
        "SELECT k, n FROM (SELECT at_ms, k, count(*) AS n FROM seen WHERE at_ms > {P} - INTERVAL '8 seconds' GROUP BY at_ms, k) WHERE at_ms > {W} - INTERVAL '6 seconds'",
    ),
    // Anywhere else.
    keeps("SELECT id, at_ms > {W} - INTERVAL '1 second' AS is_recent, {W} AS reached FROM seen"),
    keeps("SELECT id FROM seen WHERE at_ms > {W} - INTERVAL '1 second' OR id = 3"),
    keeps("SELECT id FROM seen WHERE {W} - at_ms < INTERVAL '3 seconds'"),
    keeps("SELECT id FROM seen WHERE at_ms > {W} - INTERVAL '1 month'"),
    keeps("SELECT id FROM seen WHERE CAST(at_ms AS TIMESTAMP(6)) > {W} - INTERVAL '3 seconds'"),
    keeps("SELECT DISTINCT {W} AS reached, {P} AS other FROM named"),
    keeps("SELECT s.id, p.id AS other FROM seen s LEFT JOIN paid p ON s.k = p.k AND p.at_ms > {W} - INTERVAL '2 seconds'"),
    keeps(
        "SELECT s.id, p.id AS other FROM seen s JOIN paid p ON s.k = p.k AND coalesce(s.at_ms, p.at_ms) > {W} - INTERVAL '2 seconds'",
    ),
    keeps("SELECT k, count(*) FILTER (WHERE at_ms > {W} - INTERVAL '2 seconds') AS n FROM seen GROUP BY k"),
    keeps(
        "SELECT id FROM named n WHERE NOT EXISTS (SELECT 1 FROM seen s WHERE s.k = n.k AND s.at_ms > {W} - INTERVAL '2 seconds')",
    ),
    keeps("SELECT id FROM seen s WHERE at_ms > (SELECT max(p.at_ms) FROM paid p WHERE p.k = s.k AND p.at_ms < {W})"),
];

/// Returns the query with `watermark()`, and with its meaning written out.
fn both(query: &str) -> [String; 2] {
    let ours = query.replace("{W}", "watermark('seen')").replace("{P}", "watermark(paid)");
    let written = query
        .replace("{W}", "(SELECT max(at_ms) - INTERVAL '2 seconds' FROM seen)")
        .replace("{P}", "(SELECT max(at_ms) FROM paid)");
    [ours, written]
}

#[tokio::test(flavor = "current_thread")]
async fn the_watermark_is_a_function_of_the_events() {
    let seed = std::env::var("ALLUVIUM_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    println!("seed {seed}");
    let mut random = Rng::with_seed(seed);
    let only = std::env::var("ALLUVIUM_ONLY").unwrap_or_default();
    for Asked { query, .. } in QUERIES.iter().filter(|asked| asked.query.contains(&only)) {
        let over_it = "CREATE MATERIALIZED VIEW over_it AS SELECT count(*) AS rows FROM asked;";
        let [ours, theirs] = both(query).map(|query| catalog(&format!("CREATE MATERIALIZED VIEW asked AS {query};\n{over_it}")));
        let events = events(&mut random, &ours, 60);
        let mut shown = 0;
        for count in (0..=events.len()).step_by(5) {
            let all = &events[..count];
            let (ours, theirs) = (oracle::views(&ours, all).await.unwrap(), oracle::views(&theirs, all).await.unwrap());
            shown += usize::from(!ours[0].0.is_empty());
            for (ours, theirs) in ours.iter().zip(&theirs) {
                if let Some(difference) = ours.difference(theirs) {
                    panic!("{query} after {count}: the watermark as planned and as written:\n{difference}");
                }
            }
        }
        assert!(shown > 0, "{query} shows nothing");
        let mut prefixes = Prefixes::default();
        for cut in [Cut::Every(1), Cut::Every(7), Cut::Every(usize::MAX), Cut::Random(seed), Cut::Random(seed + 1)] {
            hold(&ours, &events, &cut, &mut prefixes).await;
        }
    }
}

#[tokio::test(flavor = "current_thread")]
async fn rows_that_the_watermark_has_passed_are_dropped() {
    for Asked { query, .. } in QUERIES.iter().filter(|asked| asked.drops) {
        let [ours, _] = both(query);
        let catalog = catalog(&format!("CREATE MATERIALIZED VIEW asked AS {ours};"));
        let (most, _) = held(&catalog).await;
        assert!(most < 300, "{query}: {most} rows");
        let warnings = alluvium_sql::describe::summary(&catalog.views[0]).warnings;
        assert!(warnings.iter().all(|warning| !warning.reason.contains("kept")), "{query}: {warnings:?}");
    }
}
