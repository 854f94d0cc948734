//! Kills at random moments, with views that read each other through every class of operator. They end up as if nothing had happened: the
//! state of joins, first rows, distinct values and windows is committed together with the rows.

use std::time::Instant;

use crate::orders::{Orders, Paced, Running};

const EVENTS: usize = 50_000;
const KILLS: usize = 16;

/// Each view reads views above it, so that all are committed together. DuckDB runs the same text.
const VIEWS: &[(&str, &str)] = &[
    // A merged aggregate.
    (
        "by_customer",
        "SELECT customer % 2000 AS customer, count(*) AS n, sum(total) AS revenue, max(order_id) AS newest FROM orders \
         GROUP BY customer % 2000",
    ),
    // The latest row of each key, over rows that only arrive.
    (
        "latest",
        "SELECT customer, order_id, country, total FROM (SELECT customer % 2000 AS customer, order_id, country, total, \
         row_number() OVER (PARTITION BY customer % 2000 ORDER BY order_id DESC) AS place FROM orders) AS ranked WHERE place = 1",
    ),
    // An inner join of two sides whose rows change.
    (
        "profiles",
        "SELECT b.customer, l.country, b.n, b.revenue, l.total AS last_total FROM by_customer b \
         JOIN latest l ON l.customer = b.customer AND l.order_id = b.newest",
    ),
    // A left join and an anti join.
    (
        "large",
        "SELECT b.customer, b.n, l.order_id, l.total FROM by_customer b \
         LEFT JOIN (SELECT * FROM latest WHERE total > 500) l ON l.customer = b.customer",
    ),
    (
        "quiet",
        "SELECT p.customer, p.country FROM profiles p \
         WHERE NOT EXISTS (SELECT 1 FROM latest l WHERE l.customer = p.customer AND l.total > 300)",
    ),
    // Distinct values of rows that change.
    ("seen", "SELECT DISTINCT country, n FROM profiles"),
    // Window functions over rows that change: touched partitions are recomputed.
    (
        "ranked",
        "SELECT country, customer, revenue, rank() OVER (PARTITION BY country ORDER BY revenue DESC) AS place, \
         count(*) OVER (PARTITION BY country) AS customers FROM profiles",
    ),
    // The first rows of all, over rows that change.
    ("best", "SELECT customer, revenue FROM by_customer ORDER BY revenue DESC, customer LIMIT 20"),
    // Aggregates over all these: one weighted, one recomputed by key.
    (
        "leaders",
        "SELECT country, count(*) AS n, sum(revenue) AS revenue, min(revenue) AS least, max(customers) AS customers FROM ranked \
         WHERE place <= 10 GROUP BY country",
    ),
    ("sizes", "SELECT n, count(*) AS countries FROM seen GROUP BY n"),
];

/// The same under `retain`: the state of each view is evicted with its windows.
const WINDOWS: &[(&str, &str)] = &[
    (
        "minutes",
        "SELECT window_end, country, count(*) AS n, sum(total) AS revenue FROM (SELECT date_trunc('minute', placed_at) + \
         INTERVAL '1 minute' AS window_end, country, total FROM orders) AS placed GROUP BY window_end, country",
    ),
    (
        "dearest",
        "SELECT window_end, country, order_id, total FROM (SELECT window_end, country, order_id, total, row_number() OVER \
         (PARTITION BY window_end ORDER BY total DESC, order_id) AS place FROM (SELECT date_trunc('minute', placed_at) + \
         INTERVAL '1 minute' AS window_end, country, order_id, total FROM orders) AS placed) AS ranked WHERE place <= 3",
    ),
    // A left join with a bound in time.
    (
        "repeated",
        "SELECT a.placed_at AS window_end, a.order_id, b.order_id AS other FROM orders a LEFT JOIN orders b \
         ON a.customer = b.customer AND b.placed_at > a.placed_at AND b.placed_at <= a.placed_at + INTERVAL '5 minutes'",
    ),
    ("sizes", "SELECT window_end, n, count(*) AS countries FROM minutes GROUP BY window_end, n"),
    (
        "plain",
        "SELECT m.window_end, m.country FROM minutes m \
         WHERE NOT EXISTS (SELECT 1 FROM dearest d WHERE d.window_end = m.window_end AND d.country = m.country)",
    ),
];

