//! Every error has its place and says what to write.

use super::*;

fn check_query(query: &str, underlined: &str, message: &str, help: &str) {
    check_error(&format!("CREATE MATERIALIZED VIEW v AS {query}"), underlined, message, help);
}

#[test]
fn misspelt_names() {
    let mut each = Each::default();
    for (query, underlined, message, help) in [
        ("SELECT id FROM oders", "oders", "no source or view is named oders", "did you mean orders?"),
        ("SELECT id FROM orders o JOIN custmers c ON o.id = c.id", "custmers", "named custmers", "did you mean customers?"),
        ("SELECT contry FROM orders", "contry", "no column is named contry", "did you mean country?"),
        ("SELECT o.totl FROM orders o", "o.totl", "o has no column totl", "did you mean total?"),
        ("SELECT id FROM orders WHERE ctry = 'DE'", "ctry", "no column is named ctry", "country"),
        ("SELECT cuont(*) FROM orders", "cuont", "no function is named cuont", "did you mean count?"),
        ("SELECT id FROM orders o, customers c", "id", "more than one relation", "say which"),
        ("SELECT id FROM nowhere", "nowhere", "named nowhere", "CREATE EXTERNAL TABLE"),
        ("SELECT id FROM public.orders", "public", "no schema", "write orders"),
        ("SELECT table_name FROM information_schema.tables", "information_schema", "no schema", "alluvium status"),
        (
            "SELECT count(*) AS n FROM TUMBEL(orders, placed_at, INTERVAL '1 hour')",
            "TUMBEL",
            "named tumbel",
            "did you mean TUMBLE?",
        ),
        ("SELECT o.address.cty AS c FROM orders o", "cty", "the struct has no member cty", "did you mean city?"),
        ("SELECT address['zap'] AS c FROM orders o", "'zap'", "the struct has no member zap", "did you mean zip?"),
        ("SELECT CAST(total AS VARCHR) AS t FROM orders", "VARCHR", "no type is named VARCHR", "did you mean VARCHAR?"),
        ("SELECT total::BIGNT AS t FROM orders", "BIGNT", "no type is named BIGNT", "did you mean BIGINT?"),
        ("SELECT date_trunc('huor', placed_at) AS h FROM orders", "'huor'", "no unit of time", "did you mean hour?"),
        ("SELECT * FROM read_csv('a.csv')", "read_csv", "named read_csv", "CREATE EXTERNAL TABLE"),
    ] {
        each.run(|| check_query(query, underlined, message, help));
    }
}

#[test]
fn types_that_a_view_cannot_hold() {
    let help = "CAST(gap AS VARCHAR)";
    check_query("SELECT id, make_array(INTERVAL '1 month') AS gap FROM orders", "gap", "gap is an INTERVAL", help);
    view("SELECT id, placed_at - TIMESTAMP '2024-01-01' AS gap, INTERVAL '1 day' AS grace FROM orders");
    let graces = "(SELECT id, CASE WHEN id = 1 THEN INTERVAL '1 month' ELSE INTERVAL '30 days' END AS grace FROM orders)";
    view(&format!("SELECT o.id, (SELECT count(*) FROM {graces} g WHERE g.grace < o.grace) AS n FROM {graces} o"));
    for (query, underlined) in [
        (format!("SELECT grace, count(*) AS n FROM {graces} GROUP BY grace"), "GROUP"),
        (format!("SELECT DISTINCT grace FROM {graces}"), "DISTINCT"),
        (format!("SELECT max(grace) AS most FROM {graces}"), "max"),
    ] {
        check_query(&query, underlined, "INTERVALs: those of one length", "date_part('epoch', ...)");
    }
    view("SELECT id, placed_at + gap AS later FROM (SELECT id, placed_at, INTERVAL '1 month' AS gap FROM orders)");
}

