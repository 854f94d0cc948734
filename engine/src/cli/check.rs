//! `alluvium check`.

use alluvium_sql::View;
use alluvium_sql::describe::{ViewSummary, summary};
use clap::Args;

use super::global::{Global, print, runtime};
use super::table;
use crate::error::Error;
use crate::project::Project;
use crate::record::newest_records;
use crate::runtime::{Step, plan};

const EXAMPLES: &str = "\
Examples:
  alluvium -C my-views check       exits with 1 on any error, for CI

It writes nothing. It connects to a source only if the SQL of a view has changed since its last commit, and then says what the next run does
about it, as `alluvium plan` does.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Check {}

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
        let changes = changed(&project)?;
        print(&format!(
            "{table}\n{warnings}{changes}{} and {}: no errors\n",
            count(project.catalog.views.len(), "view"),
            count(project.sources.len(), "source")
        ))
    }
}

/// What the next run does with views whose SQL is not that of their last commit.
fn changed(project: &Project) -> Result<String, Error> {
    let records = newest_records(&project.layout())?;
    let is_changed = |view: &View| records.get(&view.name).is_some_and(|record| record.fingerprint != view.plan.fingerprint);
    if !project.catalog.views.iter().any(is_changed) {
        return Ok(String::new());
    }
    let mut changes = runtime()?.block_on(plan(project, &records))?;
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
