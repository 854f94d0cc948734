//! Expressions that are plain columns.

use datafusion::common::Column;
use datafusion::logical_expr::Expr;

/// Returns the column that an expression is, with or without an alias.
pub(crate) fn plain_column(expression: &Expr) -> Option<&Column> {
    match expression {
        Expr::Column(column) => Some(column),
        Expr::Alias(alias) => plain_column(&alias.expr),
        _ => None,
    }
}
