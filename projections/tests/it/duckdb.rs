//! A second opinion: compares the final rows of views with DuckDB's answers over the same rows. The queries and events are random, in
//! the SQL that DataFusion and DuckDB read alike. Time windows are compared with the same windows written out in DuckDB's SQL.
//!
//! The queries avoid what differs by design: division of integers, the default order of NULLs, the types of medians, `bit_xor` and the
//! like over no rows, and INTERSECT ALL and EXCEPT ALL, in which DataFusion does not count copies of a row. `ALLUVIUM_SEED` and
//! `ALLUVIUM_SEARCH_SECONDS` are as in `search`.

mod grammar;
mod windows;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use alluvium_sql::{Catalog, SqlFile};
use arrow::datatypes::{DataType, SchemaRef};
use fastrand::Rng;
use serde_json::Value;

use crate::law::{Cut, Event, Prefixes, hold};
use crate::rows::{Bag, Cell};

/// Returns the path of DuckDB: `ALLUVIUM_DUCKDB`, else `.tools/bin/duckdb` under the workspace's root.
fn program() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    std::env::var_os("ALLUVIUM_DUCKDB").map_or_else(|| root.join(".tools/bin/duckdb"), PathBuf::from)
}

/// Precedes all statements. With several threads, DuckDB 1.5.6 sometimes filters the input of a LIMIT by the keys of the join above it.
const SETTINGS: &str = "SET threads = 1;\nSET disabled_optimizers = 'join_filter_pushdown';\n";

/// Runs statements. Returns the rows of the last one.
fn rows(sql: &str) -> Vec<BTreeMap<String, Value>> {
    let program = program();
    let mut child = Command::new(&program)
        .args(["-json", "-bail"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("starting {} (`make tools` installs it): {error}", program.display()));
    child.stdin.take().unwrap().write_all(format!("{SETTINGS}{sql}").as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}\n{sql}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout);
    let text = text.trim();
    if text.is_empty() || text == "[{]" {
        return Vec::new();
    }
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}\n{sql}"))
}

/// Converts DuckDB's rows so that they can be compared with ours.
fn bag(rows: &[BTreeMap<String, Value>], schema: &SchemaRef) -> Bag {
    let mut bag = Bag::default();
    for row in rows {
        let cells = schema.fields().iter().map(|field| match (&row[field.name()], field.data_type()) {
            (Value::Null, _) => Cell::Text("NULL".to_owned()),
            (Value::Number(number), DataType::Float64) => Cell::Float(number.as_f64().unwrap().to_bits()),
            (Value::String(text), _) if text.is_empty() => Cell::Text("(empty)".to_owned()),
            (Value::String(text), _) => Cell::Text(text.clone()),
            (other, _) => Cell::Text(other.to_string()),
        });
        bag.add(cells.collect(), 1);
    }
    bag
}

/// Returns an INSERT of the events of a source, or nothing if there are none.
fn insert(source: &str, events: &[Event]) -> String {
    let rows: Vec<String> = events
        .iter()
        .filter(|event| event.source == source)
        .flat_map(|event| crate::rows::rows_of(&event.rows))
        .map(|row| {
            let cells: Vec<String> = row
                .iter()
                .map(|cell| match cell {
                    Cell::Text(text) if text == "NULL" => text.clone(),
                    Cell::Text(text) if text == "(empty)" => "''".to_owned(),
                    Cell::Text(text) => format!("'{text}'"),
                    Cell::Float(bits) => f64::from_bits(*bits).to_string(),
                })
                .collect();
            format!("({})", cells.join(", "))
        })
        .collect();
    if rows.is_empty() { String::new() } else { format!("INSERT INTO {source} VALUES {};\n", rows.join(", ")) }
}

fn from_environment(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(otherwise)
}

#[test]
fn random_queries_agree_with_duckdb() {
    let first = from_environment("ALLUVIUM_SEED", 1);
    let until = Instant::now() + Duration::from_secs(from_environment("ALLUVIUM_SEARCH_SECONDS", 10));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut seed = first;
    let mut with_rows = 0;
    while Instant::now() < until || seed == first {
        let mut random = Rng::with_seed(seed);
        let queries: Vec<String> = (0..1 + random.usize(..3)).map(|number| grammar::query(&mut random, 2, number)).collect();
        let ours: String = queries
            .iter()
            .enumerate()
            .map(|(number, query)| format!("CREATE MATERIALIZED VIEW v{number} AS {query};\n"))
            .collect();
        println!("seed {seed}\n{ours}");
        let text = format!("{}{ours}", grammar::SOURCES);
        let catalog =
            Catalog::load(&[SqlFile { path: "random.sql".to_owned(), text }]).unwrap_or_else(|errors| panic!("{errors}"));
        let events = grammar::events(&mut random, &catalog);
        let (kept, _) = runtime.block_on(hold(&catalog, &events, &Cut::Random(seed), &mut Prefixes::default()));
        let theirs: String =
            queries.iter().enumerate().map(|(number, query)| format!("CREATE VIEW v{number} AS {query};\n")).collect();
        let filled = format!("{}{}{}{theirs}", grammar::TABLES, insert("t", &events), insert("u", &events));
        for (view, kept) in catalog.views.iter().zip(&kept) {
            let answer = bag(&rows(&format!("{filled}SELECT * FROM {};\n", view.name)), &view.plan.schema);
            if let Some(difference) = kept.difference(&answer) {
                panic!("seed {seed}, {}: kept and DuckDB:\n{difference}\n{filled}", view.name);
            }
            with_rows += usize::from(!kept.0.is_empty());
        }
        seed += 1;
    }
    println!("{} catalogs agree, {with_rows} views with rows", seed - first);
    assert!(with_rows > 0, "no view has rows");
}
