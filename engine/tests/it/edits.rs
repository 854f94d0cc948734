//! Edits of a project of ten views, over a stream that still has everything and over one that has lost half: each view is what a fresh run
//! makes it, or the version that served goes on, as `alluvium plan` said.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use async_nats::jetstream::{self, stream};
use serde_json::Value;

use crate::duckdb;
use crate::server::{Server, Version};

/// Events before the edit, an order and then its payment each; half of them are gone from one of the two streams.
const BEFORE: u64 = 240;
/// Events after it.
const AFTER: u64 = 40;

const PROJECT: &str = "
CREATE FUNCTION net(total DECIMAL(12, 2)) RETURNS DECIMAL(12, 2) RETURN total / 2;
CREATE EXTERNAL TABLE orders (order_id BIGINT, customer BIGINT, country VARCHAR, total DECIMAL(12, 2), placed_at TIMESTAMP)
STORED AS NATS LOCATION '$URL/ORDERS' OPTIONS (subject 'orders.placed');
CREATE EXTERNAL TABLE payments (order_id BIGINT, paid DECIMAL(12, 2)) STORED AS NATS LOCATION '$URL/ORDERS' OPTIONS (subject 'orders.paid');
CREATE MATERIALIZED VIEW totals AS SELECT count(*) AS n, sum(total) AS revenue FROM orders;
CREATE MATERIALIZED VIEW by_country AS SELECT country, count(*) AS n, sum(total) AS revenue FROM orders GROUP BY country;
CREATE MATERIALIZED VIEW large AS SELECT order_id, country, total FROM orders WHERE total > 50;
CREATE MATERIALIZED VIEW best AS SELECT country, revenue FROM by_country WHERE revenue > 1500;
CREATE MATERIALIZED VIEW hourly AS SELECT window_start, count(*) AS n FROM TUMBLE(orders, placed_at, INTERVAL '1 hour') GROUP BY window_start;
CREATE MATERIALIZED VIEW customers AS SELECT customer, count(*) AS n, max(total) AS most FROM orders GROUP BY customer;
CREATE MATERIALIZED VIEW settled AS SELECT o.order_id, p.paid FROM orders o JOIN payments p ON o.order_id = p.order_id WHERE p.paid > 20;
CREATE MATERIALIZED VIEW ranked AS SELECT * FROM (SELECT country, total, order_id, row_number() OVER (PARTITION BY country ORDER BY total DESC, order_id) AS place FROM orders) WHERE place <= 3;
CREATE MATERIALIZED VIEW countries AS SELECT DISTINCT country FROM orders;
CREATE MATERIALIZED VIEW sizes AS SELECT n, count(*) AS c FROM customers GROUP BY n;
";

/// What is done to the text: each first part is replaced by the second.
type Edit = (&'static str, &'static [(&'static str, &'static str)]);

