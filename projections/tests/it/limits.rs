//! Events that ask for more memory than there is: the row fails, and the process goes on.

use std::sync::Arc;

use alluvium_sql::{Catalog, SqlFile};
use arrow::array::{ArrayRef, Int64Array, StringArray};
use arrow::record_batch::RecordBatch;

use crate::pipeline::Pipeline;

const HUGE: [i64; 4] = [i64::MAX, 1 << 40, 1 << 30, 40 << 20];

fn catalog(sql: &str) -> Catalog {
    let text = format!(
        "CREATE EXTERNAL TABLE t (n BIGINT, s VARCHAR) STORED AS FILE LOCATION 't'; CREATE MATERIALIZED VIEW asked AS {sql};"
    );
    Catalog::load(&[SqlFile { path: "test.sql".to_owned(), text }]).unwrap()
}

fn rows(catalog: &Catalog, numbers: &[i64]) -> RecordBatch {
    let n: ArrayRef = Arc::new(Int64Array::from(numbers.to_vec()));
    let s: ArrayRef = Arc::new(StringArray::from_iter_values(numbers.iter().map(|_| "a,b,c,d")));
    RecordBatch::try_new(Arc::clone(&catalog.sources["t"].schema), vec![n, s]).unwrap()
}

/// Checks the rows of a view after numbers arrive one by one, and all together. Exactly the huge ones must fail.
async fn check(sql: &str, expected: &[&str]) {
    let catalog = catalog(sql);
    let numbers = [&[3][..], &HUGE, &[2, i64::MIN]].concat();
    for step in [1, numbers.len()] {
        let mut pipeline = Pipeline::new(&catalog).await;
        let mut left_out = Vec::new();
        for (number, numbers) in numbers.chunks(step).enumerate() {
            let rejected = pipeline.push("t", &rows(&catalog, numbers)).await;
            left_out.extend(rejected.iter().map(|rejected| number * step + rejected.row));
            pipeline.flush().await;
        }
        let mut shown: Vec<String> = pipeline.views[0].rows.shown().iter().map(|row| row.join(" ")).collect();
        shown.sort();
        assert_eq!(shown, expected, "{sql}, {step} a step");
        assert_eq!(left_out, [1, 2, 3, 4], "{sql}, {step} a step");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn texts_beyond_memory_fail_as_rows() {
    check("SELECT n, length(rpad('x', n, ' ')) AS l FROM t", &["-9223372036854775808 0", "2 2", "3 3"]).await;
    check("SELECT n, length(lpad(s, n)) AS l FROM t", &["-9223372036854775808 0", "2 2", "3 3"]).await;
    check(
        "SELECT n, rpad(s, -5) || lpad('x', n, '') || coalesce(rpad(NULL, n), '-') AS l FROM t WHERE length(lpad(s, n, 'é')) < 9",
        &["-9223372036854775808 -", "2 x-", "3 x-"],
    )
    .await;
    check("SELECT n, length(repeat(s, n)) AS l FROM t", &["-9223372036854775808 0", "2 14", "3 21"]).await;
    check("SELECT n FROM t WHERE length(replace(s, ',', repeat('ab', n))) > 10", &["2", "3"]).await;
}

#[tokio::test(flavor = "current_thread")]
async fn lists_beyond_memory_fail_as_rows() {
    check("SELECT n, cardinality(array_repeat(s, n)) AS l FROM t WHERE n > 0", &["2 2", "3 3"]).await;
    check("SELECT n, array_length(array_resize([1], n, 7)) AS l FROM t WHERE n > 0", &["2 2", "3 3"]).await;
    check("SELECT n, cardinality(range(n)) AS l FROM t WHERE n > 0", &["2 2", "3 3"]).await;
    check("SELECT n, cardinality(generate_series(-1 - n, -2, 1)) AS l FROM t WHERE n > 0", &["2 2", "3 3"]).await;
    check("SELECT n, length(array_to_string([1, 2, 3], repeat('abcdefgh', n / 8))) AS l FROM t WHERE n > 0", &["2 3", "3 3"])
        .await;
}

#[tokio::test(flavor = "current_thread")]
async fn what_is_unnested_fails_as_a_row() {
    check("SELECT UNNEST(range(n)) AS i FROM t", &["0", "0", "1", "1", "2"]).await;
    check("SELECT count(*) AS c FROM (SELECT UNNEST(range(n)) AS i FROM t)", &["5"]).await;
    check("SELECT s, UNNEST(array_repeat(1, n)) AS i FROM t WHERE n <> 3", &["a,b,c,d 1", "a,b,c,d 1"]).await;
}

#[tokio::test(flavor = "current_thread")]
async fn aggregates_of_it_leave_the_row_out() {
    check("SELECT sum(length(repeat('ab', n))) AS l FROM t", &["10"]).await;
    check(
        "SELECT length(repeat('x', n)) AS k, count(*) AS c FROM t WHERE n > 0 GROUP BY length(repeat('x', n))",
        &["2 1", "3 1"],
    )
    .await;
    check(
        "SELECT n FROM (SELECT n, row_number() OVER (ORDER BY repeat('x', n)) AS r FROM t) WHERE r < 10 AND n > 0",
        &["2", "3"],
    )
    .await;
}

/// Each of these long values is within the limit, but together they exceed that of a batch.
#[tokio::test(flavor = "current_thread")]
async fn many_large_values_are_made_by_parts() {
    let catalog = catalog("SELECT count(*) AS c FROM t WHERE length(repeat('x', n)) = n");
    let mut pipeline = Pipeline::new(&catalog).await;
    let rejected = pipeline.push("t", &rows(&catalog, &[15 << 20; 100])).await;
    pipeline.flush().await;
    assert!(rejected.is_empty(), "{rejected:?}");
    assert_eq!(pipeline.views[0].rows.shown(), [["100"]]);
}

/// A list of 100,000 elements, each of which would repeat a text of 100 kB.
#[tokio::test(flavor = "current_thread")]
async fn long_lists_beside_long_texts_fail_as_rows() {
    let catalog = catalog("SELECT p, UNNEST(l) AS i FROM (SELECT repeat('x', n) AS p, range(n) AS l FROM t)");
    let mut pipeline = Pipeline::new(&catalog).await;
    let rejected = pipeline.push("t", &rows(&catalog, &[2, 100_000, 1])).await;
    pipeline.flush().await;
    let mut shown: Vec<String> = pipeline.views[0].rows.shown().iter().map(|row| row.join(" ")).collect();
    shown.sort();
    assert_eq!(shown, ["x 0", "xx 0", "xx 1"]);
    assert_eq!(rejected.iter().map(|rejected| rejected.row).collect::<Vec<_>>(), [1]);
}

/// Checks that a query runs.
async fn check_runs(sql: &str, expected: &[&str]) {
    let catalog = catalog(sql);
    let mut pipeline = Pipeline::new(&catalog).await;
    let left_out = pipeline.push("t", &rows(&catalog, &[1, 2])).await;
    pipeline.flush().await;
    let mut shown: Vec<String> = pipeline.views[0].rows.shown().iter().map(|row| row.join(" ")).collect();
    shown.sort();
    assert_eq!((shown.iter().map(String::as_str).collect::<Vec<_>>(), left_out.len()), (expected.to_vec(), 0));
}

#[tokio::test(flavor = "current_thread")]
async fn queries_nest_500_deep() {
    let times =
        |count: usize, open: &str, inner: &str, close: &str| format!("{}{inner}{}", open.repeat(count), close.repeat(count));
    let nested = |open: &str, inner: &str, close: &str| times(500, open, inner, close);
    check_runs(&format!("SELECT {} AS x FROM t", nested("(", "n", ")")), &["1", "2"]).await;
    check_runs(&format!("SELECT {} AS x FROM t", times(40, "(1 + ", "n", ")")), &["41", "42"]).await;
    check_runs(&format!("SELECT {} AS x FROM t", nested("CASE WHEN n > 1 THEN n ELSE ", "0", " END")), &["0", "2"]).await;
    check_runs(&format!("SELECT n FROM t WHERE {}", nested("NOT (", "n = 1", ")")), &["1"]).await;
    check_runs(&nested("SELECT * FROM (", "SELECT n FROM t", ") AS q"), &["1", "2"]).await;
    check_runs(&format!("SELECT n FROM t WHERE n IN {}", times(8, "(SELECT n FROM t WHERE n IN ", "(1, 5)", ")")), &["1"]).await;
}

#[test]
fn deeper_queries_are_refused_in_words() {
    let sql = format!("SELECT {}n{} AS x FROM t", "(".repeat(20_000), ")".repeat(20_000));
    let text = format!("CREATE EXTERNAL TABLE t (n BIGINT) STORED AS FILE LOCATION 't'; CREATE MATERIALIZED VIEW v AS {sql};");
    let refused = Catalog::load(&[SqlFile { path: "test.sql".to_owned(), text }]).unwrap_err();
    assert_eq!(refused.0[0].message, "the statement nests too deeply");
}

/// A chain of 6,000 rows leaves and comes again in one epoch: neither is longer than a recursion may be.
#[tokio::test(flavor = "current_thread")]
async fn what_leaves_and_what_comes_are_bounded_apart() {
    let first = "SELECT max(n) AS n FROM t";
    let chain = format!(
        "WITH RECURSIVE r(x, high) AS (SELECT n AS x, n AS high FROM ({first}) UNION SELECT x - 1, high FROM r WHERE x > high - 6000) SELECT count(*) AS c, max(x) AS m FROM r"
    );
    let catalog = catalog(&chain);
    let mut pipeline = Pipeline::new(&catalog).await;
    for number in [10_000, 20_000] {
        pipeline.push("t", &rows(&catalog, &[number])).await;
        pipeline.flush().await;
    }
    assert_eq!(pipeline.views[0].rows.shown(), [["6001", "20000"]]);
}

#[tokio::test(flavor = "current_thread")]
#[should_panic(expected = "the recursion of r has not ended after 10000 steps")]
async fn a_recursion_without_an_end_fails_in_words() {
    check_runs("WITH RECURSIVE r(x) AS (SELECT n FROM t UNION ALL SELECT x FROM r) SELECT x FROM r", &[]).await;
}
