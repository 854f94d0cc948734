//! The stored and new rows of the keys that new rows touch, key by key.
//!
//! Two keys may share a bucket, so keys are compared by their encoding.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::compute::interleave;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use rayon::prelude::*;

use super::rows::{arrivals, batch};
use crate::delta::Delta;
use crate::error::Error;
use crate::state::arrangement::Arrangement;
use crate::state::keys::Keys;
use crate::state::{MAX_BATCH_ROWS, Place};

/// A thread takes at least this many keys at once, if there are as many.
const KEYS_AT_ONCE: usize = 1 << 10;

/// How new rows change the answer: the numbers of rows, each with what the operator adds to the row.
#[derive(Debug)]
pub(crate) struct AnswerDiff<T> {
    /// Rows that the answer loses.
    pub(crate) retracted: Vec<(u32, T)>,
    /// Rows that the answer gains.
    pub(crate) emitted: Vec<(u32, T)>,
    /// Stored rows that are not needed any more.
    pub(crate) removed: Vec<u32>,
}

impl<T> Default for AnswerDiff<T> {
    fn default() -> AnswerDiff<T> {
        AnswerDiff { retracted: Vec::new(), emitted: Vec::new(), removed: Vec::new() }
    }
}

impl<T> AnswerDiff<T> {
    fn and(mut self, more: AnswerDiff<T>) -> AnswerDiff<T> {
        self.retracted.extend(more.retracted);
        self.emitted.extend(more.emitted);
        self.removed.extend(more.removed);
        self
    }
}

/// Rows by key. Each row has a number: the stored rows first, then the new ones, both in the order of their arrival.
#[derive(Debug)]
pub(crate) struct Groups {
    /// The places of the stored rows.
    pub(crate) stored: Vec<Place>,
    /// The new rows.
    pub(crate) new: RecordBatch,
    /// The bucket of each new row.
    pub(crate) buckets: Vec<u32>,
    /// The numbers of all rows. Those of one key are adjacent, in the order of their arrival.
    pub(crate) rows: Vec<u32>,
    /// The range of each key in `rows`, without gaps.
    pub(crate) keys: Vec<Range<u32>>,
}

impl Groups {
    /// Collects the rows of the keys that new rows touch. None if there are no new rows.
    pub(crate) fn touched(arrangement: &Arrangement, arrived: Vec<Delta>) -> Result<Option<Groups>, Error> {
        if arrived.is_empty() {
            return Ok(None);
        }
        Groups::new(arrangement, arrivals(arrived, arrangement.schema())?).map(Some)
    }

    fn new(arrangement: &Arrangement, new: RecordBatch) -> Result<Groups, Error> {
        let (by, columns) = (arrangement.by(), arrangement.by().columns());
        let of_new: Vec<ArrayRef> = columns.iter().map(|column| new.column(*column).clone()).collect();
        let new_keys = by.keys(&of_new, new.num_rows())?;
        let buckets = new_keys.hashes();
        let mut touched = buckets.clone();
        touched.par_sort_unstable();
        touched.dedup();
        let stored: Vec<Place> = touched.iter().flat_map(|bucket| arrangement.places(*bucket)).copied().collect();
        let of_stored = arrangement.columns(columns.iter().copied(), &stored)?;
        let keys = ByNumber { stored: by.keys(&of_stored, stored.len())?, new: new_keys, count: stored.len() };
        // One sort orders by bucket and number at once.
        let number = |row: usize, bucket: u32| u64::from(bucket) << 32 | row as u64;
        let stored_buckets = touched.iter().flat_map(|bucket| arrangement.places(*bucket).iter().map(|_| *bucket));
        let mut order: Vec<u64> = stored_buckets.enumerate().map(|(row, bucket)| number(row, bucket)).collect();
        order.extend(buckets.iter().enumerate().map(|(row, bucket)| number(stored.len() + row, *bucket)));
        order.par_sort_unstable();
        let mut rows: Vec<u32> = order.iter().map(|entry| *entry as u32).collect();
        let mut bounds: Vec<Range<u32>> = Vec::with_capacity(touched.len());
        let mut start = 0;
        for bucket in order.chunk_by(|one, next| one >> 32 == next >> 32) {
            let of_bucket = &mut rows[start..start + bucket.len()];
            let first = keys.get(of_bucket[0]);
            if of_bucket.iter().any(|row| keys.get(*row) != first) {
                of_bucket.sort_by(|one, other| keys.get(*one).cmp(keys.get(*other)));
            }
            for of_key in of_bucket.chunk_by(|one, next| keys.get(*one) == keys.get(*next)) {
                bounds.push(start as u32..(start + of_key.len()) as u32);
                start += of_key.len();
            }
        }
        Ok(Groups { stored, new, buckets, rows, keys: bounds })
    }

