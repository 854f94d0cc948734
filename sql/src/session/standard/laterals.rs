//! `FROM t, UNNEST(t.items) AS i(item)`: for each row, a chain of unnests, filters and projections over its columns. DataFusion
//! 55.2 has no physical plan for such a join. Here the chain is applied to the rows themselves, without a join.

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, NullHandling, Result, UnnestOptions};
use datafusion::logical_expr::{Expr, Join, JoinType, LogicalPlan, LogicalPlanBuilder};

use super::first_rows::is_unconditional;

/// Replaces a join whose right side is such a chain over one row by the chain over its left side.
pub(super) fn unnested(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let LogicalPlan::Join(join) = plan else { return Ok(Transformed::no(plan)) };
    match over_left_side(&join)? {
        Some(unnested) => Ok(Transformed::yes(unnested)),
        None => Ok(Transformed::no(LogicalPlan::Join(join))),
    }
}

fn over_left_side(join: &Join) -> Result<Option<LogicalPlan>> {
    let chain = match join.right.as_ref() {
        LogicalPlan::SubqueryAlias(alias) => alias.input.as_ref(),
        other => other,
    };
    let LogicalPlan::Subquery(chain) = chain else { return Ok(None) };
    let kept = match join.join_type {
        JoinType::Inner => false,
        JoinType::Left if is_unconditional(join) && has_only_elements(&chain.subquery) => true,
        _ => return Ok(None),
    };
    let left = Laid { plan: join.left.as_ref().clone(), columns: Vec::new(), kept };
    let mut number = 0;
    let Some(laid) = laid_over(&chain.subquery, left, &join.left, &mut number)? else { return Ok(None) };
    let of_left = join.left.schema().columns().into_iter().map(Expr::Column);
    let of_right = laid.columns.iter().map(|column| Expr::Column(column.clone()));
    let named = of_left.chain(of_right).zip(join.schema.iter()).map(|(column, (qualifier, field))| match &column {
        Expr::Column(own) if own.name() == field.name() && own.relation.as_ref() == qualifier => column,
        _ => column.alias_qualified(qualifier.cloned(), field.name()),
    });
    let mut plan = LogicalPlanBuilder::from(laid.plan).project(named.collect::<Vec<_>>())?;
    for (left, right) in &join.on {
        plan = plan.filter(left.clone().eq(right.clone()))?;
    }
    if let Some(filter) = &join.filter {
        plan = plan.filter(filter.clone())?;
    }
    Ok(Some(plan.build()?))
}

/// A part of the chain, applied to the rows of the left side.
struct Laid {
    /// Has all columns of the left side, and others.
    plan: LogicalPlan,
    /// The columns of the chain in `plan`.
    columns: Vec<Column>,
    /// Whether rows stay of which the chain makes none.
    kept: bool,
}

