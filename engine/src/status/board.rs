//! The status of every view. The runtime writes it; HTTP, progress bars and metrics show it.
//!
//! The board owns phases: callers report what happened, and the phase follows. It keeps two facts of each view, neither of which
//! overwrites the other: what the serving pipeline does, and whether a rebuild runs beside it. It asks for a third one whenever a view is
//! shown: whether one of the view's sources is away.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{SystemTime, UNIX_EPOCH};

use alluvium_connectors::source::Source;
use tokio::sync::watch;

use super::staleness::staleness;
use super::{Committed, Phase, ReadEvents, SetAside, SourceHealth, SourceStatus, Verification, ViewStatus};

/// One view on the board.
#[derive(Debug)]
struct Entry {
    status: ViewStatus,
    /// What the serving pipeline is doing; never [`Phase::Rebuilding`].
    serving: Phase,
    rebuilding: bool,
    was_live: bool,
    /// The sources that it reads, directly or through other views.
    reads: BTreeSet<String>,
    /// By source: the events read since the start of this process.
    read: BTreeMap<String, ReadEvents>,
}

impl Entry {
    /// Returns the status to show while the sources in `away` are away.
    fn shown(&self, away: &BTreeMap<String, String>) -> ViewStatus {
        let mut status = self.status.clone();
        let lost = self.reads.iter().find_map(|source| away.get(source));
        match lost {
            Some(reason) => {
                if matches!(status.phase, Phase::CatchingUp | Phase::Live | Phase::Retrying) {
                    status.phase = Phase::Disconnected;
                }
                status.error.get_or_insert_with(|| reason.clone());
            }
            None => {
                let of_each: Option<Vec<f64>> = status.sources.values().map(|place| staleness(place, now_ns())).collect();
                status.staleness_seconds = of_each.map(|of_each| of_each.into_iter().fold(0.0, f64::max));
            }
        }
        status
    }

    fn phase(&self) -> Phase {
        if self.rebuilding { Phase::Rebuilding } else { self.serving }
    }

    /// Whether the view has been live, and is neither failed nor retrying.
    fn is_ready(&self) -> bool {
        self.was_live && !matches!(self.serving, Phase::Failed | Phase::Retrying)
    }
}

/// The status of every view.
#[derive(Debug, Default)]
pub struct Board {
    views: Mutex<BTreeMap<String, Entry>>,
    sources: Mutex<Vec<Arc<dyn Source>>>,
    beside: Mutex<Vec<Weak<dyn Source>>>,
    /// Counts the published commits.
    commits: watch::Sender<u64>,
}

impl Board {
    fn entries(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        self.views.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, view: &str, change: impl FnOnce(&mut Entry)) {
        let mut entries = self.entries();
        let entry = entries.entry(view.to_owned()).or_insert_with(|| Entry {
            status: ViewStatus::new(view, Phase::CatchingUp),
            serving: Phase::CatchingUp,
            rebuilding: false,
            was_live: false,
            reads: BTreeSet::new(),
            read: BTreeMap::new(),
        });
        change(entry);
        entry.status.phase = entry.phase();
    }

    /// Adds a declared view, with the sources that it reads.
    pub fn declare(&self, view: &str, reads: BTreeSet<String>) {
        self.change(view, |entry| entry.reads = reads);
    }

    /// Sets the sources whose health is asked for whenever something is shown.
    pub fn watch(&self, sources: impl IntoIterator<Item = Arc<dyn Source>>) {
        *self.sources.lock().unwrap_or_else(PoisonError::into_inner) = sources.into_iter().collect();
    }

