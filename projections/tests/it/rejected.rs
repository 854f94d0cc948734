//! Rows of a source on which an expression fails are rejected and left out everywhere. All others are applied.

use std::sync::Arc;

use alluvium_projections::{Delta, Error, Projection};
use alluvium_sql::{Catalog, SqlFile};
use arrow::array::{ArrayRef, Int32Array, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::RecordBatch;

use crate::pipeline::Pipeline;

fn catalog(sql: &str) -> Catalog {
    let text = format!(
        "CREATE EXTERNAL TABLE t (v BIGINT, s VARCHAR) STORED AS FILE LOCATION 't'; CREATE MATERIALIZED VIEW asked AS {sql};"
    );
    Catalog::load(&[SqlFile { path: "test.sql".to_owned(), text }]).unwrap()
}

fn rows(catalog: &Catalog, values: &[(i64, &str)]) -> RecordBatch {
    let v: ArrayRef = Arc::new(Int64Array::from_iter_values(values.iter().map(|value| value.0)));
    let s: ArrayRef = Arc::new(StringArray::from_iter_values(values.iter().map(|value| value.1)));
    RecordBatch::try_new(Arc::clone(&catalog.sources["t"].schema), vec![v, s]).unwrap()
}

async fn check(sql: &str, values: &[(i64, &str)], bad: &[usize], expected: &[&[&str]]) {
    let catalog = catalog(sql);
    for step in [1, 3, values.len()] {
        let mut pipeline = Pipeline::new(&catalog).await;
        let mut found = Vec::new();
        for (number, values) in values.chunks(step).enumerate() {
            let rejected = pipeline.push("t", &rows(&catalog, values)).await;
            for rejected in rejected {
                assert!(!rejected.error.is_empty());
                found.push(number * step + rejected.row);
            }
            pipeline.flush().await;
        }
        assert_eq!(found, bad, "{sql}, {step} a step");
        let mut expected: Vec<Vec<String>> = expected.iter().map(|row| row.iter().map(ToString::to_string).collect()).collect();
        expected.sort();
        let mut shown = pipeline.views[0].rows.shown();
        shown.sort();
        assert_eq!(shown, expected, "{sql}, {step} a step");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn failing_rows_are_left_out_and_told() {
    let values = [(1, "1"), (0, "2"), (5, "x"), (2, "4"), (0, "y"), (10, "6"), (-1, "7")];
    check("SELECT 10 / v AS q FROM t", &values, &[1, 4], &[&["10"], &["2"], &["5"], &["1"], &["-10"]]).await;
    check("SELECT CAST(s AS BIGINT) AS n FROM t", &values, &[2, 4], &[&["1"], &["2"], &["4"], &["6"], &["7"]]).await;
    check("SELECT count(*), sum(CAST(s AS BIGINT)) FROM t", &values, &[2, 4], &[&["5", "20"]]).await;
    check(
        "SELECT 9223372036854775800 + v + v - 9223372036854775800 AS q FROM t WHERE v <> 0 AND v < 10",
        &values,
        &[2],
        &[&["2"], &["4"], &["-2"]],
    )
    .await;
    check(
        "SELECT 10 / v AS k, count(*) FROM t GROUP BY 10 / v",
        &values,
        &[1, 4],
        &[&["10", "1"], &["2", "1"], &["5", "1"], &["1", "1"], &["-10", "1"]],
    )
    .await;
    check("SELECT count(*) FILTER (WHERE 10 / v > 1) FROM t", &values, &[1, 4], &[&["3"]]).await;
    check("SELECT s FROM t WHERE 10 / v > 4", &values, &[1, 4], &[&["1"], &["4"]]).await;
}

#[tokio::test(flavor = "current_thread")]
async fn a_row_that_fails_in_one_branch_counts_in_none() {
    let values = [(1, "1"), (0, "2"), (5, "x"), (2, "4")];
    check(
        "SELECT 10 / v AS q FROM t UNION ALL SELECT v FROM t",
        &values,
        &[1],
        &[&["10"], &["2"], &["5"], &["1"], &["5"], &["2"]],
    )
    .await;
    check("SELECT count(*) AS n FROM t UNION ALL SELECT sum(10 / v) FROM t", &values, &[1], &[&["3"], &["17"]]).await;
    check(
        "SELECT n FROM (SELECT count(*) AS n FROM t) JOIN (SELECT max(CAST(s AS BIGINT)) AS m FROM t) ON n < m",
        &values,
        &[2],
        &[&["3"]],
    )
    .await;
}

/// It fails on every row alike. If the rows became dead letters, the view would be empty.
#[tokio::test(flavor = "current_thread")]
async fn a_disagreement_about_types_is_no_fault_of_a_row() {
    let catalog = catalog("SELECT v + 1 AS n FROM t");
    let mut projection = Projection::new(&catalog.views[0].plan).await.unwrap();
    let schema = Arc::new(Schema::new(vec![Field::new("v", DataType::Int32, true)]));
    let narrow = RecordBatch::try_new(schema, vec![Arc::new(Int32Array::from(vec![1, 2]))]).unwrap();
    let pushed = projection.push("t", &[0], &Delta::insertions(narrow)).await;
    assert!(matches!(pushed, Err(Error::Bug(_))), "{pushed:?}");
}
