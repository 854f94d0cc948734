//! What an arrangement knows of the rows of one segment.

use arrow::array::Int64Array;

/// The index of one segment.
#[derive(Debug, Default)]
pub(super) struct Hashes {
    /// The bucket of each row.
    pub(super) buckets: Vec<u32>,
    /// The hash of each whole row, where rows are removed by their content; else empty.
    pub(super) rows: Vec<u32>,
    /// The weight of each row, where rows are removed by their content; else none.
    pub(super) weights: Option<Int64Array>,
}

impl Hashes {
    /// Bytes held beside those of the rows.
    pub(super) fn bytes(&self) -> usize {
        (self.buckets.len() + self.rows.len()) * size_of::<u32>()
    }
}
