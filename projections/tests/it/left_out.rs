//! Rows on which an expression fails above a stateful operator, and rows of another view. They are left out where they fail, counted, and
//! come back once they no longer fail.

use std::sync::Arc;

use alluvium_sql::{Catalog, SqlFile};
use arrow::array::{ArrayRef, Int32Array, Int64Array};
use arrow::record_batch::RecordBatch;

use crate::pipeline::Pipeline;

fn catalog(views: &[&str]) -> Catalog {
    let views: String =
        views.iter().enumerate().map(|(number, sql)| format!("CREATE MATERIALIZED VIEW v{number} AS {sql};")).collect();
    let text = format!("CREATE EXTERNAL TABLE t (k BIGINT, x INT) STORED AS FILE LOCATION 't'; {views}");
    Catalog::load(&[SqlFile { path: "test.sql".to_owned(), text }]).unwrap()
}

fn rows(catalog: &Catalog, values: &[(i64, i32)]) -> RecordBatch {
    let k: ArrayRef = Arc::new(Int64Array::from_iter_values(values.iter().map(|value| value.0)));
    let x: ArrayRef = Arc::new(Int32Array::from_iter_values(values.iter().map(|value| value.1)));
    RecordBatch::try_new(Arc::clone(&catalog.sources["t"].schema), vec![k, x]).unwrap()
}