const EDITS: &[Edit] = &[
    ("nothing", &[]),
    ("a comment", &[("VIEW totals AS SELECT", "VIEW totals AS -- all orders\n SELECT /* of all */")]),
    ("white space", &[("sum(total) AS revenue FROM orders GROUP", "sum(total)   AS revenue\n  FROM orders\n GROUP")]),
    (
        "a view at another place",
        &[
            (
                "CREATE FUNCTION net",
                "CREATE MATERIALIZED VIEW countries AS SELECT DISTINCT country FROM orders;\nCREATE FUNCTION net",
            ),
            (
                "\nCREATE MATERIALIZED VIEW countries AS SELECT DISTINCT country FROM orders;\nCREATE MATERIALIZED VIEW sizes",
                "\nCREATE MATERIALIZED VIEW sizes",
            ),
        ],
    ),
    ("commit_interval", &[("VIEW totals AS", "VIEW totals WITH (commit_interval = '50 ms') AS")]),
    ("snapshots_kept", &[("VIEW by_country AS", "VIEW by_country WITH (snapshots_kept = 3) AS")]),
    (
        "an alias of a table",
        &[(
            "order_id, country, total FROM orders WHERE total > 50",
            "x.order_id, x.country, x.total FROM orders AS x WHERE x.total > 50",
        )],
    ),
    (
        "another alias of a table",
        &[(
            "o.order_id, p.paid FROM orders o JOIN payments p ON o.order_id",
            "u.order_id, p.paid FROM orders u JOIN payments p ON u.order_id",
        )],
    ),
    ("an alias of a column", &[("sum(total) AS revenue FROM orders;", "sum(total) AS turnover FROM orders;")]),
    (
        "an alias of a column that is read",
        &[
            ("sum(total) AS revenue FROM orders GROUP", "sum(total) AS turnover FROM orders GROUP"),
            ("country, revenue FROM by_country WHERE revenue", "country, turnover FROM by_country WHERE turnover"),
        ],
    ),
    (
        "a column",
        &[(
            "SELECT count(*) AS n, sum(total) AS revenue FROM orders;",
            "SELECT count(*) AS n, sum(total) AS revenue, max(total) AS most FROM orders;",
        )],
    ),
    (
        "a column less",
        &[("SELECT count(*) AS n, sum(total) AS revenue FROM orders;", "SELECT sum(total) AS revenue FROM orders;")],
    ),
    (
        "a column of the source",
        &[("SELECT order_id, country, total FROM orders WHERE", "SELECT order_id, country, total, customer FROM orders WHERE")],
    ),
    (
        "a column computed from others",
        &[(
            "order_id, country, total FROM orders WHERE total > 50",
            "order_id, country, total, total * 2 AS twice FROM orders WHERE total > 50",
        )],
    ),
    (
        "columns in another order",
        &[("customer, count(*) AS n, max(total) AS most", "customer, max(total) AS most, count(*) AS n")],
    ),
    ("a filter", &[("FROM orders WHERE total > 50", "FROM orders WHERE total > 80")]),
    ("a wider filter", &[("FROM orders WHERE total > 50", "FROM orders WHERE total > 10")]),
    ("no filter", &[("FROM orders WHERE total > 50", "FROM orders")]),
    ("a filter above a view", &[("FROM by_country WHERE revenue > 1500", "FROM by_country WHERE revenue > 1000")]),
    ("HAVING", &[("AS most FROM orders GROUP BY customer", "AS most FROM orders GROUP BY customer HAVING count(*) > 2")]),
    ("a type", &[("customer BIGINT, country", "customer INT, country")]),
    ("a type that is read", &[("(order_id BIGINT, customer", "(order_id INT, customer")]),
    ("NOT NULL", &[("country VARCHAR,", "country VARCHAR NOT NULL,")]),
    (
        "an option of the source",
        &[("OPTIONS (subject 'orders.placed')", "OPTIONS (subject 'orders.placed', on_bad_member 'null')")],
    ),
    (
        "an option of the connection",
        &[("OPTIONS (subject 'orders.placed')", "OPTIONS (subject 'orders.placed', request_timeout '7s')")],
    ),
    (
        "a watermark",
        &[("OPTIONS (subject 'orders.placed')", "OPTIONS (subject 'orders.placed', watermark 'placed_at - 1 hour')")],
    ),
    ("a column of the source that nobody reads", &[("placed_at TIMESTAMP)", "placed_at TIMESTAMP, note VARCHAR)")]),
    ("a column in the middle of the source", &[("customer BIGINT, country", "note VARCHAR, customer BIGINT, country")]),
    ("the size of a window", &[("INTERVAL '1 hour'", "INTERVAL '2 hours'")]),
    (
        "a join",
        &[(
            "SELECT order_id, country, total FROM orders WHERE total > 50",
            "SELECT o.order_id, o.country, o.total, p.paid FROM orders o JOIN payments p ON o.order_id = p.order_id WHERE o.total > 50",
        )],
    ),
    ("an outer join", &[("orders o JOIN payments", "orders o LEFT JOIN payments")]),
    ("a key of a join", &[("ON o.order_id = p.order_id", "ON o.order_id = p.order_id AND o.total = p.paid")]),
    (
        "a view over a view",
        &[(
            "CREATE MATERIALIZED VIEW sizes",
            "CREATE MATERIALIZED VIEW poorest AS SELECT country FROM by_country ORDER BY revenue, country LIMIT 2;\nCREATE MATERIALIZED VIEW sizes",
        )],
    ),
    (
        "a view over a source",
        &[(
            "CREATE MATERIALIZED VIEW sizes",
            "CREATE MATERIALIZED VIEW small AS SELECT order_id FROM orders WHERE total < 10;\nCREATE MATERIALIZED VIEW sizes",
        )],
    ),
    (
        "a view that others read",
        &[(
            "country, count(*) AS n, sum(total) AS revenue FROM orders GROUP",
            "country, count(*) AS n, sum(total) + 1 AS revenue FROM orders GROUP",
        )],
    ),
    ("a view renamed", &[("VIEW countries AS", "VIEW lands AS")]),
    ("a view that reads another view", &[("SELECT DISTINCT country FROM orders", "SELECT DISTINCT country FROM by_country")]),
    (
        "a view that reads the source of its view",
        &[(
            "SELECT country, revenue FROM by_country WHERE revenue > 1500",
            "SELECT country, sum(total) AS revenue FROM orders GROUP BY country",
        )],
    ),
    ("the subject", &[("subject 'orders.paid'", "subject 'orders.pa*'")]),
    ("another subject", &[("subject 'orders.placed'", "subject 'orders.>'")]),
    ("a source renamed", &[("TABLE payments (", "TABLE receipts ("), ("JOIN payments p", "JOIN receipts p")]),
    ("more ranks", &[("place <= 3", "place <= 5")]),
    ("another order of ranks", &[("ORDER BY total DESC, order_id)", "ORDER BY total, order_id)")]),
    ("a function that nobody calls", &[("RETURN total / 2", "RETURN total / 4")]),
    ("a call of a function", &[("sum(total) AS revenue FROM orders;", "sum(net(total)) AS revenue FROM orders;")]),
    ("a view less", &[("CREATE MATERIALIZED VIEW sizes AS SELECT n, count(*) AS c FROM customers GROUP BY n;", "")]),
    (
        "two views at once",
        &[
            ("FROM orders WHERE total > 50", "FROM orders WHERE total > 60"),
            ("FROM by_country WHERE revenue > 1500", "FROM by_country WHERE revenue > 1200"),
        ],
    ),
];

