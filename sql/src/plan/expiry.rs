//! Which rows can be evicted as the watermark goes on.

use datafusion::logical_expr::Expr;

/// Rows of one input that can be evicted: those whose time is not after the end of the latest windows that have left the view. From then
/// on they are neither absorbed nor stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expiry {
    /// Which input.
    pub input: usize,
    /// Over the columns of the input.
    pub time: RowTime,
    /// Of an aggregate: the same, over its own columns, of which only its groups' are used.
    pub groups: Option<RowTime>,
}

/// A time of each row, in the unit of the end of a window. Where it is NULL the row is never old.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowTime {
    /// A timestamp, or an Int64 that counts like one. Columns are unqualified.
    pub time: Expr,
    /// What is added to it.
    pub slack: i64,
}
