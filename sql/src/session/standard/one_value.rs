//! Subqueries that stand for a value and are no aggregate: `(SELECT name FROM c WHERE c.id = o.customer)`, whose rows are gathered, so that the
//! row fails for which there are several, and `(SELECT ... ORDER BY at LIMIT 1)`, which is the first value of the order. DataFusion 55.2 joins
//! aggregates only.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, Result};
use datafusion::functions_aggregate::first_last::first_value_udaf;
use datafusion::logical_expr::expr::{AggregateFunction, Sort as SortExpr};
use datafusion::logical_expr::{Expr, ExprSchemable, FetchType, LogicalPlan, LogicalPlanBuilder, SkipType, Subquery};

use crate::session::aggregates::array_agg;
use crate::session::functions::single::single;

/// A subquery of one value as one of an aggregate.
pub(super) fn of_rows(expression: Expr) -> Result<Transformed<Expr>> {
    let Expr::ScalarSubquery(subquery) = expression else { return Ok(Transformed::no(expression)) };
    let Some(column) = subquery.subquery.schema().columns().into_iter().next() else {
        return Ok(Transformed::no(Expr::ScalarSubquery(subquery)));
    };
    let over = |plan: LogicalPlan| Expr::ScalarSubquery(Subquery { subquery: Arc::new(plan), ..subquery.clone() });
    if let Some(first) = first_of(&subquery.subquery, |columns| columns.into_iter().next())? {
        return Ok(Transformed::yes(over(first)));
    }
    if has_one_row(&subquery.subquery) {
        return Ok(Transformed::no(Expr::ScalarSubquery(subquery)));
    }
    let (mut gathered, rows) = below_projections(vec![Expr::Column(column)], &subquery.subquery)?;
    let Some(value) = gathered.pop() else { return Ok(Transformed::no(Expr::ScalarSubquery(subquery))) };
    let list = array_agg().call(vec![value]).alias("$rows");
    let list = LogicalPlanBuilder::from(rows).aggregate(Vec::<Expr>::new(), vec![list])?.build()?;
    Ok(Transformed::yes(single().call(vec![over(list)])))
}

/// The first row of an order with LIMIT 1, as an aggregate of what is made of its columns; none for another query.
pub(super) fn first_of(plan: &LogicalPlan, value: impl FnOnce(Vec<Expr>) -> Option<Expr>) -> Result<Option<LogicalPlan>> {
    let mut below = plan;
    let mut columns: Vec<Expr> = plan.schema().columns().into_iter().map(Expr::Column).collect();
    let mut limited = false;
    loop {
        match below {
            LogicalPlan::Limit(limit) if !limited => {
                let (FetchType::Literal(Some(1)), SkipType::Literal(0)) = (limit.get_fetch_type()?, limit.get_skip_type()?)
                else {
                    return Ok(None);
                };
                limited = true;
                below = &limit.input;
            }
            LogicalPlan::Projection(_) | LogicalPlan::SubqueryAlias(_) => {
                let Some((moved, input)) = through(columns, below)? else { return Ok(None) };
                (columns, below) = (moved, input);
            }
            LogicalPlan::Sort(sort) if limited && sort.fetch.is_none_or(|fetch| fetch == 1) => {
                let order = sort.expr.iter().cloned().chain(deciding(&columns, &sort.input)).collect::<Vec<_>>();
                let Some(value) = value(columns) else { return Ok(None) };
                let keys = order.iter().map(|key| key.expr.clone());
                let (mut moved, rows) = below_projections(std::iter::once(value).chain(keys).collect(), &sort.input)?;
                let keys = moved.split_off(1).into_iter().zip(&order);
                let mut order_by: Vec<SortExpr> = Vec::new();
                for (expr, key) in keys {
                    // A key that comes again decides nothing, and DataFusion miscounts the columns of its state.
                    if order_by.iter().all(|other| other.expr != expr) {
                        order_by.push(SortExpr { expr, ..key.clone() });
                    }
                }
                let first = AggregateFunction::new_udf(first_value_udaf(), moved, false, None, order_by, None);
                let first = Expr::AggregateFunction(first).alias("$first");
                return Ok(Some(LogicalPlanBuilder::from(rows).aggregate(Vec::<Expr>::new(), vec![first])?.build()?));
            }
            _ => return Ok(None),
        }
    }
}

/// What decides between rows that tie: their sequence where there is one, then what is asked of them, as far as it has an order.
fn deciding(columns: &[Expr], input: &LogicalPlan) -> Vec<SortExpr> {
    let schema = input.schema();
    let place = ["_sequence", "_ordinal"].into_iter().flat_map(|name| schema.columns_with_unqualified_name(name));
    let sequence = place.map(Expr::Column);
    let in_order = |column: &Expr| {
        column.get_type(schema.as_ref()).is_ok_and(|data_type| !data_type.is_nested() && data_type != DataType::Null)
    };
    let asked = columns.iter().filter(|column| in_order(column)).cloned();
    sequence.chain(asked).map(|expr| expr.sort(true, false)).collect()
}

/// Whether a query has one row at most whatever it reads, or is refused for another reason.
fn has_one_row(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(_) | LogicalPlan::SubqueryAlias(_) | LogicalPlan::Filter(_) => {
            plan.inputs().into_iter().all(has_one_row)
        }
        LogicalPlan::Aggregate(_) | LogicalPlan::EmptyRelation(_) | LogicalPlan::Limit(_) => true,
        LogicalPlan::Values(values) => values.values.len() == 1,
        _ => false,
    }
}

/// Expressions over a plan as expressions over what is below its projections, so that the filters there are next to them.
fn below_projections(mut expressions: Vec<Expr>, plan: &LogicalPlan) -> Result<(Vec<Expr>, LogicalPlan)> {
    let mut below = plan;
    while let Some((moved, input)) = through(expressions.clone(), below)? {
        (expressions, below) = (moved, input);
    }
    Ok((expressions, below.clone()))
}

/// Expressions over a projection or an alias as expressions over its input; none over another operator.
fn through(expressions: Vec<Expr>, plan: &LogicalPlan) -> Result<Option<(Vec<Expr>, &LogicalPlan)>> {
    let (given, input): (Vec<Expr>, &LogicalPlan) = match plan {
        LogicalPlan::Projection(projection) => (projection.expr.clone(), &projection.input),
        LogicalPlan::SubqueryAlias(alias) => {
            (alias.input.schema().columns().into_iter().map(Expr::Column).collect(), &alias.input)
        }
        _ => return Ok(None),
    };
    let place = |column: &Column| plan.schema().maybe_index_of_column(column).and_then(|index| given.get(index));
    let moved = expressions.into_iter().map(|expression| {
        let moved = expression.transform_up(|expression| match &expression {
            Expr::Column(column) => Ok(match place(column) {
                Some(below) => Transformed::yes(below.clone().unalias()),
                None => Transformed::no(expression),
            }),
            _ => Ok(Transformed::no(expression)),
        });
        moved.map(|moved| moved.data)
    });
    Ok(Some((moved.collect::<Result<_>>()?, input)))
}
