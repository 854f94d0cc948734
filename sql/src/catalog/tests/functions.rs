//! Functions written as SQL.

use super::*;

fn fingerprint(text: &str) -> String {
    let catalog = load(text).unwrap_or_else(|e| panic!("{text}: {e}"));
    catalog.views.iter().find(|view| view.name == "v").unwrap().plan.fingerprint.clone()
}

/// A view that calls functions has the same plan as one in which they are written out.
#[test]
fn calls_are_what_they_stand_for() {
    let mut each = Each::default();
    for (functions, query, written_out) in [
        (
            "CREATE FUNCTION twice(n INT) RETURNS BIGINT RETURN n * 2",
            "SELECT twice(id) AS t FROM orders",
            "SELECT CAST(CAST(id AS INT) * 2 AS BIGINT) AS t FROM orders",
        ),
        (
            "CREATE FUNCTION Net(gross DECIMAL(12, 2), rate DOUBLE) RETURNS DOUBLE RETURN gross / (1 + rate)",
            "SELECT country, sum(NET(total, 0.25)) AS s FROM orders WHERE net(total, weight) > 1 GROUP BY country",
            "SELECT country, sum(CAST(CAST(total AS DECIMAL(12, 2)) / (1 + CAST(0.25 AS DOUBLE)) AS DOUBLE)) AS s FROM orders
             WHERE CAST(CAST(total AS DECIMAL(12, 2)) / (1 + CAST(weight AS DOUBLE)) AS DOUBLE) > 1 GROUP BY country",
        ),
        (
            "CREATE FUNCTION outer_one(a INT) RETURNS INT RETURN inner_one(a + 1) + inner_one(a);
             CREATE FUNCTION inner_one(a INT) RETURNS INT RETURN a * 3",
            "SELECT id FROM orders WHERE id IN (SELECT outer_one(CAST(id AS INT)) AS x FROM customers)",
            "SELECT id FROM orders WHERE id IN (SELECT CAST(CAST(CAST(CAST(CAST(id AS INT) AS INT) + 1 AS INT) * 3 AS INT)
               + CAST(CAST(CAST(CAST(id AS INT) AS INT) AS INT) * 3 AS INT) AS INT) AS x FROM customers)",
        ),
        (
            "CREATE FUNCTION swapped(a VARCHAR, b VARCHAR) RETURNS VARCHAR RETURN b || a",
            "SELECT swapped(country, swapped('x', country)) AS s FROM orders",
            "SELECT CAST(CAST(CAST(CAST(country AS VARCHAR) || CAST('x' AS VARCHAR) AS VARCHAR) AS VARCHAR)
               || CAST(country AS VARCHAR) AS VARCHAR) AS s FROM orders",
        ),
        (
            "CREATE FUNCTION answer() RETURNS INT RETURN 42",
            "SELECT id + answer() AS a FROM orders",
            "SELECT id + CAST(42 AS INT) AS a FROM orders",
        ),
        (
            "CREATE FUNCTION city(address VARCHAR, missing VARCHAR) RETURNS VARCHAR IMMUTABLE RETURN coalesce(address, missing)",
            "SELECT city(address['city'], 'none') AS c FROM orders o",
            "SELECT CAST(coalesce(CAST(address['city'] AS VARCHAR), CAST('none' AS VARCHAR)) AS VARCHAR) AS c FROM orders o",
        ),
    ] {
        each.run(|| {
            let view = |query: &str| format!("CREATE MATERIALIZED VIEW v AS {query};");
            assert_eq!(fingerprint(&format!("{}{functions};", view(query))), fingerprint(&view(written_out)), "{query}");
        });
    }
}

#[test]
fn a_column_is_named_by_its_call() {
    let catalog =
        load("CREATE FUNCTION f(a INT) RETURNS INT RETURN a; CREATE MATERIALIZED VIEW v AS SELECT f(id), f(id) + 1 FROM orders");
    let names: Vec<String> = catalog.unwrap().views[0].plan.schema.fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(names, ["f(id)", "f(id) + 1"]);
}

#[test]
fn a_view_is_rebuilt_when_its_function_changes() {
    let with = |body: &str| {
        fingerprint(&format!(
            "CREATE FUNCTION f(a INT) RETURNS INT RETURN {body}; CREATE FUNCTION g(a INT) RETURNS INT RETURN f(a) + 1;
             CREATE MATERIALIZED VIEW v AS SELECT g(id) AS x FROM orders;"
        ))
    };
    assert_eq!(with("a"), with("a"));
    assert_ne!(with("a"), with("a + 1"));
}

