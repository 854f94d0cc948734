//! `alluvium status`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;

use super::client::Client;
use super::global::{Global, Shape, json, print};
use super::table;
use crate::error::Error;
use crate::layout::{Layout, RunInfo};
use crate::lock::running;
use crate::record::{newest_records, read_records};
use crate::status::{Phase, SourceHealth, SourceStatus, ViewStatus, failures, words};

const EXAMPLES: &str = "\
Examples:
  alluvium -C my-views status
  alluvium -C my-views status --format json | jq '.views[] | select(.phase == \"failed\")'";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Status {
    /// The format of the status
    #[arg(long, value_enum, default_value_t = Shape::Table)]
    format: Shape,
}

/// The answer of `--format json`.
#[derive(serde::Serialize)]
struct Answer {
    running: Option<RunInfo>,
    /// Empty if no engine is running, or if its HTTP server is off.
    sources: Vec<SourceHealth>,
    views: Vec<ViewStatus>,
}

impl Status {
    pub(super) fn run(&self, global: &Global) -> Result<(), Error> {
        let layout = global.layout()?;
        let running = running(&layout)?;
        let (sources, views) = match running.as_ref().and_then(Client::of) {
            Some(client) => (client.sources()?, client.status()?),
            None => (Vec::new(), recorded(global, &layout)?),
        };
        match self.format {
            Shape::Json => print(&json(&Answer { running, sources, views })?),
            Shape::Table => print(&text(running.as_ref(), &sources, &views)),
        }
    }
}

/// Returns the status that the records beside the views give, with the errors of the last run. Includes views that are declared and were
/// never committed, and views that are no longer declared.
fn recorded(global: &Global, layout: &Layout) -> Result<Vec<ViewStatus>, Error> {
    let mut views: BTreeMap<String, ViewStatus> =
        read_records(layout)?.into_iter().map(|status| (status.view.clone(), status)).collect();
    match global.project() {
        Ok(project) => {
            for status in views.values_mut() {
                status.phase = Phase::Orphaned;
            }
            let failures = failures::read(layout);
            let records = newest_records(layout)?;
            for view in &project.catalog.views {
                let changed = records.get(&view.name).is_some_and(|record| record.fingerprint != view.plan.fingerprint);
                let shown = views.entry(view.name.clone()).or_insert_with(|| ViewStatus::new(&view.name, Phase::Stopped));
                shown.held = changed.then(|| {
                    "its SQL has changed since its last commit: `alluvium plan` says what the next run does about it".to_owned()
                });
                shown.error = failures.get(&view.name).cloned();
                shown.phase = if shown.error.is_some() { Phase::Failed } else { Phase::Stopped };
            }
        }
        Err(error) => tracing::warn!("the SQL files do not load, so which views they declare is not known: {error}"),
    }
    Ok(views.into_values().collect())
}

/// Returns the names of the views that have data.
pub(super) fn views_there(layout: &Layout) -> Result<BTreeSet<String>, Error> {
    let folder = layout.views();
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        Err(error) => return Err(Error::io("reading", folder, error)),
    };
    let names = entries.flatten().filter(|entry| entry.path().is_dir()).filter_map(|entry| entry.file_name().into_string().ok());
    Ok(names.collect())
}

fn text(running: Option<&RunInfo>, sources: &[SourceHealth], views: &[ViewStatus]) -> String {
    let mut text = match running {
        Some(RunInfo { pid, http: Some(http) }) => format!("running: process {pid}, http://{http}\n"),
        Some(RunInfo { pid, http: None }) => {
            format!("running: process {pid}, its HTTP server off; the table shows its last commit\n")
        }
        None => "not running; the table shows the last commit\n".to_owned(),
    };
    text.push_str(&of_sources(sources));
    let mut table =
        table::plain(&["view", "phase", "source", "offset", "lag", "set aside", "rows", "parts", "size", "state", "committed"]);
    let now_ms =
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    let away = |source: &str| sources.iter().any(|health| health.source == source && health.is_away());
    for view in views {
        let own = |text: String, first: bool| if first { text } else { String::new() };
        let places: Vec<(&str, SourceStatus)> = view.sources.iter().map(|(source, place)| (source.as_str(), *place)).collect();
        for index in 0..places.len().max(1) {
            let (first, place) = (index == 0, places.get(index));
            let known = running.is_some_and(|running| running.http.is_some());
            table.add_row(vec![
                own(view.view.clone(), first),
                own(words::phase(view), first),
                place.map_or_else(String::new, |(source, _)| (*source).to_owned()),
                place.map_or_else(String::new, |(_, place)| place.offset.to_string()),
                place.filter(|_| known).map_or_else(String::new, |(source, place)| match away(source) {
                    true => "unknown".to_owned(),
                    false => place.end.saturating_sub(place.offset).to_string(),
                }),
                place.map_or_else(String::new, |(_, place)| share(place)),
                own(view.rows.to_string(), first),
                own(view.parts.to_string(), first),
                own(table::bytes(view.bytes), first),
                own(
                    if known { format!("{} rows, {}", view.state_rows, table::bytes(view.state_bytes)) } else { String::new() },
                    first,
                ),
                own(view.committed_ms.map_or_else(|| "never".into(), |then| words::ago(now_ms.saturating_sub(then))), first),
            ]);
        }
    }
    text.push_str(&format!("{table}\n"));
    for view in views {
        words::remarks(view).iter().for_each(|remark| text.push_str(&format!("{}: {remark}\n", view.view)));
    }
    text
}

/// Formats the health of sources, one a line.
fn of_sources(sources: &[SourceHealth]) -> String {
    let mut text = String::new();
    for health in sources {
        text.push_str(&format!("source {}: {}\n", health.source, words::contact(health)));
        if let Some(skipped) = words::skipped(health) {
            text.push_str(&format!("source {}: {skipped}\n", health.source));
        }
    }
    text
}

/// Formats the events that were set aside, with their share of the events read: `3 (0.02%)`.
fn share(place: &SourceStatus) -> String {
    match place.set_aside {
        0 => "0".to_owned(),
        count => format!("{count} ({:.2}%)", 100.0 * count as f64 / place.events.max(1) as f64),
    }
}
