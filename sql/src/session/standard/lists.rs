//! `a IN (1) AND a IN (2)` is unknown where a is NULL. DataFusion 55.2 merges the two lists, and turns an empty list into
//! false (its issue 24246), so that NOT around it is true. So two lists over the same value are kept apart.

use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};

use crate::session::functions::same::same;

/// Keeps AND and OR of two lists over the same value apart: the second one reads the value through a function.
pub(super) fn kept_apart(expression: Expr) -> Result<Transformed<Expr>> {
    let Expr::BinaryExpr(BinaryExpr { left, op: op @ (Operator::And | Operator::Or), right }) = expression else {
        return Ok(Transformed::no(expression));
    };
    let asked = lists_of(&left)?;
    let right = right.transform_up(|expression| match expression {
        Expr::InList(InList { expr, list, negated }) if asked.contains(&*expr) => {
            let expr = Box::new(same().call(vec![*expr]));
            Ok(Transformed::yes(Expr::InList(InList { expr, list, negated })))
        }
        other => Ok(Transformed::no(other)),
    })?;
    let changed = right.transformed;
    let merged = Expr::BinaryExpr(BinaryExpr { left, op, right: Box::new(right.data) });
    Ok(if changed { Transformed::yes(merged) } else { Transformed::no(merged) })
}

/// Returns the values that are compared with lists or constants.
fn lists_of(expression: &Expr) -> Result<Vec<Expr>> {
    let mut values = Vec::new();
    expression.apply(|expression| {
        match expression {
            Expr::InList(list) => values.push(list.expr.as_ref().clone()),
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq | Operator::NotEq, right }) => {
                values.extend([left.as_ref().clone(), right.as_ref().clone()]);
            }
            _ => {}
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(values)
}
