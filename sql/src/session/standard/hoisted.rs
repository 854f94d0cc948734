//! Subqueries in the arguments, filters and keys of aggregates and window functions: `count(*) FILTER (WHERE x IN (SELECT ...))`. They become
//! columns of a projection below. DataFusion 55.2 has no physical plan for them where they stand.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, Result};
use datafusion::logical_expr::{Aggregate, Expr, LogicalPlan, LogicalPlanBuilder, Window};

use super::one_value;

/// The operator over a projection that computes its subqueries. `number` tells the columns apart.
pub(super) fn below(plan: LogicalPlan, number: &mut usize) -> Result<Transformed<LogicalPlan>> {
    let input = match &plan {
        LogicalPlan::Aggregate(aggregate) => Arc::clone(&aggregate.input),
        LogicalPlan::Window(window) => Arc::clone(&window.input),
        _ => return Ok(Transformed::no(plan)),
    };
    let mut computed: Vec<Expr> = Vec::new();
    let mut replaced = |expressions: &[Expr]| -> Result<Vec<Expr>> {
        expressions.iter().map(|expression| without_subqueries(expression, &mut computed, number)).collect()
    };
    let over = match &plan {
        LogicalPlan::Aggregate(aggregate) => (replaced(&aggregate.group_expr)?, replaced(&aggregate.aggr_expr)?),
        LogicalPlan::Window(window) => (Vec::new(), replaced(&window.window_expr)?),
        _ => return Ok(Transformed::no(plan)),
    };
    if computed.is_empty() {
        return Ok(Transformed::no(plan));
    }
    let columns = input.schema().columns().into_iter().map(Expr::Column).chain(computed);
    let input = Arc::new(LogicalPlanBuilder::from(Arc::unwrap_or_clone(input)).project(columns)?.build()?);
    let moved = match plan {
        LogicalPlan::Aggregate(_) => LogicalPlan::Aggregate(Aggregate::try_new(input, over.0, over.1)?),
        LogicalPlan::Window(window) => {
            let written = window.schema.columns().into_iter().map(Expr::Column);
            let windowed = LogicalPlan::Window(Window::try_new(over.1, input)?);
            LogicalPlanBuilder::from(windowed).project(written)?.build()?
        }
        other => other,
    };
    Ok(Transformed::yes(moved))
}

/// An expression over columns that hold its subqueries, under the name that it had.
fn without_subqueries(expression: &Expr, computed: &mut Vec<Expr>, number: &mut usize) -> Result<Expr> {
    let replaced = expression.clone().transform_down(|expression| {
        if !matches!(expression, Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_)) {
            return Ok(Transformed::no(expression));
        }
        let mut hoist = |subquery: Expr| {
            let name = format!("$asked{number}");
            *number += 1;
            computed.push(subquery.alias(&name));
            Expr::Column(Column::new_unqualified(name))
        };
        // What fails where there are several rows stays: CASE and FILTER may never ask for it.
        let moved = match one_value::of_rows(expression)?.data {
            Expr::ScalarFunction(mut call) => {
                call.args = call.args.into_iter().map(&mut hoist).collect();
                Expr::ScalarFunction(call)
            }
            subquery => hoist(subquery),
        };
        Ok(Transformed::new(moved, true, TreeNodeRecursion::Jump))
    })?;
    Ok(if replaced.transformed { replaced.data.alias(expression.schema_name().to_string()) } else { replaced.data })
}