/// Checks the rows of the last view, with different cuts, and with and without a restart after each step.
async fn check(views: &[&str], values: &[(i64, i32)], expected: &[&str]) {
    let catalog = catalog(views);
    for (step, restarts) in [(1, false), (1, true), (2, false), (values.len(), false), (values.len(), true)] {
        let mut pipeline = Pipeline::new(&catalog).await;
        let mut rejected = 0;
        for values in values.chunks(step) {
            rejected += pipeline.push("t", &rows(&catalog, values)).await.len() as u64;
            pipeline.flush().await;
            pipeline.checkpoint();
            if restarts {
                pipeline.restart().await;
            }
        }
        let mut shown: Vec<String> = pipeline.views.last().unwrap().rows.shown().iter().map(|row| row.join(" ")).collect();
        shown.sort();
        assert_eq!(shown, expected, "{views:?}, {step} a step, restarts: {restarts}");
        let told = rejected + pipeline.views.iter().map(|view| view.left_out).sum::<u64>();
        assert!(told > 0 || step > 1, "{views:?}: no row is rejected or counted");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_sum_of_too_many_digits_is_left_out_and_comes_back() {
    let large =
        "SELECT k, CAST(x AS DECIMAL(38, 0)) * CAST('30000000000000000000000000000000000000' AS DECIMAL(38, 0)) AS x FROM t";
    let values = [(1, 3), (1, 3), (2, 1), (3, 3), (3, 3), (3, -3)];
    let expected = ["2 30000000000000000000000000000000000000", "3 90000000000000000000000000000000000000"];
    check(&[&format!("SELECT k, sum(x) AS s FROM ({large}) GROUP BY k")], &values, &expected).await;
    // Over rows that are retracted.
    let counted = "SELECT k, x, count(*) AS n FROM t GROUP BY k, x";
    let weighted = "SELECT k, sum(CAST(x * n AS DECIMAL(38, 0)) * CAST('30000000000000000000000000000000000000' AS DECIMAL(38, 0))) AS s FROM v0 GROUP BY k";
    check(
        &[counted, weighted],
        &[(1, 3), (2, 1), (1, 2), (3, 3), (1, -3), (3, -2), (1, 2)],
        &["2 30000000000000000000000000000000000000", "3 30000000000000000000000000000000000000"],
    )
    .await;
}

#[tokio::test(flavor = "current_thread")]
async fn a_group_on_which_an_expression_fails_is_left_out_and_comes_back() {
    let failing = [(1, 1), (1, -1), (2, 5), (3, 4), (3, -4)];
    check(&["SELECT k, 100 / sum(x) AS r FROM t GROUP BY k"], &failing, &["2 20"]).await;
    let healed = [&failing[..], &[(1, 4)]].concat();
    check(&["SELECT k, 100 / sum(x) AS r FROM t GROUP BY k"], &healed, &["1 25", "2 20"]).await;
    check(&["SELECT k FROM t GROUP BY k HAVING 100 / sum(x) > 10"], &healed, &["1", "2"]).await;
    let through = [(2, 5), (1, 5), (1, -5), (1, 4), (1, -4), (1, 50)];
    check(&["SELECT k, 100 / sum(x) AS r FROM t GROUP BY k"], &through, &["1 2", "2 20"]).await;
}

#[tokio::test(flavor = "current_thread")]
async fn operators_above_an_aggregate_leave_out_what_fails() {
    let values = [(1, 1), (1, -1), (2, 5), (3, 4), (4, 2), (4, 3)];
    let sums = "(SELECT k, sum(x) AS s FROM t GROUP BY k)";
    check(&[&format!("SELECT sum(100 / s) AS total, count(*) AS n FROM {sums}")], &values, &["65 3"]).await;
    check(&[&format!("SELECT 100 / s AS r, count(*) AS n FROM {sums} GROUP BY 100 / s")], &values, &["20 2", "25 1"]).await;
    check(&[&format!("SELECT k FROM {sums} ORDER BY 100 / s, k LIMIT 2")], &values, &["2", "4"]).await;
    check(
        &[&format!("SELECT a.k, b.k AS other FROM {sums} a JOIN {sums} b ON a.k < b.k AND 100 / (a.s - b.s) < -50")],
        &values,
        &["3 4"],
    )
    .await;
}

#[tokio::test(flavor = "current_thread")]
async fn rows_of_a_view_on_which_its_reader_fails_are_left_out() {
    let values = [(1, 1), (1, -1), (2, 5), (3, 4), (3, -4), (3, 10)];
    check(&["SELECT k, sum(x) AS s FROM t GROUP BY k", "SELECT k, 100 / s AS r FROM v0"], &values, &["2 20", "3 10"]).await;
    check(&["SELECT k, sum(x) AS s FROM t GROUP BY k", "SELECT count(*) AS n, sum(100 / s) AS r FROM v0"], &values, &["2 30"])
        .await;
}

#[tokio::test(flavor = "current_thread")]
async fn windows_and_orders_leave_out_what_fails() {
    let values = [(1, 5), (2, 0), (3, 2), (3, 10)];
    check(&["SELECT k, sum(10 / x) OVER (PARTITION BY k ORDER BY x) AS s FROM t"], &values, &["1 2", "3 5", "3 6"]).await;
    check(&["SELECT k, sum(x) OVER (ORDER BY 10 / x, k) AS s FROM t"], &values, &["1 15", "3 10", "3 17"]).await;
    check(&["SELECT k, x FROM t ORDER BY 10 / x, k LIMIT 2"], &values, &["1 5", "3 10"]).await;
}

#[tokio::test(flavor = "current_thread")]
async fn what_a_recompute_gives_is_left_out_where_an_expression_fails_on_it() {
    let values = [(1, 5), (2, 0), (3, 2), (4, 10)];
    let joined = "FROM t a LEFT JOIN t b ON a.k = b.k + 1";
    check(&[&format!("SELECT a.k, 10 / b.x AS q {joined}")], &values, &["1 NULL", "2 2", "4 5"]).await;
    check(&[&format!("SELECT a.k {joined} WHERE 10 / b.x > 2")], &values, &["4"]).await;
    check(&[&format!("SELECT count(q) AS n, sum(q) AS s FROM (SELECT 10 / b.x AS q {joined})")], &values, &["2 7"]).await;
    let ranked = "(SELECT k, sum(x) OVER (ORDER BY k) - 5 AS s FROM t)";
    check(&[&format!("SELECT k, 10 / s AS q FROM {ranked}")], &values, &["3 5", "4 0"]).await;
    let unordered = "(SELECT k, (SELECT max(x) FROM t) - x AS s FROM t)";
    check(&[&format!("SELECT k, 20 / s AS q FROM {unordered}")], &values, &["1 4", "2 2", "3 2"]).await;
}

#[tokio::test(flavor = "current_thread")]
async fn pairs_of_an_outer_join_on_which_its_condition_fails_do_not_match() {
    let values = [(1, 5), (2, 0), (1, 3)];
    let on = "ON a.k = b.k AND 10 / (a.x - b.x) > 0";
    let joined = |kind: &str| format!("SELECT a.k, b.k AS other FROM t a {kind} JOIN t b {on}");
    check(&[&joined("LEFT")], &values, &["1 1", "1 NULL", "2 NULL"]).await;
    check(&[&joined("RIGHT")], &values, &["1 1", "NULL 1", "NULL 2"]).await;
    check(&[&joined("FULL")], &values, &["1 1", "1 NULL", "2 NULL", "NULL 1", "NULL 2"]).await;
    // The pair of 1 and 3 fails, matches one way, fails again, and matches the other way.
    let sums = "SELECT k, sum(x) AS s FROM t GROUP BY k";
    let values = [(1, 1), (3, 1), (3, 2), (1, 2), (1, 1), (2, 7)];
    let joined = |kind: &str| {
        format!(
            "SELECT a.k, b.k AS other FROM v0 a {kind} JOIN v0 b ON a.k % 2 = b.k % 2 AND a.k <> b.k AND 10 / (a.s - b.s) > 0"
        )
    };
    check(&[sums, &joined("LEFT")], &values[..2], &["1 NULL", "3 NULL"]).await;
    check(&[sums, &joined("LEFT")], &values[..4], &["1 NULL", "3 NULL"]).await;
    check(&[sums, &joined("LEFT")], &values, &["1 3", "2 NULL", "3 NULL"]).await;
    check(&[sums, &joined("FULL")], &values, &["1 3", "2 NULL", "3 NULL", "NULL 1", "NULL 2"]).await;
}

#[tokio::test(flavor = "current_thread")]
async fn steps_of_recursions_leave_out_what_fails() {
    let values = [(1, 2), (2, 3), (3, 5), (5, 6), (2, 4), (4, 6)];
    let start = "SELECT k FROM t WHERE k = 1 UNION";
    let joined = |step: &str| format!("WITH RECURSIVE r(k) AS ({start} {step}) SELECT k FROM r");
    // 12 / (4 - x) fails for the edge to 4.
    check(&[&joined("SELECT x + 0 * (12 / (4 - x)) FROM r JOIN t USING (k)")], &values, &["1", "2", "3", "5", "6"]).await;
    check(&[&joined("SELECT x FROM r JOIN t USING (k) WHERE 12 / (4 - x) <> 99")], &values, &["1", "2", "3", "5", "6"]).await;
    check(
        &[&joined("SELECT x FROM r JOIN t ON r.k = t.k AND 12 / (4 - t.x - 0 * r.k) <> 99")],
        &values,
        &["1", "2", "3", "5", "6"],
    )
    .await;
    // Steps that are run again as a whole.
    let optional = "SELECT coalesce(x, 9) FROM r LEFT JOIN t ON r.k = t.k AND 12 / (4 - t.x - 0 * r.k) <> 99 WHERE r.k < 6";
    check(&[&joined(optional)], &values, &["1", "2", "3", "5", "6"]).await;
    let without =
        "SELECT 12 / (4 - x) * 0 + x FROM r JOIN t USING (k) WHERE NOT EXISTS (SELECT 1 FROM t u WHERE u.k = r.k AND u.x = 99)";
    check(&[&joined(without)], &values, &["1", "2", "3", "5", "6"]).await;
}
