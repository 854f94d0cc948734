//! Whole messages for common mistakes: what is underlined, what is wrong, and what to write.

use super::*;
use crate::file::Location;
use crate::other_engines;

/// Returns the first error: what it underlines, its message and its help.
fn first_error(text: &str) -> (String, String, String) {
    let errors = load(text).map(|_| ()).expect_err(text);
    let error = &errors.0[0];
    let at = &error.at;
    let underlined = at.file.text[at.offset..at.offset + at.length].to_owned();
    (underlined, error.message.clone(), error.help.clone().unwrap_or_default())
}

fn check(text: &str, underlined: &str, message: &str, help: &str) {
    assert_eq!(first_error(text), (underlined.to_owned(), message.to_owned(), help.to_owned()), "{text}");
}

fn check_query(query: &str, underlined: &str, message: &str, help: &str) {
    check(&format!("CREATE MATERIALIZED VIEW v AS {query}"), underlined, message, help);
}

#[test]
fn names_that_need_quotes_are_suggested_in_quotes() {
    let source = "CREATE EXTERNAL TABLE s (\"customerId\" BIGINT, data STRUCT<\"orderId\" BIGINT>) STORED AS FILE LOCATION 's';";
    let mut each = Each::default();
    for (query, underlined, message, help) in [
        (
            "SELECT customerId FROM s",
            "customerId",
            "no column is named customerid",
            "did you mean \"customerId\"? Quotes keep capital letters",
        ),
        ("SELECT custmerId FROM s", "custmerId", "no column is named custmerid", "did you mean \"customerId\"?"),
        (
            "SELECT s.data.orderId AS o FROM s",
            "orderId",
            "the struct has no member orderid",
            "did you mean \"orderId\"? Quotes keep capital letters",
        ),
    ] {
        each.run(|| check(&format!("{source} CREATE MATERIALIZED VIEW v AS {query}"), underlined, message, help));
    }
}

#[test]
fn names_that_could_be_several_columns() {
    let mut each = Each::default();
    for (query, underlined, message, help) in [
        ("SELECT id FROM orders o, customers c", "id", "id is a column of more than one relation", "say which: o.id or c.id"),
        (
            "SELECT country, id AS customer, customer FROM orders",
            "customer",
            "two columns of the view are named customer",
            "give one of them another name with AS",
        ),
    ] {
        each.run(|| check_query(query, underlined, message, help));
    }
}

#[test]
fn functions_of_other_engines() {
    let mut each = Each::default();
    for (query, underlined, message, help) in [
        ("SELECT age(placed_at, placed_at) AS l FROM orders", "age", "no function is named age", "write b - a"),
        (
            "SELECT date_format2(placed_at, '%Y') AS y, format_date(placed_at) AS d FROM orders",
            "date_format2",
            "no function is named date_format2",
            "did you mean date_format?",
        ),
        (
            "SELECT json_extract_scalar(body, country) AS a FROM orders",
            "json_extract_scalar",
            "no function is named json_extract_scalar",
            "write body ->> 'member'",
        ),
    ] {
        each.run(|| check_query(query, underlined, message, help));
    }
}

/// Suggestions are valid: each one that is SQL is planned.
#[test]
fn what_is_suggested_for_a_function_can_be_written() {
    let source = "CREATE EXTERNAL TABLE s (x BIGINT, y BIGINT, a TIMESTAMP, b TIMESTAMP, at TIMESTAMP, text VARCHAR, part VARCHAR, \
                  pattern VARCHAR, list BIGINT[], body VARCHAR, condition BOOLEAN, number BIGINT, value BIGINT) \
                  STORED AS FILE LOCATION 's';";
    let mut each = Each::default();
    for suggestion in other_engines::suggestions() {
        each.run(|| {
            let written = load(&format!("{source} CREATE MATERIALIZED VIEW v AS SELECT {suggestion} AS c FROM s"));
            assert!(written.is_ok(), "{suggestion}: {written:?}");
        });
    }
}