/// Publishes bodies while the program works and is killed again and again. Then lets it catch up.
fn killed_while_publishing(orders: &mut Orders, bodies: Vec<Vec<u8>>, last: &'static str) {
    let began = Instant::now();
    let mut lines = bodies.join(&b'\n');
    lines.push(b'\n');
    orders.append(std::str::from_utf8(&lines).unwrap());
    let publisher = Paced::start(orders, last, bodies);

    let (mut epochs, mut while_behind) = (vec![0], 0);
    for _ in 0..KILLS {
        let mut command = orders.alluvium(&["run"]);
        // Commit often, so that many kills fall within a commit.
        let mut running = Running(orders.logging(command.env("ALLUVIUM_COMMIT_INTERVAL", "20ms")).spawn().unwrap());
        let commits = orders.rng.u64(0..=4);
        orders.wait_for_commits(&mut running, last, commits, EVENTS as u64 + 1);
        running.kill();
        epochs.push(orders.epoch(last));
        while_behind += usize::from(orders.offset(last) <= EVENTS as u64);
    }
    publisher.finish();
    println!("epochs after each kill: {epochs:?}, {while_behind} while events were left, after {:?}", began.elapsed());
    assert!(epochs.is_sorted(), "a commit was lost: {epochs:?}");
    let working = epochs.windows(2).filter(|pair| pair[0] < pair[1]).count();
    assert!(working >= KILLS / 3 && while_behind >= KILLS / 3, "too few kills came while it was at work");

    let log = orders.catch_up_saying();
    assert!(!log.contains("rebuilding") && !orders.log().contains("rebuilding"), "state was rebuilt, not restored: {log}");
}

#[test]
fn killed_at_random_moments_with_state_of_every_class() {
    let began = Instant::now();
    let mut orders = Orders::new(VIEWS);
    let check = orders.succeed(&["check"]);
    assert!(["merge", "join", "keyed recompute"].iter().all(|class| check.contains(class)), "{check}");
    assert!(!check.contains("full recompute"), "{check}");

    let bodies: Vec<Vec<u8>> = (0..EVENTS).map(|_| orders.next().into_bytes()).collect();
    killed_while_publishing(&mut orders, bodies, "leaders");
    orders.assert_equal(VIEWS);
    println!("took {:?}", began.elapsed());
}

#[test]
fn killed_at_random_moments_while_state_expires() {
    let began = Instant::now();
    let mut orders = Orders::new(&[]);
    let sources = orders.dir().join("sources.sql");
    let source = std::fs::read_to_string(&sources).unwrap();
    std::fs::write(sources, source.replace("OPTIONS (", "OPTIONS (watermark 'placed_at - 5 minutes', ")).unwrap();
    for (name, query) in WINDOWS {
        let text = format!("CREATE MATERIALIZED VIEW {name} WITH (retain = '30 minutes') AS\n{query};\n");
        std::fs::write(orders.dir().join(format!("{name}.sql")), text).unwrap();
    }
    let check = orders.succeed(&["check"]);
    assert!(!check.contains("retain takes") && !check.contains("full recompute"), "{check}");

    // One event a second, some of them late and some very late.
    let rng = &mut orders.rng;
    let body = |order: usize| {
        let late = if rng.u8(..10) == 0 { rng.usize(..3_600) } else { rng.usize(..60) };
        let time = 6 * 3_600 + order - late;
        let (hour, minute, second) = (time / 3_600, time / 60 % 60, time % 60);
        let (customer, country, euros) = (rng.u32(..100), ["DE", "FR", "JP", "BR", "NZ"][rng.usize(..5)], rng.u32(..1000));
        let body = format!(
            "{{\"order_id\":{order},\"customer\":{customer},\"country\":\"{country}\",\"total\":\"{euros}.50\",\
             \"placed_at\":\"2026-01-01T{hour:02}:{minute:02}:{second:02}\"}}"
        );
        body.into_bytes()
    };
    let bodies: Vec<Vec<u8>> = (1..=EVENTS).map(body).collect();
    killed_while_publishing(&mut orders, bodies, "plain");
    let retained = "WHERE window_end > (SELECT max(placed_at) FROM orders) - INTERVAL '35 minutes'";
    let expected: Vec<(&str, String)> =
        WINDOWS.iter().map(|(name, query)| (*name, format!("SELECT * FROM ({query}) AS asked {retained}"))).collect();
    let expected: Vec<(&str, &str)> = expected.iter().map(|(name, query)| (*name, query.as_str())).collect();
    orders.assert_equal(&expected);
    println!("took {:?}", began.elapsed());
}