/// A server with the stream.
struct Stream {
    server: Server,
    runtime: tokio::runtime::Runtime,
}

impl Stream {
    fn new() -> Stream {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let stream = Stream { server: Server::start_with(Version::Newest, "max_payload: 8388608"), runtime };
        stream.with(async |context| {
            let config = stream::Config { name: "ORDERS".into(), subjects: vec!["orders.>".into()], ..Default::default() };
            context.create_stream(config).await.unwrap();
        });
        stream
    }

    fn with(&self, work: impl AsyncFnOnce(jetstream::Context)) {
        self.runtime.block_on(async {
            work(jetstream::new(async_nats::connect(self.server.url()).await.unwrap())).await;
        });
    }

    /// The same events on each server.
    fn publish(&self, events: std::ops::Range<u64>) {
        self.with(async |context| {
            for event in events {
                let (order, total) = (event / 2, event * 37 % 101);
                let (subject, body) = match event % 2 {
                    0 => {
                        let (customer, country) = (order * 7 % 23, ["DE", "FR", "JP", "BR"][(order % 4) as usize]);
                        let hour = order % 24;
                        let body = format!(
                            "{{\"order_id\":{order},\"customer\":{customer},\"country\":\"{country}\",\"total\":\"{total}.50\",\
                             \"placed_at\":\"2026-01-01T{hour:02}:30:00\"}}"
                        );
                        ("orders.placed", body)
                    }
                    _ => ("orders.paid", format!("{{\"order_id\":{order},\"paid\":\"{total}.50\"}}")),
                };
                context.publish(subject, body.into()).await.unwrap().await.unwrap();
            }
        });
    }
}

/// A folder with SQL and data.
struct Folder(tempfile::TempDir);

impl Folder {
    /// Over a stream; with the data of another folder where one is given.
    fn new(stream: &Stream, sql: &str, data: Option<&Folder>) -> Folder {
        let folder = Folder(tempfile::tempdir().unwrap());
        folder.write(stream, sql);
        if let Some(data) = data {
            copy(&data.0.path().join("data"), &folder.0.path().join("data"));
        }
        folder
    }

    fn write(&self, stream: &Stream, sql: &str) {
        std::fs::write(self.0.path().join("views.sql"), sql.replace("$URL", &stream.server.url())).unwrap();
    }

    fn ask(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_alluvium"));
        command.env_clear().env("ALLUVIUM_HTTP", "off").arg("-C").arg(self.0.path()).args(arguments);
        command.output().unwrap()
    }

    /// Catches up; false where new versions were held back.
    fn run(&self) -> bool {
        let output = self.ask(&["run", "--until-caught-up"]);
        let log = String::from_utf8_lossy(&output.stderr);
        match output.status.code() {
            Some(0) => true,
            // Some edits ask for a column or a subject that no event has.
            Some(5) if log.contains("all views are committed") => true,
            Some(1) if log.contains("held back") => false,
            code => panic!("{code:?}: {log}"),
        }
    }

