//! All metrics. Their names, units and help texts are defined here and nowhere else. Metrics are recorded by batch and by commit, never
//! by event. [`refresh`] updates those that change with the clock, such as lag and freshness, when metrics are scraped.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use alluvium_connectors::Batch;
use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::status::{Board, Committed, Phase, ViewStatus};

const EVENTS: &str = "alluvium_events_total";
const RECEIVED_BYTES: &str = "alluvium_received_bytes_total";
const DEAD_LETTERS: &str = "alluvium_dead_letters_total";
const SET_ASIDE: &str = "alluvium_view_set_aside_events_total";
const MEMBERS_NULLED: &str = "alluvium_members_nulled_total";
const ROWS_LEFT_OUT: &str = "alluvium_rows_left_out_total";
const RESTARTS: &str = "alluvium_view_restarts_total";
const READER_RESTARTS: &str = "alluvium_reader_restarts_total";
const BATCH_SECONDS: &str = "alluvium_batch_duration_seconds";
const COMMIT_SECONDS: &str = "alluvium_commit_duration_seconds";
const COMMITS: &str = "alluvium_commits_total";
const STATE_WRITTEN: &str = "alluvium_state_written_bytes_total";
const VIEW_WRITTEN: &str = "alluvium_view_written_bytes_total";
const OFFSET: &str = "alluvium_view_offset";
const LAG_EVENTS: &str = "alluvium_view_lag_events";
const LAG_SECONDS: &str = "alluvium_view_lag_seconds";
const SOURCE_CONNECTED: &str = "alluvium_source_connected";
const SOURCE_CONTACT: &str = "alluvium_source_last_contact_seconds";
const FRESHNESS: &str = "alluvium_view_freshness_seconds";
const ROWS: &str = "alluvium_view_rows";
const PARTS: &str = "alluvium_view_parts";
const BYTES: &str = "alluvium_view_bytes";
const STATE_ROWS: &str = "alluvium_view_state_rows";
const STATE_BYTES: &str = "alluvium_view_state_bytes";
const REBUILD: &str = "alluvium_rebuild_progress_ratio";
const RETRYING: &str = "alluvium_view_retrying";
const DISCONNECTED: &str = "alluvium_view_disconnected";
const FAILED: &str = "alluvium_view_failed";
const SET_ASIDE_RATIO: &str = "alluvium_view_set_aside_ratio";
const WARNINGS: &str = "alluvium_view_warnings";
const VERIFIED: &str = "alluvium_view_verified_seconds";
const OUTDATED: &str = "alluvium_view_outdated";
const DIFFERS: &str = "alluvium_view_differs";
const MISSING: &str = "alluvium_view_missing_sequences";
const AUDITED: &str = "alluvium_source_audited_events";
const SKIPPED: &str = "alluvium_source_skipped_events";
const UP: &str = "alluvium_up";
const BUILD_INFO: &str = "alluvium_build_info";
const RESIDENT: &str = "alluvium_process_resident_memory_bytes";
const MEMORY_LIMIT: &str = "alluvium_memory_limit_bytes";
const DISK_FREE: &str = "alluvium_disk_free_bytes";
const DISK_SIZE: &str = "alluvium_disk_size_bytes";

const COUNTERS: &[(&str, Unit, &str)] = &[
    (EVENTS, Unit::Count, "Events read from a source, good and bad. A view with its own reader counts them again."),
    (RECEIVED_BYTES, Unit::Bytes, "Bytes of the bodies of the events read from a source."),
    (
        DEAD_LETTERS,
        Unit::Count,
        "Dead letters kept, by source, kind, and the views that could not apply the event (all, where none is named).",
    ),
    (SET_ASIDE, Unit::Count, "Events that a view has set aside, by source and kind; a rebuild counts them again."),
    (MEMBERS_NULLED, Unit::Count, "Values that did not fit their column and were read as NULL (option on_bad_member)."),
    (ROWS_LEFT_OUT, Unit::Count, "Rows that a view left out because an expression failed on them, dead letters excluded."),
    (RESTARTS, Unit::Count, "Restarts of a pipeline after an error, by kind. The label view is its first view."),
    (READER_RESTARTS, Unit::Count, "Times that a source's reader had to connect anew."),
    (COMMITS, Unit::Count, "Commits of a view."),
    (STATE_WRITTEN, Unit::Bytes, "Bytes of operator state that the commits of a view have written."),
    (VIEW_WRITTEN, Unit::Bytes, "Bytes of Parquet files that the commits of a view have written."),
];

