//! Stores the rows of segments.

use std::fmt;

use arrow::array::ArrayRef;
use arrow::record_batch::RecordBatch;

use crate::error::Error;

/// Stores the rows of segments by slot. Its users know the number, the keys and the weights of the rows, and ask for anything else by
/// whole columns.
///
/// # Contract
/// - [`SegmentStore::column`] and [`SegmentStore::rows`] return what [`SegmentStore::put`] stored for the slot, until the slot is removed
///   (checked by `state/segments/tests.rs`).
/// - Rows never change: a slot is put again only after it was removed (asserted).
/// - Returning a column may be slow, and may fail if the column must be read from elsewhere. So callers ask for it once for many rows,
///   never row by row (unchecked).
pub(crate) trait SegmentStore: fmt::Debug + Default + Send + Sync {
    /// Stores the rows of a slot.
    fn put(&mut self, slot: usize, rows: RecordBatch);

    /// Returns one column of a slot's rows.
    ///
    /// # Errors
    /// [`Error::Bug`] if the slot holds no rows, [`Error::Corrupt`] if they cannot be read.
    fn column(&self, slot: usize, column: usize) -> Result<ArrayRef, Error>;

    /// Returns all of a slot's rows.
    ///
    /// # Errors
    /// As [`SegmentStore::column`].
    fn rows(&self, slot: usize) -> Result<RecordBatch, Error>;

    /// Drops the rows of a slot.
    fn remove(&mut self, slot: usize);
}

/// Keeps all rows in memory.
#[derive(Debug, Default)]
pub(crate) struct InMemory(Vec<Option<RecordBatch>>);

impl InMemory {
    fn get(&self, slot: usize) -> Result<&RecordBatch, Error> {
        self.0.get(slot).and_then(Option::as_ref).ok_or_else(|| Error::Bug(format!("slot {slot} holds no rows")))
    }
}

impl SegmentStore for InMemory {
    fn put(&mut self, slot: usize, rows: RecordBatch) {
        if slot >= self.0.len() {
            self.0.resize(slot + 1, None);
        }
        let before = self.0[slot].replace(rows);
        assert!(before.is_none(), "a slot is put once");
    }

    fn column(&self, slot: usize, column: usize) -> Result<ArrayRef, Error> {
        Ok(ArrayRef::clone(self.get(slot)?.column(column)))
    }

    fn rows(&self, slot: usize) -> Result<RecordBatch, Error> {
        self.get(slot).cloned()
    }

    fn remove(&mut self, slot: usize) {
        if let Some(rows) = self.0.get_mut(slot) {
            *rows = None;
        }
    }
}
