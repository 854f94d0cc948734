//! `alluvium check`.

use std::collections::BTreeMap;

use alluvium_sql::View;
use alluvium_sql::describe::{ViewSummary, summary};
use clap::Args;

use super::global::{Global, print, runtime};
use super::table;
use crate::error::Error;
use crate::project::Project;
use crate::record::{Record, newest_records};
use crate::rehearsal::{Rehearsed, rehearse};
use crate::runtime::{Step, plan, schema_changes};

const EXAMPLES: &str = "\
Examples:
  alluvium -C my-views check                  exits with 1 on any error, for CI
  alluvium -C my-views check --sample 10000   also runs each view over events from the start and the end of its sources

It writes nothing. Without --sample, it connects to a source only if the SQL of a view has changed since its last commit, and then says what
the next run does about it, as `alluvium plan` does. With --sample, it says for each view how many rows the sample gives, what is set aside
and why, which columns are always NULL, and whether the keys are nearly as many as the events. Nothing is left on the server.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Check {
    /// Also run each view over N events of each of its sources, in memory, and say what comes of it
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "10000", value_parser = clap::value_parser!(u64).range(1..))]
    sample: Option<u64>,
}

impl Check {
    pub(super) fn run(&self, global: &Global) -> Result<(), Error> {
        let project = global.project()?;
        project.connect()?;
        runtime()?.block_on(project.plan())?;
        let mut table = table::plain(&["view", "class", "key", "state", "reads"]);
        let mut warnings = String::new();
        for view in &project.catalog.views {
            let summary = summary(view);
            table.add_row(vec![
                view.name.clone(),
                summary.class.to_string(),
                key(&summary),
                if summary.state.is_empty() { "none".to_owned() } else { summary.state.join("; ") },
                summary.reads.join(", "),
            ]);
            warnings.push_str(&warnings_of(view, &summary));
        }
        for source in project.catalog.sources.values() {
            source.notes.iter().for_each(|note| warnings.push_str(&format!("note: {}: {note}\n", source.name)));
        }
        let records = newest_records(&project.layout())?;
        for change in schema_changes(&project, &records)? {
            warnings.push_str(&format!("{change}\n"));
        }
        let changes = changed(&project, &records)?;
        let rehearsed = match self.sample {
            Some(events) => of_sample(&runtime()?.block_on(rehearse(&project, events))?),
            None => String::new(),
        };
        print(&format!(
            "{table}\n{warnings}{changes}{rehearsed}{} and {}: no errors\n",
            count(project.catalog.views.len(), "view"),
            count(project.sources.len(), "source")
        ))
    }
}

/// Says what views do with a sample: a line each, and what looks wrong.
fn of_sample(views: &[Rehearsed]) -> String {
    let mut table = table::plain(&["view", "sampled", "rows", "set aside", "left out", "state rows an event"]);
    let mut remarks = String::new();
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
        let name = &view.view;
        for (kind, (count, error)) in &view.set_aside {
            remarks.push_str(&format!("{name}: {count} of {} events set aside, {kind}: {error}\n", view.events));
        }
        if let Some(error) = &view.left_out_error {
            remarks.push_str(&format!("{name}: {} rows left out, an expression fails: {error}\n", view.left_out));
        }
        if view.rows == 0 && view.events > 0 {
            remarks.push_str(&format!("{name}: no row comes of {} events\n", view.events));
        }
        if !view.always_null.is_empty() {
            remarks.push_str(&format!("{name}: always NULL: {}\n", view.always_null.join(", ")));
        }
        if let Some(key) = &view.exploding_key {
            remarks.push_str(&format!(
                "{name}: {} keys ({key}) of {} events: the view and its state grow with every event\n",
                view.rows, view.events
            ));
        }
    }
    format!("\nover a sample:\n{table}\n{remarks}\n")
}

/// What the next run does with views whose SQL is not that of their last commit.
fn changed(project: &Project, records: &BTreeMap<String, Record>) -> Result<String, Error> {
    let is_changed = |view: &View| records.get(&view.name).is_some_and(|record| record.fingerprint != view.plan.fingerprint);
    if !project.catalog.views.iter().any(is_changed) {
        return Ok(String::new());
    }
    let mut changes = runtime()?.block_on(plan(project, records))?;
    changes.retain(|change| change.committed && change.step != Step::Unchanged);
    Ok(changes.iter().map(|change| format!("changed: {}: {}\n", change.view, change.step)).collect())
}

fn key(summary: &ViewSummary) -> String {
    match &summary.key {
        Some(key) if key.is_empty() => "one row at most".to_owned(),
        Some(key) => key.join(", "),
        None => "none".to_owned(),
    }
}

fn warnings_of(view: &View, summary: &ViewSummary) -> String {
    let lines = summary.warnings.iter().map(|warning| {
        let (line, column) = warning.at.line_column();
        let (file, name) = (&warning.at.file.path, &view.name);
        format!("warning: {file}:{line}:{column}: {name}: {}\n  help: {}\n", warning.reason, warning.suggestion)
    });
    lines.collect()
}

fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}