#[test]
fn types_of_other_engines() {
    let mut each = Each::default();
    for (data_type, message, help) in [
        ("MONEY", "column c: a column cannot be of type MONEY", "write DECIMAL(12, 2)"),
        ("UUID", "column c: a column cannot be of type UUID", "write VARCHAR"),
        (
            "JSONB",
            "column c: a column cannot be of type JSONB",
            "write VARCHAR, and read it with body ->> 'member', or STRUCT<member VARCHAR>",
        ),
        ("DATETIME", "column c: a column cannot be of type DATETIME", "write TIMESTAMP"),
        ("VARCHR", "column c: no type is named VARCHR", "did you mean VARCHAR?"),
    ] {
        each.run(|| {
            check(&format!("CREATE EXTERNAL TABLE s (c {data_type}) STORED AS FILE LOCATION 's'"), data_type, message, help)
        });
    }
}

#[test]
fn statements_and_clauses_of_other_engines() {
    const SOURCE: &str = "write CREATE EXTERNAL TABLE name (columns) STORED AS NATS LOCATION 'nats://host:port/STREAM'";
    let mut each = Each::default();
    for (text, underlined, message, help) in [
        (
            "CREATE SOURCE s (id INT) WITH (connector = 'nats')",
            "CREATE SOURCE s",
            "a stream is declared as an external table here",
            SOURCE,
        ),
        (
            "CREATE STREAM s (id INT) WITH (kafka_topic = 's')",
            "CREATE STREAM s",
            "a stream is declared as an external table here",
            SOURCE,
        ),
        (
            "CREATE SINK s FROM v INTO NATS",
            "CREATE SINK s",
            "there are no sinks: a view's rows are in Parquet files, which any reader opens",
            "write CREATE MATERIALIZED VIEW name AS SELECT ..., and read data/views/name/current/*.parquet",
        ),
        (
            "CREATE MATERIALIZED VIEW v AS SELECT country, count(*) AS n FROM orders GROUP BY country EMIT CHANGES",
            "EMIT",
            "a view here always changes with its events",
            "leave it out",
        ),
        (
            "CREATE EXTERNAL TABLE s (id INT, at TIMESTAMP, WATERMARK FOR at AS at - INTERVAL '5' SECOND) STORED AS FILE LOCATION 's'",
            "WATERMARK",
            "a watermark is an option of the source",
            "write it after LOCATION: OPTIONS (watermark 'placed_at - 5 seconds')",
        ),
    ] {
        each.run(|| check(text, underlined, message, help));
    }
}

#[test]
fn what_is_missing_between_words() {
    let mut each = Each::default();
    for (text, underlined, message, help) in [
        (
            "CREATE MATERIALIZED VIEW v AS SELECT id AS a country FROM orders",
            "country",
            "a comma is missing between two columns",
            "write one before it",
        ),
        (
            "CREATE MATERIALIZED VIEW v AS SELECT id FROM orders CREATE MATERIALIZED VIEW w AS SELECT id FROM orders",
            "CREATE",
            "a statement begins within another one",
            "end the statement before it with a semicolon",
        ),
        (
            "CREATE EXTERNAL TABLE s (id INT, foreign VARCHAR) STORED AS FILE LOCATION 's'",
            "foreign",
            "foreign is a word of SQL",
            "for a column of that name write \"foreign\"",
        ),
    ] {
        each.run(|| check(text, underlined, message, help));
    }
}

#[test]
fn json_operators_on_a_struct() {
    for operator in ["->", "->>"] {
        check_query(
            &format!("SELECT address {operator} 'city' AS c FROM orders"),
            operator,
            "-> and ->> read JSON text, and this is a STRUCT",
            "write a dot: data.member",
        );
    }
}

/// What DataFusion says of a plan that it cannot run, which is about a column two queries up.
#[test]
fn a_plan_that_cannot_run() {
    let text =
        "CREATE MATERIALIZED VIEW v AS SELECT id FROM orders o\nWHERE id = (SELECT max(c.id) FROM customers c WHERE o.id = 1)";
    let at = Location { file: Arc::new(file("views.sql", text)), offset: 0, length: text.len() };
    let told = "Schema error: No field named o.id. Did you mean '__correlated_sq_1.id'?\nValid fields are __correlated_sq_1.id.";
    let error = crate::plan_error(told, &at);
    assert_eq!(&error.at.file.text[error.at.offset..error.at.offset + error.at.length], "o.id");
    assert_eq!(error.message, "a subquery reads a column of a query around it in a way that has no plan yet");
    assert!(error.help.is_some());
}
