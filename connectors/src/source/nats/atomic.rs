//! Finds the messages that the server stored as one atomic batch (servers from 2.12 on), so that no commit falls between them.
//!
//! The server stores them with consecutive sequences. Each has the headers `Nats-Batch-Id` and `Nats-Batch-Sequence`, which counts from 1,
//! and the last one has `Nats-Batch-Commit`. A filter may leave out some of them, the last one too. A batch then ends before the next
//! message that is not part of it, or at the end of the stream.

use async_nats::HeaderMap;

/// Finds atomic batches among messages in the order of their sequences.
#[derive(Debug, Clone, Default)]
pub(super) struct AtomicBatches {
    /// The batch that the last message belongs to and does not end.
    open: Option<String>,
    /// The offsets between two messages of one batch, ascending.
    inside: Vec<u64>,
}

/// A message's place in its atomic batch.
struct Part<'a> {
    batch: &'a str,
    is_first: bool,
    is_last: bool,
}

impl<'a> Part<'a> {
    fn of(headers: &'a HeaderMap) -> Option<Part<'a>> {
        let batch = headers.get("Nats-Batch-Id")?.as_str();
        let is_first = headers.get("Nats-Batch-Sequence").is_some_and(|sequence| sequence.as_str() == "1");
        Some(Part { batch, is_first, is_last: headers.get("Nats-Batch-Commit").is_some() })
    }
}

impl AtomicBatches {
    /// Continues after the last message that `before` has passed.
    pub(super) fn after(before: &AtomicBatches) -> AtomicBatches {
        AtomicBatches { open: before.open.clone(), inside: Vec::new() }
    }

    /// Passes the next message.
    pub(super) fn pass(&mut self, sequence: u64, headers: Option<&HeaderMap>) {
        let Some(part) = headers.and_then(Part::of) else {
            self.open = None;
            return;
        };
        let goes_on = !part.is_first && self.open.as_deref() == Some(part.batch);
        if goes_on && self.inside.last() != Some(&sequence) {
            self.inside.push(sequence);
        }
        if part.is_last {
            self.open = None;
        } else {
            self.inside.push(sequence + 1);
            if !goes_on {
                self.open = Some(part.batch.to_owned());
            }
        }
    }

    /// Covers sequences without messages up to an offset. `last` are the headers of the stream's last message before it, if it exists: it
    /// may belong to the open batch, though a filter leaves it out.
    pub(super) fn cover(&mut self, offset: u64, last: Option<&HeaderMap>) {
        let part = last.and_then(Part::of);
        if part.is_some_and(|part| !part.is_last && self.open.as_deref() == Some(part.batch)) {
            self.inside.push(offset);
        } else {
            self.open = None;
        }
    }

    /// Returns the batch that the last message belongs to and does not end.
    pub(super) fn open(&self) -> Option<&str> {
        self.open.as_deref()
    }

    /// Forgets the open batch, which ends at this offset: its other messages do not exist.
    pub(super) fn close_at(&mut self, offset: u64) {
        self.open = None;
        self.inside.retain(|inside| *inside != offset);
    }

    /// Passes a sequence whose message was deleted. Whether it belonged to the open batch is not known.
    pub(super) fn pass_deleted(&mut self, sequence: u64) {
        if self.open.is_some() {
            self.inside.push(sequence + 1);
        }
    }

    /// Whether a message belongs to the open batch.
    pub(super) fn is_open_for(&self, headers: &HeaderMap) -> bool {
        Part::of(headers).is_some_and(|part| !part.is_first && self.open.as_deref() == Some(part.batch))
    }

    /// Takes the offsets between two messages of one batch, ascending.
    pub(super) fn take_inside(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.inside)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn part(batch: &str, sequence: u64, is_last: bool) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Batch-Id", batch);
        headers.insert("Nats-Batch-Sequence", sequence.to_string().as_str());
        if is_last {
            headers.insert("Nats-Batch-Commit", "1");
        }
        headers
    }

    #[test]
    fn no_offset_within_a_batch_is_a_boundary() {
        let mut batches = AtomicBatches::default();
        batches.pass(1, None);
        for (sequence, headers) in [(2, part("a", 1, false)), (3, part("a", 2, false)), (4, part("a", 3, true))] {
            batches.pass(sequence, Some(&headers));
        }
        batches.pass(5, Some(&part("b", 1, true)));
        batches.pass(6, Some(&part("c", 1, false)));
        assert_eq!(batches.open(), Some("c"));
        assert_eq!(batches.take_inside(), [3, 4, 7]);
        // It goes on in the next gathering.
        let mut next = AtomicBatches::after(&batches);
        next.pass(7, Some(&part("c", 2, true)));
        assert_eq!(next.open(), None);
        assert_eq!(next.take_inside(), [7]);
    }

    #[test]
    fn a_batch_whose_end_is_filtered_out_ends_with_the_next_message_or_the_stream() {
        let mut batches = AtomicBatches::default();
        batches.pass(2, Some(&part("a", 1, false)));
        let mut at_end = batches.clone();
        batches.pass(5, None);
        assert_eq!(batches.open(), None);

        // The stream's last message so far is another one of the batch, then its last one.
        at_end.cover(4, Some(&part("a", 2, false)));
        assert_eq!((at_end.open(), at_end.inside.last()), (Some("a"), Some(&4)));
        at_end.cover(5, Some(&part("a", 3, true)));
        assert_eq!((at_end.open(), at_end.inside.contains(&5)), (None, false));

        // It is known that the rest of the batch does not exist.
        let mut closed = AtomicBatches::default();
        closed.pass(2, Some(&part("a", 1, false)));
        assert!(closed.is_open_for(&part("a", 2, false)) && !closed.is_open_for(&part("a", 1, false)));
        closed.close_at(3);
        assert_eq!(closed.open(), None);
        assert!(closed.take_inside().is_empty());

        // A deleted message does not end it.
        let mut holed = AtomicBatches::default();
        holed.pass(2, Some(&part("a", 1, false)));
        holed.pass_deleted(3);
        holed.pass(4, Some(&part("a", 3, true)));
        assert_eq!(holed.open(), None);
        assert_eq!(holed.take_inside(), [3, 4]);

        // The same id again is another batch.
        let mut again = AtomicBatches::default();
        again.pass(2, Some(&part("a", 1, false)));
        again.take_inside();
        again.pass(3, Some(&part("a", 1, false)));
        assert_eq!(again.take_inside(), [4]);
    }
}