    /// Sources as versions declare them that serve while the files say something else; asked for as long as somebody reads them.
    pub fn watch_beside<'a>(&self, sources: impl IntoIterator<Item = &'a Arc<dyn Source>>) {
        let mut beside = self.beside.lock().unwrap_or_else(PoisonError::into_inner);
        beside.retain(|source| source.strong_count() > 0);
        beside.extend(sources.into_iter().map(Arc::downgrade));
    }

    /// Returns the health of each source.
    #[must_use]
    pub fn sources(&self) -> Vec<SourceHealth> {
        let sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let beside =
            self.beside.lock().unwrap_or_else(PoisonError::into_inner).iter().filter_map(Weak::upgrade).collect::<Vec<_>>();
        let mut all: Vec<SourceHealth> = Vec::new();
        let mut places: BTreeMap<String, usize> = BTreeMap::new();
        for health in sources.iter().chain(&beside).map(|source| SourceHealth::of(source.as_ref())) {
            match places.get(&health.source).and_then(|place| all.get_mut(*place)) {
                // Of two ways to a source, the one that is lost counts, and one that nobody has gone does not.
                Some(known) if health.is_away() || known.last_contact_seconds.is_none() => *known = health,
                Some(_) => {}
                None => {
                    places.insert(health.source.clone(), all.len());
                    all.push(health);
                }
            }
        }
        all
    }

    /// Returns the sources that are away, with the reasons.
    fn away(&self) -> BTreeMap<String, String> {
        let away = self.sources().into_iter().filter(SourceHealth::is_away);
        away.map(|health| (health.source, health.error.unwrap_or_default())).collect()
    }

    /// Shows what the last commit of a view recorded.
    pub fn show_recorded(&self, status: ViewStatus, declared: bool) {
        self.change(&status.view.clone(), |entry| {
            entry.status = status;
            entry.serving = if declared { Phase::CatchingUp } else { Phase::Orphaned };
        });
    }

    /// Removes a dropped view.
    pub fn remove(&self, view: &str) {
        self.entries().remove(view);
    }

    /// Notes that the sources of the view's pipeline are open.
    pub fn catching_up(&self, view: &str) {
        self.change(view, |entry| {
            entry.serving = Phase::CatchingUp;
            entry.status.error = None;
        });
    }

    /// Notes that the view has applied everything that its sources held.
    pub fn live(&self, view: &str) {
        self.change(view, |entry| {
            entry.serving = Phase::Live;
            entry.was_live = true;
            entry.status.error = None;
        });
    }

    /// Notes that the view's pipeline waits before it tries again, for this reason.
    pub fn retrying(&self, view: &str, reason: &str) {
        self.change(view, |entry| {
            entry.serving = Phase::Retrying;
            entry.status.error = Some(reason.to_owned());
        });
    }

    /// Counts a restart of the view's pipeline after an error.
    pub fn restarted(&self, view: &str) {
        self.change(view, |entry| entry.status.restarts += 1);
    }

    /// Notes that an error has stopped the view.
    pub fn failed(&self, view: &str, reason: &str) {
        self.change(view, |entry| {
            entry.serving = Phase::Failed;
            entry.status.error = Some(reason.to_owned());
        });
    }

    /// Notes that a rebuild of the view has begun.
    pub fn rebuild_began(&self, view: &str) {
        self.change(view, |entry| {
            entry.rebuilding = true;
            entry.status.rebuild.clear();
            entry.status.rebuild_error = None;
        });
    }

    /// Notes that the rebuild waits before it tries again, for this reason. Changes nothing if the view is only committed with one that is
    /// rebuilt.
    pub fn rebuild_retrying(&self, view: &str, reason: &str) {
        self.change(view, |entry| {
            if entry.rebuilding {
                entry.status.rebuild_error = Some(reason.to_owned());
            }
        });
    }

    /// Notes that the rebuild of the view has failed. The old version goes on serving. A view that is only committed with one that is rebuilt
    /// has no error.
    pub fn rebuild_failed(&self, view: &str, reason: &str) {
        self.change(view, |entry| {
            entry.status.rebuild.clear();
            if std::mem::take(&mut entry.rebuilding) {
                entry.status.rebuild_error = Some(reason.to_owned());
            }
        });
    }

    /// The new version of the view would lose events, for this reason; what serves goes on as it did.
    pub fn held(&self, view: &str, reason: &str) {
        self.change(view, |entry| {
            entry.rebuilding = false;
            entry.status.rebuild.clear();
            entry.status.held = Some(reason.to_owned());
        });
    }

    /// Notes that the rebuilt view has been swapped in.
    pub fn swapped(&self, view: &str) {
        self.change(view, |entry| {
            entry.rebuilding = false;
            entry.serving = Phase::CatchingUp;
            entry.status.error = None;
            entry.status.rebuild_error = None;
            entry.status.held = None;
            // It was of the version before.
            entry.status.verification = None;
            for (source, place) in std::mem::take(&mut entry.status.rebuild) {
                entry.status.sources.insert(source, place);
            }
        });
    }

    /// Notes that the events of a source before `applied` have been applied. `end` is the source's end, if known.
    pub fn applied(&self, view: &str, source: &str, applied: u64, end: Option<u64>) {
        self.change(view, |entry| reached(&mut entry.status.sources, source, applied, end));
    }

    /// Notes that everything before `end` is applied and that the source has nothing after it at present.
    pub fn at_end(&self, view: &str, source: &str, end: u64) {
        self.change(view, |entry| {
            reached(&mut entry.status.sources, source, end, Some(end));
            if let Some(place) = entry.status.sources.get_mut(source).filter(|place| place.offset >= end) {
                place.current_ns = Some(now_ns());
            }
        });
    }

    /// Notes the progress of a rebuild, as [`Board::applied`] does for the serving version.
    pub fn rebuild_applied(&self, view: &str, source: &str, applied: u64, end: Option<u64>) {
        self.change(view, |entry| {
            if entry.rebuilding {
                // It goes on after what it has waited for.
                entry.status.rebuild_error = None;
            }
            reached(&mut entry.status.rebuild, source, applied, end);
            if let Some(place) = entry.status.rebuild.get_mut(source) {
                place.offset = applied;
            }
        });
    }

    /// Notes that a commit is published.
    pub fn committed(&self, committed: &Committed) {
        for view in &committed.views {
            self.change(&view.view, |entry| {
                let status = &mut entry.status;
                status.epoch = Some(committed.epoch);
                status.committed_ms = Some(committed.committed_ms);
                status.rows = view.rows;
                status.parts = view.parts;
                status.bytes = view.bytes;
                status.state_rows = view.state_rows;
                status.state_bytes = view.state_bytes;
                status.dead_letters += view.dead_letters;
                status.left_out += view.left_out.rows;
                for (source, offset) in &committed.offsets {
                    let place = status.sources.entry(source.clone()).or_default();
                    place.offset = *offset;
                    place.applied = place.applied.max(*offset);
                    place.end = place.end.max(*offset);
                    place.newest_ns = committed.newest_ns.get(source).copied().or(place.newest_ns);
                }
                for (source, tally) in &view.tallies {
                    status.show_read(source, tally);
                }
                let quiet = status.warnings.is_empty();
                let offset = |source: &String| committed.offsets.get(source).copied();
                status.warn(view.tallies.iter().filter_map(|(source, tally)| Some((source, tally, offset(source)?))));
                for warning in status.warnings.iter().filter(|_| quiet) {
                    tracing::warn!(view = view.view, "{warning}");
                }
                for (source, read) in &view.read {
                    entry.read.entry(source.clone()).or_default().add(read);
                }
            });
        }
        self.commits.send_modify(|count| *count += 1);
    }

    /// Tells when a commit of any view is published.
    #[must_use]
    pub fn commits(&self) -> watch::Receiver<u64> {
        self.commits.subscribe()
    }

    /// Notes what a verification of the view has found.
    pub fn verified(&self, view: &str, found: Verification) {
        self.change(view, |entry| entry.status.verification = Some(found));
    }

    /// Returns the status of all views, by name.
    #[must_use]
    pub fn all(&self) -> Vec<ViewStatus> {
        let away = self.away();
        self.entries().values().map(|entry| entry.shown(&away)).collect()
    }

    /// Returns the committed events that this process has set aside. Views with the same counts are grouped.
    #[must_use]
    pub fn set_aside(&self) -> Vec<SetAside> {
        let entries = self.entries();
        let read = entries.iter().flat_map(|(view, entry)| entry.read.iter().map(move |(source, read)| (view, source, read)));
        SetAside::of(read)
    }

    /// What looks like a mistake, with the views of which it is said; of those that some SQL file declares.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let entries = self.entries();
        let mut said: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (view, entry) in entries.iter().filter(|(_, entry)| entry.serving != Phase::Orphaned) {
            for warning in &entry.status.warnings {
                said.entry(warning).or_default().push(view);
            }
        }
        said.into_iter().map(|(warning, views)| format!("{}: {warning}", views.join(", "))).collect()
    }

    /// Whether the view or its rebuild has failed.
    #[must_use]
    pub fn has_failed(&self, view: &str) -> bool {
        let entries = self.entries();
        entries.get(view).is_some_and(|entry| {
            entry.serving == Phase::Failed
                || (!entry.rebuilding && (entry.status.rebuild_error.is_some() || entry.status.held.is_some()))
        })
    }

    /// Returns the views among `views` that are not ready, with their phases: failed, retrying, cut off from a source, or never live since
    /// the start. A view that was live once stays ready while it falls behind or is rebuilt.
    #[must_use]
    pub fn not_ready(&self, views: &[String]) -> Vec<(String, Phase)> {
        let away = self.away();
        let entries = self.entries();
        let waiting = views.iter().filter_map(|view| match entries.get(view) {
            Some(entry) if entry.is_ready() && !entry.reads.iter().any(|source| away.contains_key(source)) => None,
            Some(entry) => Some((view.clone(), entry.shown(&away).phase)),
            None => Some((view.clone(), Phase::CatchingUp)),
        });
        waiting.collect()
    }
}

