//! `alluvium status`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use alluvium_connectors::source::Gap;
use clap::Args;

use super::client::Client;
use super::global::{Global, Shape, json, print};
use super::table;
use crate::error::Error;
use crate::layout::{Layout, RunInfo};
use crate::lock::running;
use crate::record::{newest_records, read_records};
use crate::status::{Phase, SourceHealth, SourceStatus, ViewStatus, failures};

const EXAMPLES: &str = "\
Examples:
  alluvium -C my-views status
  alluvium -C my-views status --format json | jq '.views[] | select(.phase == \"failed\")'";

/// The maximum number of gaps to show of a view and a source: the last ones.
const GAPS_SHOWN: usize = 3;

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
                own(phase(view), first),
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
                own(view.committed_ms.map_or_else(|| "never".into(), |then| ago(now_ms.saturating_sub(then))), first),
            ]);
        }
    }
    text.push_str(&format!("{table}\n"));
    views.iter().for_each(|view| remarks(view, &mut text));
    text
}

/// Adds what there is to say of a view, a line each.
fn remarks(view: &ViewStatus, text: &mut String) {
    if let Some(error) = &view.error {
        text.push_str(&format!("{}: {error}\n", view.view));
    }
    if let Some(error) = &view.rebuild_error {
        let has = if view.phase == Phase::Rebuilding { "waits, and tries again" } else { "failed" };
        text.push_str(&format!("{}: the rebuild {has}: {error}\n", view.view));
    }
    if let Some(reason) = &view.held {
        text.push_str(&format!("{}: {reason}\n", view.view));
    }
    if view.restarts > 0 {
        text.push_str(&format!("{}: restarted after an error {} times\n", view.view, view.restarts));
    }
    for (source, place) in view.sources.iter().filter(|(_, place)| place.set_aside > 0) {
        text.push_str(&format!(
            "{}: {} of {} events of {source} are not in it: `alluvium dead-letters list` shows why\n",
            view.view, place.set_aside, place.events
        ));
    }
    if let Some(found) = view.verification.as_ref().filter(|found| found.differs || !found.known) {
        text.push_str(&format!("{}: verified: {}\n", view.view, found.verdict));
    }
    for (source, gaps) in &view.gaps {
        let shown = &gaps[gaps.len().saturating_sub(GAPS_SHOWN)..];
        shown.iter().for_each(|gap| text.push_str(&of_gap(&view.view, source, gap)));
        if shown.len() < gaps.len() {
            let missing = view.sources.get(source).map_or(0, |place| place.missing);
            text.push_str(&format!("{}: {missing} sequences of {source} are missing in all\n", view.view));
        }
    }
    for warning in &view.warnings {
        text.push_str(&format!("{}: {warning}\n", view.view));
    }
    if view.dead_letters > 0 {
        text.push_str(&format!("{}: {} dead letters since the start\n", view.view, view.dead_letters));
    }
    if view.left_out > 0 {
        text.push_str(&format!("{}: {} rows left out since the start because an expression failed\n", view.view, view.left_out));
    }
    if view.phase == Phase::Orphaned {
        text.push_str(&format!(
            "{}: no SQL file declares it; its data stays until `alluvium drop {}` removes it\n",
            view.view, view.view
        ));
    }
}

/// Formats what a view goes on without.
fn of_gap(view: &str, source: &str, gap: &Gap) -> String {
    let found = humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_millis(gap.found_ms));
    format!("{view}: sequences {} to {} of {source} are missing since {found}: {}\n", gap.first, gap.last, gap.reason)
}

/// Formats the health of sources, one a line.
fn of_sources(sources: &[SourceHealth]) -> String {
    let mut text = String::new();
    for health in sources {
        let contact = health.last_contact_seconds.map(|seconds| ago((seconds * 1e3) as u64));
        let state = match (&health.error, contact) {
            (_, Some(contact)) if health.connected => format!("connected, last contact {contact}"),
            (Some(error), Some(contact)) => format!("disconnected, last contact {contact}: {error}"),
            (Some(error), None) => format!("disconnected, no contact yet: {error}"),
            (None, _) => "not asked yet".to_owned(),
        };
        text.push_str(&format!("source {}: {state}\n", health.source));
        if health.skipped_events > 0 {
            let sequences: Vec<String> = health.skipped.iter().map(u64::to_string).collect();
            let more = if health.skipped_events > sequences.len() as u64 { ", ..." } else { "" };
            text.push_str(&format!(
                "source {}: the server did not deliver {} of {} events that an audit found to be selected: sequences {}{more}; rebuild \
                 the views that read the source\n",
                health.source,
                health.skipped_events,
                health.audited_events.unwrap_or_default(),
                sequences.join(", "),
            ));
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

fn phase(view: &ViewStatus) -> String {
    let word = match view.phase {
        Phase::Stopped => "stopped",
        Phase::CatchingUp => "catching up",
        Phase::Live => "live",
        Phase::Rebuilding => "rebuilding",
        Phase::Disconnected => "disconnected",
        Phase::Retrying => "retrying",
        Phase::Failed => "failed",
        Phase::Orphaned => "orphaned",
    };
    let (done, all) = view.rebuild.values().fold((0, 0), |(done, all), place| (done + place.offset, all + place.end));
    if view.phase == Phase::Rebuilding && all > 0 { format!("{word} {}%", 100 * done.min(all) / all) } else { word.to_owned() }
}

fn ago(ms: u64) -> String {
    let whole = if ms < 1000 { Duration::from_millis(ms) } else { Duration::from_secs(ms / 1000) };
    // Two units are enough: `3h 2m` rather than `3h 2m 11s`.
    let text = humantime::format_duration(whole).to_string();
    format!("{} ago", text.split(' ').take(2).collect::<Vec<_>>().join(" "))
}
