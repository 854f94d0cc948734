//! Rows with weights.

use arrow::array::Int64Array;
use arrow::record_batch::RecordBatch;

/// Row changes: a record batch with a weight for each row (+n in, -n out, never 0). No weights means all +1.
#[derive(Debug, Clone)]
pub struct Delta {
    /// The rows.
    pub rows: RecordBatch,
    /// As long as `rows`, without nulls.
    pub weights: Option<Int64Array>,
}

impl Delta {
    /// Rows that are all put in once.
    #[must_use]
    pub fn insertions(rows: RecordBatch) -> Self {
        Self { rows, weights: None }
    }

    /// Some of the rows, without a copy.
    pub(crate) fn slice(&self, start: usize, length: usize) -> Self {
        Self { rows: self.rows.slice(start, length), weights: self.weights.as_ref().map(|weights| weights.slice(start, length)) }
    }

    /// The weight of each row.
    pub fn weights_iter(&self) -> impl Iterator<Item = i64> + '_ {
        (0..self.rows.num_rows()).map(|row| self.weights.as_ref().map_or(1, |weights| weights.value(row)))
    }
}
