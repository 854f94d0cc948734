//! Catalogs, from text to plans.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod classes;
mod errors;
mod explain;
mod functions;
mod kept;
mod messages;
mod mistakes;
mod nested;
mod time_windows;
mod types;
mod watermarks;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;

use super::*;
use crate::declarations::Watermark;
use crate::error::Errors;
use crate::file::SqlFile;
use crate::plan::{Node, Op, RelationKind, ViewPlan};

/// Sources for every test. Their text is the file `sources.sql`.
const SOURCES: &str = "
CREATE EXTERNAL TABLE orders (
  id BIGINT NOT NULL, customer BIGINT, country VARCHAR, total DECIMAL(12, 2), weight DOUBLE, tags VARCHAR[],
  address STRUCT<city VARCHAR, zip VARCHAR>, body VARCHAR, paid BOOLEAN, placed_at TIMESTAMP, _sequence BIGINT UNSIGNED
) STORED AS NATS LOCATION 'nats://127.0.0.1:4222/ORDERS' OPTIONS (subject 'orders.>', format 'json');
CREATE EXTERNAL TABLE customers (id BIGINT, name VARCHAR, country VARCHAR)
STORED AS FILE LOCATION 'customers.jsonl';
";

fn file(path: &str, text: &str) -> SqlFile {
    SqlFile { path: path.to_owned(), text: text.to_owned() }
}

/// Loads the sources and one more file.
fn load(text: &str) -> Result<Catalog, Errors> {
    Catalog::load(&[file("views.sql", text), file("sources.sql", SOURCES)])
}

/// Returns the one view `v` over the sources.
fn view(query: &str) -> View {
    let catalog = load(&format!("CREATE MATERIALIZED VIEW v AS {query}")).unwrap_or_else(|e| panic!("{query}: {e}"));
    catalog.views.into_iter().next().unwrap()
}

/// Checks the first error: the text that it underlines, a part of its message and a part of its help.
fn check_error(text: &str, underlined: &str, message: &str, help: &str) {
    let errors = load(text).map(|_| ()).expect_err(text);
    let error = &errors.0[0];
    let at = &error.at;
    assert_eq!(&at.file.text[at.offset..at.offset + at.length], underlined, "{text}\n{error}");
    assert!(error.message.contains(message), "{text}\n{error}");
    let given = error.help.clone().unwrap_or_default();
    assert!(given.contains(help), "{text}\n{error}\nhelp: {given}");
}

/// Runs every case of a table, so that all failures show at once.
#[derive(Default)]
struct Each {
    failed: usize,
}

impl Each {
    fn run(&mut self, case: impl FnOnce()) {
        self.failed += usize::from(std::panic::catch_unwind(std::panic::AssertUnwindSafe(case)).is_err());
    }
}

impl Drop for Each {
    fn drop(&mut self) {
        assert!(std::thread::panicking() || self.failed == 0, "{} cases failed", self.failed);
    }
}

#[test]
fn statements_come_in_any_order_of_files_and_of_statements() {
    let catalog = load(
        "-- reads a view that is declared below
        CREATE MATERIALIZED VIEW top AS SELECT * FROM middle WHERE n > 1;;
        CREATE MATERIALIZED VIEW middle WITH (commit_interval = '50 ms', snapshots_kept = 3) /* here */
        AS SELECT country, count(*) AS n FROM orders GROUP BY country;",
    )
    .unwrap();
    let names: Vec<&str> = catalog.views.iter().map(|view| view.name.as_str()).collect();
    assert_eq!(names, ["middle", "top"]);
    let middle = &catalog.views[0];
    assert_eq!(middle.options.commit_interval, Some(Duration::from_millis(50)));
    assert_eq!(middle.options.snapshots_kept, Some(3));
    assert!(middle.sql.starts_with("CREATE MATERIALIZED VIEW middle") && middle.sql.ends_with("GROUP BY country"));
    assert_eq!(catalog.views[1].plan.reads, [(crate::RelationKind::View, "middle".to_owned())]);
    let orders = &catalog.sources["orders"];
    assert_eq!((orders.stored_as.as_str(), orders.options["subject"].as_str()), ("NATS", "orders.>"));
}

#[test]
fn only_columns_that_some_view_reads_are_read() {
    let catalog = load(
        "CREATE MATERIALIZED VIEW a AS SELECT country FROM orders WHERE paid;
         CREATE MATERIALIZED VIEW b AS SELECT o.country, c.name FROM orders o JOIN customers c ON o.customer = c.id;
         CREATE MATERIALIZED VIEW c AS SELECT count(*) AS n FROM customers WHERE (SELECT max(weight) FROM orders) > 3;",
    )
    .unwrap();
    assert_eq!(catalog.columns_read("orders").into_iter().collect::<Vec<_>>(), [1, 2, 4, 8]);
    assert_eq!(catalog.columns_read("customers").into_iter().collect::<Vec<_>>(), [0, 1]);
    let none = load("CREATE MATERIALIZED VIEW a AS SELECT count(*) AS n FROM orders").unwrap();
    assert!(none.columns_read("orders").is_empty());
}

