//! `x NOT IN (SELECT ...)` is unknown, and so not true, where x is NULL and there are rows, or where no row is equal and one is NULL.
//!
//! DataFusion 55.2 handles this for an uncorrelated NOT IN that is a condition of its own in WHERE. A correlated one (its issue
//! 25336), or one beside OR, becomes a join that takes unknown for false, so that NOT makes it true.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, ExprSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::{Exists, InSubquery};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{
    BinaryExpr, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, Operator, Subquery, lit, not, when,
};

use super::one_row::is_correlated;

/// How unknown counts where an expression stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unknown {
    /// The expression is a condition of its own: the planner's join is right if nothing is correlated.
    Alone,
    /// Only whether the expression is true counts.
    IsFalse,
    Counts,
}

/// Rewrites IN and NOT IN of a node so that unknown stays unknown where that counts.
pub(super) fn three_valued(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    match plan {
        LogicalPlan::Filter(mut filter) => {
            let schema = Arc::clone(filter.input.schema());
            filter.predicate = mended(filter.predicate, Unknown::Alone, &schema)?;
            Ok(Transformed::yes(LogicalPlan::Filter(filter)))
        }
        LogicalPlan::Projection(_) | LogicalPlan::Aggregate(_) | LogicalPlan::Window(_) => {
            let Some(schema) = plan.inputs().first().map(|input| Arc::clone(input.schema())) else {
                return Ok(Transformed::no(plan));
            };
            let names = NamePreserver::new(&plan);
            plan.map_expressions(|expression| {
                let name = names.save(&expression);
                Ok(Transformed::yes(name.restore(mended(expression, Unknown::Counts, &schema)?)))
            })
        }
        other => Ok(Transformed::no(other)),
    }
}

fn mended(expression: Expr, unknown: Unknown, schema: &dyn ExprSchema) -> Result<Expr> {
    match expression {
        Expr::BinaryExpr(BinaryExpr { left, op, right })
            if (op == Operator::And || op == Operator::Or) && unknown != Unknown::Counts =>
        {
            let below = if op == Operator::Or { Unknown::IsFalse } else { unknown };
            let (left, right) = (mended(*left, below, schema)?, mended(*right, below, schema)?);
            Ok(Expr::BinaryExpr(BinaryExpr { left: Box::new(left), op, right: Box::new(right) }))
        }
        Expr::InSubquery(InSubquery { expr, subquery, negated }) => is_in(*expr, subquery, negated, unknown, schema),
        Expr::Not(inner) => match (*inner, unknown) {
            (Expr::InSubquery(InSubquery { expr, subquery, negated }), Unknown::Alone | Unknown::IsFalse) => {
                is_in(*expr, subquery, !negated, unknown, schema)
            }
            (inner, _) => Ok(not(mended(inner, Unknown::Counts, schema)?)),
        },
        other => {
            let mapped = other.map_children(|child| Ok(Transformed::yes(mended(child, Unknown::Counts, schema)?)))?;
            Ok(mapped.data)
        }
    }
}

fn is_in(value: Expr, subquery: Subquery, negated: bool, unknown: Unknown, schema: &dyn ExprSchema) -> Result<Expr> {
    let column = subquery.subquery.schema().columns().into_iter().next();
    let item_nullable = subquery.subquery.schema().fields().first().is_none_or(|field| field.is_nullable());
    let nullable = item_nullable || value.nullable(schema).unwrap_or(true);
    let joins_rightly = match unknown {
        Unknown::Alone => !negated || !is_correlated(&subquery),
        Unknown::IsFalse => !negated || !nullable,
        Unknown::Counts => !nullable,
    };
    // A value that holds a subquery, or a column of a query further out, cannot be moved into this subquery.
    let (Some(column), Some(outer), false) = (column, as_outer(&value, schema)?, joins_rightly) else {
        return Ok(Expr::InSubquery(InSubquery { expr: Box::new(value), subquery, negated }));
    };
    let (subquery, column) = told_apart(subquery, column, &value)?;
    let item = Expr::Column(column);
    let equal = item.clone().eq(outer.clone());
    if negated && unknown != Unknown::Counts {
        let mut met = equal;
        if item_nullable {
            met = met.or(item.is_null());
        }
        if value.nullable(schema).unwrap_or(true) {
            met = met.or(outer.is_null());
        }
        return exists(&subquery, Some(met), true);
    }
    let any = exists(&subquery, Some(equal), false)?;
    let null_among = exists(&subquery, Some(item.is_null()), false)?;
    let null_asked = value.clone().is_null().and(exists(&subquery, None, false)?);
    let is_in = when(any, lit(true)).when(null_among.or(null_asked), lit(ScalarValue::Boolean(None))).otherwise(lit(false))?;
    Ok(if negated { not(is_in) } else { is_in })
}

/// Gives a subquery another name if it has a column that the value names too: as the condition of a join, the two would be one.
fn told_apart(subquery: Subquery, column: Column, value: &Expr) -> Result<(Subquery, Column)> {
    let named = value.column_refs();
    if !named.iter().any(|column| subquery.subquery.schema().has_column(column)) {
        return Ok((subquery, column));
    }
    let relations: Vec<&str> = named.iter().filter_map(|column| Some(column.relation.as_ref()?.table())).collect();
    let mut name = "$in".to_owned();
    while relations.contains(&name.as_str()) {
        name.push('$');
    }
    let column = Column::new(Some(name.as_str()), column.name());
    let plan = LogicalPlanBuilder::from(subquery.subquery.as_ref().clone()).alias(name.as_str())?.build()?;
    Ok((Subquery { subquery: Arc::new(plan), ..subquery }, column))
}

/// Returns an expression as a subquery inside its query sees it. `None` if it cannot be seen from there.
fn as_outer(value: &Expr, schema: &dyn ExprSchema) -> Result<Option<Expr>> {
    let movable = !value.exists(|expression| {
        Ok(matches!(
            expression,
            Expr::ScalarSubquery(_)
                | Expr::Exists(_)
                | Expr::InSubquery(_)
                | Expr::OuterReferenceColumn(_, _)
                | Expr::AggregateFunction(_)
                | Expr::WindowFunction(_)
        ))
    })?;
    if !movable {
        return Ok(None);
    }
    let outer = value.clone().transform(|expression| match expression {
        Expr::Column(column) => {
            let field = Arc::new(schema.field_from_column(&column)?.as_ref().clone());
            Ok(Transformed::yes(Expr::OuterReferenceColumn(field, column)))
        }
        other => Ok(Transformed::no(other)),
    });
    Ok(Some(outer?.data))
}

/// Returns whether the subquery has a row for which a predicate over it and over outer columns is true.
fn exists(subquery: &Subquery, predicate: Option<Expr>, negated: bool) -> Result<Expr> {
    let mut rows = LogicalPlanBuilder::from(subquery.subquery.as_ref().clone());
    let mut outer_ref_columns = subquery.outer_ref_columns.clone();
    if let Some(predicate) = predicate {
        rows = rows.filter(predicate.clone())?;
        predicate.apply(|expression| {
            if matches!(expression, Expr::OuterReferenceColumn(_, _)) && !outer_ref_columns.contains(expression) {
                outer_ref_columns.push(expression.clone());
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
    }
    let subquery = Subquery { subquery: Arc::new(rows.build()?), outer_ref_columns, spans: subquery.spans.clone() };
    Ok(Expr::Exists(Exists { subquery, negated }))
}