#[test]
fn queries_that_are_not_of_the_events() {
    let mut each = Each::default();
    for (query, underlined, message, help) in [
        ("SELECT id FROM orders WHERE placed_at > now()", "now", "now() is not a function of the events", "_timestamp"),
        ("SELECT current_timestamp AS t FROM orders", "current_timestamp", "not a function of the events", "_timestamp"),
        ("SELECT current_date AS d FROM orders", "current_date", "current_date()", "_timestamp"),
        ("SELECT random() AS r FROM orders", "random", "random()", "_sequence"),
        ("SELECT uuid() AS u FROM orders", "uuid", "uuid()", "_sequence"),
        ("SELECT id FROM orders WHERE id IN (SELECT id FROM customers WHERE random() < 1)", "random", "random()", ""),
        ("SELECT id FROM orders LIMIT 5", "LIMIT", "LIMIT without ORDER BY", "add ORDER BY"),
        ("SELECT id FROM orders OFFSET 5", "OFFSET", "LIMIT without ORDER BY", "add ORDER BY"),
        ("SELECT id FROM (SELECT id FROM orders LIMIT 5) t", "LIMIT", "LIMIT without ORDER BY", "add ORDER BY"),
        ("SELECT id FROM orders TABLESAMPLE BERNOULLI (10)", "TABLESAMPLE", "a sample", "WHERE id % 10 = 0"),
        ("SELECT DISTINCT ON (customer) id FROM orders", "DISTINCT", "DISTINCT ON without ORDER BY", "add ORDER BY"),
        (
            "WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT max(n) + 1 FROM t) SELECT n FROM t",
            "RECURSIVE",
            "an aggregate over t within its own recursion",
            "the whole of t",
        ),
        ("SELECT id FROM orders WHERE id = $1", "CREATE MATERIALIZED VIEW", "no parameters", "the value itself"),
        ("SELECT id, customer AS id FROM orders", "id", "two columns of the view are named id", "AS"),
        ("SELECT id FROM v", "v", "reads itself", "the source"),
    ] {
        each.run(|| check_query(query, underlined, message, help));
    }
}

#[test]
fn the_limit_that_has_no_order_is_underlined() {
    let query = "SELECT a.id FROM (SELECT id FROM orders ORDER BY id LIMIT 3) a, (SELECT id FROM customers LIMIT 7) b";
    let errors = load(&format!("CREATE MATERIALIZED VIEW v AS {query}")).unwrap_err();
    let at = &errors.0[0].at;
    assert!(at.file.text[at.offset..].starts_with("LIMIT 7"), "{errors}");
}

#[test]
fn rows_that_tie_leave_nothing_open() {
    let query = |over: &str| format!("SELECT id, {over} AS x FROM orders");
    let mut each = Each::default();
    for (over, name) in [
        ("last_value(total) OVER (PARTITION BY country ORDER BY placed_at)", "last_value"),
        ("nth_value(total, 2) OVER (ORDER BY placed_at)", "nth_value"),
        ("first_value(total) IGNORE NULLS OVER (ORDER BY placed_at)", "first_value"),
        ("first_value(total) OVER (ORDER BY id RANGE BETWEEN 5 PRECEDING AND CURRENT ROW)", "first_value"),
        ("array_agg(total) OVER (PARTITION BY country ORDER BY placed_at)", "array_agg"),
        (
            "last_value(total) OVER (PARTITION BY country ORDER BY placed_at GROUPS BETWEEN 1 PRECEDING AND CURRENT ROW)",
            "last_value",
        ),
    ] {
        each.run(|| check_query(&query(over), name, "does not say which of them", "_sequence"));
    }
    let plan = |over: &str| view(&query(over)).plan.batch.display_indent().to_string();
    for over in [
        "last_value(total) OVER (PARTITION BY country ORDER BY placed_at, _sequence)",
        "last_value(placed_at) OVER (PARTITION BY country ORDER BY placed_at)",
        "last_value(country) OVER (PARTITION BY country ORDER BY placed_at)",
        "nth_value(id, 2) OVER (ORDER BY id)",
        "array_agg(total) OVER (ORDER BY placed_at, _sequence)",
    ] {
        each.run(|| assert!(plan(over).contains("RANGE"), "{over}: {}", plan(over)));
    }
    for over in [
        "first_value(total) OVER (PARTITION BY country ORDER BY placed_at)",
        "last_value(total) OVER (ORDER BY placed_at RANGE BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)",
        "last_value(total) OVER (ORDER BY placed_at ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)",
    ] {
        each.run(|| {
            assert!(plan(over).contains("orders.placed_at ASC NULLS LAST, orders._sequence ASC"), "{over}: {}", plan(over))
        });
    }
    // A view's key decides. Without it, its rows have no order of their own.
    let keyed =
        "CREATE MATERIALIZED VIEW k AS SELECT country, max(total) AS t, max(placed_at) AS p FROM orders GROUP BY country;";
    each.run(|| {
        assert!(
            load(&format!("{keyed} CREATE MATERIALIZED VIEW v AS SELECT last_value(t) OVER (ORDER BY p, country) AS x FROM k"))
                .is_ok()
        )
    });
    each.run(|| {
        let open = format!("{keyed} CREATE MATERIALIZED VIEW v AS SELECT last_value(t) OVER (ORDER BY p) AS x FROM k");
        check_error(&open, "last_value", "does not say which of them", "ORDER BY");
    });
}

