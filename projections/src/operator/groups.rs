//! The rows of the keys that new rows touch, key by key: those that are stored in an arrangement and those that come.
//!
//! Keys are told apart by their encoding, not by their bucket alone.

use std::ops::Range;

use arrow::array::{Array, ArrayRef};
use arrow::compute::interleave;
use arrow::record_batch::RecordBatch;

use super::linear::batch;
use crate::error::Error;
use crate::state::arrangement::Arrangement;
use crate::state::keys::{KeyEncoder, Keys};
use crate::state::{MAX_BATCH_ROWS, Place};

/// Rows by key. A row is known by its number: first all that are stored, then all that come, both in the order of their arrival.
#[derive(Debug)]
pub(super) struct Groups {
    /// Where the stored rows are.
    pub(super) stored: Vec<Place>,
    /// The rows that come.
    pub(super) new: RecordBatch,
    /// The bucket of each of these.
    pub(super) buckets: Vec<u32>,
    /// The numbers of all rows: those of one key side by side, in the order of their arrival.
    pub(super) rows: Vec<u32>,
    /// Where in `rows` each key begins and ends.
    pub(super) keys: Vec<Range<u32>>,
}

impl Groups {
    /// The rows of the keys that `new` touches. `columns` are those of the key, of types whose equal values are alike bit for bit.
    pub(super) fn new(
        arrangement: &Arrangement,
        columns: &[usize],
        encoder: &KeyEncoder,
        new: RecordBatch,
    ) -> Result<Groups, Error> {
        let of_new: Vec<ArrayRef> = columns.iter().map(|column| new.column(*column).clone()).collect();
        let new_keys = encoder.encode(&of_new, new.num_rows())?;
        let buckets = new_keys.hashes();
        let mut touched = buckets.clone();
        touched.sort_unstable();
        touched.dedup();
        let stored: Vec<Place> = touched.iter().flat_map(|bucket| arrangement.places(*bucket)).copied().collect();
        let of_stored = arrangement.columns(columns.iter().copied(), &stored)?;
        let keys = ByNumber { stored: encoder.encode(&of_stored, stored.len())?, new: new_keys, count: stored.len() };
        // Sorted by bucket and number at once.
        let number = |row: usize, bucket: u32| u64::from(bucket) << 32 | row as u64;
        let stored_buckets = touched.iter().flat_map(|bucket| arrangement.places(*bucket).iter().map(|_| *bucket));
        let mut order: Vec<u64> = stored_buckets.enumerate().map(|(row, bucket)| number(row, bucket)).collect();
        order.extend(buckets.iter().enumerate().map(|(row, bucket)| number(stored.len() + row, *bucket)));
        order.sort_unstable();
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

    /// Whether a row is stored.
    pub(super) fn is_stored(&self, row: u32) -> bool {
        (row as usize) < self.stored.len()
    }

    /// Where a stored row is.
    pub(super) fn place(&self, row: u32) -> Place {
        self.stored[row as usize]
    }

    /// The index of a row among those that come.
    pub(super) fn index(&self, row: u32) -> usize {
        row as usize - self.stored.len()
    }

    /// Some columns of all rows, by number.
    pub(super) fn columns(&self, arrangement: &Arrangement, columns: &[usize]) -> Result<RecordBatch, Error> {
        let all: Vec<u32> = (0..(self.stored.len() + self.new.num_rows()) as u32).collect();
        self.columns_of(arrangement, columns, &all)
    }

    /// Some columns of some rows.
    pub(super) fn columns_of(&self, arrangement: &Arrangement, columns: &[usize], rows: &[u32]) -> Result<RecordBatch, Error> {
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
        let schema = std::sync::Arc::new(arrangement.schema().project(columns)?);
        batch(&schema, gathered, rows.len())
    }

    /// All columns of some rows, as batches of a bounded size; with each the numbers of its rows.
    pub(super) fn batches<'a>(
        &'a self,
        arrangement: &'a Arrangement,
        rows: &'a [u32],
    ) -> impl Iterator<Item = Result<(RecordBatch, &'a [u32]), Error>> + 'a {
        let columns: Vec<usize> = (0..arrangement.schema().fields().len()).collect();
        rows.chunks(MAX_BATCH_ROWS).map(move |rows| Ok((self.columns_of(arrangement, &columns, rows)?, rows)))
    }
}

/// The keys of stored and of new rows.
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
