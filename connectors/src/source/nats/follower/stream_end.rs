//! Notices the end of the stream: everything before it has been read, or holds no event to read.

use std::ops::Range;
use std::time::Duration;

use tokio::time::Instant;
use tracing::warn;

use super::{CONFIRM_WHILE_BUSY, CONFIRM_WHILE_QUIET, Follower, Stop};
use crate::source::decoding::Item;
use crate::source::nats::gathered::Gathered;
use crate::source::nats::lost::lost;
use crate::source::nats::stream::{Confirmation, last_event};

/// The number of checks that find the end ahead, without a message, before the missing sequences are requested one by one.
const LOOKS_BEFORE_PROBING: u32 = 3;
/// The number of such checks before the consumer is recreated.
const LOOKS_BEFORE_RESTART: u32 = 20;
/// How long to wait at the end of the stream for the rest of an atomic batch, before it counts as complete.
const BATCH_GRACE: Duration = Duration::from_secs(10);

impl Follower {
    /// Checks whether everything in the stream has been read. If only sequences without events to read remain, the batch, which is empty,
    /// covers them.
    pub(super) async fn look_for_end(&mut self, batch: &mut Gathered) -> Result<Option<u64>, Stop> {
        let now = Instant::now();
        self.looked_at = Some(now);
        self.look_at = now + CONFIRM_WHILE_BUSY;
        let Some(open) = &self.open else { return Err(Stop::Broken("no consumer".into())) };
        let facts = open.stream.facts().await?;
        let (extent, offset) = (facts.extent, self.position.offset);
        if extent.end < offset {
            let message = format!("the stream has lost its end: sequence {offset} was next, but its last is {}", extent.end - 1);
            return Err(Stop::Failed(self.connection.changed(message)));
        }
        let gap = match extent.first > offset && !self.at_head {
            true => lost(&self.connection, offset..extent.first, &facts).map_err(Stop::Failed)?,
            false => None,
        };
        if extent.end > offset && !self.nothing_left(extent.first.max(offset)..extent.end).await? {
            self.looks_in_vain += 1;
            if self.looks_in_vain > LOOKS_BEFORE_RESTART {
                return Err(Stop::Broken(format!("no message for some time, but the stream goes on to {}", extent.end - 1)));
            }
            return Ok(None);
        }
        if extent.end > offset {
            let Some(open) = &self.open else { return Err(Stop::Broken("no consumer".into())) };
            let last = open.stream.message(extent.end - 1).await?;
            let headers = last.as_ref().map(|message| &message.headers);
            batch.cover(extent.end, last.as_ref().map(last_event), headers);
            batch.gaps.extend(gap);
        }
        self.looks_in_vain = 0;
        Ok(Some(extent.end))
    }

    /// Checks whether none of these sequences, the last ones of the stream, holds an event to read.
    async fn nothing_left(&mut self, range: Range<u64>) -> Result<bool, Stop> {
        if range.is_empty() {
            return Ok(true);
        }
        let Some(open) = &self.open else { return Err(Stop::Broken("no consumer".into())) };
        if self.filtered() {
            // The consumer may be on a replica that lags behind, so ask the leader.
            if !open.consumer.drained().await.map_err(Stop::Broken)? {
                return Ok(false);
            }
            let last = open.stream.last_on(&self.connection.options().subjects).await?;
            return Ok(last.is_none_or(|last| last < range.start));
        }
        if self.looks_in_vain < LOOKS_BEFORE_PROBING {
            return Ok(false);
        }
        match open.stream.confirm(std::slice::from_ref(&range), &mut self.holes).await? {
            Confirmation::Holes => Ok(true),
            // What was lost meanwhile is found by the next check.
            Confirmation::Skipped(_) | Confirmation::Gone { .. } => Ok(false),
        }
    }

    /// Reports that the end was reached, unless the last message belongs to an atomic batch that is not complete. Reports it again soon if
    /// the queue to the reader is full.
    pub(super) fn caught_up(&mut self, end: u64) {
        if let Some(batch) = self.atomic.open() {
            if self.waits_for_batch_since.get_or_insert_with(Instant::now).elapsed() < BATCH_GRACE {
                self.look_at = Instant::now() + CONFIRM_WHILE_BUSY;
                return;
            }
            warn!(
                source = self.connection.source(),
                batch,
                offset = end,
                "the stream ends within an atomic batch, whose last messages it does not hold; what it holds is read as it is"
            );
            self.atomic.close_at(end);
        }
        self.waits_for_batch_since = None;
        let said = self.items.try_send(Item::CaughtUp(end)).is_ok();
        self.look_at = Instant::now() + if said { CONFIRM_WHILE_QUIET } else { CONFIRM_WHILE_BUSY };
    }
}