#[test]
fn what_does_not_fit_together() {
    let mut each = Each::default();
    for (query, underlined, message, help) in [
        ("SELECT id + country AS x FROM orders", "id + country", "the types of BIGINT + VARCHAR do not go together", "CAST"),
        (
            "SELECT id FROM orders WHERE placed_at > 5",
            "placed_at > 5",
            "the types of TIMESTAMP > BIGINT do not go together",
            "CAST",
        ),
        ("SELECT id FROM orders WHERE country", "country", "orders.country is of type VARCHAR", "IS NOT NULL"),
        ("SELECT id FROM orders WHERE placed_at > '2024-13-01'", "'2024-13-01'", "cannot be read as a timestamp", "2026-01-31"),
        ("SELECT sum(country) AS s FROM orders", "sum", "there is no sum(VARCHAR)", "sum(BIGINT)"),
        ("SELECT CAST('abc' AS INT) AS x", "'abc'", "the value 'abc' cannot be cast to INT", "TRY_CAST(... AS INT)"),
        ("SELECT substr(country) AS s FROM orders", "substr", "where to begin", "substr(text, from"),
        ("SELECT country, id, count(*) FROM orders GROUP BY country", "id", "neither in GROUP BY", "add it to GROUP BY"),
        ("SELECT id FROM orders WHERE count(*) > 1", "count", "before rows are aggregated", "HAVING"),
        ("SELECT id FROM orders WHERE row_number() OVER (ORDER BY id) = 1", "row_number", "before window functions", "subquery"),
        ("SELECT id FROM orders WHERE id IN (SELECT id, name FROM customers)", "id, name", "has one column", "select one column"),
        (
            "SELECT id FROM orders WHERE placed_at > placed_at - INTERVAL '1 minte'",
            "'1 minte'",
            "an interval cannot be",
            "10 minutes",
        ),
    ] {
        each.run(|| check_query(query, underlined, message, help));
    }
}

#[test]
fn misspelt_words_of_the_grammar() {
    let mut each = Each::default();
    for (text, underlined, message, help) in [
        ("CREATE MATERIALISED VIEW v AS SELECT 1 AS n", "MATERIALISED", "not for these files", "did you mean MATERIALIZED?"),
        ("CRAETE MATERIALIZED VIEW v AS SELECT 1 AS n", "CRAETE", "not for these files", "did you mean CREATE?"),
        ("CREATE MATERIALIZED VEIW v AS SELECT 1 AS n", "VEIW", "not for these files", "did you mean VIEW?"),
        ("ALTER TABLE orders ADD COLUMN x INT", "ALTER TABLE orders", "the whole truth", "change the statement"),
        ("CREATE MATERIALIZED VIEW v AS SELEC id FROM orders", "SELEC", "expected SELECT", "did you mean SELECT?"),
        ("CREATE MATERIALIZED VIEW v AS SELECT id FORM orders", "FORM", "expected end of statement", "did you mean FROM?"),
        (
            "CREATE MATERIALIZED VIEW v AS SELECT id FROM orders WHER paid",
            "WHER",
            "expected end of statement",
            "did you mean WHERE?",
        ),
        ("CREATE MATERIALIZED VIEW v AS SELECT id FROM orders ORDER id", "ORDER", "expected", "write ORDER BY"),
        ("CREATE MATERIALIZED VIEW v AS INSERT INTO orders VALUES (1)", "INSERT", "it cannot write", "publish an event"),
    ] {
        each.run(|| check_error(text, underlined, message, help));
    }
}

