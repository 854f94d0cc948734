//! The result of reading a source: decoded events with the sequences that they cover.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, BooleanBufferBuilder, Int64Array, UInt64Array};
use arrow::compute::{filter, filter_record_batch};
use arrow::datatypes::{Int64Type, UInt64Type};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use bytes::Bytes;

use super::gap::Gap;
use super::position::Position;
use crate::Error;
use crate::dead_letters::DeadLetter;
use crate::decode::{Absent, Ordinals, Unfit};

/// Decoded events of one partition of a source: those with sequences in `start..end` that the source selects.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The partition; 0 in a source with a single partition.
    pub partition: u32,
    /// The first sequence covered.
    pub start: u64,
    /// One past the last sequence covered: the partition's offset in the position after the whole batch. Equals `start` only in a result
    /// of [`Batch::until`].
    pub end: u64,
    /// The events that decode, in order of sequence. Schema: [`decoded_schema`](super::decoded_schema).
    pub rows: RecordBatch,
    /// The sequence of each row, ascending, as long as `rows`. If an event becomes several rows (an update: the row before and the row
    /// after), they share its sequence.
    pub sequences: UInt64Array,
    /// The place of each row in its message, where messages may hold several events; none where each is one.
    pub ordinals: Option<Ordinals>,
    /// The weight of each row (+n adds it n times, -n removes it n times), as long as `rows`. `None` means all +1.
    ///
    /// A view that applies weights must be planned for rows that are retracted. No source that SQL can declare has weights yet.
    pub weights: Option<Int64Array>,
    /// After which events a commit is allowed.
    pub commits: CommitPoints,
    /// The sequences that the source no longer held, and without which reading goes on. Usually empty.
    pub gaps: Vec<Gap>,
    /// The number of events read, whether they decode or not.
    pub events: u64,
    /// The total size of their payloads in bytes.
    pub bytes: u64,
    /// The values that do not fit their columns, by row, then by column. A row counts only for views that read none of its marked columns
    /// ([`Batch::fitting`]). Usually empty.
    pub unfit: Vec<Unfit>,
    /// The number of values that do not fit and became NULL because of option `on_bad_member`.
    pub nulled: u64,
    /// Columns that none of the rows had a member for, in the whole of what was decoded together; none where there is no such column.
    pub absent: Option<Arc<Absent>>,
    /// The events that do not decode.
    pub dead_letters: Vec<DeadLetter>,
    /// When the newest event was stored, in nanoseconds since the epoch, if the source knows.
    pub newest_ns: Option<i64>,
    /// The position after this batch.
    pub position: Position,
    /// The messages of the rows, for dead letters of those on which a view's expression fails.
    pub origin: Option<Arc<dyn Origin>>,
}

/// After which events of a batch a commit is allowed. A source uses it to keep events that belong together in one commit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum CommitPoints {
    /// After any event.
    #[default]
    AfterAny,
    /// Only at these offsets, ascending: before the event with that sequence, or at the end of the batch. If empty, no commit is allowed in
    /// the batch or at its end.
    At(Vec<u64>),
    /// At any offset except these, ascending.
    NotAt(Vec<u64>),
}

impl CommitPoints {
    /// Checks whether a commit is allowed at this offset.
    #[must_use]
    pub fn allow(&self, offset: u64) -> bool {
        match self {
            CommitPoints::AfterAny => true,
            CommitPoints::At(offsets) => offsets.binary_search(&offset).is_ok(),
            CommitPoints::NotAt(offsets) => offsets.binary_search(&offset).is_err(),
        }
    }
}

/// The messages that a batch was decoded from.
///
/// # Contract
/// - A letter has the subject, time, headers and payload of the message with that sequence (checked by the tests of the files' and the
///   streams' readers). The caller sets its source and error.
/// - It stays available as long as the batch (by ownership).
pub trait Origin: fmt::Debug + Send + Sync {
    /// Returns the message of a sequence as a dead letter, or `None` if the batch holds no such message.
    fn letter(&self, sequence: u64) -> Option<DeadLetter>;
}

impl Batch {
    /// Returns the part of this batch from `offset` on, for a reader that has already applied the rest. The counts of events and bytes
    /// stay those of the whole batch.
    #[must_use]
    pub fn since(&self, offset: u64) -> Batch {
        if offset <= self.start {
            return self.clone();
        }
        let first = self.sequences.values().partition_point(|sequence| *sequence < offset);
        let dead_letters = self.dead_letters.iter().filter(|letter| letter.sequence >= offset).cloned().collect();
        let gaps = self.gaps.iter().filter_map(|gap| gap.since(offset)).collect();
        Batch { start: offset.min(self.end), dead_letters, gaps, ..self.rows_between(first, self.sequences.len()) }
    }

