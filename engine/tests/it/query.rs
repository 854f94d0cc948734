//! `query` over a source and over plain views, beside committed views.

use std::process::Output;

use crate::orders::{Orders, wait_until};

fn ask(orders: &Orders, arguments: &[&str]) -> (String, String) {
    let Output { status, stdout, stderr } = orders.ask(&[&["query", "--format", "csv"], arguments].concat());
    let log = String::from_utf8(stderr).unwrap();
    assert!(status.success(), "{arguments:?}: {log}");
    (String::from_utf8(stdout).unwrap(), log)
}

fn rows(orders: &Orders, sql: &str) -> String {
    ask(orders, &[sql]).0
}

#[test]
fn a_source_and_plain_views_are_queried() {
    let mut orders = Orders::new(&[]);
    orders.publish(100);
    orders.publish_bodies(vec![b"no JSON".to_vec(), br#"{"order_id":102,"customer":"x","country":"DE","total":"1"}"#.to_vec()]);
    orders.publish(10);
    let plain = "CREATE FUNCTION doubled(x DECIMAL(12, 2)) RETURNS DECIMAL(14, 2) RETURN x * 2;
        CREATE VIEW big AS SELECT order_id, doubled(total) AS twice FROM orders WHERE total >= 0;
        CREATE VIEW bigger AS SELECT order_id FROM big WHERE twice >= 0;
        CREATE VIEW over_committed AS SELECT country, n FROM by_country WHERE n > 0;";
    std::fs::write(orders.dir().join("plain.sql"), plain).unwrap();
    orders.declare("by_country", "SELECT country, count(*) AS n FROM orders GROUP BY country");

    // Without any commit. An event counts where no column that is read has a value that does not fit.
    let (text, log) = ask(&orders, &["SELECT count(*) AS n, max(order_id) AS newest FROM orders"]);
    assert_eq!(text, "n,newest\n111,110\n");
    assert!(log.contains("note: orders: 1 of 112 events are left out"), "{log}");
    assert_eq!(rows(&orders, "SELECT count(*) AS n, sum(customer) > 0 AS c FROM orders"), "n,c\n110,true\n");
    // As in a view, an event that one scan leaves out is left out of all.
    let both = "SELECT count(*) AS n FROM orders UNION ALL SELECT count(customer) FROM orders";
    assert_eq!(rows(&orders, both), "n\n110\n110\n");
    assert_eq!(rows(&orders, "SELECT count(*) AS n FROM bigger"), "n\n111\n");
    assert_eq!(
        rows(&orders, "SELECT count(*) AS n FROM TUMBLE(orders, placed_at, INTERVAL '1 day') WHERE window_start IS NOT NULL"),
        "n\n110\n"
    );
    let (text, log) = ask(&orders, &["SELECT count(*) AS n FROM orders", "--limit-events", "50"]);
    assert_eq!(text, "n\n50\n");
    assert!(log.contains("note: orders: only the first 50 of 112 events are read; --limit-events N reads more"), "{log}");

    for (sql, said) in [
        ("SELECT * FROM by_country", "view by_country has no commit yet"),
        ("SELECT * FROM over_committed", "view by_country has no commit yet"),
        ("SELECT * FROM orderz", "did you mean orders?"),
        ("SELECT nothing FROM orders", "nothing"),
    ] {
        let output = orders.ask(&["query", sql]);
        let log = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(1) && log.contains(said), "{sql}: {log}");
    }

    orders.catch_up_with_letters();
    let of_view = rows(&orders, "SELECT country, n FROM by_country ORDER BY country");
    assert_eq!(rows(&orders, "SELECT country, n FROM over_committed ORDER BY country"), of_view);
    assert_eq!(rows(&orders, "SELECT country, count(*) AS n FROM orders GROUP BY country ORDER BY country"), of_view);
    assert_eq!(rows(&orders, "SELECT count(*) AS n FROM orders o JOIN by_country c ON o.country = c.country"), "n\n111\n");
    // The server may not have come to the last one yet.
    wait_until("no consumer is left", || {
        let left = orders.with_jetstream(async |context| {
            context.get_stream("ORDERS").await.unwrap().info().await.unwrap().state.consumer_count
        });
        left == 0
    });
}

#[test]
fn a_source_of_changes_is_the_table_as_it_is_now() {
    let orders = Orders::new(&[]);
    let changes = "{\"id\":1,\"name\":\"a\"}\n{\"id\":2,\"name\":\"b\"}\n{\"id\":1,\"name\":\"c\"}\n";
    std::fs::write(orders.dir().join("c.ndjson"), changes).unwrap();
    let sql = "CREATE EXTERNAL TABLE customers (id BIGINT PRIMARY KEY, name VARCHAR) STORED AS FILE LOCATION 'c.ndjson' OPTIONS (envelope 'upsert');";
    std::fs::write(orders.dir().join("customers.sql"), sql).unwrap();
    assert_eq!(rows(&orders, "SELECT * FROM customers ORDER BY id"), "id,name\n1,c\n2,b\n");
}

#[test]
fn system_tables_are_queried_beside_views() {
    let mut orders = Orders::new(&[
        ("by_country", "SELECT country, count(*) AS n FROM orders GROUP BY country"),
        ("countries", "SELECT count(*) AS n FROM by_country"),
    ]);
    orders.publish(100);
    orders.publish_bodies(vec![b"no JSON".to_vec()]);
    orders.catch_up_with_letters();
    let views = "SELECT view, rows, epoch > 0 AS committed FROM alluvium.views ORDER BY view";
    assert_eq!(rows(&orders, views), "view,rows,committed\nby_country,5,true\ncountries,1,true\n");
    assert_eq!(
        rows(
            &orders,
            "SELECT s.view, s.source, \"offset\", events, set_aside FROM alluvium.sources s WHERE s.view = 'by_country'"
        ),
        "view,source,offset,events,set_aside\nby_country,orders,102,101,1\n"
    );
    assert_eq!(
        rows(&orders, "SELECT * FROM alluvium.lineage ORDER BY view"),
        "view,reads,kind\nby_country,orders,source\ncountries,by_country,view\n"
    );
    assert_eq!(rows(&orders, "SELECT count(*) AS n, min(kind) AS kind FROM alluvium.dead_letters"), "n,kind\n1,not_json\n");
    let newest =
        "SELECT c.rows = v.rows AS same FROM alluvium.commits c JOIN alluvium.views v ON c.view = v.view AND c.epoch = v.epoch";
    assert_eq!(rows(&orders, newest), "same\ntrue\ntrue\n");
    let joined = "SELECT view, sum(n) AS n FROM alluvium.views CROSS JOIN by_country WHERE view = 'by_country' GROUP BY view";
    assert_eq!(rows(&orders, joined), "view,n\nby_country,100\n");

    orders.declare("by_country", "SELECT country, count(*) AS n, max(order_id) AS newest FROM orders GROUP BY country");
    orders.catch_up_with_letters();
    let versions =
        "SELECT serves, sql LIKE '%newest%' AS newest FROM alluvium.versions WHERE view = 'by_country' ORDER BY serves";
    assert_eq!(rows(&orders, versions), "serves,newest\nfalse,\ntrue,true\n");

    for (sql, said) in [
        ("SELECT * FROM alluvium.vews", "did you mean alluvium.views?"),
        ("SELECT * FROM views", "no committed view views"),
        ("SELECT nothing FROM alluvium.views", "nothing"),
    ] {
        let output = orders.ask(&["query", sql]);
        let log = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(1) && log.contains(said), "{sql}: {log}");
    }
}
