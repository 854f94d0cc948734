//! The system tables: `alluvium.views`, `sources`, `commits`, `dead_letters`, `versions`, `lineage`. They are made of the records and manifests
//! beside the views, when a query names them; so they are as new as the query, and not at the commit at which it reads views.
//!
//! | table | a row for |
//! | --- | --- |
//! | `views` | each view that has a commit |
//! | `sources` | each view and each source whose events it holds |
//! | `commits` | each commit of a view that is kept, and each source in it |
//! | `versions` | each version of a view of which a commit is kept |
//! | `lineage` | each view and each relation that it reads directly |
//! | `dead_letters` | each event that was set aside |

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use alluvium_connectors::sink::parquet::Manifest;
use alluvium_sql::{listed, nearest};
use datafusion::arrow::array::{ArrayRef, BooleanArray, RecordBatch, StringArray, TimestampMillisecondArray, UInt64Array};
use datafusion::catalog::TableProvider;
use datafusion::common::DataFusionError;
use datafusion::datasource::MemTable;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{Ident, ObjectName, TableAlias, TableFactor, VisitMut, VisitorMut};

use crate::error::Error;
use crate::layout::Layout;
use crate::record::{Record, newest_records};

/// The schema of these tables.
pub const SCHEMA: &str = "alluvium";
/// The tables.
pub const TABLES: [&str; 6] = ["commits", "dead_letters", "lineage", "sources", "versions", "views"];

/// The name under which a query is planned over a system table.
#[must_use]
pub fn planned_name(table: &str) -> String {
    format!("{SCHEMA}.{table}")
}

/// Replaces the names of system tables in a statement by [`planned_name`], and returns the tables: the planner knows relations by one name.
///
/// # Errors
/// There is no such system table.
pub fn take_names(statement: &mut Statement) -> Result<BTreeSet<String>, Error> {
    let mut taken = Taken::default();
    match statement {
        Statement::Statement(statement) => {
            let _ = statement.visit(&mut taken);
        }
        Statement::Explain(explain) => return take_names(&mut explain.statement),
        _ => {}
    }
    if let Some(name) = taken.tables.iter().find(|name| !TABLES.contains(&name.as_str())) {
        let help = match nearest(name, TABLES) {
            Some(near) => format!("did you mean {SCHEMA}.{near}?"),
            None => format!("there are: {}", listed(TABLES)),
        };
        return Err(Error::config(format!("there is no system table {SCHEMA}.{name}"), help));
    }
    Ok(taken.tables)
}

#[derive(Default)]
struct Taken {
    tables: BTreeSet<String>,
}

impl VisitorMut for Taken {
    type Break = ();

    fn pre_visit_table_factor(&mut self, relation: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table { name, alias, args: None, .. } = relation
            && let [schema, table] = name.0.as_slice()
            && let (Some(schema), Some(table)) = (schema.as_ident(), table.as_ident())
            && schema.value.eq_ignore_ascii_case(SCHEMA)
        {
            let table = if table.quote_style.is_some() { table.value.clone() } else { table.value.to_lowercase() };
            alias.get_or_insert_with(|| TableAlias {
                explicit: true,
                name: Ident::with_quote('"', table.clone()),
                columns: Vec::new(),
                at: None,
            });
            *name = ObjectName::from(Ident::with_quote('"', planned_name(&table)));
            self.tables.insert(table);
        }
        ControlFlow::Continue(())
    }
}

/// Makes one of the [`TABLES`].
///
/// # Errors
/// The disk fails.
pub async fn table(layout: &Layout, name: &str) -> Result<Arc<dyn TableProvider>, Error> {
    let batch = match name {
        "dead_letters" => return crate::dead_letters::table(layout).await,
        "views" => views(&newest_records(layout)?),
        "sources" => sources(&newest_records(layout)?),
        "commits" => commits(&kept_beside(layout).await?),
        "versions" => versions(&kept_beside(layout).await?, &newest_records(layout)?),
        "lineage" => lineage(&newest_records(layout)?),
        other => return Err(Error::bug(format!("system table {other}"))),
    };
    let batch = batch.map_err(DataFusionError::from)?;
    Ok(Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch]])?))
}

type Batch = Result<RecordBatch, datafusion::arrow::error::ArrowError>;

fn texts(values: impl IntoIterator<Item = Option<String>>) -> ArrayRef {
    Arc::new(values.into_iter().collect::<StringArray>())
}

fn numbers(values: impl IntoIterator<Item = u64>) -> ArrayRef {
    Arc::new(UInt64Array::from_iter_values(values))
}

fn times(values: impl IntoIterator<Item = u64>) -> ArrayRef {
    Arc::new(TimestampMillisecondArray::from_iter_values(values.into_iter().map(|ms| i64::try_from(ms).unwrap_or(i64::MAX))))
}

fn views(records: &BTreeMap<String, Record>) -> Batch {
    let all = || records.values();
    RecordBatch::try_from_iter([
        ("view", texts(all().map(|record| Some(record.view.clone())))),
        ("epoch", numbers(all().map(|record| record.epoch))),
        ("committed", times(all().map(|record| record.commit.committed_ms))),
        ("rows", numbers(all().map(|record| record.size.rows))),
        ("parts", numbers(all().map(|record| record.size.parts))),
        ("bytes", numbers(all().map(|record| record.size.bytes))),
        ("version", texts(all().map(|record| Some(record.fingerprint.clone())))),
        ("incarnation", texts(all().map(|record| Some(record.incarnation.clone())))),
        ("committed_with", texts(all().map(|record| Some(record.commit.committed_with.join(", "))))),
        ("sql", texts(all().map(|record| record.definition.as_ref().map(|definition| definition.view.clone())))),
    ])
}

