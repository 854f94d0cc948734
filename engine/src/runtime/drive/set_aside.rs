//! Counts the events that each view reads and sets aside. Warns about new kinds in the log at once, and about the rest at intervals.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use alluvium_connectors::Batch;
use alluvium_connectors::dead_letters::DeadLetter;
use alluvium_connectors::source::SourceConfig;

use super::limits::Covered;
use super::pipeline::{Member, Pipeline};
use super::tallies::concerns;
use crate::error::Error;

impl Pipeline {
    /// Notes that views begin to read a source at this offset, if they have not begun before. With `only`, just those views.
    pub(crate) fn begin_tallies(&mut self, source: &str, offset: u64, only: Option<&BTreeSet<String>>) {
        let may_be_silent = self.shared().project().tolerances.get(source).is_some_and(|of| of.may_be_silent);
        for member in self.readers(source, only) {
            member.tallies.of(source, offset).may_be_silent = may_be_silent;
        }
    }

    /// Counts a batch that was pushed. Its letters are those after the first `before`.
    ///
    /// # Errors
    /// A view that has set aside more than it may: the pipeline is to be dropped then.
    pub(super) fn tally(
        &mut self,
        source: &str,
        batch: &Batch,
        only: Option<&BTreeSet<String>>,
        before: usize,
    ) -> Result<(), Error> {
        let all = self.take_letters();
        let letters = all.get(before..).unwrap_or_default();
        let covered = Covered::of(batch, letters);
        let shared = Arc::clone(self.shared());
        let mut too_many = None;
        for member in self.readers(source, only) {
            if batch.rows.num_rows() > 0 {
                look(member, source, batch, shared.source(source));
            }
            // An event with several bad columns is one event.
            let mut own: BTreeMap<(u64, Option<u32>), &DeadLetter> = BTreeMap::new();
            for letter in letters.iter().filter(|letter| concerns(letter, &member.view.name)) {
                own.entry((letter.sequence, letter.ordinal)).or_insert(letter);
            }
            let own: Vec<&DeadLetter> = own.into_values().collect();
            let tolerance = shared.project().tolerance(&member.view, std::iter::once(source));
            let found = member.tallies.add(source, batch.start, &covered, &own, tolerance);
            member.tallies.miss(source, &batch.gaps);
            too_many = too_many.or_else(|| found.map(|found| found.error(&member.view.name)));
        }
        self.warn(source, letters);
        for gap in &batch.gaps {
            tracing::warn!(
                source,
                pipeline = self.name(),
                first = gap.first,
                last = gap.last,
                reason = gap.reason,
                "events are missing, and its views go on without them, as on_gap says"
            );
        }
        self.add_letters(all);
        too_many.map_or(Ok(()), Err)
    }

    /// Says in the log what was set aside, where that is due.
    fn warn(&self, source: &str, letters: &[DeadLetter]) {
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
    }

    fn readers(&mut self, source: &str, only: Option<&BTreeSet<String>>) -> impl Iterator<Item = &mut Member> {
        self.members_mut().iter_mut().filter(move |member| member.reads(source, only))
    }
}

/// Notes which columns that a view reads the rows of a batch have no member for.
fn look(member: &mut Member, source: &str, batch: &Batch, declared: Option<&SourceConfig>) {
    let Some(declared) = declared else { return };
    let name = |column: usize| declared.declared.fields().get(column).map(|field| field.name().as_str());
    let absent = batch.absent.as_deref();
    let (columns, unknown) = absent.map_or((&[][..], &[][..]), |absent| (&absent.columns[..], &absent.unknown[..]));
    let absent: Vec<&str> = columns.iter().filter_map(|column| name(*column)).collect();
    let read: Vec<&str> = member.view.plan.columns_read.of(source).filter_map(name).collect();
    member.tallies.look(source, &read, &absent, unknown);
}
