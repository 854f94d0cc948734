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

    /// The rows for which the mask, which has no nulls, is true.
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

    /// The weight of each row.
    pub fn weights_iter(&self) -> impl Iterator<Item = i64> + '_ {
        (0..self.rows.num_rows()).map(|row| self.weights.as_ref().map_or(1, |weights| weights.value(row)))
    }
}
