//! What an arrangement knows about the rows of one segment.

use arrow::array::Int64Array;

/// The index of one segment.
#[derive(Debug, Default)]
pub(super) struct Hashes {
    /// The bucket of each row.
    pub(super) buckets: Vec<u32>,
    /// The hash of each whole row. Empty unless rows are removed by their content.
    pub(super) rows: Vec<u32>,
    /// The weight of each row. None unless rows are removed by their content.
    pub(super) weights: Option<Int64Array>,
}

impl Hashes {
    /// Returns the bytes held in addition to the rows.
    pub(super) fn bytes(&self) -> usize {
        (self.buckets.len() + self.rows.len()) * size_of::<u32>()
    }
}