const HISTOGRAMS: &[(&str, &str)] = &[
    (BATCH_SECONDS, "Time to apply one micro-batch to a pipeline. The label view is its first view."),
    (COMMIT_SECONDS, "Time from the beginning of a commit until it is published and old files are removed."),
];

const GAUGES: &[(&str, Unit, &str)] = &[
    (OFFSET, Unit::Count, "The next sequence of a source that a view will read, as of its last commit."),
    (SOURCE_CONNECTED, Unit::Count, "1 while a source answers and can be read, else 0."),
    (SOURCE_CONTACT, Unit::Seconds, "Time since a source last answered; NaN if it never has."),
    (LAG_EVENTS, Unit::Count, "Sequences that a source holds and a view has not committed; NaN while the source is away."),
    (
        LAG_SECONDS,
        Unit::Seconds,
        "Upper bound on the age of the oldest event that a view's sources hold and it has not committed; 0 if none, NaN if unknown.",
    ),
    (FRESHNESS, Unit::Seconds, "Time since a view's last commit."),
    (ROWS, Unit::Count, "Rows of a view."),
    (PARTS, Unit::Count, "Parquet files of a view."),
    (BYTES, Unit::Bytes, "Bytes of the Parquet files of a view."),
    (STATE_ROWS, Unit::Count, "Rows of operator state."),
    (STATE_BYTES, Unit::Bytes, "Bytes of operator state in memory."),
    (REBUILD, Unit::Count, "Progress of the rebuild of a view, from 0 to 1; 1 if none is under way."),
    (RETRYING, Unit::Count, "1 while a view waits to try again after an error, else 0."),
    (DISCONNECTED, Unit::Count, "1 while a source of a view is away, else 0."),
    (FAILED, Unit::Count, "1 when an error has stopped a view, else 0."),
    (
        SET_ASIDE_RATIO,
        Unit::Count,
        "Share of the events of a source that a view has read since its first one and set aside, from 0 to 1.",
    ),
    (
        WARNINGS,
        Unit::Count,
        "What looks like a mistake though nothing fails: columns that no event has a member for, sources that select nothing.",
    ),
    (
        MISSING,
        Unit::Count,
        "Sequences that a source no longer held when a view was to read them, and without which the view goes on (option on_gap).",
    ),
    (AUDITED, Unit::Count, "Events that audits of a source's filter have compared since the start."),
    (SKIPPED, Unit::Count, "How many of these the server did not deliver, though the filter selects them."),
    (VERIFIED, Unit::Seconds, "When `verify_interval` last found a view equal to its SQL, in seconds since the epoch."),
    (DIFFERS, Unit::Count, "1 while the last verification that could tell says that a view differs from its SQL, else 0."),
    (
        OUTDATED,
        Unit::Count,
        "1 while a view goes on with its SQL before a change, since its rebuild has failed or would lose events, else 0.",
    ),
    (UP, Unit::Count, "1 while the engine runs."),
    (BUILD_INFO, Unit::Count, "Always 1; the label is the version of the program."),
    (RESIDENT, Unit::Bytes, "Resident memory of the process."),
    (MEMORY_LIMIT, Unit::Bytes, "What memory_limit allows; absent if it is off."),
    (DISK_FREE, Unit::Bytes, "Free bytes for the engine on the disk of the data folder."),
    (DISK_SIZE, Unit::Bytes, "Bytes of the disk of the data folder."),
];

/// Buckets of durations in seconds, from 0.1 ms to 30 s: a small commit takes a few milliseconds, a large one seconds.
const BUCKETS: &[f64] =
    &[0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// Installs the recorder of the process, once, and describes every metric. Later calls return the same handle.
pub fn install() -> PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE
        .get_or_init(|| {
            let builder = [BATCH_SECONDS, COMMIT_SECONDS].iter().try_fold(PrometheusBuilder::new(), |builder, name| {
                builder.set_buckets_for_metric(Matcher::Full((*name).to_owned()), BUCKETS)
            });
            let recorder = builder.unwrap_or_default().build_recorder();
            let handle = recorder.handle();
            if metrics::set_global_recorder(recorder).is_err() {
                tracing::warn!("another recorder of metrics is installed: /metrics stays empty");
            }
            describe();
            handle
        })
        .clone()
}

fn describe() {
    for (name, unit, help) in COUNTERS {
        describe_counter!(*name, *unit, *help);
    }
    for (name, help) in HISTOGRAMS {
        describe_histogram!(*name, Unit::Seconds, *help);
    }
    for (name, unit, help) in GAUGES {
        describe_gauge!(*name, *unit, *help);
    }
    gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    gauge!(UP).set(1.0);
}

