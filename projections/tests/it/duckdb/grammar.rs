//! Random queries that DataFusion and DuckDB read alike. Each relation has the columns a, b (integers), s (text) and f (a float).

use std::sync::Arc;

use alluvium_sql::Catalog;
use arrow::array::{ArrayRef, Float64Array, Int64Array, StringArray};
use arrow::record_batch::RecordBatch;
use fastrand::Rng;

use crate::law::Event;

pub const SOURCES: &str = "CREATE EXTERNAL TABLE t (a BIGINT, b BIGINT, s VARCHAR, f DOUBLE) STORED AS FILE LOCATION 't';
CREATE EXTERNAL TABLE u (a BIGINT, b BIGINT, s VARCHAR, f DOUBLE) STORED AS FILE LOCATION 'u';\n";

pub const TABLES: &str = "CREATE TABLE t (a BIGINT, b BIGINT, s VARCHAR, f DOUBLE);
CREATE TABLE u (a BIGINT, b BIGINT, s VARCHAR, f DOUBLE);\n";

fn one_of<'a>(random: &mut Rng, choices: &[&'a str]) -> &'a str {
    choices[random.usize(..choices.len())]
}

fn number(random: &mut Rng) -> &'static str {
    one_of(
        random,
        &[
            "a",
            "b",
            "a + b",
            "a * b",
            // Ranks and row counts are unsigned, and a minus before an unsigned number is refused.
            "-CAST(a AS BIGINT)",
            "coalesce(a, b)",
            "CASE WHEN a > 1 THEN b ELSE a END",
            "abs(b)",
            "nullif(a, b)",
            "3",
            "greatest(a, 1)",
        ],
    )
}

fn text(random: &mut Rng) -> &'static str {
    one_of(
        random,
        &[
            "s",
            "upper(s)",
            "s || 'x'",
            "CASE WHEN s IS NULL THEN 'none' ELSE s END",
            "'c'",
            "substring(s, 1, 1)",
            "replace(s, 'p', 'pp')",
        ],
    )
}

fn predicate(random: &mut Rng) -> &'static str {
    one_of(
        random,
        &[
            "a > 0",
            "a IS NULL OR b = 1",
            "s = 'p'",
            "s <> 'q' AND a >= 0",
            "f > 0.5",
            "NOT (a = b)",
            "s IN ('p', 'r')",
            "a NOT IN (0, 2)",
            "s LIKE 'p%'",
            "b BETWEEN 0 AND 2",
            "a IS DISTINCT FROM b",
            "true",
        ],
    )
}

fn measure(random: &mut Rng) -> &'static str {
    one_of(
        random,
        &[
            "count(*)",
            "count(a)",
            "sum(b)",
            "min(a)",
            "max(b)",
            "count(DISTINCT b)",
            "sum(a) FILTER (WHERE b > 1)",
            "sum(DISTINCT a)",
            "count(*) + max(a)",
            "count(*) FILTER (WHERE s = 'p')",
            "max(a) - min(b)",
        ],
    )
}

const ORDERED: &str = "ORDER BY a NULLS LAST, b NULLS LAST, s NULLS LAST, f NULLS LAST";

fn relation(random: &mut Rng, depth: usize, views: usize) -> String {
    if depth == 0 || random.u8(..4) == 0 {
        let view = random.usize(..views + 2);
        return if view < views { format!("v{view}") } else { one_of(random, &["t", "t", "u"]).to_owned() };
    }
    format!("({}) AS r{}", query(random, depth - 1, views), random.u32(..))
}

