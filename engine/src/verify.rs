//! Proves views right on their own data. Reads the events up to the committed offset again from their sources, runs each view's SQL over
//! them as one batch query, and compares the rows as multisets.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`pinned`] | copies one commit of each view before anything else |
//! | [`events`] | reads the sources again |
//! | [`query`] | runs the batch queries with bounded memory |
//! | [`duckdb`] | has DuckDB compute a view |
//! | [`failing`] | leaves out rows on which an expression fails, at the operator where it fails |
//! | [`compare`] | finds rows that differ |
//! | [`sample`] | a part of the rows of a view |
//! | [`periodic`] | verifies at an interval, beside a running engine |
//! | [`spool`], [`table`] | rows on disk, and tables over them |
//! | [`unknown`] | why it cannot tell whether a view is right |
//!
//! It computes views in another way than the engine: with DataFusion's plan of the whole query, where the engine runs an incremental plan.
//! It shares with the engine the decoder, and the rule for which events an expression of a view sets aside. It takes no lock and writes
//! nothing in the data folder.

mod compare;
mod duckdb;
mod events;
mod failing;
pub mod periodic;
mod pinned;
mod query;
mod sample;
mod spool;
mod table;
mod unknown;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use alluvium_connectors::source::Gap;
use alluvium_sql::{RelationKind, View};

use self::compare::compare;
use self::events::Events;
use self::pinned::{Pinned, pin};
use self::query::Queries;
pub use self::sample::Sample;
use self::spool::SpoolFolder;
use self::unknown::Unknown;
use crate::error::Error;
use crate::project::Project;
use crate::record::Record;
use crate::source_timeout::unless_lost;

/// The largest number of differing rows to show.
pub const SHOWN: usize = 20;

/// The result for one view.
#[derive(Debug, serde::Serialize)]
pub struct Verified {
    /// The view.
    pub view: String,
    /// By source of its rows: the committed offset.
    pub offsets: BTreeMap<String, u64>,
    /// By source that the view or a view that it reads reads: what the source no longer held when it was to be read. The rows are compared
    /// with the SQL over the other events.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub gaps: BTreeMap<String, Vec<Gap>>,
    /// How many rows the view has; with a sample, how many of them were verified.
    pub rows: u64,
    /// Whether the rows are right.
    #[serde(flatten)]
    pub verdict: Verdict,
}

/// Whether a view equals its SQL.
#[derive(Debug, serde::Serialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// It does.
    Equal,
    /// It does not.
    Differs {
        /// The names of its columns.
        columns: Vec<String>,
        /// The first [`SHOWN`] rows that only one side has.
        differing: Vec<DifferingRow>,
        /// How many such rows were found.
        count: usize,
        /// Whether there may be more than `count`.
        at_least: bool,
    },
    /// `verify` cannot tell.
    Unknown {
        /// Why not.
        reason: String,
    },
}

/// A row that one side has more often than the other.
#[derive(Debug, serde::Serialize)]
pub struct DifferingRow {
    /// True if the view has it and the answer of its SQL does not; false for the reverse.
    pub in_view: bool,
    /// The values as text, by column.
    pub values: Vec<String>,
}

/// What to verify, and how.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// The views; all if empty.
    pub names: BTreeSet<String>,
    /// What queries may hold in memory, in bytes. Beyond it, operators that can spill do so, to the temporary folder.
    pub memory: usize,
    /// The part of the rows to verify; all without it.
    pub sample: Option<Sample>,
    /// The program of DuckDB that computes the views; without it, DataFusion does.
    pub duckdb: Option<PathBuf>,
}

