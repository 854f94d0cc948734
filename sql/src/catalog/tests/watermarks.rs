//! The option `watermark` of a source, and `emit` and `retain` of a view.

use super::*;
use crate::plan::Op;

const SEEN: &str = "CREATE EXTERNAL TABLE seen (k VARCHAR, at_ms TIMESTAMP(3), at_ns TIMESTAMP, day DATE)
    STORED AS FILE LOCATION 'seen.jsonl' OPTIONS (watermark 'at_ms - 1500 ms');";

fn plan_of(options: &str, query: &str) -> Arc<ViewPlan> {
    let text = format!("{SEEN} CREATE MATERIALIZED VIEW v WITH ({options}) AS {query}");
    let catalog = load(&text).unwrap_or_else(|errors| panic!("{query}: {errors}"));
    Arc::clone(&catalog.views.last().unwrap().plan)
}

#[test]
fn a_source_says_how_late_its_events_come() {
    let catalog = load(SEEN).unwrap();
    let seen = &catalog.sources["seen"];
    assert_eq!(seen.watermark, Some(Watermark { column: 1, delay: Duration::from_millis(1500) }));
    assert!(!seen.options.contains_key("watermark"), "what the connector is given");
    assert_eq!(catalog.sources["customers"].watermark, None);
}

#[test]
fn bounds_are_in_the_unit_of_the_window() {
    let windows = "SELECT window_end, k, count(*) AS n FROM TUMBLE(seen, at_ms, INTERVAL '1 minute') GROUP BY window_end, k";
    let plan = plan_of("emit = 'final', retain = '1 hour'", windows);
    let Op::Watermark { window_end, delays, emits_final, retain, by_query: false } = &plan.root.op else {
        panic!("{:?}", plan.root.op)
    };
    assert_eq!((*window_end, delays.as_slice(), *emits_final, *retain), (0, &[1500][..], true, Some(3_600_000)));
    assert_eq!(plan.reads, [(RelationKind::Source, "seen".to_owned())]);
    assert!(plan.root.retracts);

    // Nothing below stores groups by their window, and the input is insert-only.
    let rows = plan_of("emit = 'FINAL'", "SELECT window_end, k FROM TUMBLE(seen, at_ms, INTERVAL '1 minute')");
    assert!(matches!(rows.root.op, Op::Watermark { emits_final: true, retain: None, .. }));
    assert!(!rows.root.retracts);
    assert!(matches!(plan_of("emit = 'changes'", windows).root.op, Op::Linear { .. } | Op::Merge { .. }));
    let same = [plan_of("emit = 'final'", windows), plan_of("emit = 'final'", windows), plan_of("retain = '1 hour'", windows)];
    assert_eq!(same[0].fingerprint, same[1].fingerprint);
    assert_ne!(same[0].fingerprint, same[2].fingerprint);
    assert_ne!(same[0].fingerprint, plan_of("emit = 'changes'", windows).fingerprint);
}

#[test]
fn check_tells_where_retain_leaves_state() {
    let warned = |options: &str, query: &str| {
        let text = format!("{SEEN} CREATE MATERIALIZED VIEW v WITH ({options}) AS {query}");
        let catalog = load(&text).unwrap();
        crate::describe::summary(catalog.views.last().unwrap())
            .warnings
            .iter()
            .any(|warning| warning.reason.contains("retain takes"))
    };
    let from = "FROM TUMBLE(seen, at_ms, INTERVAL '1 minute')";
    assert!(!warned("retain = '1 day'", &format!("SELECT window_end, k, count(*) AS n {from} GROUP BY window_end, k")));
    assert!(!warned("retain = '1 day'", &format!("SELECT window_end, k {from}")));
    assert!(warned("retain = '1 day'", &format!("SELECT max(window_end) AS window_end, k {from} GROUP BY k")));
    let ranked = |by: &str| {
        format!("SELECT window_end, row_number() OVER (PARTITION BY {by} ORDER BY k, at_ms, at_ns, day) AS place {from}")
    };
    assert!(!warned("retain = '1 day'", &ranked("window_end, k")));
    assert!(warned("retain = '1 day'", &ranked("k")));
    let ranked = ranked("k");
    assert!(!warned("emit = 'final'", &ranked));
}

