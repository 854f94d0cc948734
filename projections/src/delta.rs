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
