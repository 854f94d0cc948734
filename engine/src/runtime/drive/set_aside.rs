//! Counts the events that each view reads and sets aside. Warns about new kinds in the log at once, and about the rest at intervals.

use std::collections::BTreeSet;

use alluvium_connectors::Batch;
use alluvium_connectors::dead_letters::DeadLetter;

use super::pipeline::{Member, Pipeline};
use super::tallies::{concerns, events};

impl Pipeline {
    /// Notes that views begin to read a source at this offset, if they have not begun before. With `only`, just those views.
    pub(crate) fn begin_tallies(&mut self, source: &str, offset: u64, only: Option<&BTreeSet<String>>) {
        for member in self.readers(source, only) {
            member.tallies.of(source, offset);
        }
    }

    /// Counts a batch that was pushed. Its letters are those after the first `before`.
    pub(super) fn tally(&mut self, source: &str, batch: &Batch, only: Option<&BTreeSet<String>>, before: usize) {
        let all = self.take_letters();
        let letters = all.get(before..).unwrap_or_default();
        let events = events(batch, letters);
        for member in self.readers(source, only) {
            // An event with several bad columns is one event.
            let mut seen = BTreeSet::new();
            let own = letters.iter().filter(|letter| concerns(letter, &member.view.name) && seen.insert(letter.sequence));
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
        self.members_mut().iter_mut().filter(move |member| member.reads(source, only))
    }
}
