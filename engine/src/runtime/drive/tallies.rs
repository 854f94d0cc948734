//! Counts of the events that a view reads and sets aside, and the times of the last warnings about them.
//!
//! `runtime::commit` decides which dead letters are kept. An event that is set aside again, for instance by a rebuild, is counted here
//! but not kept twice.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use alluvium_connectors::Batch;
use alluvium_connectors::dead_letters::DeadLetter;
use alluvium_connectors::source::Gap;

use super::limits::{Covered, Recent, TooMany};
use crate::record::Tally;
use crate::settings::set_aside::Tolerance;
use crate::status::ReadEvents;

/// The shortest time between two warnings about the same source, view and kind.
const WARN_EVERY: Duration = Duration::from_secs(30);

/// Counts of the events that one view has read.
#[derive(Debug, Default)]
pub(crate) struct Tallies {
    /// The view began from nothing in this process.
    began_here: bool,
    /// By source: counts since the view's first event.
    pub(crate) all: BTreeMap<String, Tally>,
    /// By source: counts since the last commit.
    since_commit: BTreeMap<String, ReadEvents>,
    /// By source, what of its last events was set aside, in this process.
    recent: BTreeMap<String, Recent>,
    /// By source, how many events the version that serves has set aside: a rebuild that sets aside no more is as good as it.
    accepted: BTreeMap<String, u64>,
}

impl Tallies {
    /// The counts of a view that has read nothing.
    pub(super) fn new() -> Tallies {
        Tallies { began_here: true, ..Tallies::default() }
    }

    /// The counts of a view that is made anew beside the version of a record.
    pub(super) fn beside(served: &BTreeMap<String, Tally>) -> Tallies {
        let accepted = served.iter().map(|(source, tally)| (source.clone(), tally.set_aside)).collect();
        Tallies { accepted, ..Tallies::new() }
    }

    /// The counts in a record.
    pub(super) fn recorded(all: BTreeMap<String, Tally>) -> Tallies {
        Tallies { all, ..Tallies::default() }
    }

    /// Takes the counts since the last call.
    pub(crate) fn take_since_commit(&mut self) -> BTreeMap<String, ReadEvents> {
        std::mem::take(&mut self.since_commit)
    }

    /// Returns the counts of a source. If the view has not read it before, it begins at this offset.
    pub(super) fn of(&mut self, source: &str, offset: u64) -> &mut Tally {
        let began = self.began_here.then_some(offset);
        self.all.entry(source.to_owned()).or_insert_with(|| Tally { began, ..Tally::default() })
    }

    /// Counts events from `start` on, with the letters of those that are set aside, one for each. Gives the event that was one too many.
    pub(super) fn add(
        &mut self,
        source: &str,
        start: u64,
        covered: &Covered<'_>,
        letters: &[&DeadLetter],
        tolerance: Tolerance,
    ) -> Option<TooMany> {
        let events = covered.events();
        let tally = self.of(source, start);
        let read_before = tally.events;
        tally.events += events;
        tally.set_aside += letters.len() as u64;
        for letter in letters {
            match letter.kind {
                "expression" => tally.refused += 1,
                "crash" => tally.crashed.push(letter.sequence),
                _ => {}
            }
        }
        let recent = self.since_commit.entry(source.to_owned()).or_default();
        recent.events += events;
        for letter in letters {
            recent.set_aside(letter.kind, 1, &letter.error);
        }
        let set_aside = self.all.get(source).map_or(0, |tally| tally.set_aside);
        let recent = self.recent.entry(source.to_owned()).or_insert_with(|| Recent::after(read_before));
        let too_many = recent.add(covered, letters, tolerance);
        too_many.filter(|_| set_aside > self.accepted.get(source).copied().unwrap_or(0))
    }

    /// Notes what the source no longer held when the view was to read it.
    pub(super) fn miss(&mut self, source: &str, gaps: &[Gap]) {
        if let Some(tally) = self.all.get_mut(source) {
            gaps.iter().for_each(|gap| tally.miss(gap));
        }
    }

    /// Notes of the columns that the view reads which of them the rows of a batch have no member for.
    pub(super) fn look(&mut self, source: &str, columns: &[&str], absent: &[&str], unknown: &[String]) {
        let Some(tally) = self.all.get_mut(source) else { return };
        if tally.unseen.is_none() && tally.events == tally.set_aside && tally.began.is_some() {
            tally.unseen = Some(columns.iter().map(|column| ((*column).to_owned(), None)).collect());
        }
        let Some(unseen) = &mut tally.unseen else { return };
        unseen.retain(|column, _| absent.contains(&column.as_str()));
        for (column, like) in unseen.iter_mut().filter(|(_, like)| like.is_none()) {
            *like = alluvium_sql::nearest(column, unknown.iter().map(String::as_str)).map(str::to_owned);
        }
    }
}

/// Whether a letter is about a view. A letter that names no views is about all of them.
pub(super) fn concerns(letter: &DeadLetter, view: &str) -> bool {
    letter.view.as_ref().is_none_or(|views| views.split(", ").any(|one| one == view))
}

/// Counts the events of a batch, good and bad, before an offset.
pub(crate) fn events_before(batch: &Batch, offset: u64) -> u64 {
    if offset <= batch.start {
        return 0;
    }
    let before = batch.until(offset);
    events(&before, &before.dead_letters)
}

/// How many events a batch covers, good and bad.
fn events(batch: &Batch, letters: &[DeadLetter]) -> u64 {
    Covered::of(batch, letters).events()
}

/// What a warning is about: a source, a view and a kind of letter.
type Matter = (String, Option<String>, &'static str);

/// When each matter was last warned about.
#[derive(Debug, Default)]
pub(crate) struct Warnings(Mutex<BTreeMap<Matter, SystemTime>>);

impl Warnings {
    /// Whether to warn about a letter now. If so, the warning counts as given.
    pub(super) fn is_due(&self, letter: &DeadLetter, now: SystemTime) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (letter.source.clone(), letter.view.clone(), letter.kind);
        if last.get(&key).is_some_and(|then| now.duration_since(*then).unwrap_or_default() < WARN_EVERY) {
            return false;
        }
        last.insert(key, now);
        true
    }
}