    /// Returns the part of this batch before `offset`, for a reader that stops there. `position` stays that of the whole batch.
    #[must_use]
    pub fn until(&self, offset: u64) -> Batch {
        if offset >= self.end {
            return self.clone();
        }
        let length = self.sequences.values().partition_point(|sequence| *sequence < offset);
        let dead_letters = self.dead_letters.iter().filter(|letter| letter.sequence < offset).cloned().collect();
        let gaps = self.gaps.iter().filter_map(|gap| gap.until(offset)).collect();
        Batch { end: offset.max(self.start), dead_letters, gaps, ..self.rows_between(0, length) }
    }

    /// Returns the batch without the rows that have a value that does not fit in a column for which `reads` is true.
    ///
    /// # Errors
    /// Only [`Error::Bug`].
    pub fn fitting(&self, reads: impl Fn(usize) -> bool) -> Result<Cow<'_, Batch>, Error> {
        let mut left_out = self.unfit.iter().filter(|unfit| reads(unfit.column)).map(|unfit| unfit.row).peekable();
        if left_out.peek().is_none() {
            return Ok(Cow::Borrowed(self));
        }
        let mut mask = BooleanBufferBuilder::new(self.rows.num_rows());
        mask.append_n(self.rows.num_rows(), true);
        left_out.for_each(|row| mask.set_bit(row, false));
        let mask = BooleanArray::new(mask.finish(), None);
        // The row indexes of the marks are no longer valid. The caller reads none of the marked columns in the remaining rows.
        let mut fitting = Batch { unfit: Vec::new(), ..self.clone() };
        let bug = |error: ArrowError| Error::Bug(format!("leaving out rows: {error}"));
        fitting.rows = filter_record_batch(&self.rows, &mask).map_err(bug)?;
        fitting.ordinals = self.ordinals.as_ref().map(|ordinals| ordinals.filter(&mask)).transpose().map_err(bug)?;
        fitting.sequences = filter(&self.sequences, &mask).map_err(bug)?.as_primitive::<UInt64Type>().clone();
        if let Some(weights) = &self.weights {
            fitting.weights = Some(filter(weights, &mask).map_err(bug)?.as_primitive::<Int64Type>().clone());
        }
        Ok(Cow::Owned(fitting))
    }

    fn rows_between(&self, first: usize, end: usize) -> Batch {
        let of_rows = self.unfit.iter().filter(|unfit| (first..end).contains(&unfit.row));
        Batch {
            unfit: of_rows.map(|unfit| Unfit { row: unfit.row - first, ..unfit.clone() }).collect(),
            rows: self.rows.slice(first, end - first),
            sequences: self.sequences.slice(first, end - first),
            ordinals: self.ordinals.as_ref().map(|ordinals| ordinals.slice(first, end - first)),
            weights: self.weights.as_ref().map(|weights| weights.slice(first, end - first)),
            ..self.clone()
        }
    }

    /// Returns the event of a row: its sequence, and its place in its message, which is 0 if the message is one event.
    #[must_use]
    pub fn event(&self, row: usize) -> (u64, u32) {
        (self.sequences.value(row), self.ordinals.as_ref().map_or(0, |ordinals| ordinals.of(row)))
    }

    /// Returns the dead letter for a value that does not fit. `views` are the views that leave its row out.
    #[must_use]
    pub fn unfit_letter(&self, source: &str, column: &str, views: &str, unfit: &Unfit) -> DeadLetter {
        DeadLetter {
            kind: unfit.kind,
            column: Some(column.to_owned()),
            ..self.expression_letter(source, views, unfit.row, unfit.error.clone())
        }
    }

    /// Returns the dead letter for row `row`, on which an expression of `view` failed.
    #[must_use]
    pub fn expression_letter(&self, source: &str, view: &str, row: usize, error: String) -> DeadLetter {
        let letter = self.message_letter(source, view, row, error);
        match &self.ordinals {
            Some(ordinals) => ordinals.narrow(letter, row),
            None => letter,
        }
    }

    /// Returns a dead letter for the message of row `row`, with all events that it holds.
    #[must_use]
    pub fn message_letter(&self, source: &str, view: &str, row: usize, error: String) -> DeadLetter {
        let sequence = if row < self.sequences.len() { self.sequences.value(row) } else { self.start };
        let found = self.origin.as_ref().and_then(|origin| origin.letter(sequence));
        let letter = found.unwrap_or_else(|| DeadLetter {
            source: source.to_owned(),
            sequence,
            view: None,
            column: None,
            ordinal: None,
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
