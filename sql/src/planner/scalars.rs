//! Rewrites scalar subqueries as joins with a relation of one row, so that they are maintained like any other join.
//!
//! Only subqueries that always give exactly one row are rewritten: aggregates without GROUP BY. Others stay subqueries, which fail
//! if they have more than one row.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, Result};
use datafusion::logical_expr::logical_plan::Subquery;
use datafusion::logical_expr::{Expr, Filter, LogicalPlan, LogicalPlanBuilder, Projection};

/// Joins each uncorrelated scalar subquery of a plan to the operator that uses it. Filters that `keeps` names stay as they are.
pub(crate) fn joined(plan: LogicalPlan, keeps: &dyn Fn(&Filter) -> bool) -> Result<LogicalPlan> {
    let mut number = 0;
    let joined = plan.transform_up_with_subqueries(|plan| match &plan {
        LogicalPlan::Filter(filter) if !keeps(filter) => {
            let (input, mut found) = scalars(&filter.input, std::slice::from_ref(&filter.predicate), &mut number)?;
            let Some(predicate) = found.pop().filter(|predicate| *predicate != filter.predicate) else {
                return Ok(Transformed::no(plan));
            };
            let columns = filter.input.schema().columns().into_iter().map(Expr::Column).collect();
            let filtered = LogicalPlan::Filter(Filter::try_new(predicate, Arc::new(input))?);
            let schema = Arc::clone(filter.input.schema());
            let narrowed = Projection::try_new_with_schema(columns, Arc::new(filtered), schema)?;
            Ok(Transformed::yes(LogicalPlan::Projection(narrowed)))
        }
        LogicalPlan::Projection(projection) => {
            let (input, found) = scalars(&projection.input, &projection.expr, &mut number)?;
            if found == projection.expr {
                return Ok(Transformed::no(plan));
            }
            let schema = Arc::clone(&projection.schema);
            let projected = Projection::try_new_with_schema(found, Arc::new(input), schema)?;
            Ok(Transformed::yes(LogicalPlan::Projection(projected)))
        }
        _ => Ok(Transformed::no(plan)),
    });
    Ok(joined?.data)
}

/// Returns an operator's input joined with its scalar subqueries, and its expressions over that.
fn scalars(input: &LogicalPlan, expressions: &[Expr], number: &mut usize) -> Result<(LogicalPlan, Vec<Expr>)> {
    let mut known: Vec<(Subquery, Column)> = Vec::new();
    let mut joined = input.clone();
    let mut replaced = Vec::with_capacity(expressions.len());
    for expression in expressions {
        let expression = expression.clone().transform_up(|expression| match expression {
            Expr::ScalarSubquery(subquery) if subquery.outer_ref_columns.is_empty() && gives_one_row(&subquery.subquery) => {
                if let Some((_, column)) = known.iter().find(|(other, _)| *other == subquery) {
                    return Ok(Transformed::yes(Expr::Column(column.clone())));
                }
                let column = Column::new_unqualified(format!("$scalar{number}"));
                *number += 1;
                let value = subquery.subquery.schema().columns().into_iter().take(1);
                let value = value.map(|value| Expr::Column(value).alias(column.name()));
                let one = LogicalPlanBuilder::from(subquery.subquery.as_ref().clone()).project(value)?.build()?;
                joined = LogicalPlanBuilder::from(joined.clone()).cross_join(one)?.build()?;
                known.push((subquery, column.clone()));
                Ok(Transformed::yes(Expr::Column(column)))
            }
            other => Ok(Transformed::no(other)),
        });
        replaced.push(expression?.data);
    }
    Ok((joined, replaced))
}

fn gives_one_row(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Aggregate(aggregate) => aggregate.group_expr.is_empty(),
        LogicalPlan::Projection(projection) => gives_one_row(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => gives_one_row(&alias.input),
        _ => false,
    }
}
