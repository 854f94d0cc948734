//! `alluvium check`.

use std::collections::BTreeMap;

use alluvium_connectors::decode::Compatibility;
use alluvium_connectors::source::SourceConfig;
use alluvium_sql::describe::summary;
use alluvium_sql::{Source, View};
use clap::{Args, ValueEnum};
use datafusion::arrow::datatypes::FieldRef;
use serde::Serialize;

use super::global::{Global, json, print, runtime};
use super::problems::{self, Level, Problem, Rule};
use super::table;
use crate::error::Error;
use crate::project::Project;
use crate::query::sql_types::sql_name;
use crate::record::{Record, newest_records};
use crate::rehearsal::{Rehearsed, rehearse};
use crate::runtime::{Step, ViewChange, plan, schema_changes};

const EXAMPLES: &str = "\
Examples:
  alluvium -C my-views check                  exits with 1 on any error, for CI
  alluvium -C my-views check --sample 10000   also runs each view over events from the start and the end of its sources
  alluvium -C my-views check --format sarif > alluvium.sarif     for code scanning; also --format json

It writes nothing. Without --sample, it connects to a source only if the SQL of a view has changed since its last commit, and then says what
the next run does about it, as `alluvium plan` does. With --sample, it says for each view how many rows the sample gives, what is set aside
and why, which columns are always NULL, and whether the keys are nearly as many as the events. Nothing is left on the server.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Check {
    /// Also run each view over N events of each of its sources, in memory, and say what comes of it
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "10000", value_parser = clap::value_parser!(u64).range(1..))]
    sample: Option<u64>,
    /// How it is written; errors are on standard error as well
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// How it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Table,
    /// For programs
    Json,
    /// SARIF 2.1.0, for code scanning
    Sarif,
}

/// What was found about a project without errors.
struct Found {
    project: Project,
    views: Vec<Listed>,
    warnings: Vec<Problem>,
    changes: Vec<ViewChange>,
    rehearsed: Vec<Rehearsed>,
}

/// What is said of each view.
#[derive(Serialize)]
struct Listed {
    view: String,
    class: String,
    /// The columns that identify its rows; none where nothing does, and an empty list for one row at most.
    key: Option<Vec<String>>,
    state: Vec<String>,
    reads: Vec<String>,
}

impl Check {
    pub(super) fn run(&self, global: &Global) -> Result<(), Error> {
        let found = self.find(global);
        if self.format == Format::Table {
            return print(&text(&found?, self.sample.is_some()));
        }
        let (problems, views) = match &found {
            Ok(found) => (problems_of(found), &found.views[..]),
            Err(error) => (problems::of_error(error), &[][..]),
        };
        print(&json(&match self.format {
            Format::Sarif => problems::sarif(&problems, &global.dir),
            _ => problems::json(&problems, &serde_json::json!(views)),
        })?)?;
        found.map(drop)
    }

    fn find(&self, global: &Global) -> Result<Found, Error> {
        let project = global.project()?;
        project.connect()?;
        runtime()?.block_on(project.plan())?;
        let (mut views, mut warnings) = (Vec::new(), Vec::new());
        for view in &project.catalog.views {
            let summary = summary(view);
            warnings.extend(problems::of_view(view, &summary));
            let class = summary.class.to_string();
            views.push(Listed { view: view.name.clone(), class, key: summary.key, state: summary.state, reads: summary.reads });
        }
        for source in project.catalog.sources.values() {
            warnings.extend(columns_of_schema(source).map(|columns| Problem::of_schema(&source.at, columns)));
            warnings.extend(source.notes.iter().map(|note| Problem::of_schema(&source.at, format!("{}: {note}", source.name))));
        }
        let rules = project.sources.iter().filter_map(|(name, config)| {
            Some((&project.catalog.sources.get(name)?.at, rule(config, project.schemas.contains_key(name))?))
        });
        warnings.extend(rules.map(|(at, rule)| Problem::of_schema(at, rule)));
        let records = newest_records(&project.layout())?;
        for change in schema_changes(&project, &records)? {
            let at = project.catalog.sources.get(change.source()).map(|source| &source.at);
            warnings.extend(at.map(|at| Problem::of_schema(at, change.to_string())));
        }
        let changes = changed(&project, &records)?;
        let rehearsed = match self.sample {
            Some(events) => runtime()?.block_on(rehearse(&project, events))?,
            None => Vec::new(),
        };
        Ok(Found { project, views, warnings, changes, rehearsed })
    }
}

/// The columns that a schema gives a source; none where its statement declares them.
fn columns_of_schema(source: &Source) -> Option<String> {
    let column = |field: &FieldRef| {
        let not_null = if field.is_nullable() { "" } else { " NOT NULL" };
        format!("{} {}{not_null}", field.name(), sql_name(field.data_type()))
    };
    let columns: Vec<String> = source.schema.fields().iter().take(source.of_schema).map(column).collect();
    (!columns.is_empty()).then(|| format!("{}: the columns of its schema: {}", source.name, columns.join(", ")))
}