/// Records a batch from a reader of `source`. Its dead letters are counted when they are committed.
pub fn batch_read(source: &str, batch: &Batch) {
    counter!(EVENTS, "source" => source.to_owned()).increment(batch.events);
    counter!(RECEIVED_BYTES, "source" => source.to_owned()).increment(batch.bytes);
    if batch.nulled > 0 {
        counter!(MEMBERS_NULLED, "source" => source.to_owned()).increment(batch.nulled);
    }
}

/// Records that the reader of `source` had to connect anew.
pub fn reader_restarted(source: &str) {
    counter!(READER_RESTARTS, "source" => source.to_owned()).increment(1);
}

/// Shows what `memory_limit` allows.
pub(crate) fn memory_limit(bytes: u64) {
    gauge!(MEMORY_LIMIT).set(bytes as f64);
}

/// Records that a batch went through the operators of the pipeline whose first view is `view`.
pub fn batch_applied(view: &str, took: Duration) {
    histogram!(BATCH_SECONDS, "view" => view.to_owned()).record(took);
}

/// Records a commit of a pipeline.
pub fn committed(committed: &Committed) {
    for view in &committed.views {
        histogram!(COMMIT_SECONDS, "view" => view.view.clone()).record(committed.took);
        counter!(COMMITS, "view" => view.view.clone()).increment(1);
        counter!(STATE_WRITTEN, "view" => view.view.clone()).increment(view.state_written);
        counter!(VIEW_WRITTEN, "view" => view.view.clone()).increment(view.view_written);
        for (source, read) in &view.read {
            for (kind, count) in read.counts() {
                let labels = [("view", view.view.clone()), ("source", source.clone()), ("kind", kind.to_owned())];
                counter!(SET_ASIDE, &labels).increment(count);
            }
        }
        if view.left_out.rows > 0 {
            counter!(ROWS_LEFT_OUT, "view" => view.view.clone()).increment(view.left_out.rows);
        }
    }
    for letter in &committed.dead_letters {
        let view = letter.view.clone().unwrap_or_default();
        counter!(DEAD_LETTERS, "source" => letter.source.clone(), "view" => view, "kind" => letter.kind).increment(1);
    }
}

/// Records a restart of the pipeline whose first view is `view`. `kind` is one of a few fixed words.
pub fn restarted(view: &str, kind: &'static str) {
    counter!(RESTARTS, "view" => view.to_owned(), "kind" => kind).increment(1);
}

/// Updates every gauge. `data` is the data folder. Sets the sizes and states of a view that has left the board to 0.
pub fn refresh(board: &Board, data: &Path) {
    static SHOWN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let views = board.all();
    let now_ms = now_ms();
    let sources = board.sources();
    for health in &sources {
        gauge!(SOURCE_CONNECTED, "source" => health.source.clone()).set(f64::from(u8::from(health.connected)));
        if let Some(events) = health.audited_events {
            gauge!(AUDITED, "source" => health.source.clone()).set(events as f64);
            gauge!(SKIPPED, "source" => health.source.clone()).set(health.skipped_events as f64);
        }
        gauge!(SOURCE_CONTACT, "source" => health.source.clone()).set(health.last_contact_seconds.unwrap_or(f64::NAN));
    }
    let away: BTreeSet<&str> = sources.iter().filter(|health| health.is_away()).map(|health| health.source.as_str()).collect();
    for status in &views {
        show(status, now_ms, &away);
    }
    let mut shown = SHOWN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    for gone in shown.iter().filter(|name| !views.iter().any(|status| status.view == **name)) {
        for name in [ROWS, PARTS, BYTES, STATE_ROWS, STATE_BYTES, RETRYING, DISCONNECTED, FAILED, WARNINGS, OUTDATED] {
            gauge!(name, "view" => gone.clone()).set(0.0);
        }
    }
    *shown = views.into_iter().map(|status| status.view).collect();
    if let Some(bytes) = resident_bytes() {
        gauge!(RESIDENT).set(bytes as f64);
    }
    // An unknown disk shows the last figures: `absent` is no alert, and the next write fails in words.
    if let Ok(disk) = rustix::fs::statvfs(data) {
        gauge!(DISK_FREE).set(disk.f_bavail as f64 * disk.f_frsize as f64);
        gauge!(DISK_SIZE).set(disk.f_blocks as f64 * disk.f_frsize as f64);
    }
}

