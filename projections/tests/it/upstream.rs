//! Checks that our session fixes faults of DataFusion, and that DataFusion by itself still has them. Once it has not, our rule can go.

use std::collections::BTreeMap;

use alluvium_sql::{dialect, plan_query};
use arrow::record_batch::RecordBatch;
use datafusion::error::DataFusionError;
use datafusion::prelude::SessionContext;

use crate::oracle;
use crate::rows::Bag;

/// A fault: its issue or a description, a query, and the rows that are right by the standard, as PostgreSQL reads it. None if the query
/// must fail.
struct Fault {
    report: &'static str,
    query: &'static str,
    rows: Option<&'static [&'static str]>,
}

const fn fault(report: &'static str, query: &'static str, rows: &'static [&'static str]) -> Fault {
    Fault { report, query, rows: Some(rows) }
}

const FAULTS: &[Fault] = &[
    fault(
        "22881, the merged key of FULL JOIN USING",
        "WITH a(k, x) AS (VALUES (1, 10)), b(k, y) AS (VALUES (4, 400)) SELECT k FROM a FULL JOIN b USING (k)",
        &["1", "4"],
    ),
    fault(
        "22881, of RIGHT JOIN USING",
        "WITH a(k, x) AS (VALUES (1, 10)), b(k, y) AS (VALUES (4, 400)) SELECT k FROM a RIGHT JOIN b USING (k)",
        &["4"],
    ),
    fault(
        "12955, INTERSECT ALL",
        "WITH l(x) AS (VALUES (1), (1), (1)), r(x) AS (VALUES (1)) SELECT x FROM l INTERSECT ALL SELECT x FROM r",
        &["1"],
    ),
    fault(
        "12956, EXCEPT ALL",
        "WITH l(x) AS (VALUES (1), (1), (1)), r(x) AS (VALUES (1)) SELECT x FROM l EXCEPT ALL SELECT x FROM r",
        &["1", "1"],
    ),
    fault(
        "25336, NOT IN correlated by an inequality",
        "WITH o(a, b) AS (VALUES (2, 3), (7, 9)), i(a, b) AS (VALUES (CAST(NULL AS INT), 5)) SELECT b FROM o WHERE a NOT IN (SELECT i.a FROM i WHERE i.b > o.b)",
        &["9"],
    ),
    fault(
        "NOT IN beside OR",
        "WITH o(a) AS (VALUES (1), (2)), i(a) AS (VALUES (1), (CAST(NULL AS INT))) SELECT a FROM o WHERE a NOT IN (SELECT a FROM i) OR a = 1",
        &["1"],
    ),
    fault(
        "24960, EXISTS over an aggregate without GROUP BY",
        "WITH o(a) AS (VALUES (1), (2)), i(a) AS (VALUES (1)) SELECT a FROM o WHERE EXISTS (SELECT count(*) FROM i WHERE i.a = o.a)",
        &["1", "2"],
    ),
    fault(
        "24246, a simplification that forgets NULL",
        "WITH t(a) AS (VALUES (1), (NULL)) SELECT count(*) FROM t WHERE NOT (a IN (1) AND a IN (2))",
        &["1"],
    ),
    fault(
        "25471, LEAD with IGNORE NULLS",
        "WITH t(i, x) AS (VALUES (1, 1), (2, 2), (3, 3), (4, 4), (5, NULL), (6, 6)) SELECT i, lead(x, 2) IGNORE NULLS OVER (ORDER BY i), max(i) OVER (ORDER BY i ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM t",
        &["1 3 1", "2 4 2", "3 6 3", "4 NULL 4", "5 NULL 5", "6 NULL 6"],
    ),
    fault(
        "min over NaN",
        "WITH t(g, f) AS (VALUES (1, 2.0), (1, CAST('NaN' AS DOUBLE)), (1, 3.0)) SELECT min(f) FROM t GROUP BY g",
        &["2"],
    ),
    fault("the sign of NaN", "WITH t(f) AS (VALUES (0.0)) SELECT count(*) FROM t WHERE f / f > 1e308", &["1"]),
    fault(
        "zeros of both signs in windows",
        "WITH t(f) AS (VALUES (-0.0), (0.0)) SELECT count(*) OVER (PARTITION BY f) FROM t",
        &["2", "2"],
    ),
    fault(
        "a sum of BIGINT that wraps",
        "WITH t(x) AS (VALUES (9223372036854775807), (1)) SELECT sum(x) FROM t",
        &["9223372036854775808"],
    ),
    Fault {
        report: "arithmetic that wraps",
        query: "WITH t(x) AS (VALUES (9223372036854775807), (1)) SELECT x + 1 FROM t",
        rows: None,
    },
    fault(
        "a NaN that stays in a sum that slides",
        "WITH t(i, f) AS (VALUES (1, CAST('NaN' AS DOUBLE)), (2, 1.0), (3, 2.0)) SELECT i, sum(f) OVER (ORDER BY i ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM t",
        &["1 NaN", "2 NaN", "3 3"],
    ),
    fault(
        "percentile_cont",
        "WITH t(x) AS (VALUES (0), (0), (0), (0), (0), (0), (1000000000)) SELECT round(percentile_cont(0.95) WITHIN GROUP (ORDER BY x)) FROM t",
        &["700000000"],
    ),
    fault(
        "the scale of a quotient",
        "SELECT CAST(1108811340000000000 AS DECIMAL(38, 0)) / 1000000000000000000",
        &["1.1088113400000000"],
    ),
    fault(
        "the seconds of a difference",
        "SELECT extract(epoch FROM TIMESTAMP '2024-05-01T11:00:00.25' - TIMESTAMP '2024-05-01T10:00:00')",
        &["3600.25"],
    ),
    fault(
        "an argument that FILTER leaves out",
        "WITH t(g, x) AS (VALUES (1, 5), (1, 0)) SELECT sum(10 / x) FILTER (WHERE x <> 0) FROM t GROUP BY g",
        &["2"],
    ),
    fault(
        "a window that refines another",
        "WITH t(x, y) AS (VALUES (1, 1), (2, 2)) SELECT x, row_number() OVER (w ORDER BY x) FROM t WINDOW w AS (PARTITION BY y)",
        &["1 1", "2 1"],
    ),
    fault(
        "the latest of rows that tie",
        "WITH t(k, s, i) AS (VALUES (1, 'placed', 1), (1, 'cancelled', 1)) SELECT last_value(s ORDER BY i) FROM t GROUP BY k",
        &["cancelled"],
    ),
    fault(
        "UNNEST of a column of the row beside it",
        "WITH t(i, l) AS (VALUES (1, make_array(1, 2))) SELECT t.i, u.x FROM t CROSS JOIN UNNEST(t.l) AS u(x)",
        &["1 1", "1 2"],
    ),
    fault(
        "a length of time that is compared part by part",
        "SELECT TIMESTAMP '2024-01-03T00:00:00' - TIMESTAMP '2024-01-01T00:00:00' > INTERVAL '1 day'",
        &["true"],
    ),
    fault(
        "a half of a DOUBLE",
        "WITH t(f) AS (VALUES (2.5), (3.5), (-0.5)) SELECT CAST(CAST(f AS DOUBLE) AS BIGINT), round(CAST(f AS DOUBLE)) FROM t",
        &["0 0", "2 2", "4 4"],
    ),
    fault(
        "a subquery that is bound by an inequality",
        "WITH t(i) AS (VALUES (1), (3), (2)) SELECT i, (SELECT max(b.i) FROM t b WHERE b.i < t.i) FROM t",
        &["1 NULL", "2 1", "3 2"],
    ),
];

