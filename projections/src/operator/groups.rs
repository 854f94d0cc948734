//! The rows of the keys that new rows touch, key by key: those that are stored in an arrangement and those that come.
//!
//! Keys are told apart by their encoding, not by their bucket alone.

use std::ops::Range;
use std::sync::Arc;

use alluvium_sql::KeyedInput;
use arrow::array::{Array, ArrayRef, Int64Array};
use arrow::compute::interleave;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use rayon::prelude::*;

use super::keyed::renamed_whole;
use super::linear::batch;
use crate::delta::Delta;
use crate::error::Error;
use crate::state::arrangement::{Arrangement, Leave};
use crate::state::buckets::Buckets;
use crate::state::compact::concat_rows;
use crate::state::keys::Keys;
use crate::state::{MAX_BATCH_ROWS, Place, TableCheckpoint, Tables};

/// Keys that are worth going to another thread for.
const KEYS_AT_ONCE: usize = 1 << 10;

/// The rows of an operator whose input only arrives, stored by key, and those that have come since the last flush.
#[derive(Debug)]
pub(super) struct Arrivals {
    pub(super) rows: Arrangement,
    staged: Vec<Delta>,
    pending: Vec<Delta>,
}

impl Arrivals {
    /// Equal keys are alike bit for bit.
    ///
    /// # Errors
    /// [`Error::Plan`] where a column of the key cannot be compared.
    pub(super) fn new(name: String, schema: &SchemaRef, key: &KeyedInput, leave: Leave) -> Result<Arrivals, Error> {
        let buckets = Buckets::new(schema, &key.columns, key.nulls_match)?;
        Ok(Arrivals { rows: Arrangement::new(name, schema, buckets, leave)?, staged: Vec::new(), pending: Vec::new() })
    }

    pub(super) fn stage(&mut self, delta: Delta) {
        self.staged.push(delta);
    }

    pub(super) fn unstage(&mut self) {
        self.staged.clear();
    }

    pub(super) fn absorb(&mut self) {
        self.pending.append(&mut self.staged);
    }

    pub(super) fn checkpoint(&mut self, tables: &mut Vec<TableCheckpoint>) {
        self.rows.checkpoint(tables);
    }

    pub(super) fn restore(&mut self, tables: &mut Tables) -> Result<(), Error> {
        self.rows.restore(tables)
    }

    pub(super) fn size(&self) -> (u64, u64) {
        self.rows.size()
    }

    /// What has come, with the stored rows of its keys; none where nothing has.
    pub(super) fn take(&mut self) -> Result<Option<Groups>, Error> {
        if self.pending.is_empty() {
            return Ok(None);
        }
        let schema = self.rows.schema();
        let pending = std::mem::take(&mut self.pending).into_iter();
        let batches = pending.map(|delta| renamed_whole(delta, schema)).collect::<Result<Vec<_>, Error>>()?;
        let new = concat_rows(schema, &batches.concat())?;
        drop(batches);
        Groups::new(&self.rows, new).map(Some)
    }
}

/// What new rows change in the answer, as numbers of rows with what the operator says of each.
#[derive(Debug)]
pub(super) struct Changes<T> {
    /// Rows that were shown and are not any more, or otherwise.
    pub(super) out: Vec<(u32, T)>,
    /// Rows that are shown now.
    pub(super) come: Vec<(u32, T)>,
    /// Stored rows that are not needed any more.
    pub(super) dropped: Vec<u32>,
}

impl<T> Default for Changes<T> {
    fn default() -> Changes<T> {
        Changes { out: Vec::new(), come: Vec::new(), dropped: Vec::new() }
    }
}

impl<T> Changes<T> {
    fn and(mut self, more: Changes<T>) -> Changes<T> {
        self.out.extend(more.out);
        self.come.extend(more.come);
        self.dropped.extend(more.dropped);
        self
    }
}

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
    /// Where in `rows` each key begins and ends, without gaps.
    pub(super) keys: Vec<Range<u32>>,
}

impl Groups {
    /// The rows of the keys that `new` touches.
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
        // Sorted by bucket and number at once.
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

    /// Brings the rows of each key in the order of what `by` gives for a number.
    pub(super) fn sort_keys<K: Ord>(&mut self, by: impl Fn(u32) -> K + Sync) {
        let mut rest = self.rows.as_mut_slice();
        let mut of_keys = Vec::with_capacity(self.keys.len());
        for key in &self.keys {
            let (of_key, others) = std::mem::take(&mut rest).split_at_mut(key.len());
            of_keys.push(of_key);
            rest = others;
        }
        of_keys.into_par_iter().with_min_len(KEYS_AT_ONCE).for_each(|of_key| of_key.sort_unstable_by_key(|row| by(*row)));
    }

    /// The changes of all keys, of which `each` gives those of some.
    pub(super) fn changes<T: Send>(&self, each: impl Fn(&[Range<u32>]) -> Changes<T> + Send + Sync) -> Changes<T> {
        let of_keys: Vec<Changes<T>> = self.keys.par_chunks(KEYS_AT_ONCE).map(each).collect();
        of_keys.into_iter().fold(Changes::default(), Changes::and)
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

    /// What `each` makes of some columns of all rows, by number.
    pub(super) fn map_columns<T: Send>(
        &self,
        arrangement: &Arrangement,
        columns: &[usize],
        each: impl Fn(RecordBatch) -> Result<T, Error> + Sync,
    ) -> Result<Vec<T>, Error> {
        let all: Vec<u32> = (0..(self.stored.len() + self.new.num_rows()) as u32).collect();
        all.par_chunks(MAX_BATCH_ROWS).map(|rows| each(self.columns_of(arrangement, columns, rows)?)).collect()
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
        let schema = Arc::new(arrangement.schema().project(columns)?);
        batch(&schema, gathered, rows.len())
    }

    /// Changes as deltas of a bounded size, what goes out first. `columns` gives those of the output from the rows and what the
    /// operator says of them.
    pub(super) fn deltas<T: Sync>(
        &self,
        arrangement: &Arrangement,
        schema: &SchemaRef,
        changes: &Changes<T>,
        columns: impl Fn(&RecordBatch, &[(u32, T)]) -> Vec<ArrayRef> + Sync,
    ) -> Result<Vec<Delta>, Error> {
        let all: Vec<usize> = (0..arrangement.schema().fields().len()).collect();
        let delta = |(chunk, goes_out): (&[(u32, T)], bool)| {
            let numbers: Vec<u32> = chunk.iter().map(|(row, _)| *row).collect();
            let gathered = self.columns_of(arrangement, &all, &numbers)?;
            let rows = batch(schema, columns(&gathered, chunk), chunk.len())?;
            Ok(Delta { rows, weights: goes_out.then(|| Int64Array::from_value(-1, chunk.len())) })
        };
        let out = changes.out.par_chunks(MAX_BATCH_ROWS).map(|chunk| (chunk, true));
        out.chain(changes.come.par_chunks(MAX_BATCH_ROWS).map(|chunk| (chunk, false))).map(delta).collect()
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
