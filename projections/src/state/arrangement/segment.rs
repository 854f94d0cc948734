//! One immutable batch of an arrangement, and which of its rows are still there.

use arrow::record_batch::RecordBatch;

use crate::state::{BatchId, MAX_BATCH_ROWS, compact};

/// One immutable batch.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) id: BatchId,
    /// The rows as they are stored.
    pub(super) rows: RecordBatch,
    /// The bucket of each row.
    pub(super) buckets: Vec<u32>,
    /// The hash of each whole row, where rows can leave.
    pub(super) hashes: Vec<u32>,
    /// A bit for each row, set where it has left; empty while none has.
    dead: Vec<u64>,
    pub(super) live: usize,
    pub(super) persisted: bool,
    pub(super) bytes: usize,
}

impl Segment {
    pub(super) fn new(id: BatchId, rows: RecordBatch, buckets: Vec<u32>, hashes: Vec<u32>) -> Self {
        let live = rows.num_rows();
        assert!(live <= MAX_BATCH_ROWS, "a segment has at most {MAX_BATCH_ROWS} rows");
        let bytes = compact::bytes(&rows) + (buckets.len() + hashes.len()) * size_of::<u32>();
        Self { id, rows, buckets, hashes, dead: Vec::new(), live, persisted: false, bytes }
    }

    pub(super) fn len(&self) -> usize {
        self.rows.num_rows()
    }

    pub(super) fn dead(&self) -> usize {
        self.len() - self.live
    }

    pub(super) fn is_alive(&self, row: usize) -> bool {
        self.dead.get(row / 64).is_none_or(|bits| bits >> (row % 64) & 1 == 0)
    }

    pub(super) fn kill(&mut self, row: usize) {
        assert!(self.is_alive(row), "a row leaves once");
        if self.dead.is_empty() {
            self.dead = vec![0; self.len().div_ceil(64)];
        }
        self.dead[row / 64] |= 1 << (row % 64);
        self.live -= 1;
    }

    /// Bytes of what is alive, about.
    pub(super) fn living_bytes(&self) -> usize {
        self.bytes / self.len().max(1) * self.live
    }
}
