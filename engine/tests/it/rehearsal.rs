//! `check --sample`: what views do with a sample of a real stream.

use crate::orders::Orders;

#[test]
fn a_sample_shows_what_looks_wrong_with_a_view() {
    let mut orders = Orders::new(&[]);
    orders.declare("by_country", "SELECT country, count(*) AS n, sum(total) AS revenue FROM orders GROUP BY country");
    orders.declare("by_order", "SELECT order_id, count(*) AS n FROM orders GROUP BY order_id");
    orders.declare("large", "SELECT order_id, nullif(country, country) AS nothing FROM orders WHERE customer >= 0");
    orders.declare("none", "SELECT order_id FROM orders WHERE country = 'XX'");
    orders.declare("shares", "SELECT country, 1 / (length(country) - 2) AS share FROM by_country");
    orders.declare("quotients", "SELECT order_id, 10 / (order_id - 7) AS q FROM orders");
    orders.publish(300);
    orders.publish_bodies(vec![b"no JSON".to_vec(), br#"{"order_id":302,"customer":"x","country":"DE","total":"1"}"#.to_vec()]);
    let text = orders.succeed(&["check", "--sample", "1000"]);
    let row = |view: &str| {
        let sampled = text.split_once("over a sample:").unwrap().1;
        let line =
            sampled.lines().find(|line| line.split_whitespace().next() == Some(view)).unwrap_or_else(|| panic!("{view}: {text}"));
        line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(row("by_country"), "302 5 1 (0.33%) 0 0.02");
    assert_eq!(row("by_order"), "302 301 1 (0.33%) 0 1.00");
    assert_eq!(row("large"), "302 300 2 (0.66%) 0 0.00");
    assert_eq!(row("none"), "302 0 1 (0.33%) 0 0.00");
    assert_eq!(row("shares"), "5 0 0 5 0.00");
    assert_eq!(row("quotients"), "302 300 2 (0.66%) 0 0.00");
    for said in [
        "by_order: 301 keys (order_id) of 302 events: the view and its state grow with every event",
        "large: always NULL: nothing",
        "large: 1 of 302 events set aside, wrong_type: column customer:",
        "none: no row comes of 302 events",
        "quotients: 1 of 302 events set aside, expression:",
        "shares: 5 rows left out, an expression fails:",
        "6 views and 1 source: no errors",
    ] {
        assert!(text.contains(said), "{said}: {text}");
    }
    assert!(!text.contains("by_country: 5 keys"), "{text}");
    assert!(!orders.dir().join("data").exists(), "nothing is committed");
    assert!(orders.succeed(&["check", "--sample"]).contains("over a sample:"));
    assert!(!orders.succeed(&["check"]).contains("over a sample:"));
}
