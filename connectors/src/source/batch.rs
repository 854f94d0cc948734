//! What reading a source gives: decoded events with the sequences that they cover.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, BooleanBufferBuilder, Int64Array, UInt64Array};
use arrow::compute::{filter, filter_record_batch};
use arrow::datatypes::{Int64Type, UInt64Type};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use bytes::Bytes;

use super::position::Position;
use crate::Error;
use crate::dead_letters::DeadLetter;
use crate::decode::Unfit;

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
    /// The events that decode in order of sequence; schema: [`decoded_schema`](super::decoded_schema).
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
    /// Values of the rows that do not fit their columns, by row, then by column: a row counts only for those who read none of its columns
    /// that are marked ([`Batch::fitting`]). Most often empty.
    pub unfit: Vec<Unfit>,
    /// How many values do not fit and are NULL, as the source's options ask.
    pub nulled: u64,
    /// Those that do not decode.
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

    /// The batch without the rows of which a value does not fit, among the columns for which `reads` holds.
    ///
    /// # Errors
    /// [`Error::Bug`] only.
    pub fn fitting(&self, reads: impl Fn(usize) -> bool) -> Result<Cow<'_, Batch>, Error> {
        let mut left_out = self.unfit.iter().filter(|unfit| reads(unfit.column)).map(|unfit| unfit.row).peekable();
        if left_out.peek().is_none() {
            return Ok(Cow::Borrowed(self));
        }
        let mut mask = BooleanBufferBuilder::new(self.rows.num_rows());
        mask.append_n(self.rows.num_rows(), true);
        left_out.for_each(|row| mask.set_bit(row, false));
        let mask = BooleanArray::new(mask.finish(), None);
        // Rows have moved. Of what is marked in those that are left, the caller reads nothing.
        let mut fitting = Batch { unfit: Vec::new(), ..self.clone() };
        let bug = |error: ArrowError| Error::Bug(format!("leaving out rows: {error}"));
        fitting.rows = filter_record_batch(&self.rows, &mask).map_err(bug)?;
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
            weights: self.weights.as_ref().map(|weights| weights.slice(first, end - first)),
            ..self.clone()
        }
    }

    /// The letter for a value that does not fit; `views` are those that leave its row out.
    #[must_use]
    pub fn unfit_letter(&self, source: &str, column: &str, views: &str, unfit: &Unfit) -> DeadLetter {
        DeadLetter {
            kind: unfit.kind,
            column: Some(column.to_owned()),
            ..self.expression_letter(source, views, unfit.row, unfit.error.clone())
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
            column: None,
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
