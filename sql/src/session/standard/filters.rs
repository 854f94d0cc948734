//! FILTER comes first: the argument of an aggregate is not evaluated for rows that FILTER leaves out. DataFusion 55.2 evaluates it
//! for all rows, and fails if one of them fails.

use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::logical_expr::expr::AggregateFunctionParams;
use datafusion::logical_expr::{Expr, when};

/// Guards the arguments of an aggregate with FILTER.
pub(super) fn first(expression: Expr) -> Result<Transformed<Expr>> {
    match expression {
        Expr::AggregateFunction(mut call) => {
            let AggregateFunctionParams { args, filter: Some(filter), .. } = &mut call.params else {
                return Ok(Transformed::no(Expr::AggregateFunction(call)));
            };
            let changed = guard(args, filter)?;
            let call = Expr::AggregateFunction(call);
            Ok(if changed { Transformed::yes(call) } else { Transformed::no(call) })
        }
        Expr::WindowFunction(mut call) => {
            let Some(filter) = call.params.filter.clone() else {
                return Ok(Transformed::no(Expr::WindowFunction(call)));
            };
            let changed = guard(&mut call.params.args, &filter)?;
            let call = Expr::WindowFunction(call);
            Ok(if changed { Transformed::yes(call) } else { Transformed::no(call) })
        }
        other => Ok(Transformed::no(other)),
    }
}

fn guard(arguments: &mut [Expr], filter: &Expr) -> Result<bool> {
    let mut changed = false;
    for argument in arguments.iter_mut().filter(|argument| may_fail(argument)) {
        *argument = when(filter.clone(), argument.clone()).end()?;
        changed = true;
    }
    Ok(changed)
}

/// Checks whether an expression computes anything that can fail. A CASE counts as guarded already.
fn may_fail(expression: &Expr) -> bool {
    !matches!(expression, Expr::Case(_))
        && expression
            .exists(|expression| {
                Ok(matches!(expression, Expr::ScalarFunction(_) | Expr::Cast(_) | Expr::BinaryExpr(_) | Expr::Negative(_)))
            })
            .unwrap_or(true)
}
