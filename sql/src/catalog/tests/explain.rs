//! What people are told about a valid view: its tree, its summary, its warnings.

use super::*;
use crate::describe::{ViewSummary, explain, summary, to_json, to_mermaid};
use crate::plan::Class;

/// Returns the text that each warning points at, and its reason.
fn warnings(query: &str) -> Vec<(String, String)> {
    let warnings = summary(&view(query)).warnings;
    let shown = warnings.into_iter().map(|warning| {
        assert!(!warning.suggestion.is_empty(), "{query}: {}", warning.reason);
        let at = &warning.at;
        (at.file.text[at.offset..at.offset + at.length].to_owned(), warning.reason.clone())
    });
    shown.collect()
}

#[test]
fn warnings_say_what_grows_and_what_rounds_and_where() {
    let mut each = Each::default();
    for query in [
        "SELECT country, count(*) AS n FROM orders GROUP BY country",
        "SELECT sum(total) AS t FROM orders",
        "SELECT 1 AS one",
        "SELECT id FROM orders WHERE paid UNION ALL SELECT id FROM customers",
        "SELECT DISTINCT country FROM orders",
        "SELECT id, total FROM orders ORDER BY total DESC, id LIMIT 10",
        "SELECT id, country FROM (SELECT id, country, row_number() OVER (PARTITION BY country ORDER BY id) AS n FROM orders) WHERE n <= 3",
        "SELECT a.country, a.n, b.m FROM (SELECT country, count(*) AS n FROM orders GROUP BY country) a \
         JOIN (SELECT country, max(id) AS m FROM customers GROUP BY country) b ON a.country = b.country",
    ] {
        each.run(|| assert_eq!(warnings(query), []));
    }
    for (query, place, part) in [
        ("SELECT sum(weight) AS s FROM orders", "sum", "sum of floating-point numbers"),
        ("SELECT country, sum(total) AS t,\n  avg(weight) AS s FROM orders GROUP BY country", "avg", "avg of floating-point"),
        ("SELECT array_agg(id) AS ids FROM orders", "array_agg", "grows with the events"),
        ("SELECT array_agg(id) AS ids FROM orders", "array_agg", "order of arrival"),
        ("SELECT count(DISTINCT customer) AS n, count(DISTINCT id) AS m FROM orders", "count", "grows with the events"),
        ("SELECT o.id FROM orders o LEFT JOIN customers c ON o.customer > c.id", "JOIN", "because of a join"),
        ("SELECT id, rank() OVER (ORDER BY weight) AS r FROM orders", "OVER", "at each commit, because of a window"),
        (
            "SELECT o.id FROM orders o JOIN customers c ON o.customer = c.id",
            "JOIN",
            "rows of customers and orders are kept for good",
        ),
        ("SELECT id, sum(id) OVER (PARTITION BY country) AS s FROM orders", "OVER", "rows of orders are kept for good"),
        ("SELECT id FROM orders WHERE customer IN (SELECT id FROM customers)", "IN", "rows of orders are kept for good"),
        (
            "SELECT n, sum(w) AS w FROM (SELECT country, count(*) AS n, max(weight) AS w FROM orders GROUP BY country) GROUP BY n",
            "sum",
            "floating-point",
        ),
    ] {
        each.run(|| {
            let found = warnings(query);
            assert!(found.iter().any(|(at, reason)| at == place && reason.contains(part)), "{query}: {found:?}");
        });
    }
}

#[test]
fn a_statement_is_read_again_at_its_place() {
    let text = "CREATE MATERIALIZED VIEW \u{e4} AS SELECT 1 AS n; CREATE MATERIALIZED VIEW v AS SELECT 'gr\u{f6}\u{df}e' AS t, count(*) AS n, \
                sum(weight) AS first\nFROM orders; CREATE MATERIALIZED VIEW w AS SELECT\n  sum(weight) AS s FROM orders;"
        .replace("\u{e4}", "u");
    let catalog = load(&text).unwrap();
    let places: Vec<(usize, usize)> =
        catalog.views.iter().flat_map(|view| summary(view).warnings).map(|warning| warning.at.line_column()).collect();
    assert_eq!(places.len(), 2);
    for (line, column) in places {
        let rest: String = text.lines().nth(line - 1).unwrap().chars().skip(column - 1).collect();
        assert!(rest.starts_with("sum(weight)"), "{line}:{column}: {rest}");
    }
}

