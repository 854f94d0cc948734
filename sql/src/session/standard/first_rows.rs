//! `LEFT JOIN LATERAL (SELECT ... ORDER BY at LIMIT 1) ON true`: for each row the first of an order. It is a subquery of one value, a struct of the
//! columns, which is kept like any other. DataFusion 55.2 has no physical plan for it.

use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, Result};
use datafusion::functions::core::expr_fn::get_field;
use datafusion::functions::core::named_struct;
use datafusion::logical_expr::{Expr, Join, JoinType, LogicalPlan, LogicalPlanBuilder, Subquery, lit};

use super::by_comparison;
use super::one_value::first_of;

/// A join with such a subquery, as columns of the rows on its left. `number` tells the columns apart.
pub(super) fn as_values(plan: LogicalPlan, number: &mut usize) -> Result<Transformed<LogicalPlan>> {
    let LogicalPlan::Join(join) = plan else { return Ok(Transformed::no(plan)) };
    match value_of(&join, number)? {
        Some(joined) => Ok(Transformed::yes(joined)),
        None => Ok(Transformed::no(LogicalPlan::Join(join))),
    }
}

/// Whether a join takes every pair.
pub(super) fn is_unconditional(join: &Join) -> bool {
    join.on.is_empty() && join.filter.as_ref().is_none_or(|filter| *filter == lit(true))
}

fn value_of(join: &Join, number: &mut usize) -> Result<Option<LogicalPlan>> {
    let lateral = match join.right.as_ref() {
        LogicalPlan::SubqueryAlias(alias) => alias.input.as_ref(),
        other => other,
    };
    let (LogicalPlan::Subquery(lateral), JoinType::Inner | JoinType::Left) = (lateral, join.join_type) else { return Ok(None) };
    if !is_unconditional(join) {
        return Ok(None);
    }
    let member = |index: usize| format!("c{index}");
    let row = first_of(&lateral.subquery, |columns| {
        let members = columns.into_iter().enumerate().flat_map(|(index, column)| [lit(member(index)), column]);
        Some(named_struct().call(members.collect()))
    })?;
    let Some(row) = row else { return Ok(None) };
    let name = format!("$first{number}");
    *number += 1;
    let row = Expr::ScalarSubquery(Subquery { subquery: Arc::new(row), ..lateral.clone() });
    let of_left = || join.left.schema().columns().into_iter().map(Expr::Column);
    let rows = LogicalPlanBuilder::from(join.left.as_ref().clone()).project(of_left().chain([row.alias(&name)]))?.build()?;
    let mut rows = LogicalPlanBuilder::from(by_comparison::joined(rows, number)?.data);
    let row = Expr::Column(Column::new_unqualified(name));
    if join.join_type == JoinType::Inner {
        rows = rows.filter(row.clone().is_not_null())?;
    }
    let of_right = join.right.schema().iter().enumerate().map(|(index, (qualifier, field))| {
        get_field(row.clone(), member(index)).alias_qualified(qualifier.cloned(), field.name())
    });
    Ok(Some(rows.project(of_left().chain(of_right))?.build()?))
}