/// Makes a query over the sources and the first `views` views.
// One arm for each shape of a query.
#[allow(clippy::too_many_lines)]
pub fn query(random: &mut Rng, depth: usize, views: usize) -> String {
    let from = relation(random, depth, views);
    let less = depth.saturating_sub(1);
    match random.u8(..24) {
        23 => two_levels(random, &from),
        20 => excluding(random, &from),
        21 => recursive(random, &from),
        22 => {
            let one = one_of(random, &["ntile(2)", "row_number()", "count(*)"]);
            format!("SELECT a, {one} OVER (PARTITION BY a {ORDERED}) AS b, s, avg(f) OVER (PARTITION BY a, s) AS f FROM {from}")
        }
        0 | 1 => format!(
            "SELECT {} AS a, {} AS b, {} AS s, f FROM {from} WHERE {}",
            number(random),
            number(random),
            text(random),
            predicate(random)
        ),
        2 | 3 => aggregate(random, &from),
        4 => format!("SELECT {} AS a, {} AS b, max(s) AS s, sum(f) AS f FROM {from}", measure(random), measure(random)),
        5 => format!("SELECT DISTINCT a, b, s, f FROM {from}"),
        6 => {
            let operator = one_of(random, &["UNION ALL", "UNION", "INTERSECT", "EXCEPT"]);
            format!("SELECT a, b, s, f FROM {from} {operator} SELECT b, a, s, f FROM {}", relation(random, less, views))
        }
        7 | 8 => {
            let kind = one_of(random, &["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"]);
            let on = one_of(
                random,
                &["l.a = r.b", "l.a = r.a AND l.s = r.s", "l.a = r.b AND l.f > 0.25", "l.b = r.b AND l.a < r.a", "l.a + 1 = r.a"],
            );
            format!(
                "SELECT l.a, r.b, l.s, r.f FROM (SELECT * FROM {from}) AS l {kind} ({}) AS r ON {on}",
                query(random, less, views)
            )
        }
        9 => {
            let on = one_of(random, &["l.a < r.b", "l.s >= r.s AND l.a > r.a", "l.b BETWEEN r.a AND r.b"]);
            format!(
                "SELECT l.a, r.b, l.s, r.f FROM (SELECT * FROM {from}) AS l JOIN {} AS r ON {on}",
                one_of(random, &["t", "u"])
            )
        }
        10 => {
            let not = one_of(random, &["", "NOT "]);
            format!("SELECT a, b, s, f FROM {from} WHERE a {not}IN (SELECT b FROM {})", relation(random, less, views))
        }
        11 => {
            let not = one_of(random, &["", "NOT "]);
            let condition = one_of(random, &["i.a = o.a", "i.s = o.s AND i.b > o.a", "i.b = o.b AND i.f IS NOT NULL"]);
            format!(
                "SELECT o.a, o.b, o.s, o.f FROM (SELECT * FROM {from}) AS o WHERE {not}EXISTS (SELECT 1 FROM u AS i WHERE {condition})"
            )
        }
        12 => format!(
            "SELECT a, b, s, f FROM {from} WHERE a > (SELECT {} FROM {})",
            one_of(random, &["min(b)", "count(*) - 3", "max(a) - 1"]),
            relation(random, less, views)
        ),
        13 => {
            let inner = one_of(random, &["max(i.b)", "count(*)", "sum(i.a)"]);
            format!("SELECT o.a, (SELECT {inner} FROM u AS i WHERE i.a = o.a) AS b, o.s, o.f FROM (SELECT * FROM {from}) AS o")
        }
        14 | 15 => {
            let key = one_of(random, &["a", "s", "a, s", "b % 2"]);
            let function = one_of(
                random,
                &[
                    "row_number()",
                    "rank()",
                    "dense_rank()",
                    "count(*)",
                    "sum(b)",
                    "lag(b)",
                    "lead(a, 2)",
                    "first_value(b)",
                    "max(a)",
                ],
            );
            format!("SELECT a, {function} OVER (PARTITION BY {key} {ORDERED}) AS b, s, f FROM {from}")
        }
        16 => {
            let function = one_of(random, &["count(*)", "sum(b)", "min(a)", "max(b)"]);
            let frame = one_of(random, &["", " ORDER BY b NULLS LAST RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW"]);
            format!("SELECT a, {function} OVER (PARTITION BY s{frame}) AS b, s, max(f) OVER (PARTITION BY a) AS f FROM {from}")
        }
        17 => {
            let places = 1 + random.usize(..3);
            format!(
                "SELECT a, b, s, f FROM (SELECT a, b, s, f, row_number() OVER (PARTITION BY s {ORDERED}) AS place FROM {from}) AS ranked WHERE place <= {places}"
            )
        }
        18 => format!("SELECT a, b, s, f FROM {from} {ORDERED} LIMIT {}", 1 + random.usize(..4)),
        _ => {
            let sets = one_of(
                random,
                &["ROLLUP (a, s)", "CUBE (a, s)", "GROUPING SETS ((a), (s), ())", "GROUPING SETS ((a, s), (a), (a))"],
            );
            format!("SELECT a, count(*) + 10 * grouping(a) AS b, s, sum(f) AS f FROM {from} GROUP BY {sets}")
        }
    }
}

/// Frames that leave out the row itself or its peers.
fn excluding(random: &mut Rng, from: &str) -> String {
    let function =
        one_of(random, &["count(*)", "sum(b)", "min(a)", "max(b)", "count(DISTINCT a)", "count(*) FILTER (WHERE a > 0)"]);
    let frame = one_of(
        random,
        &[
            "ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING",
            "ROWS BETWEEN 2 PRECEDING AND 1 FOLLOWING",
            "GROUPS BETWEEN 1 PRECEDING AND CURRENT ROW",
            "GROUPS BETWEEN CURRENT ROW AND 1 FOLLOWING",
            "RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW",
        ],
    );
    let order = if frame.starts_with("ROWS") { ORDERED } else { one_of(random, &[ORDERED, "ORDER BY b NULLS LAST"]) };
    let without = one_of(random, &["CURRENT ROW", "GROUP", "TIES", "NO OTHERS"]);
    let key = one_of(random, &["a", "s", "b % 2"]);
    format!("SELECT a, {function} OVER (PARTITION BY {key} {order} {frame} EXCLUDE {without}) AS b, s, f FROM {from}")
}