/// Verifies views.
///
/// # Errors
/// A source is away, a view's files cannot be read, the disk fails, or a query needs more memory.
pub async fn verify(project: &Project, scope: &Scope) -> Result<Vec<Verified>, Error> {
    let Scope { names, memory, sample, duckdb } = scope;
    let views: Vec<&View> = project.catalog.views.iter().filter(|view| names.is_empty() || names.contains(&view.name)).collect();
    let folder = SpoolFolder::create()?;
    let (mut pinned, mut records) = pin(project, &views, &folder).await?;
    if let Some(sample) = sample {
        for view in &views {
            if let Some(Ok(pinned)) = pinned.get_mut(&view.name) {
                pinned.rows = Arc::new(sample.of_rows(&view.plan, &pinned.rows, &folder)?);
            }
        }
    }
    let needed: Vec<&View> = views.iter().flat_map(|view| chain(project, view)).collect();
    records.retain(|name, record| needed.iter().any(|view| view.name == *name && view.plan.fingerprint == record.fingerprint));

    let mut wanted: BTreeMap<&str, BTreeSet<u64>> = BTreeMap::new();
    for pinned in pinned.values().filter_map(|pinned| pinned.as_ref().ok()) {
        for (source, offset) in &pinned.offsets {
            wanted.entry(source).or_default().insert(*offset);
        }
    }
    let mut events: BTreeMap<String, Events> = BTreeMap::new();
    let mut gone: BTreeMap<String, Unknown> = BTreeMap::new();
    for source in project.connect()? {
        let name = &source.config().name;
        let Some(mut offsets) = wanted.get(name.as_str()).cloned() else { continue };
        let recorded = || records.values().filter_map(|record| record.positions.get(name));
        offsets.extend(recorded().map(|position| position.offset));
        tracing::info!(source = name, "reading again");
        let reading = events::read(&source, recorded(), &offsets, &folder);
        match unless_lost(source.as_ref(), project.settings.source_timeout, reading).await? {
            Ok(mut read) => {
                let asking = async {
                    read.find_overwritten(&source, &records).await;
                    Ok(())
                };
                unless_lost(source.as_ref(), project.settings.source_timeout, asking).await?;
                events.insert(name.clone(), read);
            }
            Err(unknown) => drop(gone.insert(name.clone(), unknown)),
        }
    }

    let surroundings = query::surroundings(*memory, folder.path())?;
    let mut queries =
        Queries { folder: &folder, surroundings, events: &events, records: &records, computed: BTreeMap::new(), sample: *sample };
    let mut all = Vec::with_capacity(views.len());
    for view in views {
        let (offsets, rows, verdict) = match &pinned[&view.name] {
            Err(unknown) => (BTreeMap::new(), 0, Err(unknown.clone())),
            Ok(pinned) => {
                let verdict = match pinned.offsets.keys().find_map(|source| gone.get(source)) {
                    Some(unknown) => Err(unknown.clone()),
                    None => judge(project, view, pinned, &mut queries, duckdb.as_deref(), *memory).await?,
                };
                (pinned.offsets.clone(), pinned.rows.rows(), verdict)
            }
        };
        let verdict = verdict.unwrap_or_else(|Unknown(reason)| Verdict::Unknown { reason });
        let gaps = gaps(&chain(project, view), &offsets, queries.records);
        all.push(Verified { view: view.name.clone(), offsets, gaps, rows, verdict });
    }
    Ok(all)
}

async fn judge(
    project: &Project,
    view: &View,
    pinned: &Pinned,
    queries: &mut Queries<'_>,
    duckdb: Option<&Path>,
    memory: usize,
) -> Result<Result<Verdict, Unknown>, Error> {
    let chain = chain(project, view);
    let past = match past(&chain, pinned, queries) {
        Ok(past) => past,
        Err(unknown) => return Ok(Err(unknown)),
    };
    let offsets_of = |one: &View| -> BTreeMap<String, u64> {
        let behind = sources_behind(project, one);
        let offsets = pinned.offsets.iter().filter(|(source, _)| behind.contains(source.as_str()));
        offsets.map(|(source, at)| (source.clone(), *at)).collect()
    };
    let mut judged = None;
    if let Some(program) = duckdb {
        let chain: Vec<(&View, BTreeMap<String, u64>)> = chain.iter().map(|one| (*one, offsets_of(one))).collect();
        let mut rows = match duckdb::answer(program, project, queries, &chain, memory).await? {
            Ok(rows) => rows,
            Err(unknown) => return Ok(Err(unknown)),
        };
        if let Some(sample) = queries.sample {
            rows = sample.of_rows(&view.plan, &rows, queries.folder)?;
        }
        let difference = compare(&pinned.rows, &rows, SHOWN)?;
        if difference.rows.is_empty() {
            return Ok(Ok(Verdict::Equal));
        }
        judged = Some(difference);
    }
    let mut expected = None;
    for one in &chain {
        let offsets = offsets_of(one);
        let last = one.name == view.name;
        expected = match queries.known(one, &offsets, last) {
            Some(rows) => Some(rows),
            None => match queries.compute(one, &offsets, last).await? {
                Ok(rows) => Some(rows),
                Err(Unknown(reason)) => return Ok(Err(Unknown(format!("view {}: {reason}", one.name)))),
            },
        };
    }
    let expected = expected.ok_or_else(|| Error::bug(format!("view {} is not among those that it needs", view.name)))?;
    let difference = compare(&pinned.rows, &expected, SHOWN)?;
    if let Some(other) = judged.filter(|_| difference.rows.is_empty()) {
        // What it says of decimals, divisions by zero and the like is not what PostgreSQL says.
        let row = other.rows.first().map(|row| row.values.join(", ")).unwrap_or_default();
        return Ok(Err(Unknown(format!(
            "DuckDB answers otherwise than the batch plan of DataFusion, which equals the view; it differs for instance in the row ({row})"
        ))));
    }
    if difference.rows.is_empty() {
        return Ok(Ok(Verdict::Equal));
    }
    if let Some(reason) = past {
        return Ok(Err(Unknown(reason)));
    }
    Ok(Ok(Verdict::Differs {
        columns: view.plan.schema.fields().iter().map(|field| field.name().clone()).collect(),
        count: difference.rows.len(),
        at_least: difference.cut,
        differing: difference
            .rows
            .into_iter()
            .take(SHOWN)
            .map(|row| DifferingRow { in_view: row.first, values: row.values })
            .collect(),
    }))
}

