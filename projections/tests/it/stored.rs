//! What the catalog accepts is run and stored: values of all types that expressions have, as columns and as keys, are written as Parquet.

use std::sync::Arc;

use alluvium_projections::{Delta, Projection};
use alluvium_sql::{Catalog, SqlFile};
use arrow::array::new_null_array;
use arrow::record_batch::RecordBatch;
use datafusion::parquet::arrow::ArrowWriter;

use crate::oracle::session;

const SOURCE: &str = "CREATE EXTERNAL TABLE t (n BIGINT, i INT, s VARCHAR, f DOUBLE, r REAL, m DECIMAL(10, 2), at TIMESTAMP, day DATE, tm TIME, b BYTEA,
    flag BOOLEAN, l BIGINT[], body VARCHAR, st STRUCT<x BIGINT, y VARCHAR>, mp MAP<VARCHAR, BIGINT>) STORED AS FILE LOCATION 't';";

const VALUES: [&str; 69] = [
    "NULL",
    "n",
    "n IS NULL",
    "abs(n)",
    "s",
    "f",
    "r",
    "m",
    "m * m",
    "m / 3",
    "sqrt(f)",
    "at",
    "day",
    "tm",
    "b",
    "flag",
    "l",
    "st",
    "st.x",
    "mp",
    "mp['a']",
    "map_keys(mp)",
    "map_entries(mp)",
    "make_array()",
    "make_array(NULL)",
    "make_array(n, i)",
    "make_array(make_array(s))",
    "make_array(st)",
    "make_array(mp)",
    "named_struct('a', n, 'b', NULL)",
    "named_struct('a', named_struct('b', l))",
    "struct(n, s)",
    "body -> 'a'",
    "body -> 'a' -> 0",
    "body ->> 'a'",
    "make_array(body -> 'a')",
    "named_struct('a', body -> 'a')",
    "CASE WHEN n > 1 THEN body -> 'a' END",
    "coalesce(body -> 'a', body -> 'b')",
    "json_get(body, 'a')",
    "json_get_array(body, 'a')",
    "json_get_json(body, 'a')",
    "json_length(body)",
    "json_from_scalar(n)",
    "make_array(json_from_scalar(n))",
    "json_object_keys(body)",
    "json_as_text(body, 'a')",
    "at - TIMESTAMP '2024-01-01'",
    "day - DATE '2024-01-01'",
    "INTERVAL '1 day'",
    "INTERVAL '1 month'",
    "make_array(INTERVAL '1 day')",
    "n * INTERVAL '1 hour'",
    "date_part('epoch', at)",
    "date_trunc('hour', at)",
    "at AT TIME ZONE 'Europe/Berlin'",
    "to_timestamp_seconds(n)",
    "digest(s, 'sha256')",
    "md5(s)",
    "encode(b, 'hex')",
    "arrow_cast(s, 'Dictionary(Int32, Utf8)')",
    "arrow_cast(s, 'LargeUtf8')",
    "arrow_cast(s, 'Utf8View')",
    "arrow_cast(i, 'Time32(Second)')",
    "arrow_cast(m, 'Decimal256(50, 2)')",
    "arrow_cast(l, 'LargeList(Int64)')",
    "arrow_cast(f, 'Float16')",
    "arrow_cast(s, 'RunEndEncoded(\"run_ends\": non-null Int32, \"values\": Utf8)')",
    "arrow_cast(i, 'Interval(YearMonth)')",
];

/// Returns whether a query is accepted. What is accepted must run.
async fn is_stored(query: &str) -> bool {
    let text = format!("{SOURCE} CREATE MATERIALIZED VIEW v AS {query};");
    let catalog = match Catalog::load(&[SqlFile { path: "test.sql".to_owned(), text }]) {
        Ok(catalog) => catalog,
        Err(errors) => {
            println!("{query}: {}", errors.0[0].message);
            return false;
        }
    };
    let plan = &catalog.views[0].plan;
    let schema = &catalog.sources["t"].schema;
    let values = "(1, 2, 'a', 0.5, 0.25, 1.5, '2024-05-01 10:00:00', '2024-05-01', '10:00:00', 'x', true, [1, NULL], '{\"a\": [1, \"x\"]}', NULL, NULL)";
    let frame = session().sql(&format!("SELECT * FROM (VALUES {values})")).await.unwrap().collect().await.unwrap();
    let columns = frame[0].columns().iter().zip(schema.fields()).map(|(column, field)| {
        arrow::compute::cast(column, field.data_type()).unwrap_or_else(|_| new_null_array(field.data_type(), 1))
    });
    let row = RecordBatch::try_new(Arc::clone(schema), columns.collect()).unwrap();
    let nulls = schema.fields().iter().map(|field| new_null_array(field.data_type(), 1));
    let without = RecordBatch::try_new(Arc::clone(schema), nulls.collect()).unwrap();
    let mut projection = Projection::new(plan).await.unwrap_or_else(|error| panic!("{query}: {error}"));
    let mut writer =
        ArrowWriter::try_new(Vec::new(), Arc::clone(&plan.schema), None).unwrap_or_else(|error| panic!("{query}: {error}"));
    for rows in [row, without] {
        let all: Vec<usize> = (0..rows.num_columns()).collect();
        projection.push("t", &all, &Delta { rows, weights: None }).await.unwrap_or_else(|error| panic!("{query}: {error}"));
        for delta in projection.flush().await.unwrap_or_else(|error| panic!("{query}: {error}")) {
            let rows = RecordBatch::try_new(Arc::clone(&plan.schema), delta.rows.columns().to_vec()).unwrap();
            writer.write(&rows).unwrap_or_else(|error| panic!("{query}: {error}"));
        }
        let tables = projection.checkpoint();
        assert!(tables.iter().all(|table| !table.table.is_empty()));
    }
    writer.close().unwrap_or_else(|error| panic!("{query}: {error}"));
    true
}

#[tokio::test(flavor = "current_thread")]
async fn every_column_that_is_accepted_is_stored() {
    let mut stored = 0;
    for value in VALUES {
        for query in [
            format!("SELECT {value} AS x FROM t"),
            format!("SELECT DISTINCT {value} AS x FROM t"),
            format!("SELECT {value} AS x, count(*) AS c FROM t GROUP BY 1"),
            format!("SELECT max(c) AS c, x FROM (SELECT n, {value} AS x, count(*) AS c FROM t GROUP BY n, 2) GROUP BY x"),
            format!("SELECT n, first_value({value} ORDER BY n) AS x FROM t GROUP BY n"),
            format!("SELECT a.x FROM (SELECT n, {value} AS x FROM t) a LEFT JOIN t ON t.n = a.n"),
        ] {
            stored += usize::from(is_stored(&query).await);
        }
    }
    assert!(stored > 3 * VALUES.len(), "{stored} of {} are accepted", 6 * VALUES.len());
}