/// Subqueries that read columns of the query two levels out.
fn two_levels(random: &mut Rng, from: &str) -> String {
    let inner = one_of(
        random,
        &[
            "i.a = o.b AND EXISTS (SELECT 1 FROM u AS j WHERE j.a = i.b AND j.b = o.b)",
            "EXISTS (SELECT 1 FROM t AS j WHERE j.a = i.b AND j.b = o.a)",
            "i.b = o.b AND NOT EXISTS (SELECT 1 FROM u AS j WHERE j.a = o.a AND j.s = i.s)",
            "i.a IN (SELECT j.b FROM t AS j WHERE j.s = o.s)",
            "i.a = o.a AND i.b >= (SELECT count(*) FROM u AS j WHERE j.b = o.b)",
        ],
    );
    let not = one_of(random, &["", "NOT "]);
    if random.u8(..3) == 0 {
        return format!(
            "SELECT o.a, (SELECT count(*) FROM u AS i WHERE {inner}) AS b, o.s, o.f FROM (SELECT * FROM {from}) AS o"
        );
    }
    format!("SELECT o.a, o.b, o.s, o.f FROM (SELECT * FROM {from}) AS o WHERE {not}EXISTS (SELECT 1 FROM u AS i WHERE {inner})")
}

/// What a graph whose edges go from b to a reaches.
fn recursive(random: &mut Rng, from: &str) -> String {
    let start = format!("SELECT CAST(a AS BIGINT), CAST(b AS BIGINT), s FROM {from}");
    let edges = one_of(random, &["t", "u"]);
    // One within another has another name.
    let r = format!("r{}", random.u32(..));
    match random.u8(..4) {
        3 => format!(
            "SELECT a, b, s, CAST(0.5 AS DOUBLE) AS f FROM (WITH RECURSIVE {r}(a, b, s) AS ({start} UNION SELECT e.a, r.b, r.s FROM {r} r JOIN {edges} e ON e.b = r.a AND e.a > r.b) SELECT a, b, s FROM {r}) AS rising"
        ),
        0 => format!(
            "SELECT a, b, s, CAST(0.5 AS DOUBLE) AS f FROM (WITH RECURSIVE {r}(a, b, s) AS ({start} UNION SELECT e.a, r.b, e.s FROM {r} r JOIN {edges} e ON e.b = r.a) SELECT a, b, s FROM {r}) AS reached"
        ),
        1 => format!(
            "SELECT a, b, s, CAST(0.5 AS DOUBLE) AS f FROM (WITH RECURSIVE {r}(a, b, s, depth) AS (SELECT a, b, s, 0 FROM ({start}) AS first(a, b, s) UNION ALL SELECT e.a, r.b, r.s, r.depth + 1 FROM {r} r JOIN {edges} e ON e.b = r.a WHERE r.depth < 1) SELECT a, b, s FROM {r}) AS walked"
        ),
        _ => format!(
            "SELECT a, b, s, CAST(0.5 AS DOUBLE) AS f FROM (WITH RECURSIVE {r}(a, b, s) AS ({start} UNION SELECT e.a, e.b, r.s FROM {r} r LEFT JOIN {edges} e ON e.b = r.a AND e.a > 0) SELECT a, b, s FROM {r}) AS kept"
        ),
    }
}

fn aggregate(random: &mut Rng, from: &str) -> String {
    let (one, two) = (measure(random), measure(random));
    let having = one_of(random, &["", "", " HAVING count(*) > 1", " HAVING max(a) >= 1"]);
    let filter = one_of(random, &["", "", " FILTER (WHERE a > 0)"]);
    match random.u8(..4) {
        0 => format!("SELECT a, {one} AS b, max(s) AS s, sum(f){filter} AS f FROM {from} GROUP BY a{having}"),
        1 => format!("SELECT {one} AS a, {two} AS b, s, min(f) AS f FROM {from} GROUP BY s{having}"),
        2 => format!("SELECT a, b, min(s) AS s, avg(f){filter} AS f FROM {from} GROUP BY a, b{having}"),
        _ => format!("SELECT {one} AS a, {two} AS b, max(s) AS s, f FROM {from} GROUP BY f{having}"),
    }
}

pub fn events(random: &mut Rng, catalog: &Catalog) -> Vec<Event> {
    let number = |random: &mut Rng| (random.u8(..4) > 0).then(|| random.i64(-1..4));
    (0..random.usize(..40))
        .map(|_| {
            let source = one_of(random, &["t", "t", "u"]).to_owned();
            let a: ArrayRef = Arc::new(Int64Array::from(vec![number(random)]));
            let b: ArrayRef = Arc::new(Int64Array::from(vec![number(random)]));
            let s: ArrayRef =
                Arc::new(StringArray::from(vec![(random.u8(..4) > 0).then(|| one_of(random, &["p", "q", "r", ""]))]));
            let f: ArrayRef = Arc::new(Float64Array::from(vec![number(random).map(|value| value as f64 * 0.25)]));
            let rows = RecordBatch::try_new(Arc::clone(&catalog.sources[&source].schema), vec![a, b, s, f]).unwrap();
            Event { source, rows }
        })
        .collect()
}
