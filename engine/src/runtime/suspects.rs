//! Finds the event on which a pipeline panics, so that it can be set aside.
//!
//! The state of operators that have panicked cannot be trusted, so the search restarts the pipeline. If it panics again at the same place,
//! it reads that place in smaller and smaller batches, with a commit after each. In the end the last commit lies right before the event,
//! and the event is alone in hand when the pipeline panics for the last time.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::Events;

/// The largest number of events in a batch, for each step of the search.
const STEPS: [usize; 3] = [1024, 32, 1];
/// How many events of one pipeline a process may set aside. If more panic, the fault does not lie in the events.
const MOST: usize = 16;

/// Where a pipeline has panicked, and the events that were set aside for that.
#[derive(Debug, Clone, Default)]
pub(crate) struct Suspects {
    /// The events in hand at the last panic.
    events: Events,
    /// An index into [`STEPS`]; `None` before the second panic at one place.
    step: Option<usize>,
    aside: BTreeMap<String, BTreeSet<u64>>,
}

impl Suspects {
    /// Takes a panic into account. Returns whether the next attempt is a step of the search, rather than a plain repetition.
    pub(crate) fn narrow(&mut self, in_hand: &Events) -> bool {
        let known = std::mem::replace(&mut self.events, in_hand.clone());
        let again = in_hand
            .0
            .iter()
            .any(|(source, range)| known.0.get(source).is_some_and(|known| known.start < range.end && range.start < known.end));
        let step = match self.step.filter(|_| again) {
            _ if !again => None,
            None => Some(0),
            Some(step) if step + 1 < STEPS.len() => Some(step + 1),
            Some(step) => return self.set_aside(in_hand) && step > 0,
        };
        self.step = step;
        step.is_some()
    }

    /// Sets aside the one event in hand. Returns false if there are several in hand, or if too many have been set aside.
    fn set_aside(&mut self, in_hand: &Events) -> bool {
        let mut each = in_hand.0.iter();
        let (Some((source, range)), None) = (each.next(), each.next()) else { return false };
        let known: usize = self.aside.values().map(BTreeSet::len).sum();
        if range.end - range.start != 1 || known >= MOST {
            return false;
        }
        self.aside.entry(source.clone()).or_default().insert(range.start)
    }

    /// Returns how many events a batch of the source may have from this offset on, or `None` if nothing there is suspect.
    pub(crate) fn batch_limit(&self, source: &str, offset: u64) -> Option<usize> {
        let suspect = self.events.0.get(source).is_some_and(|range| offset < range.end);
        self.step.filter(|_| suspect).map(|step| STEPS[step])
    }

    /// The sequences that are set aside, by source.
    pub(crate) fn all_aside(&self) -> &BTreeMap<String, BTreeSet<u64>> {
        &self.aside
    }

    /// The sequences of a source that are set aside.
    pub(crate) fn aside(&self, source: &str) -> Option<&BTreeSet<u64>> {
        self.aside.get(source)
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use super::*;

    fn in_hand(range: Range<u64>) -> Events {
        Events([("orders".to_owned(), range)].into())
    }

    #[test]
    fn panics_at_one_place_lead_to_the_event() {
        let mut suspects = Suspects::default();
        assert!(!suspects.narrow(&in_hand(1..90_000)), "one panic may be chance");
        assert_eq!(suspects.batch_limit("orders", 1), None);
        for (range, limit) in [(1..90_000, 1024), (4_097..5_121, 32), (4_993..5_025, 1)] {
            assert!(suspects.narrow(&in_hand(range.clone())));
            assert_eq!(suspects.batch_limit("orders", range.start), Some(limit));
            assert_eq!(suspects.batch_limit("orders", range.end), None, "later events are read as usual");
        }
        assert!(suspects.narrow(&in_hand(5_000..5_001)));
        assert_eq!(suspects.aside("orders"), Some(&BTreeSet::from([5_000])));
        assert!(!suspects.narrow(&in_hand(8_000..9_000)), "another place starts a new search");
        assert_eq!(suspects.batch_limit("orders", 8_000), None);
    }

    #[test]
    fn what_panics_on_every_event_is_no_fault_of_events() {
        let mut suspects = Suspects::default();
        for _ in 0..4 {
            suspects.narrow(&in_hand(1..2));
        }
        let searched = (1..100).take_while(|sequence| suspects.narrow(&in_hand(*sequence..*sequence + 1))).count();
        assert!(searched < MOST, "{searched}");
    }
}
