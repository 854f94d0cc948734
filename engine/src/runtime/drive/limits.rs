//! When a view has set aside too much of a source: `on_error` and `max_dead_letters`, judged event by event, so that how the stream was cut
//! into batches decides nothing.

use std::collections::{BTreeSet, VecDeque};

use alluvium_connectors::Batch;
use alluvium_connectors::dead_letters::DeadLetter;
use alluvium_sql::{MaxDeadLetters, OnError};

use crate::error::Error;
use crate::settings::set_aside::Tolerance;

/// The share is one of so many of the last events.
const WINDOW: u64 = 1_000;
/// As long as fewer events have been read, the share is one of so many.
const LEAST: u64 = 100;

/// The events that a batch covers, in order.
pub(super) struct Covered<'b> {
    with_row: &'b [u64],
    /// Those that only have a letter, by the sequence of their message; an event with a row in the batch may have letters as well.
    without_row: Vec<u64>,
}

impl<'b> Covered<'b> {
    /// Of a batch, with all letters of its events.
    pub(super) fn of(batch: &'b Batch, letters: &[DeadLetter]) -> Covered<'b> {
        let with_row: &[u64] = batch.sequences.values();
        let without_row: BTreeSet<(u64, Option<u32>)> =
            letters.iter().filter(|letter| !has_row(batch, letter)).map(|letter| (letter.sequence, letter.ordinal)).collect();
        Covered { with_row, without_row: without_row.into_iter().map(|(sequence, _)| sequence).collect() }
    }

    /// How many they are, good and bad.
    pub(super) fn events(&self) -> u64 {
        (self.with_row.len() + self.without_row.len()) as u64
    }

    /// How many come before an event.
    fn before(&self, sequence: u64) -> u64 {
        let before = |sequences: &[u64]| sequences.partition_point(|other| *other < sequence) as u64;
        before(self.with_row) + before(&self.without_row)
    }
}

/// Whether the event of a letter has a row. Of several events in a message, some may have one and others not.
fn has_row(batch: &Batch, letter: &DeadLetter) -> bool {
    let Some(ordinal) = letter.ordinal else { return batch.sequences.values().binary_search(&letter.sequence).is_ok() };
    let event = (letter.sequence, ordinal);
    let (mut low, mut high) = (0, batch.sequences.len());
    while low < high {
        let middle = low.midpoint(high);
        if batch.event(middle) < event { low = middle + 1 } else { high = middle }
    }
    low < batch.sequences.len() && batch.event(low) == event
}

/// What a view has set aside of the last events of a source.
#[derive(Debug, Default)]
pub(super) struct Recent {
    /// Events read.
    read: u64,
    /// Of those that were set aside among the last ones: how many were read before them.
    set_aside: VecDeque<u64>,
}

/// An event that a view does not go on after, and why.
#[derive(Debug, PartialEq)]
pub(super) struct TooMany {
    letter: DeadLetter,
    /// Events that were set aside, of how many, and the share that may be; none where none may.
    share: Option<(u64, u64, MaxDeadLetters)>,
}

impl Recent {
    /// After so many events, of which none counts as set aside.
    pub(super) fn after(read: u64) -> Recent {
        Recent { read, ..Recent::default() }
    }

