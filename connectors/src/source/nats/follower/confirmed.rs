//! Looks at sequences that were not delivered: confirms that they hold no event, or tells which of them the stream has lost, and finds the
//! end of an atomic batch that the filter leaves out.

use std::ops::Range;

use super::{Follower, Stop};
use crate::source::gap::Gap;
use crate::source::nats::gathered::Gathered;
use crate::source::nats::lost::lost;
use crate::source::nats::stream::{Confirmation, last_event, overlap};

/// How often in a row the server may skip an event before that is an error.
const SKIPS_TOLERATED: u32 = 5;
/// The maximum number of messages to ask for in search of the end of an atomic batch.
const MAX_COMPLETED: usize = 64;

impl Follower {
    /// Confirms that the ranges, which are ascending, hold no event. Returns those that the stream has lost, where reading goes on without
    /// them.
    pub(super) async fn confirm(&mut self, ranges: &[Range<u64>]) -> Result<Vec<Gap>, Stop> {
        let mut rest = ranges.to_vec();
        let mut gaps = Vec::new();
        loop {
            let Some(open) = &self.open else { return Err(Stop::Broken("no consumer".into())) };
            match open.stream.confirm(&rest, &mut self.holes).await? {
                Confirmation::Holes => return Ok(gaps),
                Confirmation::Gone { facts } => {
                    let first = facts.extent.first;
                    for range in rest.iter().filter(|range| range.start < first) {
                        gaps.extend(lost(&self.connection, range.start..range.end.min(first), &facts).map_err(Stop::Failed)?);
                    }
                    rest.retain(|range| range.end > first);
                    rest.iter_mut().for_each(|range| range.start = range.start.max(first));
                }
                Confirmation::Skipped(sequence) => {
                    self.skips += 1;
                    if self.skips > SKIPS_TOLERATED {
                        let message =
                            format!("sequence {sequence} was expected; the stream holds it, but the server does not deliver it");
                        return Err(Stop::Failed(self.connection.changed(message)));
                    }
                    return Err(Stop::Broken(format!("the stream holds sequence {sequence}, but it was not delivered")));
                }
            }
        }
    }

    /// Covers the messages after the batch that complete its last atomic batch and that the filter leaves out. Otherwise no commit could fall
    /// before the next batch, and with a filter that leaves out the end of every atomic batch, none at all while events arrive.
    pub(super) async fn complete_atomic_batch(&mut self, batch: &mut Gathered) -> Result<(), Stop> {
        let Some(open) = &self.open else { return Ok(()) };
        let subjects = &self.connection.options().subjects;
        if batch.atomic().open().is_none() {
            return Ok(());
        }
        // Asked before the messages: a sequence below it that has no message never gets one.
        let end = open.stream.facts().await?.extent.end;
        for _ in 0..MAX_COMPLETED {
            // The end of the stream is noticed elsewhere.
            if batch.atomic().open().is_none() || batch.end >= end {
                break;
            }
            let Some(message) = open.stream.message(batch.end).await? else {
                batch.pass_over_deleted();
                continue;
            };
            if subjects.iter().any(|pattern| overlap(pattern, &message.subject)) && batch.belongs(&message.headers) {
                break;
            }
            batch.pass_over(&message.headers, last_event(&message));
        }
        Ok(())
    }
}
