//! Expressions that are plain columns.

use datafusion::common::Column;
use datafusion::logical_expr::Expr;

/// The column that an expression is, under another name or not.
pub(crate) fn plain_column(expression: &Expr) -> Option<&Column> {
    match expression {
        Expr::Column(column) => Some(column),
        Expr::Alias(alias) => plain_column(&alias.expr),
        _ => None,
    }
}
