//! Counts of what a view reads and of what it sets aside, and when there was a warning about that.
//!
//! Which events are kept as dead letters is decided in `runtime::commit`: an event that is set aside again, by a rebuild for instance, is
//! counted here and not kept twice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use alluvium_connectors::Batch;
use alluvium_connectors::dead_letters::DeadLetter;

use crate::record::Tally;
use crate::status::ReadEvents;

/// Between two warnings about the same source, view and kind.
const WARN_EVERY: Duration = Duration::from_secs(30);

/// What one view has read.
#[derive(Debug, Default)]
pub(crate) struct Tallies {
    /// The view began with the first event in this process.
    began_here: bool,
    /// By source, since the view's first event.
    pub(crate) all: BTreeMap<String, Tally>,
    /// By source, since the last commit.
    since_commit: BTreeMap<String, ReadEvents>,
}

impl Tallies {
    /// Of a view that has read nothing.
    pub(super) fn new() -> Tallies {
        Tallies { began_here: true, ..Tallies::default() }
    }

    /// As a record has them.
    pub(super) fn recorded(all: BTreeMap<String, Tally>) -> Tallies {
        Tallies { all, ..Tallies::default() }
    }

    /// What was read since this was last asked.
    pub(crate) fn take_since_commit(&mut self) -> BTreeMap<String, ReadEvents> {
        std::mem::take(&mut self.since_commit)
    }

    /// Of a source, which the view begins to read at this offset where it has not begun before.
    pub(super) fn of(&mut self, source: &str, offset: u64) -> &mut Tally {
        let began = self.began_here.then_some(offset);
        self.all.entry(source.to_owned()).or_insert_with(|| Tally { began, ..Tally::default() })
    }

    /// Counts events from `start` on, with the letters of those that are set aside, one for each.
    pub(super) fn add(&mut self, source: &str, start: u64, events: u64, letters: &[&DeadLetter]) {
        let tally = self.of(source, start);
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
    }
}

/// Whether a letter is about a view: it names the views that it is about, and none where it is about all.
pub(super) fn concerns(letter: &DeadLetter, view: &str) -> bool {
    letter.view.as_ref().is_none_or(|views| views.split(", ").any(|one| one == view))
}

/// How many events of a batch, good and bad, come before an offset.
pub(crate) fn events_before(batch: &Batch, offset: u64) -> u64 {
    if offset <= batch.start {
        return 0;
    }
    let before = batch.until(offset);
    events(&before, &before.dead_letters)
}

/// How many events a batch covers, good and bad: an event with a row in it may have letters as well.
pub(super) fn events(batch: &Batch, letters: &[DeadLetter]) -> u64 {
    let sequences = batch.sequences.values();
    let without_row: BTreeSet<u64> =
        letters.iter().map(|letter| letter.sequence).filter(|sequence| sequences.binary_search(sequence).is_err()).collect();
    sequences.len() as u64 + without_row.len() as u64
}

/// A source, a view and a kind of letters.
type Matter = (String, Option<String>, &'static str);

/// When there was a warning last about each matter.
#[derive(Debug, Default)]
pub(crate) struct Warnings(Mutex<BTreeMap<Matter, SystemTime>>);

impl Warnings {
    /// Whether there is to be a warning about a letter now; then it counts as given.
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
