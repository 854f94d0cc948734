//! TUMBLE, HOP and SESSION in FROM: their columns, and what is wrong with them.

use super::*;

#[test]
fn all_columns_and_the_window() {
    let catalog = load(
        "CREATE MATERIALIZED VIEW w AS SELECT window_end, name, n FROM TUMBLE(v, moment, INTERVAL '1 hour');
         CREATE MATERIALIZED VIEW v AS SELECT c.name, o.placed_at AS moment, 1 AS n FROM orders o JOIN customers c ON o.id = c.id;
         CREATE MATERIALIZED VIEW all_columns AS SELECT * FROM TUMBLE(customers, CAST(name AS DATE), INTERVAL '1 day');",
    )
    .unwrap();
    let names: Vec<&str> = catalog.views.iter().map(|view| view.name.as_str()).collect();
    assert_eq!(names, ["all_columns", "v", "w"]);
    let columns: Vec<&str> = catalog.views[0].plan.schema.fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(columns, ["id", "name", "country", "window_start", "window_end"]);
    assert_eq!(catalog.views[2].plan.reads, [(crate::RelationKind::View, "v".to_owned())]);
    assert_eq!(
        catalog.views[2].plan.schema.field(0).data_type(),
        catalog.sources["orders"].schema.field_with_name("placed_at").unwrap().data_type()
    );
}

#[test]
fn what_is_wrong_with_a_window() {
    let mut each = Each::default();
    for (from, underlined, message, help) in [
        ("TUMBLE(oders, placed_at, INTERVAL '1 hour')", "oders", "no source or view is named oders", "did you mean orders?"),
        ("TUMBLE(orders, placed, INTERVAL '1 hour')", "placed", "no column is named placed", ""),
        (
            "TUMBLE(orders, country, INTERVAL '1 hour')",
            "country",
            "cannot be country, which is VARCHAR",
            "CAST(country AS TIMESTAMP)",
        ),
        ("TUMBLE(orders, id, INTERVAL '1 hour')", "id", "which is BIGINT", "to_timestamp_millis(id)"),
        ("TUMBLE(orders, paid, INTERVAL '1 hour')", "paid", "which is BOOLEAN", "TIMESTAMP or DATE"),
        ("TUMBLE(orders, placed_at)", "TUMBLE", "takes 3 arguments, and 2 are given", "TUMBLE(source, time_column, INTERVAL"),
        ("TUMBLE(orders, placed_at, '1 hour')", "'1 hour'", "a length of time is an INTERVAL", "INTERVAL '10 minutes'"),
        ("TUMBLE(orders, placed_at, INTERVAL '0 hours')", "'0 hours'", "not above 0", "INTERVAL"),
        ("TUMBLE(orders, placed_at, INTERVAL '-1 hour')", "'-1 hour'", "not above 0", "INTERVAL"),
        ("TUMBLE(orders, placed_at, INTERVAL '1 month 1 day')", "'1 month 1 day'", "months differ", "TUMBLE("),
        ("TUMBLE(5, placed_at, INTERVAL '1 hour')", "5", "5 is not a source or view", "TUMBLE(source"),
        ("HOP(orders, placed_at, INTERVAL '1 hour')", "HOP", "takes 4 arguments", "the slide, then the size"),
        ("HOP(orders, placed_at, INTERVAL '1 ms', INTERVAL '1 day')", "'1 day'", "86400000 windows", "longer slide"),
        ("HOP(orders, placed_at, INTERVAL '1 day', INTERVAL '1 month')", "'1 month'", "months do not mix", "both in months"),
        ("SESSION(orders, placed_at)", "SESSION", "takes 3 arguments", "PARTITION BY key"),
        ("SESSION(orders, placed_at, INTERVAL '1 month')", "'1 month'", "months differ", "30 days"),
        ("SESSION(orders, placed_at, INTERVAL '1 hour' PARTITION BY contry)", "contry", "named contry", "did you mean country?"),
        ("TUMBLE(w, window_start, INTERVAL '1 hour')", "w", "a column window_start, and what it reads has one", "subquery"),
    ] {
        let text = format!(
            "CREATE MATERIALIZED VIEW v AS SELECT window_start FROM {from};
             CREATE MATERIALIZED VIEW w AS SELECT * FROM TUMBLE(orders, placed_at, INTERVAL '1 day');"
        );
        each.run(|| check_error(&text, underlined, message, help));
    }
}

#[test]
fn a_length_that_the_time_cannot_hold() {
    check_error(
        "CREATE EXTERNAL TABLE s (at TIMESTAMP(0)) STORED AS FILE LOCATION '-';
         CREATE MATERIALIZED VIEW v AS SELECT window_start FROM TUMBLE(s, at, INTERVAL '1500 ms');",
        "'1500 ms'",
        "whole seconds only",
        "Timestamp(Nanosecond",
    );
}
