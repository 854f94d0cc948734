//! What a table knows about the rows of one segment: their keys, weights and older versions.

use arrow::array::Int64Array;
use arrow::record_batch::RecordBatch;

use crate::state::keys::Keys;
use crate::state::place::Place;
use crate::state::weights::weights_of;

/// The index of one segment.
#[derive(Debug, Default)]
pub(super) struct Versions {
    pub(super) keys: Keys,
    /// During the epoch that made this segment: for each row, the version of its key when the epoch began.
    pub(super) before: Option<Vec<Place>>,
    /// Only in tables with weights.
    weighted: Option<Weighted>,
}

#[derive(Debug)]
struct Weighted {
    weights: Int64Array,
    /// For each row, how many older versions of its key the table's segments hold. 255 means an unknown number, but some.
    older: Vec<u8>,
    /// The number of live rows that are tombstones of keys without older versions.
    spent: usize,
}

impl Weighted {
    fn is_spent(&self, row: usize) -> bool {
        self.older[row] == 0 && self.weights.value(row) == 0
    }
}

impl Versions {
    /// Creates the index of rows whose older versions are not counted yet.
    pub(super) fn new(keys: Keys, rows: &RecordBatch, weight: Option<usize>) -> Self {
        let weighted = weight.map(|column| Weighted { weights: weights_of(rows, column), older: Vec::new(), spent: 0 });
        Self { keys, before: None, weighted }
    }

    /// Returns the bytes held in addition to the rows.
    pub(super) fn bytes(&self) -> usize {
        self.keys.size()
    }

    /// Returns the weight of a row, 0 in a table without weights.
    pub(super) fn weight(&self, row: usize) -> i64 {
        self.weighted.as_ref().map_or(0, |weighted| weighted.weights.value(row))
    }

    /// Returns the number of older versions of a row's key, 0 in a table without weights.
    pub(super) fn older(&self, row: usize) -> u8 {
        self.weighted.as_ref().map_or(0, |weighted| weighted.older[row])
    }

    /// Records the number of older versions of the next row's key.
    pub(super) fn count_older(&mut self, row: usize, older: u8) {
        if let Some(weighted) = &mut self.weighted {
            assert!(weighted.older.len() == row, "older versions are counted row by row");
            weighted.older.push(older);
            weighted.spent += usize::from(weighted.is_spent(row));
        }
    }

    /// Records that an older version of a row's key has left the table.
    pub(super) fn discount_older(&mut self, row: usize) {
        if let Some(weighted) = &mut self.weighted
            && weighted.older[row] != u8::MAX
        {
            weighted.older[row] -= 1;
            weighted.spent += usize::from(weighted.is_spent(row));
        }
    }

    /// Records that a row is no longer live, and so no longer a tombstone.
    pub(super) fn no_longer_spent(&mut self, row: usize) {
        if let Some(weighted) = &mut self.weighted
            && weighted.is_spent(row)
        {
            weighted.spent -= 1;
        }
    }

    /// Returns the number of live rows that are tombstones of keys without older versions.
    pub(super) fn spent(&self) -> usize {
        self.weighted.as_ref().map_or(0, |weighted| weighted.spent)
    }
}
