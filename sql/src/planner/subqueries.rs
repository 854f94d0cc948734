//! Finds operators that hold subqueries.

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Expr, LogicalPlan};

/// Checks whether an expression holds a subquery or a column of an outer query.
pub(super) fn holds_subquery(expression: &Expr) -> bool {
    let is_subquery = |expression: &Expr| {
        matches!(
            expression,
            Expr::ScalarSubquery(_)
                | Expr::Exists(_)
                | Expr::InSubquery(_)
                | Expr::SetComparison(_)
                | Expr::OuterReferenceColumn(..)
        )
    };
    expression.exists(|expression| Ok(is_subquery(expression))).unwrap_or(true)
}

/// Checks whether an operator's own expressions hold a subquery or a column of an outer query.
pub(super) fn has_subquery_or_outer_column(plan: &LogicalPlan) -> bool {
    let mut found = false;
    let walked = plan.apply_expressions(|expression| {
        found |= holds_subquery(expression);
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    found || walked.is_err() || matches!(plan, LogicalPlan::Subquery(_))
}