fn reached(places: &mut BTreeMap<String, SourceStatus>, source: &str, applied: u64, end: Option<u64>) {
    let place = places.entry(source.to_owned()).or_default();
    place.end = place.end.max(end.unwrap_or(0)).max(applied);
    place.applied = applied;
}

/// Nanoseconds since the Unix epoch.
fn now_ns() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::status::CommittedView;

    fn status(board: &Board) -> ViewStatus {
        board.all().into_iter().next().unwrap()
    }

    #[test]
    fn a_rebuild_and_the_view_that_serves_do_not_overwrite_each_other() {
        let board = Board::default();
        board.live("a");
        board.rebuild_began("a");
        board.rebuild_applied("a", "orders", 30, Some(101));
        // Meanwhile the old pipeline commits.
        let view = CommittedView { view: "a".into(), ..CommittedView::default() };
        board.committed(&Committed { epoch: 7, views: vec![view], ..Committed::default() });
        board.live("a");
        assert_eq!(status(&board).phase, Phase::Rebuilding);
        assert_eq!(status(&board).rebuild["orders"].offset, 30);

        board.rebuild_failed("a", "no room");
        assert_eq!((status(&board).phase, status(&board).error), (Phase::Live, None));
        assert_eq!(status(&board).rebuild_error.as_deref(), Some("no room"));
        assert!(board.not_ready(&["a".into()]).is_empty() && board.has_failed("a"));

        board.rebuild_began("a");
        board.failed("a", "the old one is damaged");
        assert_eq!(status(&board).phase, Phase::Rebuilding);
        assert_eq!(board.not_ready(&["a".into()]), [("a".into(), Phase::Rebuilding)]);
        board.swapped("a");
        board.live("a");
        assert!(board.not_ready(&["a".into()]).is_empty() && !board.has_failed("a"));
    }

    #[test]
    fn a_view_that_is_committed_with_one_that_is_rebuilt_has_no_error_of_the_rebuild() {
        let board = Board::default();
        board.live("kept");
        board.rebuild_retrying("kept", "the server is away");
        assert!(!board.has_failed("kept") && status(&board).rebuild_error.is_none(), "{:?}", status(&board));
        board.rebuild_applied("kept", "orders", 30, Some(101));
        board.rebuild_failed("kept", "no room");
        assert!(!board.has_failed("kept") && status(&board).rebuild_error.is_none() && status(&board).rebuild.is_empty());
    }

    #[test]
    fn a_rebuild_that_goes_on_after_a_wait_shows_no_error() {
        let board = Board::default();
        board.live("a");
        board.rebuild_began("a");
        board.rebuild_retrying("a", "the server is away");
        assert!(!board.has_failed("a"), "it tries again");
        assert_eq!(status(&board).rebuild_error.as_deref(), Some("the server is away"));
        board.rebuild_applied("a", "orders", 30, Some(101));
        assert_eq!(status(&board).rebuild_error, None);
        board.rebuild_failed("a", "no room");
        board.rebuild_began("a");
        assert_eq!(status(&board).rebuild_error, None, "of the rebuild before");
    }

    #[test]
    fn ready_is_what_was_live_once_and_has_not_stopped() {
        let board = Board::default();
        let views = ["a".to_owned()];
        board.declare("a", BTreeSet::new());
        assert_eq!(board.not_ready(&views), [("a".into(), Phase::CatchingUp)]);
        board.live("a");
        board.catching_up("a");
        assert!(board.not_ready(&views).is_empty(), "it fell behind");
        board.retrying("a", "the server is away");
        assert_eq!(board.not_ready(&views), [("a".into(), Phase::Retrying)]);
        board.catching_up("a");
        board.failed("a", "damaged");
        assert_eq!(board.not_ready(&views), [("a".into(), Phase::Failed)]);
    }
}