    /// What the next run does with each view.
    fn plan(&self) -> BTreeMap<String, Value> {
        let output = self.ask(&["plan", "--format", "json"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let plan: Value = serde_json::from_slice(&output.stdout).unwrap();
        plan.as_array().unwrap().iter().map(|one| (one["view"].as_str().unwrap().to_owned(), one.clone())).collect()
    }

    /// The rows of each view, sorted.
    fn rows<'a>(&self, views: impl IntoIterator<Item = &'a String>) -> BTreeMap<String, Vec<String>> {
        let mut rows: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let selects: Vec<String> = views
            .into_iter()
            .map(|view| {
                rows.insert(view.clone(), Vec::new());
                let files: PathBuf = self.0.path().join("data/views").join(view).join("current");
                format!(
                    "SELECT '{view}' AS view, to_json(t)::VARCHAR AS row FROM read_parquet('{}/*.parquet') t",
                    files.display()
                )
            })
            .collect();
        for row in duckdb::rows(&selects.join("\nUNION ALL ")).unwrap() {
            rows.get_mut(row["view"].as_str().unwrap()).unwrap().push(row["row"].as_str().unwrap().to_owned());
        }
        rows.values_mut().for_each(|rows| rows.sort());
        rows
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (path, target) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        if path.is_symlink() {
            std::os::unix::fs::symlink(std::fs::read_link(&path).unwrap(), target).unwrap();
        } else if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(path, target).unwrap();
        }
    }
}

fn edited(edit: &Edit) -> String {
    let mut sql = PROJECT.to_owned();
    for (from, to) in edit.1 {
        assert!(sql.contains(from), "{}: {from}", edit.0);
        sql = sql.replacen(from, to, 1);
    }
    sql
}

#[test]
fn after_each_edit_a_view_is_a_fresh_runs_or_the_old_version_goes_on() {
    let (whole, half) = (Stream::new(), Stream::new());
    let before = [&whole, &half].map(|stream| {
        stream.publish(2..2 + BEFORE);
        let folder = Folder::new(stream, PROJECT, None);
        assert!(folder.run());
        folder
    });
    half.with(async |context| {
        context.get_stream("ORDERS").await.unwrap().purge().sequence(BEFORE / 2 + 1).await.unwrap();
    });
    for stream in [&whole, &half] {
        stream.publish(2 + BEFORE..2 + BEFORE + AFTER);
    }
    let unedited = Folder::new(&whole, PROJECT, None);
    assert!(unedited.run());
    let mut steps: BTreeMap<String, usize> = BTreeMap::new();
    for edit in EDITS {
        let sql = edited(edit);
        let fresh = Folder::new(&whole, &sql, None);
        assert!(fresh.run(), "{}", edit.0);
        for (stream, before) in [&whole, &half].into_iter().zip(&before) {
            let lost = std::ptr::eq(stream, &half);
            let what = format!("{}, {}", edit.0, if lost { "half is gone" } else { "everything is there" });
            let folder = Folder::new(stream, &sql, Some(before));
            let plan = folder.plan();
            let blocked: Vec<&String> = plan.iter().filter(|(_, one)| one["step"] == "blocked").map(|(view, _)| view).collect();
            assert!(lost || blocked.is_empty(), "{what}: {plan:?}");
            assert_eq!(folder.run(), blocked.is_empty(), "{what}: {plan:?}");
            let rows =
                folder.rows(plan.keys().filter(|view| plan[*view]["committed"] == true || plan[*view]["step"] != "blocked"));
            let truth = fresh.rows(plan.keys());
            let old = unedited.rows(blocked.iter().copied().filter(|view| plan[*view]["follows"] == true));
            // A version that read a view of another pipeline stays at its last commit.
            let stays = |view: &&String| plan[*view]["committed"] == true && plan[*view]["follows"] == false;
            let kept = before.rows(blocked.iter().copied().filter(stays));
            for (view, rows) in &rows {
                let step = plan[view]["step"].as_str().unwrap();
                *steps.entry(format!("{step}{}", if lost { ", half is gone" } else { "" })).or_default() += 1;
                let new_from_events = lost && plan[view]["committed"] == false && step == "rebuilt";
                let expected = match step {
                    "blocked" => old.get(view).unwrap_or_else(|| &kept[view]).clone(),
                    _ if new_from_events => {
                        let fresh = Folder::new(stream, &sql, None);
                        assert!(fresh.run());
                        fresh.rows([view]).remove(view).unwrap()
                    }
                    _ => truth[view].clone(),
                };
                assert_eq!(*rows, expected, "{what}: {view}: {}", plan[view]);
            }
        }
    }
    println!("{steps:?}");
}