#[test]
fn a_column_that_is_asked_for_null_is_read_although_it_is_not_null() {
    for (query, expected) in [
        ("SELECT country FROM orders WHERE id IS NOT NULL", vec![0, 2]),
        ("SELECT country FROM orders WHERE id IS NULL OR paid", vec![0, 2, 8]),
        ("SELECT count(id) AS n, count(*) AS m FROM orders", vec![0]),
        ("SELECT country FROM (SELECT * FROM orders) WHERE coalesce(paid, id > 3)", vec![0, 2, 8]),
        ("SELECT country FROM (SELECT * FROM orders)", vec![2]),
        ("SELECT count(*) AS n FROM orders", vec![]),
        ("SELECT c.name FROM customers c JOIN orders o ON c.id = o.customer AND o.id IS NOT NULL", vec![0, 1]),
    ] {
        assert_eq!(view(query).plan.columns_read.of("orders").collect::<Vec<_>>(), expected, "{query}");
    }
}

#[test]
fn options_that_say_how_members_are_read_change_the_views() {
    let load = |options: &str| {
        let source = format!("CREATE EXTERNAL TABLE t (id BIGINT, at TIMESTAMP(9)) STORED AS FILE LOCATION 't' {options};");
        let catalog =
            Catalog::load(&[file("s.sql", &format!("{source} CREATE MATERIALIZED VIEW v AS SELECT id, at FROM t"))]).unwrap();
        (catalog.sources["t"].options.clone(), catalog.views[0].plan.fingerprint.clone())
    };
    let plain = load("");
    assert_eq!(plain.0["epoch.at"], "ns");
    assert_eq!(load("OPTIONS (epoch.at 'ns')"), plain);
    let mut seen = vec![plain.1];
    for options in
        ["epoch 'ms'", "epoch.at 'ms'", "on_bad_member 'null'", "on_bad_member.id 'null'", "null_text ''", "'null_text.id' '-'"]
    {
        let fingerprint = load(&format!("OPTIONS ({options})")).1;
        assert!(!seen.contains(&fingerprint), "{options}");
        seen.push(fingerprint);
    }
}

#[test]
fn fingerprints_stay_while_the_answer_stays() {
    let base = "SELECT country, count(*) AS n, avg(weight) AS w FROM orders GROUP BY country";
    let first = view(base).plan.fingerprint.clone();
    assert_eq!(first.len(), 32);
    for same in [
        base.to_owned(),
        base.replace(' ', "\n  "),
        format!("/* a remark */ {base} -- and another"),
        base.replace("SELECT", "select").replace("orders", "ORDERS"),
    ] {
        assert_eq!(view(&same).plan.fingerprint, first, "{same}");
    }
    for other in [
        base.replace("avg", "sum"),
        base.replace("AS n", "AS m"),
        base.replace("GROUP", "WHERE paid GROUP"),
        base.replace("orders", "(SELECT country, weight FROM orders WHERE id < 5)"),
    ] {
        assert_ne!(view(&other).plan.fingerprint, first, "{other}");
    }
}

#[test]
fn fingerprints_follow_what_is_read() {
    let of_b = |sources: &str, a: &str| {
        let text = format!("CREATE MATERIALIZED VIEW a AS {a}; CREATE MATERIALIZED VIEW b AS SELECT country FROM a");
        let catalog = Catalog::load(&[file("s.sql", sources), file("v.sql", &text)]).unwrap();
        catalog.views[1].plan.fingerprint.clone()
    };
    let first = of_b(SOURCES, "SELECT country FROM orders");
    assert_eq!(of_b(SOURCES, "SELECT country FROM orders"), first);
    assert_ne!(of_b(SOURCES, "SELECT country FROM orders WHERE paid"), first, "the view below changed");
    assert_ne!(of_b(&SOURCES.replace("orders.>", "orders.x"), "SELECT country FROM orders"), first, "the subject changed");
    assert_ne!(of_b(&SOURCES.replace("/ORDERS", "/OTHER"), "SELECT country FROM orders"), first, "the stream changed");
    let with_password = SOURCES.replace("nats://", "nats://me:secret@");
    assert_eq!(of_b(&with_password, "SELECT country FROM orders"), first, "credentials do not decide rows");
}

#[test]
fn a_plan_runs_as_one_batch_over_tables_of_the_same_names() {
    use datafusion::datasource::empty::EmptyTable;
    let view = view(
        "SELECT country FROM orders WHERE customer IN (SELECT id FROM customers) AND weight > (SELECT avg(weight) FROM orders)",
    );
    let catalog = load("").unwrap();
    let mut asked = std::cell::RefCell::new(BTreeSet::new());
    let plan = view.plan.batch_plan_over(|name| {
        asked.borrow_mut().insert(name.to_owned());
        Ok(Arc::new(EmptyTable::new(Arc::clone(&catalog.sources[name].schema))))
    });
    assert_eq!(plan.unwrap().schema().fields().len(), 1);
    assert_eq!(asked.get_mut().iter().map(String::as_str).collect::<Vec<_>>(), ["customers", "orders"]);
}

#[test]
fn nothing_that_is_printed_holds_a_credential() {
    let source = "CREATE EXTERNAL TABLE secrets (id BIGINT) STORED AS NATS LOCATION 'nats://u:hunter2@127.0.0.1:4222/S' \
                  OPTIONS (user 'u', password 'hunter2');";
    let query = "CREATE MATERIALIZED VIEW v AS SELECT id FROM secrets;";
    let catalog = load(&format!("{source}{query}")).unwrap();
    let errors = load(&format!("{source}{query}{query}")).unwrap_err();
    assert_eq!(catalog.sources["secrets"].options["password"], "hunter2");
    for printed in [format!("{catalog:?}"), format!("{catalog:#?}"), format!("{errors:?}")] {
        assert!(printed.contains("secrets") || printed.contains("views.sql"), "{printed}");
        assert!(!printed.contains("hunter2"), "{printed}");
    }
}
