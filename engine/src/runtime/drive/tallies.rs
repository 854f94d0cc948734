//! Counts what each view reads and what of it is set aside, and says so in the log: at once, then again after a while.
//!
//! Which events are kept as dead letters is decided in `runtime::commit`: an event that is set aside again, by a rebuild for instance, is
//! counted here and not kept twice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use alluvium_connectors::Batch;
use alluvium_connectors::dead_letters::DeadLetter;

use super::pipeline::{Member, Pipeline};
use crate::record::Tally;
use crate::runtime::component::sources_read;
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

    fn of(&mut self, source: &str, offset: u64) -> &mut Tally {
        let began = self.began_here.then_some(offset);
        self.all.entry(source.to_owned()).or_insert_with(|| Tally { began, ..Tally::default() })
    }

    fn add(&mut self, source: &str, start: u64, events: u64, letters: &[&DeadLetter]) {
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

impl Pipeline {
    /// The views that read a source, or those of them that `only` names, begin to read it at this offset where they have not begun before.
    pub(crate) fn begin_tallies(&mut self, source: &str, offset: u64, only: Option<&BTreeSet<String>>) {
        for member in self.readers(source, only) {
            member.tallies.of(source, offset);
        }
    }

    /// Counts a batch that was pushed, with the letters of it: those after the first `before`.
    pub(super) fn tally(&mut self, source: &str, batch: &Batch, only: Option<&BTreeSet<String>>, before: usize) {
        let all = self.take_letters();
        let letters = all.get(before..).unwrap_or_default();
        let events = events(batch, letters);
        for member in self.readers(source, only) {
            let name = member.view.name.clone();
            // An event of which several columns are bad is one event.
            let mut seen = BTreeSet::new();
            let own = letters.iter().filter(|letter| concerns(letter, &name) && seen.insert(letter.sequence));
            let own: Vec<&DeadLetter> = own.collect();
            member.tallies.add(source, batch.start, events, &own);
        }
        let now = self.shared().surroundings().now();
        for letter in letters {
            if self.shared().warnings().is_due(letter, now) {
                let reader = self.members().iter().find(|member| concerns(letter, &member.view.name));
                let tally = reader.and_then(|member| member.tallies.all.get(source));
                tracing::warn!(
                    source,
                    view = letter.view,
                    kind = letter.kind,
                    sequence = letter.sequence,
                    error = letter.error,
                    set_aside = tally.map(|tally| tally.set_aside),
                    of_events = tally.map(|tally| tally.events),
                    "events are set aside; `alluvium dead-letters list` shows them"
                );
            }
        }
        self.add_letters(all);
    }

    fn readers(&mut self, source: &str, only: Option<&BTreeSet<String>>) -> impl Iterator<Item = &mut Member> {
        self.members_mut().iter_mut().filter(move |member| {
            only.is_none_or(|only| only.contains(&member.view.name)) && sources_read(&member.view).any(|name| name == source)
        })
    }
}

/// Whether a letter is about a view: it names the views that it is about, and none where it is about all.
fn concerns(letter: &DeadLetter, view: &str) -> bool {
    letter.view.as_ref().is_none_or(|views| views.split(", ").any(|one| one == view))
}

/// How many events a batch covers, good and bad: an event with a row in it may have letters as well.
pub(crate) fn events(batch: &Batch, letters: &[DeadLetter]) -> u64 {
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
    fn is_due(&self, letter: &DeadLetter, now: SystemTime) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (letter.source.clone(), letter.view.clone(), letter.kind);
        if last.get(&key).is_some_and(|then| now.duration_since(*then).unwrap_or_default() < WARN_EVERY) {
            return false;
        }
        last.insert(key, now);
        true
    }
}