/// What the sources of these views no longer held when they were to be read, before the offsets.
fn gaps(chain: &[&View], offsets: &BTreeMap<String, u64>, records: &BTreeMap<String, Record>) -> BTreeMap<String, Vec<Gap>> {
    let mut all: BTreeMap<String, Vec<Gap>> = BTreeMap::new();
    let tallies = chain.iter().filter_map(|view| records.get(&view.name)).flat_map(|record| &record.tallies);
    for (source, tally) in tallies {
        let Some(end) = offsets.get(source) else { continue };
        for gap in tally.gaps.iter().filter_map(|gap| gap.until(*end)) {
            let known = all.entry(source.clone()).or_default();
            if !known.iter().any(|one| (one.first, one.last) == (gap.first, gap.last)) {
                known.push(gap);
            }
        }
    }
    all
}

/// Returns a view and all views that it reads, directly or through others. Each follows those that it reads.
fn chain<'a>(project: &'a Project, view: &'a View) -> Vec<&'a View> {
    let mut needed = BTreeSet::from([view.name.as_str()]);
    let mut chain: Vec<&View> = Vec::new();
    for one in project.catalog.views.iter().rev() {
        if needed.contains(one.name.as_str()) {
            needed.extend(one.plan.reads.iter().filter(|(kind, _)| *kind == RelationKind::View).map(|(_, name)| name.as_str()));
            chain.push(one);
        }
    }
    chain.reverse();
    chain
}

fn sources_behind<'a>(project: &'a Project, view: &'a View) -> BTreeSet<&'a str> {
    let reads = chain(project, view).into_iter().flat_map(|view| view.plan.reads.iter());
    reads.filter(|(kind, _)| *kind == RelationKind::Source).map(|(_, name)| name.as_str()).collect()
}

/// Checks whether the sources still hold all events that the views have read. If that is not known, returns the reason to report if the
/// view differs.
fn past(chain: &[&View], pinned: &Pinned, queries: &Queries<'_>) -> Result<Option<String>, Unknown> {
    let mut doubt = None;
    for view in chain {
        let record = queries.records.get(&view.name);
        for (_, source) in view.plan.reads.iter().filter(|(kind, _)| *kind == RelationKind::Source) {
            let (Some(events), Some(end)) = (queries.events.get(source), pinned.offsets.get(source)) else { continue };
            let first = events.first;
            let position = record.and_then(|record| record.positions.get(source));
            if position.is_some_and(|position| !position.identity.same_source(&events.identity)) {
                return Err(Unknown(format!("source {source} was recreated after view {} had read it", view.name)));
            }
            let tally = record.and_then(|record| record.tallies.get(source));
            let Some((tally, began)) = tally.and_then(|tally| Some((tally, tally.began?))) else {
                if first > 1 {
                    doubt = Some(format!(
                        "source {source} holds nothing before {first}, and the release that began view {} did not record whether it has read more",
                        view.name
                    ));
                }
                continue;
            };
            // The record may belong to a later commit than the rows.
            let recorded = position.map_or(0, |position| position.offset);
            let held = events.counts.get(&recorded).copied().unwrap_or(tally.events);
            // What lies in a gap has never been read.
            let only_gaps_are_gone = !tally.gaps.is_empty() && held == tally.events;
            if let Some(since) = events.overwritten.get(&view.name) {
                // What came later may have overwritten values that the view still has.
                if *since {
                    doubt = Some(format!(
                        "source {source} holds only the newest values of its keys, and view {} has not read the newest ones yet",
                        view.name
                    ));
                }
                continue;
            }
            if first > began && first <= *end && !only_gaps_are_gone {
                return Err(Unknown(format!(
                    "source {source} no longer holds the events from {began} to {}, which view {} has read",
                    first - 1,
                    view.name
                )));
            }
            if held < tally.events {
                return Err(Unknown(format!(
                    "source {source} no longer holds {} of the {} events that view {} has read",
                    tally.events - held,
                    tally.events,
                    view.name
                )));
            }
        }
    }
    Ok(doubt)
}