#[test]
fn statements_that_are_refused() {
    let mut each = Each::default();
    for (text, underlined, message, help) in [
        ("SELECT 1", "SELECT 1", "a query alone", "CREATE MATERIALIZED VIEW"),
        ("INSERT INTO orders VALUES (1)", "INSERT INTO orders", "cannot be written to", "publish"),
        ("CREATE VIEW v WITH (emit = 'final') AS SELECT 1", "WITH", "has no options", "CREATE MATERIALIZED VIEW"),
        ("CREATE TABLE t (a INT)", "CREATE TABLE t", "events", "CREATE EXTERNAL TABLE"),
        ("CREATE OR REPLACE MATERIALIZED VIEW v AS SELECT 1", "CREATE OR REPLACE", "no meaning", "leave out OR REPLACE"),
        ("CREATE MATERIALIZED VIEW IF NOT EXISTS v AS SELECT 1", "CREATE MATERIALIZED VIEW", "no meaning", "leave out"),
        ("DROP VIEW v", "DROP VIEW v", "DROP", "alluvium drop"),
        ("CREATE MATERIALIZED VIEW v AS SELECT id FROM orders WHERE GROUP BY 1", "BY", "expected", ""),
        ("CREATE MATERIALIZED VIEW v AS SELECT id FROM", "FROM", "expected", ""),
        ("CREATE MATERIALIZED VIEW v AS SELECT 'open", "'", "nterminated", "close"),
        ("CREATE MATERIALIZED VIEW \"a/b\" AS SELECT 1", "\"a/b\"", "cannot be a folder's name", "digits"),
        ("CREATE MATERIALIZED VIEW a.b AS SELECT 1", "a.b", "schema", "write b"),
        ("CREATE MATERIALIZED VIEW v (a) AS SELECT 1", "a", "columns' names", "AS a"),
        (
            "CREATE MATERIALIZED VIEW v WITH (comit_interval = '1 s') AS SELECT 1",
            "comit_interval",
            "no option",
            "did you mean commit_interval?",
        ),
        ("CREATE MATERIALIZED VIEW v WITH (commit_interval = 'soon') AS SELECT 1", "'soon'", "cannot be 'soon'", "1 second"),
        ("CREATE MATERIALIZED VIEW v WITH (snapshots_kept = 0) AS SELECT 1", "0", "cannot be 0", "at least 1"),
        ("CREATE MATERIALIZED VIEW v WITH (on_error = 'halt') AS SELECT 1", "'halt'", "cannot be 'halt'", "or 'stop'"),
        ("CREATE MATERIALIZED VIEW v WITH (max_dead_letters = 5) AS SELECT 1", "5", "cannot be 5", "max_dead_letters = '1%'"),
        ("CREATE EXTERNAL TABLE t STORED AS FILE LOCATION '-'", "t", "no columns", "id BIGINT"),
        ("CREATE EXTERNAL TABLE t (a INT)", ")", "STORED AS", "STORED AS NATS"),
        ("CREATE EXTERNAL TABLE t (a INT, a INT) STORED AS FILE LOCATION '-'", "a", "declared twice", "keep one"),
        ("CREATE EXTERNAL TABLE t (a INT DEFAULT 3) STORED AS FILE LOCATION '-'", "a", "cannot have DEFAULT", "NOT NULL"),
        (
            "CREATE EXTERNAL TABLE t (a INT, PRIMARY KEY (a)) STORED AS FILE LOCATION '-'",
            "PRIMARY",
            "constraints",
            "dead letters",
        ),
        (
            "CREATE EXTERNAL TABLE t (a INT) STORED AS FILE PARTITIONED BY (a) LOCATION '-'",
            "PARTITIONED",
            "PARTITIONED BY",
            "among the others",
        ),
        ("CREATE EXTERNAL TABLE t (a INT) STORED AS FILE WITH ORDER (a) LOCATION '-'", "ORDER", "WITH ORDER", "leave out"),
    ] {
        each.run(|| check_error(text, underlined, message, help));
    }
}