async fn by_itself(query: &str) -> Result<Vec<RecordBatch>, DataFusionError> {
    SessionContext::new().sql(query).await?.collect().await
}

async fn mended(query: &str) -> Result<Vec<RecordBatch>, DataFusionError> {
    let context = oracle::session();
    let plan = plan_query(&context.state(), dialect::parse(query)?, BTreeMap::new())?;
    context.execute_logical_plan(plan).await?.collect().await
}

fn rows(batches: Result<Vec<RecordBatch>, DataFusionError>) -> Result<Vec<String>, String> {
    let batches = batches.map_err(|error| error.to_string())?;
    let mut rows: Vec<String> = Bag::of(&batches).shown().iter().map(|row| row.join(" ")).collect();
    rows.sort();
    Ok(rows)
}

#[test]
fn each_fault_is_mended_and_still_there() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut failures = Vec::new();
    for Fault { report, query, rows: wanted } in FAULTS {
        let ours = rows(runtime.block_on(mended(query)));
        let right = |answer: &Result<Vec<String>, String>| match (answer, wanted) {
            (Ok(rows), Some(wanted)) => rows.iter().map(String::as_str).eq(wanted.iter().copied()),
            (answer, wanted) => answer.is_err() && wanted.is_none(),
        };
        if !right(&ours) {
            failures.push(format!("{report}: {query}\n  gives {ours:?}"));
        }
        let theirs = rows(runtime.block_on(async { tokio::spawn(by_itself(query)).await.unwrap_or_else(|_| Ok(Vec::new())) }));
        if right(&theirs) {
            failures.push(format!("{report}: DataFusion has fixed it, so our rule can go: {query}\n  gives {theirs:?}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
