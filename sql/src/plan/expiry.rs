//! Which rows can be evicted as the watermark advances.

use datafusion::logical_expr::Expr;

/// Rows of one input that can be evicted: those whose time is not after the end of the latest windows that have been removed from
/// the view. From then on they are neither absorbed nor stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expiry {
    /// Index of the input.
    pub input: usize,
    /// The time, over the columns of the input.
    pub time: RowTime,
    /// Of an aggregate: the same time over the aggregate's own columns. It uses only the columns of the groups.
    pub groups: Option<RowTime>,
}

/// A time of each row, in the unit of the window's end. A row whose time is NULL is never old.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowTime {
    /// A timestamp, or an Int64 in the same unit. Columns are unqualified.
    pub time: Expr,
    /// Added to `time`.
    pub slack: i64,
}