    /// Takes the events of a batch, with one letter for each that is set aside, rising. Gives the first that was one too many.
    pub(super) fn add(&mut self, covered: &Covered<'_>, letters: &[&DeadLetter], tolerance: Tolerance) -> Option<TooMany> {
        let read_before = self.read;
        self.read += covered.events();
        if tolerance.on_error == OnError::Stop {
            return letters.first().map(|letter| TooMany { letter: (*letter).clone(), share: None });
        }
        for letter in letters {
            let before = read_before + covered.before(letter.sequence);
            self.set_aside.push_back(before);
            let first = (before + 1).saturating_sub(WINDOW);
            while self.set_aside.front().is_some_and(|oldest| *oldest < first) {
                self.set_aside.pop_front();
            }
            let (count, of) = (self.set_aside.len() as u64, (before + 1).clamp(LEAST, WINDOW));
            if tolerance.max_dead_letters.is_exceeded(count, of) {
                let share = Some((count, of.min(before + 1), tolerance.max_dead_letters));
                return Some(TooMany { letter: (*letter).clone(), share });
            }
        }
        None
    }
}

impl TooMany {
    /// What stops the view.
    pub(super) fn error(&self, view: &str) -> Error {
        let DeadLetter { source, sequence, kind, error, .. } = &self.letter;
        match self.share {
            None => Error::config(
                format!("view {view}: event {sequence} of {source} cannot be applied, and on_error is 'stop': {kind}: {error}"),
                "mend the declaration of the source or the query and run again, or have such events set aside with on_error = 'dead_letter'",
            ),
            Some((count, of, most)) => Error::config(
                format!(
                    "view {view}: {count} of the last {of} events of {source} cannot be applied, and max_dead_letters is {most}; \
                     the last of them is event {sequence}: {kind}: {error}"
                ),
                format!(
                    "see whether {source} is declared as its events are written, mend it and run again; where so many events are to be set \
                     aside, say so with max_dead_letters in WITH (...) of the view, in OPTIONS (...) of the source or in alluvium.toml"
                ),
            ),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn letter(sequence: u64) -> DeadLetter {
        DeadLetter {
            source: "orders".into(),
            sequence,
            view: None,
            column: None,
            ordinal: None,
            subject: String::new(),
            timestamp_ns: None,
            headers: None,
            payload: bytes::Bytes::new(),
            kind: "not_json",
            error: "expected value".into(),
        }
    }

    /// Reads events 1 to `end` in batches of `each`, of which those are set aside for which `bad` holds; the event that was too many.
    fn read(end: u64, each: u64, share: &str, bad: impl Fn(u64) -> bool) -> Option<(u64, u64, u64)> {
        let tolerance = Tolerance { on_error: OnError::DeadLetter, max_dead_letters: MaxDeadLetters::parse(share).unwrap() };
        let mut recent = Recent::default();
        for first in (1..=end).step_by(each as usize) {
            let sequences = || first..(first + each).min(end + 1);
            let with_row: Vec<u64> = sequences().filter(|sequence| !bad(*sequence)).collect();
            let covered = Covered { with_row: &with_row, without_row: sequences().filter(|sequence| bad(*sequence)).collect() };
            let letters: Vec<DeadLetter> = covered.without_row.iter().map(|sequence| letter(*sequence)).collect();
            if let Some(found) = recent.add(&covered, &letters.iter().collect::<Vec<_>>(), tolerance) {
                let (count, of, _) = found.share.unwrap();
                return Some((found.letter.sequence, count, of));
            }
        }
        None
    }

    #[test]
    fn the_share_is_one_of_the_last_events_however_they_are_cut() {
        for each in [1, 7, 100, 65_536] {
            assert_eq!(read(50, each, "50%", |_| true), None, "fewer than half of 100");
            assert_eq!(read(200, each, "50%", |_| true), Some((51, 51, 51)));
            assert_eq!(read(100_000, each, "50%", |sequence| sequence % 2 == 0), None);
            assert_eq!(read(100_000, each, "50%", |sequence| sequence > 70_000), Some((70_501, 501, 1_000)));
            assert_eq!(read(5_000, each, "1%", |sequence| sequence % 1_000 == 1), None);
            assert_eq!(read(5_000, each, "1%", |sequence| sequence > 4_000 && sequence % 2 == 0), Some((4_022, 11, 1_000)));
            assert_eq!(read(5_000, each, "off", |_| true), None);
        }
    }

    #[test]
    fn on_error_stop_takes_the_first() {
        let tolerance = Tolerance { on_error: OnError::Stop, max_dead_letters: MaxDeadLetters::parse("off").unwrap() };
        let covered = Covered { with_row: &[1, 2, 4], without_row: vec![3] };
        let found = Recent::default().add(&covered, &[&letter(3)], tolerance).unwrap();
        assert!(found.error("v").to_string().starts_with("view v: event 3 of orders cannot be applied"));
        assert_eq!(Recent::default().add(&covered, &[], tolerance), None);
    }
}
