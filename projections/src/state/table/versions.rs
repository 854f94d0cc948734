//! What a table knows of the rows of one segment: their keys, weights and earlier versions.

use arrow::array::Int64Array;
use arrow::record_batch::RecordBatch;

use crate::state::keys::Keys;
use crate::state::place::Place;
use crate::state::weights::weights_of;

/// The index of one segment.
#[derive(Debug, Default)]
pub(super) struct Versions {
    pub(super) keys: Keys,
    /// While the epoch lasts that made this segment: for each row, the version that its key had when the epoch began.
    pub(super) before: Option<Vec<Place>>,
    /// Only in tables with weights.
    weighted: Option<Weighted>,
}

#[derive(Debug)]
struct Weighted {
    weights: Int64Array,
    /// How many older versions of each row's key the table's segments hold. 255 means unknown, but some.
    older: Vec<u8>,
    /// How many of the live rows are tombstones of keys that have no older versions.
    spent: usize,
}

impl Weighted {
    fn is_spent(&self, row: usize) -> bool {
        self.older[row] == 0 && self.weights.value(row) == 0
    }
}

impl Versions {
    /// Of rows whose older versions are not counted yet.
    pub(super) fn new(keys: Keys, rows: &RecordBatch, weight: Option<usize>) -> Self {
        let weighted = weight.map(|column| Weighted { weights: weights_of(rows, column), older: Vec::new(), spent: 0 });
        Self { keys, before: None, weighted }
    }

    /// Bytes held beside those of the rows.
    pub(super) fn bytes(&self) -> usize {
        self.keys.size()
    }

    /// The weight of a row; 0 in a table without weights.
    pub(super) fn weight(&self, row: usize) -> i64 {
        self.weighted.as_ref().map_or(0, |weighted| weighted.weights.value(row))
    }

    /// How many older versions there are of a row's key; 0 in a table without weights.
    pub(super) fn older(&self, row: usize) -> u8 {
        self.weighted.as_ref().map_or(0, |weighted| weighted.older[row])
    }

    /// Notes how many older versions there are of the key of the next row.
    pub(super) fn count_older(&mut self, row: usize, older: u8) {
        if let Some(weighted) = &mut self.weighted {
            assert!(weighted.older.len() == row, "older versions are counted row by row");
            weighted.older.push(older);
            weighted.spent += usize::from(weighted.is_spent(row));
        }
    }

    /// An older version of a row's key is no longer in the table.
    pub(super) fn discount_older(&mut self, row: usize) {
        if let Some(weighted) = &mut self.weighted
            && weighted.older[row] != u8::MAX
        {
            weighted.older[row] -= 1;
            weighted.spent += usize::from(weighted.is_spent(row));
        }
    }

    /// A row is no longer live: it is no tombstone any more.
    pub(super) fn no_longer_spent(&mut self, row: usize) {
        if let Some(weighted) = &mut self.weighted
            && weighted.is_spent(row)
        {
            weighted.spent -= 1;
        }
    }

    /// Live rows that are tombstones of keys without older versions.
    pub(super) fn spent(&self) -> usize {
        self.weighted.as_ref().map_or(0, |weighted| weighted.spent)
    }
}
