//! Runs each query in `tests/slt` with all cuts.
//!
//! A file declares streams with CREATE EXTERNAL TABLE, fills them with INSERT (each row is one event, in the order of the file), and asks
//! queries. Each query is a view over the streams and over the views that the file has declared before. `EXPECT merge` states the most
//! expensive class in the plans of the following queries. `ALLUVIUM_SLT_UPDATE=1` writes the answers of plain DataFusion into the files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use alluvium_sql::{Catalog, Class, Node, SqlFile};
use arrow::compute::cast;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use sqllogictest::{DB, DBOutput, DefaultColumnType, Runner};

use crate::law::{Cut, Event, Prefixes, class, hold};
use crate::oracle;
use crate::rows::Bag;

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Failure(String);

pub struct Streams {
    runtime: tokio::runtime::Runtime,
    declarations: String,
    pub queries: BTreeMap<String, String>,
    /// Plain views and their queries, in the order of the file.
    pub named: Vec<(String, String)>,
    pub events: Vec<Event>,
    expected: Option<Class>,
    seed: u64,
    failures: Arc<Mutex<Vec<String>>>,
}

impl DB for Streams {
    type Error = Failure;
    type ColumnType = DefaultColumnType;

    fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Failure> {
        let sql = sql.trim().trim_end_matches(';');
        let upper = sql.to_uppercase();
        if let Some(class) = upper.strip_prefix("EXPECT ") {
            self.expected = Some(match class.trim() {
                "LINEAR" => Class::Linear,
                "MERGE" => Class::Merge,
                "JOIN" => Class::Join,
                "KEYED" => Class::KeyedRecompute,
                "FULL" => Class::FullRecompute,
                other => return Err(Failure(format!("no class {other}"))),
            });
        } else if upper.starts_with("CREATE") {
            self.declarations.push_str(&format!("{sql};\n"));
            if let Some((head, query)) = sql.split_once(" AS ").filter(|_| upper.starts_with("CREATE MATERIALIZED VIEW")) {
                self.queries.insert(head.split_whitespace().nth(3).unwrap().to_owned(), query.to_owned());
            }
            if let Some((head, query)) = sql.split_once(" AS ").filter(|_| upper.starts_with("CREATE VIEW")) {
                self.named.push((head.split_whitespace().nth(2).unwrap().to_owned(), query.to_owned()));
            }
            self.catalog("")?;
        } else if upper.starts_with("INSERT INTO") {
            self.insert(sql)?;
        } else {
            return self.query(sql);
        }
        Ok(DBOutput::StatementComplete(0))
    }
}

impl Streams {
    fn fail(&self, failure: String) {
        self.failures.lock().unwrap().push(failure);
    }

    pub fn catalog(&self, more: &str) -> Result<Catalog, Failure> {
        let text = format!("{}{more}", self.declarations);
        Catalog::load(&[SqlFile { path: "test.sql".to_owned(), text }]).map_err(|errors| Failure(errors.to_string()))
    }

    fn insert(&mut self, sql: &str) -> Result<(), Failure> {
        let mut words = sql.splitn(4, char::is_whitespace);
        let source = words.nth(2).unwrap().to_owned();
        let values = words.next().unwrap();
        let schema = Arc::clone(&self.catalog("")?.sources[&source].schema);
        let frame =
            self.runtime.block_on(async { oracle::session().sql(&format!("SELECT * FROM ({values})")).await?.collect().await });
        for batch in frame.map_err(|error| Failure(error.to_string()))? {
            let columns: Vec<_> = batch
                .columns()
                .iter()
                .zip(schema.fields())
                .map(|(column, field)| cast(column, field.data_type()).unwrap())
                .collect();
            let rows = RecordBatch::try_new(Arc::clone(&schema), columns).map_err(|error| Failure(error.to_string()))?;
            self.events.extend((0..rows.num_rows()).map(|row| Event { source: source.clone(), rows: rows.slice(row, 1) }));
        }
        Ok(())
    }

    /// Returns the schema of a query, and its rows as plain DataFusion computes them.
    pub fn answer(&self, sql: &str) -> Result<(SchemaRef, Bag), Failure> {
        let catalog = self.catalog(&format!("CREATE MATERIALIZED VIEW asked AS {sql};"))?;
        let asked = catalog.views.iter().position(|view| view.name == "asked").unwrap();
        let mut plain = self.plain(&catalog, sql)?;
        Ok((Arc::clone(&catalog.views[asked].plan.schema), plain.swap_remove(asked)))
    }

