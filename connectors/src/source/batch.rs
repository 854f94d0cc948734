//! What reading a source gives: decoded events with the sequences that they cover.

use std::fmt;
use std::sync::Arc;

use arrow::array::{Int64Array, UInt64Array};
use arrow::record_batch::RecordBatch;
use bytes::Bytes;

use super::position::Position;
use crate::dead_letters::DeadLetter;

/// Decoded events of one partition of a source: those with sequences in `start..end` that the source selects.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The partition; 0 in a source that has one.
    pub partition: u32,
    /// First sequence covered.
    pub start: u64,
    /// One past the last sequence covered: the offset of the partition in the position after the whole batch. `start == end` only
    /// in what [`Batch::until`] leaves.
    pub end: u64,
    /// The good events in order of sequence; schema: [`decoded_schema`](super::decoded_schema).
    pub rows: RecordBatch,
    /// The sequence of each row, rising, as long as `rows`. Strictly rising where an event is one row; the rows of an event that is
    /// several (an update: the row before and the row after) share its sequence.
    pub sequences: UInt64Array,
    /// The weight of each row (+n in, -n out), as long as `rows`; none means all +1.
    ///
    /// Whoever applies it must have planned for rows that go away: no kind of source that SQL can declare gives weights yet.
    pub weights: Option<Int64Array>,
    /// After which events a commit may fall.
    pub commits: CommitPoints,
    /// Events read, good and bad.
    pub events: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
    /// The bad ones.
    pub dead_letters: Vec<DeadLetter>,
    /// When the newest event was stored, nanoseconds since the epoch, where the source says.
    pub newest_ns: Option<i64>,
    /// Where reading goes on after this batch.
    pub position: Position,
    /// The messages behind the rows, for those on which a view's expression fails.
    pub origin: Option<Arc<dyn Origin>>,
}

/// After which events of a batch a commit may fall: a source whose events belong together never has them split between two commits.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum CommitPoints {
    /// After any.
    #[default]
    AfterAny,
    /// At these offsets only, rising: before the event with that sequence, or at the end of the batch. None: nowhere in the batch, nor
    /// at its end.
    At(Vec<u64>),
}

impl CommitPoints {
    /// Whether a commit may fall at this offset.
    #[must_use]
    pub fn allow(&self, offset: u64) -> bool {
        match self {
            CommitPoints::AfterAny => true,
            CommitPoints::At(offsets) => offsets.binary_search(&offset).is_ok(),
        }
    }
}

/// The messages that a batch was decoded from.
///
/// # Contract
/// - A letter has the subject, time, headers and payload of the message with that sequence (checked by the tests of the files' and the
///   streams' reader). Its source and error are left to the caller.
/// - It stays available for as long as the batch (by ownership).
pub trait Origin: fmt::Debug + Send + Sync {
    /// The message of a sequence as a dead letter; none where the batch holds no such message.
    fn letter(&self, sequence: u64) -> Option<DeadLetter>;
}

impl Batch {
    /// The part of this batch at and after `offset`, for a reader that has already applied what comes before.
    /// Counts of events and bytes stay those of the whole.
    #[must_use]
    pub fn since(&self, offset: u64) -> Batch {
        if offset <= self.start {
            return self.clone();
        }
        let first = self.sequences.values().partition_point(|sequence| *sequence < offset);
        let dead_letters = self.dead_letters.iter().filter(|letter| letter.sequence >= offset).cloned().collect();
        Batch { start: offset.min(self.end), dead_letters, ..self.rows_between(first, self.sequences.len()) }
    }

    /// The part of this batch before `offset`, for a reader that stops there. Its `position` stays that of the whole.
    #[must_use]
    pub fn until(&self, offset: u64) -> Batch {
        if offset >= self.end {
            return self.clone();
        }
        let length = self.sequences.values().partition_point(|sequence| *sequence < offset);
        let dead_letters = self.dead_letters.iter().filter(|letter| letter.sequence < offset).cloned().collect();
        Batch { end: offset.max(self.start), dead_letters, ..self.rows_between(0, length) }
    }

    fn rows_between(&self, first: usize, end: usize) -> Batch {
        Batch {
            rows: self.rows.slice(first, end - first),
            sequences: self.sequences.slice(first, end - first),
            weights: self.weights.as_ref().map(|weights| weights.slice(first, end - first)),
            ..self.clone()
        }
    }

    /// The letter for row `row`, on which an expression of `view` failed.
    #[must_use]
    pub fn expression_letter(&self, source: &str, view: &str, row: usize, error: String) -> DeadLetter {
        let sequence = if row < self.sequences.len() { self.sequences.value(row) } else { self.start };
        let found = self.origin.as_ref().and_then(|origin| origin.letter(sequence));
        let letter = found.unwrap_or_else(|| DeadLetter {
            source: source.to_owned(),
            sequence,
            view: None,
            subject: String::new(),
            timestamp_ns: None,
            headers: None,
            payload: Bytes::new(),
            kind: "expression",
            error: String::new(),
        });
        DeadLetter { source: source.to_owned(), view: Some(view.to_owned()), kind: "expression", error, ..letter }
    }
}
