//! Comparisons, windows and orders over floats use float keys: zeros of both signs are equal, are peers and share a partition, and
//! NaN sorts last. Those over INTERVALs use their lengths: 48 hours are more than a day, which to DataFusion 55.2 they are not.

use std::sync::Arc;

use arrow::datatypes::{DataType, IntervalUnit};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr::Sort as SortExpr;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, Operator, Window, cast};

use super::by_comparison;
use crate::session::functions::float_key::compared;
use crate::session::functions::intervals::interval_key;

/// Makes the partitions, orders and join keys of a node use float keys.
pub(super) fn compared_by_key(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    match plan {
        LogicalPlan::Window(window) => {
            let input = Arc::clone(window.input.schema());
            let mut changed = false;
            let window_expr = window
                .window_expr
                .iter()
                .map(|expression| {
                    let keyed = expression.clone().transform_up(|expression| match expression {
                        Expr::WindowFunction(mut call) => {
                            let partitions = call.params.partition_by.iter_mut();
                            let orders = call.params.order_by.iter_mut().map(|sort| &mut sort.expr);
                            let mut any = false;
                            for key in partitions.chain(orders) {
                                any |= by_key(key, &input);
                            }
                            changed |= any;
                            let call = Expr::WindowFunction(call);
                            Ok(if any { Transformed::yes(call) } else { Transformed::no(call) })
                        }
                        other => Ok(Transformed::no(other)),
                    })?;
                    // The operators above refer to the column by its former name.
                    let named = |keyed: Expr| keyed.unalias().alias(expression.schema_name().to_string());
                    Ok(if keyed.transformed { named(keyed.data) } else { keyed.data })
                })
                .collect::<Result<Vec<_>>>()?;
            if !changed {
                return Ok(Transformed::no(LogicalPlan::Window(window)));
            }
            let keyed = Window::try_new_with_schema(window_expr, window.input, window.schema)?;
            Ok(Transformed::yes(LogicalPlan::Window(keyed)))
        }
        LogicalPlan::Join(mut join) => {
            for (left, right) in &mut join.on {
                let (of_left, of_right) = (join.left.schema().clone(), join.right.schema().clone());
                // The values of outer rows, each of which is asked for by itself.
                let is_ours = matches!(right, Expr::Column(column) if column.name().starts_with(by_comparison::PREFIX));
                let is_interval = |side: &Expr, schema: &DFSchema| matches!(side.get_type(schema), Ok(DataType::Interval(_)));
                if is_ours && is_interval(left, &of_left) {
                    continue;
                }
                if is_interval(left, &of_left) || is_interval(right, &of_right) {
                    all_by_key(&mut [&mut *left], &of_left, true);
                    all_by_key(&mut [&mut *right], &of_right, true);
                    continue;
                }
                by_key(left, &of_left);
                by_key(right, &of_right);
            }
            Ok(Transformed::yes(LogicalPlan::Join(join)))
        }
        LogicalPlan::Sort(mut sort) => {
            let input = Arc::clone(sort.input.schema());
            let mut changed = false;
            for SortExpr { expr, .. } in &mut sort.expr {
                changed |= by_key(expr, &input);
            }
            let sort = LogicalPlan::Sort(sort);
            Ok(if changed { Transformed::yes(sort) } else { Transformed::no(sort) })
        }
        other => Ok(Transformed::no(other)),
    }
}

/// Makes a comparison of floats, or an aggregate ordered by floats, use float keys.
pub(super) fn equal_by_key(expression: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    match expression {
        Expr::BinaryExpr(mut comparison) if compares(comparison.op) => {
            let changed = all_by_key(&mut [&mut *comparison.left, &mut *comparison.right], schema, false);
            Ok(marked(Expr::BinaryExpr(comparison), changed))
        }
        Expr::Between(mut between) => {
            let changed = all_by_key(&mut [&mut *between.expr, &mut *between.low, &mut *between.high], schema, false);
            Ok(marked(Expr::Between(between), changed))
        }
        Expr::InList(mut list) => {
            let mut sides: Vec<&mut Expr> = std::iter::once(&mut *list.expr).chain(&mut list.list).collect();
            let changed = all_by_key(&mut sides, schema, false);
            Ok(marked(Expr::InList(list), changed))
        }
        Expr::AggregateFunction(mut call) => {
            let keys = call.params.order_by.iter_mut();
            let changed = keys.fold(false, |changed, key| by_key(&mut key.expr, schema) | changed);
            Ok(marked(Expr::AggregateFunction(call), changed))
        }
        other => Ok(Transformed::no(other)),
    }
}

fn compares(operator: Operator) -> bool {
    use Operator::{Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, NotEq};
    matches!(operator, Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom)
}

fn marked(expression: Expr, changed: bool) -> Transformed<Expr> {
    if changed { Transformed::yes(expression) } else { Transformed::no(expression) }
}

/// Replaces expressions that are compared with each other by their keys, and returns whether any changed. What is compared with an INTERVAL
/// is one, and so is each if `are_intervals`.
fn all_by_key(sides: &mut [&mut Expr], schema: &DFSchema, are_intervals: bool) -> bool {
    let types: Vec<Option<DataType>> = sides.iter().map(|side| side.get_type(schema).ok()).collect();
    if !are_intervals && !types.iter().flatten().any(|data_type| matches!(data_type, DataType::Interval(_))) {
        return sides.iter_mut().fold(false, |changed, side| by_key(side, schema) | changed);
    }
    for (side, data_type) in sides.iter_mut().zip(types) {
        if !matches!(data_type, Some(DataType::Interval(_) | DataType::Duration(_))) {
            **side = cast(std::mem::take(&mut **side), DataType::Interval(IntervalUnit::MonthDayNano));
        }
        **side = interval_key().call(vec![std::mem::take(&mut **side)]);
    }
    true
}

/// Replaces a float or an INTERVAL by its key, and returns whether it changed.
fn by_key(expression: &mut Expr, schema: &DFSchema) -> bool {
    let keyed = match expression.get_type(schema) {
        Ok(data_type @ (DataType::Float32 | DataType::Float64)) => compared(expression.clone(), &data_type),
        Ok(DataType::Interval(_)) => interval_key().call(vec![expression.clone()]),
        _ => return false,
    };
    let changed = keyed != *expression;
    *expression = keyed;
    changed
}
