//! Reads sorts, limits and ranks: which rows come first, and which bounds filters set on ranks.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, Result, ScalarValue};
use datafusion::logical_expr::expr::WindowFunctionDefinition;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{BinaryExpr, Expr, FetchType, Limit, LogicalPlan, Operator, Projection, SkipType, Sort, Window};

use crate::plan::plain_column;
use crate::planner::equality;
use crate::planner::subqueries::has_subquery_or_outer_column;

/// Window functions that rank a row by how many rows come before it in an order.
const RANKS: [&str; 3] = ["row_number", "rank", "dense_rank"];

/// Returns a sort directly under its limit, with the range of rows to emit: how many to skip, and the exclusive end. `None` if
/// there are no columns, or if equal values of one cannot be found by their encoding.
pub(super) fn of_changing(plan: &LogicalPlan) -> Option<(&Sort, usize, usize)> {
    let (sort, skip, fetch) = match plan {
        LogicalPlan::Sort(sort) => (sort, 0, sort.fetch?),
        LogicalPlan::Limit(limit) => {
            let LogicalPlan::Sort(sort) = limit.input.as_ref() else { return None };
            let (Ok(SkipType::Literal(skip)), Ok(FetchType::Literal(fetch))) = (limit.get_skip_type(), limit.get_fetch_type())
            else {
                return None;
            };
            let limit = fetch.map_or(usize::MAX, |fetch| skip.saturating_add(fetch));
            (sort, skip, limit.min(sort.fetch?))
        }
        _ => return None,
    };
    let schema = sort.input.schema();
    let told_apart = schema.fields().iter().all(|field| {
        field.data_type().is_floating()
            || equality::is_exact(field.data_type()) && !matches!(field.data_type(), DataType::Dictionary(_, _))
    });
    (told_apart && !schema.fields().is_empty()).then_some((sort, skip, fetch))
}

/// Moves each limit directly above its sort, by swapping it with a projection in between.
pub(super) fn limits_above_sorts(plan: LogicalPlan) -> Result<LogicalPlan> {
    let lowered = plan.transform_up(|plan| {
        let LogicalPlan::Limit(limit) = &plan else { return Ok(Transformed::no(plan)) };
        let LogicalPlan::Projection(projection) = limit.input.as_ref() else { return Ok(Transformed::no(plan)) };
        if !matches!(projection.input.as_ref(), LogicalPlan::Sort(_)) || has_subquery_or_outer_column(&limit.input) {
            return Ok(Transformed::no(plan));
        }
        let lowered = Limit { input: Arc::clone(&projection.input), ..limit.clone() };
        let schema = Arc::clone(&projection.schema);
        let above = Projection::try_new_with_schema(projection.expr.clone(), Arc::new(LogicalPlan::Limit(lowered)), schema)?;
        Ok(Transformed::yes(LogicalPlan::Projection(above)))
    });
    Ok(lowered?.data)
}

/// Checks whether a window operator computes only ranks in one order. Ranks do not depend on the rows that come after.
pub(super) fn ranks_alike(window: &Window) -> bool {
    let mut calls = window.window_expr.iter().map(|expression| match expression.clone().unalias() {
        Expr::WindowFunction(call) => match &call.fun {
            WindowFunctionDefinition::WindowUDF(function) if RANKS.contains(&function.name()) => {
                Some((call.params.partition_by, call.params.order_by))
            }
            _ => None,
        },
        _ => None,
    });
    match calls.next() {
        Some(Some(first)) => calls.all(|call| call.as_ref() == Some(&first)),
        _ => false,
    }
}

/// Follows the columns of a window operator up through a plan: returns the window's column that each column of the plan is, and
/// collects the bounds that filters set on them. `None` if the window's columns do not reach the plan.
pub(super) fn follow(plan: &LogicalPlan, bounds: &mut Vec<(usize, u64)>) -> Option<Vec<Option<usize>>> {
    match plan {
        // A window operator over another one looks at rows that a bound on the lower one would leave out.
        LogicalPlan::Window(window) if matches!(window.input.as_ref(), LogicalPlan::Window(_)) => None,
        LogicalPlan::Window(window) => Some((0..window.schema.fields().len()).map(Some).collect()),
        LogicalPlan::SubqueryAlias(alias) => follow(&alias.input, bounds),
        LogicalPlan::Projection(projection) => {
            let below = follow(&projection.input, bounds)?;
            let schema = projection.input.schema();
            let column = |expression: &Expr| {
                plain_column(expression).and_then(|column| schema.maybe_index_of_column(column)).and_then(|index| below[index])
            };
            Some(projection.expr.iter().map(column).collect())
        }
        LogicalPlan::Filter(filter) => {
            let below = follow(&filter.input, bounds)?;
            let schema = filter.input.schema();
            for condition in split_conjunction(&filter.predicate) {
                if let Some((column, bound)) = upper_bound(condition)
                    && let Some(column) = schema.maybe_index_of_column(column).and_then(|index| below[index])
                {
                    bounds.push((column, bound));
                }
            }
            Some(below)
        }
        _ => {
            for input in plan.inputs() {
                let _ = follow(input, bounds);
            }
            None
        }
    }
}

/// Returns the column that a condition bounds from above, and the largest value that it allows.
pub(super) fn upper_bound(condition: &Expr) -> Option<(&Column, u64)> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = condition else { return None };
    let (column, op, value) = match (left.as_ref(), right.as_ref()) {
        (Expr::Column(column), Expr::Literal(value, _)) => (column, *op, value),
        (Expr::Literal(value, _), Expr::Column(column)) => (column, op.swap()?, value),
        _ => return None,
    };
    let ScalarValue::UInt64(Some(value)) = value else { return None };
    match op {
        Operator::Lt => Some((column, value.saturating_sub(1))),
        Operator::LtEq | Operator::Eq => Some((column, *value)),
        _ => None,
    }
}