#[test]
fn what_is_wrong_with_a_function() {
    let mut each = Each::default();
    for (text, underlined, message, help) in [
        ("CREATE FUNCTION f(amount INT) RETURNS INT RETURN amuont + 1", "amuont", "no parameter amuont", "did you mean amount?"),
        ("CREATE FUNCTION f(a INT) RETURNS INT RETURN o.total", "o.total", "its parameters only", "o['total']"),
        ("CREATE FUNCTION f(a INT) RETURNS INT RETURN abz(a)", "abz", "no function is named abz", "did you mean abs?"),
        (
            "CREATE FUNCTION f(a INT) RETURNS INT RETURN (SELECT max(id) FROM orders)",
            "SELECT max(id) FROM orders",
            "cannot read relations",
            "in the view",
        ),
        ("CREATE FUNCTION f(a INT) RETURNS INT RETURN sum(a)", "RETURN", "one value from those of one row", "in the view"),
        ("CREATE FUNCTION f(a INT) RETURNS TIMESTAMP RETURN now()", "now", "not a function of the events", "_timestamp"),
        ("CREATE FUNCTION f(a INT) RETURN a", "CREATE FUNCTION f", "does not say what it returns", "RETURNS INT"),
        ("CREATE FUNCTION f(a INT) RETURNS INT", "CREATE FUNCTION f", "no body", "RETURN a + b"),
        ("CREATE FUNCTION f(INT) RETURNS INT RETURN 1", "CREATE FUNCTION f", "has no name", "a INT"),
        ("CREATE FUNCTION f(a INT, A INT) RETURNS INT RETURN a", "a", "two parameters are named a", "another name"),
        ("CREATE FUNCTION f(a BIGNIT) RETURNS INT RETURN a", "a", "no type is named BIGNIT", "did you mean BIGINT?"),
        ("CREATE FUNCTION f(a INT) RETURNS JSONB RETURN a", "RETURNS", "cannot be of type JSONB", "VARCHAR"),
        ("CREATE FUNCTION abs(a INT) RETURNS INT RETURN a", "abs", "a function abs already", "my_abs"),
        ("CREATE FUNCTION f(a INT) RETURNS INT STRICT RETURN a", "STRICT", "pass over NULL", "CASE"),
        ("CREATE FUNCTION f(a INT) RETURNS INT AS 'SELECT 1'", "AS", "SQL expression", "RETURN a + b"),
        ("CREATE OR REPLACE FUNCTION f(a INT) RETURNS INT RETURN a", "CREATE OR REPLACE", "no meaning", "leave out"),
        (
            "CREATE FUNCTION f(a INT) RETURNS INT RETURN g(a); CREATE FUNCTION g(a INT) RETURNS INT RETURN f(a)",
            "f",
            "in a circle: f -> g -> f",
            "without the other",
        ),
        ("CREATE FUNCTION f(a INT) RETURNS INT RETURN f(a)", "f", "in a circle: f -> f", "without"),
        (
            "CREATE FUNCTION f(a INT) RETURNS INT RETURN a;\nCREATE FUNCTION F(b INT) RETURNS INT RETURN b",
            "F",
            "declared twice, first at views.sql:1:17",
            "another name",
        ),
    ] {
        each.run(|| check_error(text, underlined, message, help));
    }
}

#[test]
fn what_is_wrong_with_a_call() {
    let mut each = Each::default();
    for (call, underlined, message, help) in [
        ("f(id)", "f", "takes 2 arguments, and 1 is given", "f(a INT, b VARCHAR)"),
        ("1 + F(id, 'x', 2)", "F", "takes 2 arguments, and 3 are given", "f(a INT, b VARCHAR)"),
        ("f(DISTINCT id, 'x')", "f", "values of one row", "f(a INT, b VARCHAR)"),
        ("f(id, 'x') OVER ()", "f", "values of one row", "f(a INT, b VARCHAR)"),
        ("ff(id, 'x')", "ff", "no function is named ff", "did you mean f?"),
        ("f(contry, 'x')", "contry", "no column is named contry", "did you mean country?"),
    ] {
        let text = format!(
            "CREATE MATERIALIZED VIEW v AS SELECT {call} AS x FROM orders; CREATE FUNCTION f(a INT, b VARCHAR) RETURNS INT RETURN a"
        );
        each.run(|| check_error(&text, underlined, message, help));
    }
}

#[test]
fn who_calls_what_is_broken_is_not_to_blame() {
    let errors = load(
        "CREATE FUNCTION f(a INT) RETURNS INT RETURN b;
         CREATE FUNCTION g(a INT) RETURNS INT RETURN f(a);
         CREATE MATERIALIZED VIEW v AS SELECT g(id) AS x FROM orders;
         CREATE MATERIALIZED VIEW w AS SELECT x FROM v;
         CREATE FUNCTION h(a INT) RETURNS;
         CREATE MATERIALIZED VIEW y AS SELECT h(id) AS x FROM orders;",
    )
    .unwrap_err();
    let lines: Vec<usize> = errors.0.iter().map(|error| error.at.line_column().0).collect();
    assert_eq!(lines, [1, 5], "{errors}");
}