    /// Sorts the rows of each key by `by`, which takes the number of a row.
    pub(crate) fn sort_keys<K: Ord>(&mut self, by: impl Fn(u32) -> K + Sync) {
        let mut rest = self.rows.as_mut_slice();
        let mut of_keys = Vec::with_capacity(self.keys.len());
        for key in &self.keys {
            let (of_key, others) = std::mem::take(&mut rest).split_at_mut(key.len());
            of_keys.push(of_key);
            rest = others;
        }
        of_keys.into_par_iter().with_min_len(KEYS_AT_ONCE).for_each(|of_key| of_key.sort_unstable_by_key(|row| by(*row)));
    }

    /// Computes how the answer changes for all keys. `each` computes it for some of them.
    pub(crate) fn diff<T: Send>(&self, each: impl Fn(&[Range<u32>]) -> AnswerDiff<T> + Send + Sync) -> AnswerDiff<T> {
        let of_keys: Vec<AnswerDiff<T>> = self.keys.par_chunks(KEYS_AT_ONCE).map(each).collect();
        of_keys.into_iter().fold(AnswerDiff::default(), AnswerDiff::and)
    }

    /// Checks whether a row is stored.
    pub(crate) fn is_stored(&self, row: u32) -> bool {
        (row as usize) < self.stored.len()
    }

    /// Returns the place of a stored row.
    pub(crate) fn place(&self, row: u32) -> Place {
        self.stored[row as usize]
    }

    /// Returns the index of a new row among the new rows.
    pub(crate) fn index(&self, row: u32) -> usize {
        row as usize - self.stored.len()
    }

    /// Applies `each` to batches of some columns of all rows, in the order of their numbers.
    pub(crate) fn map_columns<T: Send>(
        &self,
        arrangement: &Arrangement,
        columns: &[usize],
        each: impl Fn(RecordBatch) -> Result<T, Error> + Sync,
    ) -> Result<Vec<T>, Error> {
        let all: Vec<u32> = (0..(self.stored.len() + self.new.num_rows()) as u32).collect();
        all.par_chunks(MAX_BATCH_ROWS).map(|rows| each(self.columns_of(arrangement, columns, rows)?)).collect()
    }

    /// Gathers some columns of some rows.
    pub(crate) fn columns_of(&self, arrangement: &Arrangement, columns: &[usize], rows: &[u32]) -> Result<RecordBatch, Error> {
        let mut places = Vec::new();
        let sources: Vec<(usize, usize)> = rows
            .iter()
            .map(|row| {
                if self.is_stored(*row) {
                    places.push(self.place(*row));
                    (0, places.len() - 1)
                } else {
                    (1, self.index(*row))
                }
            })
            .collect();
        let stored = arrangement.columns(columns.iter().copied(), &places)?;
        let gathered = stored.iter().zip(columns).map(|(stored, column)| {
            let both: [&dyn Array; 2] = [stored, self.new.column(*column)];
            Ok(interleave(&both, &sources)?)
        });
        let gathered: Vec<ArrayRef> = gathered.collect::<Result<_, Error>>()?;
        let schema = Arc::new(arrangement.schema().project(columns)?);
        batch(&schema, gathered, rows.len())
    }

    /// Turns the difference into deltas of a bounded size, retractions first. `columns` makes the output columns from the rows and what
    /// the operator adds to them.
    pub(crate) fn deltas<T: Sync>(
        &self,
        arrangement: &Arrangement,
        schema: &SchemaRef,
        diff: &AnswerDiff<T>,
        columns: impl Fn(&RecordBatch, &[(u32, T)]) -> Vec<ArrayRef> + Sync,
    ) -> Result<Vec<Delta>, Error> {
        let all: Vec<usize> = (0..arrangement.schema().fields().len()).collect();
        let delta = |(chunk, is_retracted): (&[(u32, T)], bool)| {
            let numbers: Vec<u32> = chunk.iter().map(|(row, _)| *row).collect();
            let gathered = self.columns_of(arrangement, &all, &numbers)?;
            let rows = batch(schema, columns(&gathered, chunk), chunk.len())?;
            Ok(if is_retracted { Delta::retractions(rows) } else { Delta::insertions(rows) })
        };
        let out = diff.retracted.par_chunks(MAX_BATCH_ROWS).map(|chunk| (chunk, true));
        out.chain(diff.emitted.par_chunks(MAX_BATCH_ROWS).map(|chunk| (chunk, false))).map(delta).collect()
    }
}

/// The keys of stored and new rows, by the number of the row.
struct ByNumber {
    stored: Keys,
    new: Keys,
    count: usize,
}

impl ByNumber {
    fn get(&self, row: u32) -> &[u8] {
        match (row as usize).checked_sub(self.count) {
            Some(index) => self.new.get(index),
            None => self.stored.get(row as usize),
        }
    }
}