fn show(status: &ViewStatus, now_ms: u64, away: &BTreeSet<&str>) {
    let view = &status.view;
    for (source, place) in &status.sources {
        let labels = [("view", view.clone()), ("source", source.clone())];
        gauge!(OFFSET, &labels).set(place.offset as f64);
        let known = !away.contains(source.as_str());
        gauge!(LAG_EVENTS, &labels).set(if known { place.end.saturating_sub(place.offset) as f64 } else { f64::NAN });
        gauge!(SET_ASIDE_RATIO, &labels).set(place.set_aside as f64 / place.events.max(1) as f64);
        gauge!(MISSING, &labels).set(place.missing as f64);
        gauge!(LAG_SECONDS, &labels).set(status.staleness_seconds.unwrap_or(f64::NAN));
    }
    if let Some(committed_ms) = status.committed_ms {
        gauge!(FRESHNESS, "view" => view.clone()).set(now_ms.saturating_sub(committed_ms) as f64 / 1e3);
    }
    for (name, value) in [
        (ROWS, status.rows),
        (PARTS, status.parts),
        (BYTES, status.bytes),
        (STATE_ROWS, status.state_rows),
        (STATE_BYTES, status.state_bytes),
        (RETRYING, u64::from(status.phase == Phase::Retrying)),
        (DISCONNECTED, u64::from(status.phase == Phase::Disconnected)),
        (FAILED, u64::from(status.phase == Phase::Failed)),
        (WARNINGS, status.warnings.len() as u64),
        (OUTDATED, u64::from(status.held.is_some() || status.rebuild_error.is_some())),
    ] {
        gauge!(name, "view" => view.clone()).set(value as f64);
    }
    gauge!(REBUILD, "view" => view.clone()).set(rebuild_progress(status));
    if let Some(found) = status.verification.as_ref().filter(|found| found.known) {
        gauge!(DIFFERS, "view" => view.clone()).set(f64::from(u8::from(found.differs)));
        if !found.differs {
            gauge!(VERIFIED, "view" => view.clone()).set(found.at_ms as f64 / 1e3);
        }
    }
}

/// The progress of a rebuild, from 0 to 1; 1 if none is under way.
fn rebuild_progress(status: &ViewStatus) -> f64 {
    let (done, all) = status.rebuild.values().fold((0, 0), |(done, all), place| (done + place.offset, all + place.end));
    let under_way = status.phase == Phase::Rebuilding;
    if !under_way {
        1.0
    } else if all == 0 {
        0.0
    } else {
        (done as f64 / all as f64).min(1.0)
    }
}

/// The wall clock, in milliseconds since the Unix epoch.
pub(crate) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).ok().and_then(|time| u64::try_from(time.as_millis()).ok()).unwrap_or(0)
}

/// Reads the resident memory from /proc. `None` on other systems.
pub(crate) fn resident_bytes() -> Option<u64> {
    in_proc(&std::fs::read_to_string("/proc/self/status").ok()?, "VmRSS:")
}

/// The bytes that a line of a file of /proc gives in kB.
pub(crate) fn in_proc(text: &str, field: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn names_and_help_follow_the_conventions() {
        let mut names = BTreeSet::new();
        let all =
            COUNTERS.iter().map(|(name, _, help)| (*name, *help)).chain(GAUGES.iter().map(|(name, _, help)| (*name, *help)));
        for (name, help) in all.chain(HISTOGRAMS.iter().copied()) {
            assert!(name.starts_with("alluvium_") && names.insert(name), "{name}");
            assert!(help.ends_with('.'), "{name}: {help}");
            assert_eq!(name.ends_with("_total"), COUNTERS.iter().any(|(counter, ..)| *counter == name), "{name}");
        }
        for (name, unit, _) in COUNTERS.iter().chain(GAUGES) {
            assert_eq!(*unit == Unit::Bytes, name.trim_end_matches("_total").ends_with("_bytes"), "{name}");
            assert_eq!(*unit == Unit::Seconds, name.ends_with("_seconds"), "{name}");
        }
        assert!(HISTOGRAMS.iter().all(|(name, _)| name.ends_with("_seconds")));
    }

    #[test]
    fn the_alerts_ask_for_metrics_that_are_there() {
        let rules = include_str!("../../observability/alluvium.rules.yml");
        let known: Vec<&str> = COUNTERS.iter().chain(GAUGES).map(|(name, ..)| *name).collect();
        let words = rules.split(|character: char| !character.is_ascii_alphanumeric() && character != '_');
        let asked: BTreeSet<&str> = words.filter(|word| word.starts_with("alluvium_")).collect();
        assert!(asked.len() > 8 && asked.iter().all(|name| known.contains(name)), "{asked:?}");
        let alerts = rules.lines().filter(|line| line.trim_start().starts_with("- alert:")).count();
        for part in ["expr:", "labels:", "summary:", "description:"] {
            assert_eq!(rules.lines().filter(|line| line.trim_start().starts_with(part)).count(), alerts, "{part}");
        }
    }
}