    /// Returns the rows of every view of a catalog whose view `asked` is a query, as plain DataFusion computes them.
    fn plain(&self, catalog: &Catalog, sql: &str) -> Result<Vec<Bag>, Failure> {
        let mut queries = self.queries.clone();
        queries.insert("asked".to_owned(), sql.to_owned());
        // Plain DataFusion does not know functions that the file declares. Then only the rows in the file are an independent answer.
        let plain = self.runtime.block_on(async {
            if self.declarations.contains("CREATE FUNCTION") {
                oracle::views(catalog, &self.events).await
            } else {
                oracle::plain(catalog, &queries, &self.named, &self.events).await
            }
        });
        plain.map_err(|error| Failure(error.to_string()))
    }

    fn query(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Failure> {
        let catalog = self.catalog(&format!("CREATE MATERIALIZED VIEW asked AS {sql};"))?;
        let asked = catalog.views.iter().position(|view| view.name == "asked").unwrap();
        let view = &catalog.views[asked];
        let found = class(&view.plan.root);
        if let Some(expected) = self.expected
            && found != expected
        {
            self.fail(format!("{sql}\nthe plan is {found}, not {expected}"));
        }
        let mut prefixes = Prefixes::default();
        let plain = self.plain(&catalog, sql)?;
        self.seed += 1;
        println!("{sql}\n  seeds {} and {}", self.seed, self.seed + 1_000_000);
        for cut in
            [Cut::Every(usize::MAX), Cut::Every(7), Cut::Every(1), Cut::Random(self.seed), Cut::Random(self.seed + 1_000_000)]
        {
            // A panic counts as a failure like any other: the next query still runs.
            let run = std::panic::AssertUnwindSafe(|| self.runtime.block_on(hold(&catalog, &self.events, &cut, &mut prefixes)));
            let Ok((kept, changes)) = std::panic::catch_unwind(run) else {
                self.fail(format!("{sql}\ncut {cut:?}: see above"));
                break;
            };
            for (kept, plain) in kept.iter().zip(&plain) {
                if let Some(difference) = kept.difference(plain) {
                    self.fail(format!("{sql}\ncut {cut:?}, kept and plain:\n{difference}"));
                }
            }
            // One event changes a few rows, however large the view is.
            let most = (6 * self.events.len() + 2) * (1 + merges(&view.plan.root) / 2);
            if found <= Class::Merge && matches!(cut, Cut::Every(1)) && changes[asked] > most {
                self.fail(format!("{sql}\n{} changes for {} events", changes[asked], self.events.len()));
            }
        }
        let rows = plain[asked].shown();
        Ok(DBOutput::Rows { types: vec![DefaultColumnType::Any; view.plan.schema.fields().len()], rows })
    }
}

/// Counts the merged aggregates of a tree: one for each grouping set.
fn merges(node: &Node) -> usize {
    usize::from(node.class() == Class::Merge) + node.inputs.iter().map(merges).sum::<usize>()
}

pub fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "slt") {
            found.push(path);
        }
    }
}

pub fn streams(seed: u64, failures: Arc<Mutex<Vec<String>>>) -> Streams {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    Streams {
        runtime,
        declarations: String::new(),
        queries: BTreeMap::new(),
        named: Vec::new(),
        events: Vec::new(),
        expected: None,
        seed,
        failures,
    }
}

#[test]
fn every_query_holds_the_law() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/slt");
    let mut found = Vec::new();
    files(&folder, &mut found);
    found.sort();
    assert!(!found.is_empty());
    let only = std::env::var("ALLUVIUM_SLT_ONLY").unwrap_or_default();
    let update = std::env::var_os("ALLUVIUM_SLT_UPDATE").is_some();
    let base = std::env::var("ALLUVIUM_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let failures = Arc::new(Mutex::new(Vec::new()));
    for file in found.iter().filter(|file| file.to_string_lossy().contains(&only)) {
        let mut runner = Runner::new(|| async { Ok(streams(base, Arc::clone(&failures))) });
        let outcome = if update {
            let updated = runner.update_test_file(
                file,
                " ",
                sqllogictest::default_validator,
                sqllogictest::default_normalizer,
                sqllogictest::default_column_validator,
            );
            futures::executor::block_on(updated).map_err(|error| error.to_string())
        } else {
            runner.run_file(file).map_err(|error| error.display(false).to_string())
        };
        if let Err(error) = outcome {
            failures.lock().unwrap().push(format!("{}: {error}", file.display()));
        }
    }
    let failures = failures.lock().unwrap();
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}
