//! Updates the types of outer columns that subqueries read. A rule that changes the type of a column, such as that of sums, does
//! not reach the subqueries that read the column. DataFusion 55.2 compares it there by the type that it had when the query was
//! parsed.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, ExprSchema, Result};
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, Join, LogicalPlan, Subquery};

/// Gives the outer columns that subqueries read the types that the outer queries have. Not transformed if all types were right.
pub(super) fn retyped(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    // From the outside in: if two queries have a column of the same name, the inner one is meant.
    plan.transform_down_with_subqueries(|plan| match plan {
        LogicalPlan::Join(join) if holds_lateral(&join.right) => lateral(join),
        other => {
            let schema = merge_schema(&other.inputs());
            other.map_subqueries(|subquery| within(subquery, &schema))
        }
    })
}

/// Checks whether a side of a join reads the other side.
fn holds_lateral(side: &LogicalPlan) -> bool {
    matches!(side, LogicalPlan::Subquery(_)) || matches!(side, LogicalPlan::SubqueryAlias(alias) if holds_lateral(&alias.input))
}

fn lateral(join: Join) -> Result<Transformed<LogicalPlan>> {
    let right = within(Arc::unwrap_or_clone(join.right), join.left.schema())?;
    Ok(right.update_data(|right| LogicalPlan::Join(Join { right: Arc::new(right), ..join })))
}

/// Gives the outer columns of an inner plan the types that they have in `outer`.
fn within(plan: LogicalPlan, outer: &DFSchema) -> Result<Transformed<LogicalPlan>> {
    plan.transform_up_with_subqueries(|plan| {
        let plan = match plan {
            LogicalPlan::Subquery(subquery) => named(subquery, outer)?,
            other => Transformed::no(other),
        };
        plan.transform_data(|plan| {
            plan.map_expressions(|expression| expression.transform_up(|expression| column(expression, outer)))
        })
    })
}

fn named(subquery: Subquery, outer: &DFSchema) -> Result<Transformed<LogicalPlan>> {
    let mut changed = false;
    let columns = subquery.outer_ref_columns.into_iter().map(|expression| {
        let column = column(expression, outer)?;
        changed |= column.transformed;
        Ok(column.data)
    });
    let outer_ref_columns = columns.collect::<Result<_>>()?;
    let plan = LogicalPlan::Subquery(Subquery { outer_ref_columns, ..subquery });
    Ok(if changed { Transformed::yes(plan) } else { Transformed::no(plan) })
}

fn column(expression: Expr, outer: &DFSchema) -> Result<Transformed<Expr>> {
    let Expr::OuterReferenceColumn(field, column) = expression else { return Ok(Transformed::no(expression)) };
    Ok(match outer.field_from_column(&column) {
        Ok(now) if now.data_type() != field.data_type() => Transformed::yes(Expr::OuterReferenceColumn(Arc::clone(now), column)),
        _ => Transformed::no(Expr::OuterReferenceColumn(field, column)),
    })
}
