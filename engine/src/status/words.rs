//! What there is to say of views and sources, for `alluvium status` and the console: both use the same words.

use std::time::{Duration, UNIX_EPOCH};

use alluvium_connectors::source::Gap;

use super::{Phase, SourceHealth, ViewStatus};

/// The maximum number of gaps to show of a view and a source: the last ones.
const GAPS_SHOWN: usize = 3;

/// Returns what a view is doing, with the progress of a rebuild: `rebuilding 40%`.
#[must_use]
pub fn phase(view: &ViewStatus) -> String {
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

/// Returns what there is to say of a view, a sentence each.
#[must_use]
pub fn remarks(view: &ViewStatus) -> Vec<String> {
    let mut said: Vec<String> = view.error.iter().cloned().collect();
    if let Some(error) = &view.rebuild_error {
        let has = if view.phase == Phase::Rebuilding { "waits, and tries again" } else { "failed" };
        said.push(format!("the rebuild {has}: {error}"));
    }
    said.extend(view.held.clone());
    if view.restarts > 0 {
        said.push(format!("restarted after an error {} times", view.restarts));
    }
    for (source, place) in view.sources.iter().filter(|(_, place)| place.set_aside > 0) {
        said.push(format!(
            "{} of {} events of {source} are not in it: `alluvium dead-letters list` shows why",
            place.set_aside, place.events
        ));
    }
    if let Some(found) = view.verification.as_ref().filter(|found| found.differs || !found.known) {
        said.push(format!("verified: {}", found.verdict));
    }
    for (source, gaps) in &view.gaps {
        let shown = &gaps[gaps.len().saturating_sub(GAPS_SHOWN)..];
        said.extend(shown.iter().map(|gap| of_gap(source, gap)));
        if shown.len() < gaps.len() {
            let missing = view.sources.get(source).map_or(0, |place| place.missing);
            said.push(format!("{missing} sequences of {source} are missing in all"));
        }
    }
    said.extend(view.warnings.iter().cloned());
    if view.dead_letters > 0 {
        said.push(format!("{} dead letters since the start", view.dead_letters));
    }
    if view.left_out > 0 {
        said.push(format!("{} rows left out since the start because an expression failed", view.left_out));
    }
    if view.phase == Phase::Orphaned {
        said.push(format!("no SQL file declares it; its data stays until `alluvium drop {}` removes it", view.view));
    }
    said
}

/// Formats what a view goes on without.
fn of_gap(source: &str, gap: &Gap) -> String {
    let found = humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_millis(gap.found_ms));
    format!("sequences {} to {} of {source} are missing since {found}: {}", gap.first, gap.last, gap.reason)
}

/// Returns whether a source answers.
#[must_use]
pub fn contact(health: &SourceHealth) -> String {
    let contact = health.last_contact_seconds.map(|seconds| ago((seconds * 1e3) as u64));
    match (&health.error, contact) {
        (_, Some(contact)) if health.connected => format!("connected, last contact {contact}"),
        (Some(error), Some(contact)) => format!("disconnected, last contact {contact}: {error}"),
        (Some(error), None) => format!("disconnected, no contact yet: {error}"),
        (None, _) => "not asked yet".to_owned(),
    }
}

/// Returns what the source did not deliver though its filter selects it, if an audit found such events.
#[must_use]
pub fn skipped(health: &SourceHealth) -> Option<String> {
    if health.skipped_events == 0 {
        return None;
    }
    let sequences: Vec<String> = health.skipped.iter().map(u64::to_string).collect();
    let more = if health.skipped_events > sequences.len() as u64 { ", ..." } else { "" };
    Some(format!(
        "the server did not deliver {} of {} events that an audit found to be selected: sequences {}{more}; rebuild the views that read \
         the source",
        health.skipped_events,
        health.audited_events.unwrap_or_default(),
        sequences.join(", "),
    ))
}

/// Formats how long ago something was.
#[must_use]
pub fn ago(ms: u64) -> String {
    let whole = if ms < 1000 { Duration::from_millis(ms) } else { Duration::from_secs(ms / 1000) };
    // Two units are enough: `3h 2m` rather than `3h 2m 11s`.
    let text = humantime::format_duration(whole).to_string();
    format!("{} ago", text.split(' ').take(2).collect::<Vec<_>>().join(" "))
}