#[test]
fn a_summary_is_of_the_whole_view() {
    let of = |query: &str| {
        let ViewSummary { class, key, state, reads, .. } = summary(&view(query));
        let key = key.map_or_else(|| "-".to_owned(), |key| key.join(","));
        (class, key, state.join("; "), reads.join(", "))
    };
    let mut each = Each::default();
    for (query, class, key, state, reads) in [
        ("SELECT id FROM orders WHERE paid", Class::Linear, "-", "", "orders"),
        ("SELECT 1 AS one", Class::Linear, "", "", ""),
        ("SELECT count(*) AS n FROM orders", Class::Merge, "", "the state of each group", "orders"),
        (
            "SELECT o.country, count(*) AS n FROM orders o JOIN customers c ON o.customer = c.id GROUP BY o.country",
            Class::Join,
            "country",
            "the state of each group; rows by customer; rows by id",
            "customers, orders",
        ),
        (
            "SELECT country, max(n) AS n FROM (SELECT country, customer, count(*) AS n FROM orders GROUP BY country, customer) \
             GROUP BY country",
            Class::KeyedRecompute,
            "country",
            "rows by country; the state of each group",
            "orders",
        ),
        (
            "SELECT id, rank() OVER (ORDER BY total) AS r FROM orders",
            Class::KeyedRecompute,
            "-",
            "all rows in their order, with their answers",
            "orders",
        ),
        (
            "SELECT id, rank() OVER (ORDER BY weight) AS r FROM orders",
            Class::FullRecompute,
            "-",
            "all input, and the last answer",
            "orders",
        ),
    ] {
        each.run(|| assert_eq!(of(query), (class, key.to_owned(), state.to_owned(), reads.to_owned()), "{query}"));
    }
}

#[test]
fn explained_as_a_tree() {
    let view = view("SELECT country, count(*) AS n FROM orders WHERE paid GROUP BY country HAVING count(*) > 1");
    assert_eq!(
        explain(&view),
        "linear: select, where count(*) > 1  [O(changes) \u{b7} key country \u{b7} keeps nothing \u{b7} rows can be taken back]\n\
         \u{2514}\u{2500} merge: count(*) by country  [O(changes) \u{b7} key country \u{b7} keeps the state of each group \u{b7} rows can be taken back]\n   \
         \u{2514}\u{2500} linear: select, where orders.paid  [O(changes) \u{b7} no key \u{b7} keeps nothing \u{b7} rows only arrive]\n      \
         \u{2514}\u{2500} scan: orders (country, paid)  [O(changes) \u{b7} no key \u{b7} keeps nothing \u{b7} rows only arrive]\n"
    );
    let json = to_json(&view);
    let merge = &json["plan"]["inputs"][0];
    assert_eq!((merge["class"].as_str(), merge["cost"].as_str()), (Some("merge"), Some("O(changes)")));
    assert_eq!((merge["state"].as_str(), json["plan"]["state"].is_null()), (Some("the state of each group"), true));
    assert_eq!(json["plan"]["key"][0], "country");
    assert_eq!((json["file"].as_str(), json["line"].as_u64()), (Some("views.sql"), Some(1)));
    assert!(json["plan"]["logical_plan"].as_str().unwrap().contains("$input0"));
    assert_eq!(
        to_mermaid(&view),
        "flowchart BT\n  view([\"v\"])\n  n0 --> view\n  \
         n0[\"linear<br/>select, where count(*) #gt; 1<br/>key country<br/>keeps nothing<br/>O(changes)\"]\n  \
         n1 -. rows come and go .-> n0\n  \
         n1[\"merge<br/>count(*) by country<br/>key country<br/>keeps the state of each group<br/>O(changes)\"]\n  \
         n2 --> n1\n  \
         n2[\"linear<br/>select, where orders.paid<br/>no key<br/>keeps nothing<br/>O(changes)\"]\n  \
         n3 --> n2\n  \
         n3[(\"scan<br/>orders (country, paid)<br/>no key<br/>keeps nothing<br/>O(changes)\")]\n  \
         classDef recompute stroke:#c00,stroke-width:2px\n"
    );
}

#[test]
fn a_node_says_what_it_costs_and_keeps() {
    let text = explain(&view("SELECT o.id, c.name FROM orders o LEFT JOIN customers c ON o.customer = c.id"));
    assert!(text.contains("join: left join") && !text.contains("because of"), "{text}");
    assert!(
        text.contains("[O(changes + matches) \u{b7} no key \u{b7} keeps rows by customer; rows by id \u{b7} rows can be"),
        "{text}"
    );
}