fn sources(records: &BTreeMap<String, Record>) -> Batch {
    let all: Vec<_> = records
        .values()
        .flat_map(|record| record.commit.offsets.iter().map(move |(source, offset)| (record, source, *offset)))
        .collect();
    let tally = |record: &Record, source: &String| record.tallies.get(source).cloned().unwrap_or_default();
    RecordBatch::try_from_iter([
        ("source", texts(all.iter().map(|(_, source, _)| Some((*source).clone())))),
        ("view", texts(all.iter().map(|(record, ..)| Some(record.view.clone())))),
        ("offset", numbers(all.iter().map(|(.., offset)| *offset))),
        ("events", numbers(all.iter().map(|(record, source, _)| tally(record, source).events))),
        ("set_aside", numbers(all.iter().map(|(record, source, _)| tally(record, source).set_aside))),
        (
            "sql",
            texts(
                all.iter().map(|(record, source, _)| record.definition.as_ref().and_then(|of| of.sources.get(*source).cloned())),
            ),
        ),
    ])
}

fn commits(manifests: &[Manifest]) -> Batch {
    let all: Vec<_> = manifests
        .iter()
        .flat_map(|manifest| manifest.offsets.iter().map(move |(source, offset)| (manifest, source, *offset)))
        .collect();
    RecordBatch::try_from_iter([
        ("view", texts(all.iter().map(|(manifest, ..)| Some(manifest.view.clone())))),
        ("epoch", numbers(all.iter().map(|(manifest, ..)| manifest.epoch))),
        ("committed", times(all.iter().map(|(manifest, ..)| manifest.committed_ms))),
        ("source", texts(all.iter().map(|(_, source, _)| Some((*source).clone())))),
        ("offset", numbers(all.iter().map(|(.., offset)| *offset))),
        ("rows", numbers(all.iter().map(|(manifest, ..)| manifest.rows))),
        ("parts", numbers(all.iter().map(|(manifest, ..)| manifest.parts.len() as u64))),
        ("bytes", numbers(all.iter().map(|(manifest, ..)| manifest.parts.iter().map(|part| part.bytes).sum()))),
        ("version", texts(all.iter().map(|(manifest, ..)| Some(manifest.fingerprint.clone())))),
    ])
}

fn versions(manifests: &[Manifest], records: &BTreeMap<String, Record>) -> Batch {
    let mut all: BTreeMap<(&str, &str), (u64, u64, u64)> = BTreeMap::new();
    for manifest in manifests {
        let (epoch, ms) = (manifest.epoch, manifest.committed_ms);
        let known = all.entry((&manifest.view, &manifest.fingerprint)).or_insert((epoch, epoch, ms));
        *known = (known.0.min(epoch), known.1.max(epoch), known.2.max(ms));
    }
    let serves = |view: &str, version: &str| records.get(view).filter(|record| record.fingerprint == version);
    RecordBatch::try_from_iter([
        ("view", texts(all.keys().map(|(view, _)| Some((*view).to_owned())))),
        ("version", texts(all.keys().map(|(_, version)| Some((*version).to_owned())))),
        (
            "serves",
            Arc::new(all.keys().map(|(view, version)| Some(serves(view, version).is_some())).collect::<BooleanArray>())
                as ArrayRef,
        ),
        ("first_kept_epoch", numbers(all.values().map(|(first, ..)| *first))),
        ("last_epoch", numbers(all.values().map(|(_, last, _)| *last))),
        ("last_committed", times(all.values().map(|(.., ms)| *ms))),
        ("sql", texts(all.keys().map(|(view, version)| Some(serves(view, version)?.definition.as_ref()?.view.clone())))),
    ])
}

fn lineage(records: &BTreeMap<String, Record>) -> Batch {
    let mut all: Vec<(&String, &String, &str)> = Vec::new();
    for record in records.values() {
        let Some(definition) = &record.definition else { continue };
        all.extend(definition.sources.keys().map(|source| (&record.view, source, "source")));
        all.extend(definition.reads.iter().map(|view| (&record.view, view, "view")));
    }
    RecordBatch::try_from_iter([
        ("view", texts(all.iter().map(|(view, ..)| Some((*view).clone())))),
        ("reads", texts(all.iter().map(|(_, reads, _)| Some((*reads).clone())))),
        ("kind", texts(all.iter().map(|(.., kind)| Some((*kind).to_owned())))),
    ])
}

/// The same as [`kept`], on a thread that may wait for the disk.
async fn kept_beside(layout: &Layout) -> Result<Vec<Manifest>, Error> {
    let layout = layout.clone();
    let read = tokio::task::spawn_blocking(move || kept(&layout)).await;
    read.map_err(|error| Error::bug(format!("reading kept manifests: {error}")))?
}

/// The manifests of the commits that are kept, by view and epoch. One that goes meanwhile, or is damaged, is left out.
fn kept(layout: &Layout) -> Result<Vec<Manifest>, Error> {
    let mut found = Vec::new();
    for view in super::snapshot::views(layout)? {
        let folder = layout.view(&view).join("snapshots");
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let Ok(bytes) = std::fs::read(entry.path().join("manifest.json")) else { continue };
            match serde_json::from_slice::<Manifest>(&bytes) {
                Ok(manifest) => found.push(Manifest { view: view.clone(), ..manifest }),
                Err(error) => tracing::warn!(folder = %entry.path().display(), %error, "a kept manifest is damaged"),
            }
        }
    }
    found.sort_by(|one, other| (&one.view, one.epoch).cmp(&(&other.view, other.epoch)));
    Ok(found)
}