/// Applies the chain to the left side. `None` if the chain has another shape.
fn laid_over(chain: &LogicalPlan, left: Laid, rows: &LogicalPlan, number: &mut usize) -> Result<Option<Laid>> {
    match chain {
        LogicalPlan::EmptyRelation(empty) if empty.produce_one_row && empty.schema.fields().is_empty() => Ok(Some(left)),
        LogicalPlan::SubqueryAlias(alias) => laid_over(&alias.input, left, rows, number),
        LogicalPlan::Projection(projection) => {
            let Some(below) = laid_over(&projection.input, left, rows, number)? else { return Ok(None) };
            let mut columns = Vec::new();
            let mut projected: Vec<Expr> = rows.schema().columns().into_iter().map(Expr::Column).collect();
            for expression in &projection.expr {
                let Some(expression) = moved(expression, projection.input.schema(), &below.columns, rows)? else {
                    return Ok(None);
                };
                let column = Column::new_unqualified(format!("$lateral{number}"));
                *number += 1;
                projected.push(expression.unalias().alias(column.name()));
                columns.push(column);
            }
            let plan = LogicalPlanBuilder::from(below.plan).project(projected)?.build()?;
            Ok(Some(Laid { plan, columns, kept: below.kept }))
        }
        LogicalPlan::Filter(filter) => {
            let Some(below) = laid_over(&filter.input, left, rows, number)? else { return Ok(None) };
            let Some(predicate) = moved(&filter.predicate, filter.input.schema(), &below.columns, rows)? else {
                return Ok(None);
            };
            let plan = LogicalPlanBuilder::from(below.plan).filter(predicate)?.build()?;
            Ok(Some(Laid { plan, columns: below.columns, kept: below.kept }))
        }
        LogicalPlan::Unnest(unnest)
            if unnest.struct_type_columns.is_empty()
                && unnest.options.recursions.iter().all(|recursion| recursion.depth == 1) =>
        {
            let Some(below) = laid_over(&unnest.input, left, rows, number)? else { return Ok(None) };
            let schema = unnest.input.schema();
            let lists = unnest
                .exec_columns
                .iter()
                .map(|column| schema.maybe_index_of_column(column).and_then(|index| below.columns.get(index).cloned()));
            let Some(lists) = lists.collect::<Option<Vec<_>>>() else { return Ok(None) };
            let columns = unnest.dependency_indices.iter().map(|index| below.columns.get(*index).cloned());
            let Some(columns) = columns.collect::<Option<Vec<_>>>() else { return Ok(None) };
            // A column that is unnested once keeps its name here.
            let null_handling = if below.kept { NullHandling::PreserveAndExpandEmpty } else { unnest.options.null_handling };
            let options = UnnestOptions { recursions: Vec::new(), null_handling };
            let plan = LogicalPlanBuilder::from(below.plan).unnest_columns_with_options(lists, options)?.build()?;
            Ok(Some(Laid { plan, columns, kept: below.kept }))
        }
        _ => Ok(None),
    }
}

/// Whether a chain gives the elements of lists as they are, so that a row without any has NULL in their place.
fn has_only_elements(chain: &LogicalPlan) -> bool {
    match chain {
        LogicalPlan::SubqueryAlias(alias) => has_only_elements(&alias.input),
        LogicalPlan::Projection(projection) => {
            let plain = |expression: &Expr| matches!(expression.clone().unalias(), Expr::Column(_));
            projection.expr.iter().all(plain) && has_only_elements(&projection.input)
        }
        LogicalPlan::Unnest(unnest) => match unnest.input.as_ref() {
            LogicalPlan::Projection(projection) => {
                // What stands beside the lists would stay in a row without elements.
                let is_list = |index: &usize| unnest.list_type_columns.iter().any(|(list, _)| list == index);
                matches!(projection.input.as_ref(), LogicalPlan::EmptyRelation(_))
                    && unnest.dependency_indices.iter().all(is_list)
            }
            _ => false,
        },
        _ => false,
    }
}

/// Rewrites an expression of the chain over the columns of the new plan. `None` if it reads others or holds a subquery.
fn moved(expression: &Expr, from: &DFSchema, to: &[Column], rows: &LogicalPlan) -> Result<Option<Expr>> {
    let mut known = true;
    let moved = expression.clone().transform_up(|expression| {
        let column = match &expression {
            Expr::OuterReferenceColumn(_, column) => rows.schema().has_column(column).then(|| column.clone()),
            Expr::Column(column) => from.maybe_index_of_column(column).and_then(|index| to.get(index).cloned()),
            _ => return Ok(Transformed::no(expression)),
        };
        Ok(match column {
            Some(column) => Transformed::yes(Expr::Column(column)),
            None => {
                known = false;
                Transformed::no(expression)
            }
        })
    })?;
    let plain = !moved.data.exists(|expression| {
        Ok(matches!(expression, Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_) | Expr::Unnest(_)))
    })?;
    Ok((known && plain).then_some(moved.data))
}
