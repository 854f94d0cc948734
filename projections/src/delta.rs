//! Rows with weights.

use arrow::array::{AsArray, BooleanArray, Int64Array};
use arrow::compute::{filter, filter_record_batch};
use arrow::datatypes::Int64Type;
use arrow::record_batch::RecordBatch;

use crate::error::Error;

/// Row changes: a record batch with a weight for each row (+n in, -n out, never 0). No weights means all +1.
#[derive(Debug, Clone)]
pub struct Delta {
    /// The rows.
    pub rows: RecordBatch,
    /// The weight of each row, never null.
    pub weights: Option<Int64Array>,
}

impl Delta {
    /// Creates a delta that inserts each row once.
    #[must_use]
    pub fn insertions(rows: RecordBatch) -> Self {
        Self { rows, weights: None }
    }

    /// Creates a delta that retracts each row once.
    pub(crate) fn retractions(rows: RecordBatch) -> Self {
        let weights = Int64Array::from_value(-1, rows.num_rows());
        Self { rows, weights: Some(weights) }
    }

    /// Creates a delta from rows and their weights, none of which may be 0.
    pub(crate) fn weighted(rows: RecordBatch, weights: Int64Array) -> Self {
        Self { rows, weights: Some(weights) }.plain()
    }

    /// Drops the weights if all of them are 1.
    pub(crate) fn plain(mut self) -> Self {
        self.weights = self.weights.filter(|weights| weights.values().iter().any(|weight| *weight != 1));
        self
    }

    /// Returns `length` rows from `start` on, without copying them.
    pub(crate) fn slice(&self, start: usize, length: usize) -> Self {
        Self { rows: self.rows.slice(start, length), weights: self.weights.as_ref().map(|weights| weights.slice(start, length)) }
    }

    /// Keeps the rows for which `mask` is true. The mask must have no nulls.
    pub(crate) fn filtered(self, mask: &BooleanArray) -> Result<Self, Error> {
        if mask.true_count() == mask.len() {
            return Ok(self);
        }
        let weights = match &self.weights {
            Some(weights) => Some(filter(weights, mask)?.as_primitive::<Int64Type>().clone()),
            None => None,
        };
        Ok(Self { rows: filter_record_batch(&self.rows, mask)?, weights })
    }

    /// Iterates over the weights of the rows.
    pub fn weights_iter(&self) -> impl Iterator<Item = i64> + '_ {
        (0..self.rows.num_rows()).map(|row| self.weights.as_ref().map_or(1, |weights| weights.value(row)))
    }
}
