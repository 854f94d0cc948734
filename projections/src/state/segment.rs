//! One immutable batch of a state table.

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::Int64Type;
use arrow::record_batch::RecordBatch;

use super::keys::Keys;
use super::{BatchId, compact};

/// Where a version of a row is: a slot of the table's segments and a row in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place(u32);

const ROW_BITS: u32 = super::MAX_BATCH_ROWS.trailing_zeros();

impl Place {
    /// No version at all.
    pub(crate) const NONE: Place = Place(u32::MAX);

    /// More segments than this do not fit; the last is left out so that [`Place::NONE`] is none of them.
    pub(crate) const MAX_SLOTS: usize = (1 << (32 - ROW_BITS)) - 1;

    pub(crate) fn new(slot: usize, row: usize) -> Self {
        Self(((slot as u32) << ROW_BITS) | row as u32)
    }

    pub(crate) fn slot(self) -> usize {
        (self.0 >> ROW_BITS) as usize
    }

    pub(crate) fn row(self) -> usize {
        (self.0 & ((1 << ROW_BITS) - 1)) as usize
    }

    /// As a number, another for each place.
    pub(crate) fn index(self) -> u32 {
        self.0
    }

    pub(crate) fn is_none(self) -> bool {
        self == Place::NONE
    }
}

/// One immutable batch, the keys of its rows, and which of them are still the newest version of their key.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) id: BatchId,
    pub(crate) rows: RecordBatch,
    pub(crate) keys: Keys,
    /// A bit for each row: whether it is the newest version of its key.
    alive: Vec<u64>,
    pub(crate) live: usize,
    /// In tables with weights: how many older versions of the row's key stand in segments of the table. At 255 it is no longer
    /// known, and the row is taken for one that has some.
    pub(crate) older: Vec<u8>,
    /// In tables with weights: how many of the living rows are tombstones of keys that have no older versions.
    pub(crate) spent: usize,
    /// While the epoch lasts that made this segment: for each row, the version that its key had when the epoch began.
    pub(crate) before: Option<Vec<Place>>,
    pub(crate) persisted: bool,
    pub(crate) bytes: usize,
}

impl Segment {
    pub(crate) fn new(id: BatchId, rows: RecordBatch, keys: Keys) -> Self {
        let count = rows.num_rows();
        assert!(count <= super::MAX_BATCH_ROWS, "a segment has at most {} rows", super::MAX_BATCH_ROWS);
        let mut alive = vec![u64::MAX; count.div_ceil(64)];
        if !count.is_multiple_of(64)
            && let Some(last) = alive.last_mut()
        {
            *last = (1 << (count % 64)) - 1;
        }
        let bytes = compact::bytes(&rows) + keys.size() + alive.len() * 8;
        Self { id, rows, keys, alive, live: count, older: Vec::new(), spent: 0, before: None, persisted: false, bytes }
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.num_rows()
    }

    pub(crate) fn dead(&self) -> usize {
        self.len() - self.live
    }

    /// Whether most of it can go: rows that are not the newest version of their key, and spent tombstones.
    pub(crate) fn is_mostly_dead(&self) -> bool {
        self.dead() + self.spent > self.live - self.spent
    }

    /// Whether a row is the tombstone of a key that has no older versions.
    pub(crate) fn is_spent(&self, weight_column: usize, row: usize) -> bool {
        self.older[row] == 0 && self.weight(weight_column, row) == 0
    }

    pub(crate) fn is_alive(&self, row: usize) -> bool {
        self.alive[row / 64] >> (row % 64) & 1 == 1
    }

    /// The row is not the newest version of its key any more.
    pub(crate) fn bury(&mut self, row: usize) {
        assert!(self.is_alive(row), "a version is superseded once");
        self.alive[row / 64] &= !(1 << (row % 64));
        self.live -= 1;
    }

    /// The rows that are the newest version of their key, or those that are not.
    pub(crate) fn rows_where(&self, alive: bool) -> impl Iterator<Item = usize> + '_ {
        (0..self.len()).filter(move |row| self.is_alive(*row) == alive)
    }

    pub(crate) fn column(&self, index: usize) -> &ArrayRef {
        self.rows.column(index)
    }

    pub(crate) fn weight(&self, column: usize, row: usize) -> i64 {
        self.rows.column(column).as_primitive::<Int64Type>().value(row)
    }
}