#[test]
fn a_watermark_reaches_views_over_views() {
    let text = format!(
        "{SEEN} CREATE MATERIALIZED VIEW a AS SELECT at_ms AS window_end, k FROM seen;
         CREATE MATERIALIZED VIEW b WITH (emit = 'final') AS SELECT * FROM a;"
    );
    let catalog = load(&text).unwrap();
    let reads: Vec<&str> = catalog.views[1].plan.reads.iter().map(|(_, name)| name.as_str()).collect();
    assert_eq!(reads, ["a", "seen"]);
    assert_eq!(catalog.columns_read("seen").into_iter().collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn the_watermark_in_a_query_is_that_of_a_source() {
    let paid = "CREATE EXTERNAL TABLE paid (k VARCHAR, at_ms TIMESTAMP(3)) STORED AS FILE LOCATION 'paid.jsonl' OPTIONS (watermark 'at_ms');";
    let bounds = |from: &str, filter: &str| {
        let text = format!("{SEEN} {paid} CREATE MATERIALIZED VIEW v AS SELECT k FROM {from} WHERE {filter}");
        let catalog = load(&text).unwrap_or_else(|errors| panic!("{filter}: {errors}"));
        let root = catalog.views[0].plan.root.clone();
        let node = if matches!(root.op, Op::Linear { .. }) { root.inputs.into_iter().next().unwrap() } else { root };
        let Op::Watermark { delays, emits_final, retain, by_query: true, .. } = node.op else {
            panic!("{filter}: {:?}", node.op)
        };
        let reads: Vec<String> = catalog.views[0].plan.reads.iter().map(|(_, name)| name.clone()).collect();
        (delays, emits_final, retain, reads.join(" "))
    };
    let seen = |delay: i64, emits_final: bool, retain: Option<i64>| (vec![delay], emits_final, retain, "seen".to_owned());
    assert_eq!(bounds("seen", "at_ms > watermark() - INTERVAL '1 minute'"), seen(0, false, Some(61_500)));
    assert_eq!(bounds("seen", "at_ms >= watermark() - INTERVAL '1 minute'"), seen(0, false, Some(61_501)));
    assert_eq!(bounds("seen", "at_ms > watermark() + INTERVAL '1 minute'"), seen(-58_500, false, Some(0)));
    assert_eq!(bounds("seen", "watermark('seen') >= at_ms"), seen(1_500, true, None));
    assert_eq!(bounds("seen", "at_ms < watermark(seen) + INTERVAL '2 seconds'"), seen(-499, true, None));
    let other = (vec![0], false, Some(1_500), "paid seen".to_owned());
    assert_eq!(bounds("paid", "at_ms > watermark('seen')"), other);

    // Its operators keep other state than before there were such filters.
    let text = format!("{SEEN} CREATE MATERIALIZED VIEW v AS SELECT k FROM seen WHERE at_ms > (SELECT max(at_ms) FROM seen)");
    assert!(load(&text).unwrap().views[0].plan.fingerprint.ends_with("-temporal"));
    let quoted = SEEN.replace("TABLE seen", "TABLE \"Seen\"");
    load(&format!("{quoted} CREATE MATERIALIZED VIEW v AS SELECT k FROM \"Seen\" WHERE at_ms > watermark('Seen')")).unwrap();

    let mut each = Each::default();
    for (query, underlined, message, help) in [
        ("SELECT k FROM seen WHERE at_ms > watermark('sen')", "watermark", "no source sen", "did you mean 'seen'?"),
        ("SELECT k FROM seen WHERE at_ms > watermark('orders')", "watermark", "orders has no watermark", "placed_at - 5 seconds"),
        ("SELECT id FROM orders WHERE placed_at > watermark()", "watermark", "no source of the view has one", "OPTIONS"),
        ("SELECT s.k FROM seen s, paid p WHERE s.at_ms > watermark()", "watermark", "paid or of seen", "watermark('paid')"),
        ("SELECT k FROM seen WHERE at_ms > watermark(5)", "watermark", "the name of a source", "watermark('orders')"),
        ("SELECT k FROM w WHERE at_ms > watermark('w')", "watermark", "w is a view", "name its source"),
    ] {
        let text = format!(
            "{SEEN} {paid} CREATE MATERIALIZED VIEW w AS SELECT k, at_ms FROM seen; CREATE MATERIALIZED VIEW v AS {query}"
        );
        each.run(|| check_error(&text, underlined, message, help));
    }
    let through = format!(
        "{SEEN} {paid} CREATE MATERIALIZED VIEW a AS SELECT at_ms, k FROM seen;
         CREATE VIEW b AS SELECT k FROM a WHERE at_ms > watermark() - INTERVAL '1 day';
         CREATE MATERIALIZED VIEW c AS SELECT k, count(*) AS n FROM b GROUP BY k"
    );
    let catalog = load(&through).unwrap();
    let reads: Vec<&str> = catalog.views[1].plan.reads.iter().map(|(_, name)| name.as_str()).collect();
    assert_eq!(reads, ["a", "seen"]);
}

#[test]
fn what_is_wrong_with_watermarks() {
    let mut each = Each::default();
    for (option, underlined, message, help) in [
        ("watermark 'at_s - 5 seconds'", "'at_s - 5 seconds'", "no column at_s", "did you mean at_"),
        ("watermark 'day'", "'day'", "day, which is DATE", "TIMESTAMP"),
        ("watermark 'at_ms - soon'", "'at_ms - soon'", "how late events may come", "5 seconds"),
        ("watermark 'at_ms - 1 us'", "'at_ms - 1 us'", "how late events may come", "5 seconds"),
    ] {
        let text = SEEN.replace("watermark 'at_ms - 1500 ms'", option);
        each.run(|| check_error(&text, underlined, message, help));
    }
    for (options, query, underlined, message, help) in [
        ("emit = 'later'", "SELECT at_ms AS window_end FROM seen", "'later'", "emit cannot be 'later'", "'final'"),
        ("emit = 'final'", "SELECT k FROM seen", "emit", "no column window_end", "TUMBLE"),
        ("retain = '1 day'", "SELECT k AS window_end FROM seen", "retain", "and not a time", "TIMESTAMP"),
        ("retain = 'a day'", "SELECT at_ms AS window_end FROM seen", "'a day'", "retain cannot be", "7 days"),
        ("retain = '10 us'", "SELECT at_ms AS window_end FROM seen", "retain", "finer", "whole"),
        ("emit = 'final'", "SELECT at_ns AS window_end FROM seen", "emit", "the watermark of seen is of Timestamp(ms)", "cast"),
        ("emit = 'final'", "SELECT placed_at AS window_end FROM orders", "emit", "no source of the view has one", "watermark '"),
        ("emits = 'final'", "SELECT 1 AS one", "emits", "no option emits", "did you mean emit?"),
    ] {
        let text = format!("{SEEN} CREATE MATERIALIZED VIEW v WITH ({options}) AS {query}");
        each.run(|| check_error(&text, underlined, message, help));
    }
}