#[test]
fn lines_and_columns_count_characters() {
    let errors = load("-- größe\nCREATE MATERIALIZED VIEW v AS\n  SELECT 'größe', contry\n  FROM orders;").unwrap_err();
    assert_eq!(errors.0[0].at.line_column(), (3, 19));
    assert_eq!(errors.0[0].to_string(), "views.sql:3:19: no column is named contry");
}

#[test]
fn all_errors_are_found_at_once() {
    let errors = load(
        "CREATE MATERIALIZED VIEW a AS SELECT nothing FROM orders;
         CREATE MATERIALIZED VIEW b AS SELEC 1;
         CREATE MATERIALIZED VIEW c AS SELECT x FROM a;
         CREATE MATERIALIZED VIEW d AS SELECT y FROM b;
         CREATE MATERIALIZED VIEW e AS SELECT now() AS t FROM orders;
         DELETE FROM orders;",
    )
    .unwrap_err();
    let lines: Vec<usize> = errors.0.iter().map(|error| error.at.line_column().0).collect();
    assert_eq!(lines, [1, 2, 5, 6], "{errors}");
}

#[test]
fn names_are_declared_once() {
    let errors = load("CREATE MATERIALIZED VIEW a AS SELECT 1 AS x;\nCREATE MATERIALIZED VIEW A AS SELECT 2 AS x;").unwrap_err();
    assert_eq!(errors.0.len(), 1);
    assert!(errors.0[0].message.contains("first at views.sql:1:26"), "{errors}");
    assert_eq!(errors.0[0].at.line_column(), (2, 26));
}

#[test]
fn cycles_name_their_way() {
    let errors = load(
        "CREATE MATERIALIZED VIEW a AS SELECT * FROM b;
         CREATE MATERIALIZED VIEW b AS SELECT * FROM c;
         CREATE MATERIALIZED VIEW c AS SELECT * FROM a;
         CREATE MATERIALIZED VIEW d AS SELECT * FROM a;",
    )
    .unwrap_err();
    assert_eq!(errors.0.len(), 1, "{errors}");
    assert!(errors.0[0].message.ends_with("a -> b -> c -> a"), "{errors}");
}

#[test]
fn ties_are_broken_by_the_remaining_columns() {
    let plan = |query: &str| view(query).plan.batch.display_indent().to_string();
    // The sequence decides alone if each row is an event of its own.
    assert!(
        plan("SELECT id, row_number() OVER (PARTITION BY country ORDER BY total) AS n FROM orders")
            .contains("orders.total ASC NULLS LAST, orders._sequence ASC NULLS LAST]")
    );
    assert!(plan("SELECT id, total FROM orders ORDER BY total LIMIT 3").contains("orders.id ASC"));
    assert!(plan("SELECT id, row_number() OVER (ORDER BY name) AS n FROM customers").contains("customers.id ASC"));
    assert!(
        plan("SELECT DISTINCT ON (customer) country FROM orders ORDER BY customer")
            .contains("ORDER BY [orders.country ASC NULLS LAST]")
    );
    assert!(plan("SELECT array_agg(id ORDER BY total) AS ids FROM orders").contains("orders._sequence ASC"));
    // A row that depends on a subquery is emitted when the subquery's rows change.
    let with_a_customer = "EXISTS (SELECT 1 FROM customers AS c WHERE c.id = orders.customer)";
    assert!(
        plan(&format!("SELECT array_agg(id) AS ids FROM orders WHERE {with_a_customer}")).contains("ORDER BY [orders.id ASC")
    );
    // An order by floats uses float keys, under its former name.
    let joined = "orders AS o JOIN customers AS c ON c.id = o.customer";
    let first = plan(&format!("SELECT first_value(c.name ORDER BY CAST(o.total AS DOUBLE)) AS name FROM {joined}"));
    assert!(first.contains("c.name ASC NULLS LAST]"), "{first}");
    assert!(!plan("SELECT id FROM orders ORDER BY id").contains("Sort"));
    let rank = plan("SELECT id, rank() OVER (PARTITION BY country ORDER BY total) AS n FROM orders");
    assert!(!rank.contains("orders.id ASC"), "peers of rank stay peers: {rank}");
}