/// What a registry asks of changes of a source's schema, where it decides. `is_compared`: the source has schema files as well, whose changes
/// are compared here. The versions of a subject are compared by the registry.
fn rule(config: &SourceConfig, is_compared: bool) -> Option<String> {
    let subject = config.options.get("registry_subject").filter(|subject| !subject.is_empty())?;
    let source = &config.name;
    match Compatibility::in_force(config) {
        Ok(in_force) => in_force.of_registry.map(|word| match is_compared {
            true => format!("{source}: compatibility {word}, as the registry says of {subject}"),
            false => format!("{source}: the registry asks for compatibility {word} of each new version of {subject}"),
        }),
        Err(error) => Some(format!("{source}: the registry does not say which compatibility it asks of {subject}: {error}")),
    }
}

/// What `check` prints for people.
fn text(found: &Found, sampled: bool) -> String {
    let mut table = table::plain(&["view", "class", "key", "state", "reads"]);
    for view in &found.views {
        table.add_row(vec![
            view.view.clone(),
            view.class.clone(),
            key(view),
            if view.state.is_empty() { "none".to_owned() } else { view.state.join("; ") },
            view.reads.join(", "),
        ]);
    }
    let warnings: String = found.warnings.iter().map(Problem::lines).collect();
    let changes: String = found.changes.iter().map(|change| format!("changed: {}: {}\n", change.view, change.step)).collect();
    let rehearsed = if sampled { of_sample(&found.rehearsed) } else { String::new() };
    format!(
        "{table}\n{warnings}{changes}{rehearsed}{} and {}: no errors\n",
        count(found.views.len(), "view"),
        count(found.project.sources.len(), "source")
    )
}

/// Everything as problems, for programs.
fn problems_of(found: &Found) -> Vec<Problem> {
    let of = |name: &str, level, rule, message: String| {
        let view = found.project.catalog.views.iter().find(|view| view.name == name)?;
        Some(Problem::about(view, level, rule, message))
    };
    let changes = found.changes.iter().filter_map(|change| of(&change.view, Level::Note, Rule::Change, change.step.to_string()));
    let remarks = found.rehearsed.iter().flat_map(|view| remarks(view).into_iter().map(|remark| (&view.view, remark)));
    let remarks = remarks.filter_map(|(view, remark)| of(view, Level::Warning, Rule::Sample, remark));
    found.warnings.iter().cloned().chain(changes).chain(remarks).collect()
}

/// Says what views do with a sample: a line each, and what looks wrong.
fn of_sample(views: &[Rehearsed]) -> String {
    let mut table = table::plain(&["view", "sampled", "rows", "set aside", "left out", "state rows an event"]);
    for view in views {
        let set_aside: u64 = view.set_aside.values().map(|(count, _)| count).sum();
        let a_share = 100.0 * set_aside as f64 / view.events.max(1) as f64;
        table.add_row([
            view.view.clone(),
            view.events.to_string(),
            view.rows.to_string(),
            if set_aside == 0 { "0".to_owned() } else { format!("{set_aside} ({a_share:.2}%)") },
            view.left_out.to_string(),
            format!("{:.2}", view.state_rows as f64 / view.events.max(1) as f64),
        ]);
    }
    let lines = views.iter().flat_map(|view| remarks(view).into_iter().map(|remark| format!("{}: {remark}\n", view.view)));
    format!("\nover a sample:\n{table}\n{}\n", lines.collect::<String>())
}

/// What looks wrong about a view over a sample.
fn remarks(view: &Rehearsed) -> Vec<String> {
    let mut remarks = Vec::new();
    for (kind, (count, error)) in &view.set_aside {
        remarks.push(format!("{count} of {} events set aside, {kind}: {error}", view.events));
    }
    if let Some(error) = &view.left_out_error {
        remarks.push(format!("{} rows left out, an expression fails: {error}", view.left_out));
    }
    if view.rows == 0 && view.events > 0 {
        remarks.push(format!("no row comes of {} events", view.events));
    }
    if !view.always_null.is_empty() {
        remarks.push(format!("always NULL: {}", view.always_null.join(", ")));
    }
    if let Some(key) = &view.exploding_key {
        remarks
            .push(format!("{} keys ({key}) of {} events: the view and its state grow with every event", view.rows, view.events));
    }
    remarks
}

/// What the next run does with views whose SQL is not that of their last commit.
fn changed(project: &Project, records: &BTreeMap<String, Record>) -> Result<Vec<ViewChange>, Error> {
    let is_changed = |view: &View| records.get(&view.name).is_some_and(|record| record.fingerprint != view.plan.fingerprint);
    if !project.catalog.views.iter().any(is_changed) {
        return Ok(Vec::new());
    }
    let mut changes = runtime()?.block_on(plan(project, records))?;
    changes.retain(|change| change.committed && change.step != Step::Unchanged);
    Ok(changes)
}

fn key(view: &Listed) -> String {
    match &view.key {
        Some(key) if key.is_empty() => "one row at most".to_owned(),
        Some(key) => key.join(", "),
        None => "none".to_owned(),
    }
}

fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}
