//! Scalar subqueries that are correlated with the outer row by more than equality: `(SELECT max(b.x) FROM b WHERE b.x < a.x)`.
//! DataFusion 55.2 has no physical plan for them. Such a subquery is rewritten in two steps: its rows are joined with the distinct
//! values of the outer rows and aggregated by these values; the result is joined to the outer rows by the values.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, NullEquality, Result, ScalarValue};
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{
    Aggregate, BinaryExpr, Expr, ExprSchemable, Filter, Join, JoinType, LogicalPlan, LogicalPlanBuilder, Operator, Projection,
    Subquery, lit, when,
};

/// How the columns begin that hold the values of outer rows.
pub(super) const PREFIX: &str = "$bound";

/// Rewrites such subqueries of a filter or projection as joins with its input. `number` makes the names of each join unique.
pub(super) fn joined(plan: LogicalPlan, number: &mut usize) -> Result<Transformed<LogicalPlan>> {
    match plan {
        LogicalPlan::Filter(filter) => {
            let mut input = filter.input.as_ref().clone();
            let predicate = replaced(filter.predicate.clone(), &mut input, number)?;
            if !predicate.transformed {
                return Ok(Transformed::no(LogicalPlan::Filter(filter)));
            }
            let columns = filter.input.schema().columns().into_iter().map(Expr::Column).collect();
            let filtered = Arc::new(LogicalPlan::Filter(Filter::try_new(predicate.data, Arc::new(input))?));
            let narrowed = Projection::try_new_with_schema(columns, filtered, Arc::clone(filter.input.schema()))?;
            Ok(Transformed::yes(LogicalPlan::Projection(narrowed)))
        }
        LogicalPlan::Projection(projection) => {
            let mut input = projection.input.as_ref().clone();
            let mut any = false;
            let mut expressions = Vec::with_capacity(projection.expr.len());
            for expression in &projection.expr {
                let (qualifier, name) = expression.qualified_name();
                let value = replaced(expression.clone(), &mut input, number)?;
                any |= value.transformed;
                expressions.push(if value.transformed {
                    value.data.unalias().alias_qualified(qualifier, name)
                } else {
                    value.data
                });
            }
            if !any {
                return Ok(Transformed::no(LogicalPlan::Projection(projection)));
            }
            Ok(Transformed::yes(LogicalPlanBuilder::from(input).project(expressions)?.build()?))
        }
        other => Ok(Transformed::no(other)),
    }
}

fn replaced(expression: Expr, input: &mut LogicalPlan, number: &mut usize) -> Result<Transformed<Expr>> {
    expression.transform_up(|expression| match expression {
        Expr::ScalarSubquery(subquery) => match value_of(&subquery, input, number)? {
            Some(value) => Ok(Transformed::yes(value)),
            None => Ok(Transformed::no(Expr::ScalarSubquery(subquery))),
        },
        other => Ok(Transformed::no(other)),
    })
}

/// The parts of such a subquery.
struct Bound<'a> {
    /// The expression over the aggregates. `None` if it is the first aggregate itself.
    value: Option<&'a Expr>,
    aggregate: &'a Aggregate,
    /// The conditions on each row.
    predicates: Vec<&'a Expr>,
    rows: LogicalPlan,
    /// The columns of the outer row.
    outer: Vec<Column>,
}

fn bound(subquery: &Subquery) -> Result<Option<Bound<'_>>> {
    let (value, plan) = match subquery.subquery.as_ref() {
        LogicalPlan::Projection(projection) if projection.expr.len() == 1 => (projection.expr.first(), projection.input.as_ref()),
        other => (None, other),
    };
    let LogicalPlan::Aggregate(aggregate) = plan else { return Ok(None) };
    let mut predicates = Vec::new();
    let mut rows = aggregate.input.as_ref();
    loop {
        match rows {
            LogicalPlan::Filter(filter) => {
                predicates.extend(split_conjunction(&filter.predicate));
                rows = &filter.input;
            }
            // What it leaves out has other names.
            LogicalPlan::Projection(narrowed) if narrowed.expr.iter().all(|column| matches!(column, Expr::Column(_))) => {
                rows = &narrowed.input;
            }
            _ => break,
        }
    }
    let mut outer: Vec<Column> = Vec::new();
    let mut only_equal = true;
    // Conditions with subqueries of their own decide about the rows before these are joined.
    let (of_rows, predicates): (Vec<&Expr>, Vec<&Expr>) =
        predicates.into_iter().partition(|predicate| has_subquery(predicate) && !predicate.contains_outer());
    for predicate in &predicates {
        let mut has_outer = false;
        predicate.apply(|expression| {
            if let Expr::OuterReferenceColumn(_, column) = expression {
                has_outer = true;
                if !outer.contains(column) {
                    outer.push(column.clone());
                }
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        only_equal &= !has_outer || matches!(predicate, Expr::BinaryExpr(BinaryExpr { op: Operator::Eq, .. }));
    }
    let free = rows.all_out_ref_exprs().is_empty()
        && aggregate.aggr_expr.iter().chain(value).all(|expression| !expression.contains_outer());
    let fits =
        aggregate.group_expr.is_empty() && !only_equal && free && !predicates.iter().any(|predicate| has_subquery(predicate));
    if !fits {
        return Ok(None);
    }
    let rows = LogicalPlanBuilder::from(rows.clone());
    let rows = match conjunction(of_rows.into_iter().cloned()) {
        Some(condition) => rows.filter(condition)?,
        None => rows,
    };
    Ok(Some(Bound { value, aggregate, predicates, rows: rows.build()?, outer }))
}

fn has_subquery(expression: &Expr) -> bool {
    expression
        .exists(|expression| Ok(matches!(expression, Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_))))
        .unwrap_or(true)
}

/// Joins the values of a subquery to the input of its operator, and returns the expression that reads the value.
fn value_of(subquery: &Subquery, input: &mut LogicalPlan, number: &mut usize) -> Result<Option<Expr>> {
    let Some(bound) = bound(subquery)? else { return Ok(None) };
    if !bound.outer.iter().all(|column| input.schema().has_column(column)) {
        return Ok(None);
    }
    let prefix = format!("{PREFIX}{number}");
    *number += 1;
    let name = |index: usize| Column::new_unqualified(format!("{prefix}:{index}"));
    let asked = bound.outer.iter().enumerate().map(|(index, column)| Expr::Column(column.clone()).alias(name(index).name()));
    let asked = LogicalPlanBuilder::from(input.clone()).project(asked.collect::<Vec<_>>())?.distinct()?.build()?;
    let conditions = bound.predicates.iter().map(|predicate| {
        let moved = (*predicate).clone().transform_up(|expression| match &expression {
            Expr::OuterReferenceColumn(_, column) => {
                let index = bound.outer.iter().position(|other| other == column).unwrap_or_default();
                Ok(Transformed::yes(Expr::Column(name(index))))
            }
            _ => Ok(Transformed::no(expression)),
        });
        moved.map(|moved| moved.data)
    });
    let conditions = conditions.collect::<Result<Vec<_>>>()?;
    let keys: Vec<Expr> = (0..bound.outer.len()).map(|index| Expr::Column(name(index))).collect();
    let met = LogicalPlanBuilder::from(asked).join_on(bound.rows, JoinType::Inner, conditions)?;
    let grouped = met.aggregate(keys.clone(), bound.aggregate.aggr_expr.clone())?;
    let value = bound
        .value
        .map_or_else(|| Expr::Column(Column::from(bound.aggregate.schema.qualified_field(0))), |value| value.clone().unalias());
    let (answer, there) = (format!("{prefix}:value"), format!("{prefix}:there"));
    let keyed = keys.iter().enumerate().map(|(index, key)| key.clone().alias(format!("{prefix}:key{index}")));
    let given = keyed.chain([value.clone().alias(&answer), lit(true).alias(&there)]);
    let answers = grouped.project(given.collect::<Vec<_>>())?.build()?;
    let without_rows = of_no_rows(value, bound.aggregate)?;
    let on: (Vec<Expr>, Vec<Expr>) = bound
        .outer
        .iter()
        .enumerate()
        .map(|(index, column)| {
            let key = Expr::Column(Column::new_unqualified(format!("{prefix}:key{index}")));
            (Expr::Column(column.clone()), key)
        })
        .unzip();
    let joined = LogicalPlanBuilder::from(input.clone()).join_with_expr_keys(answers, JoinType::Left, on, None)?.build()?;
    *input = match joined {
        LogicalPlan::Join(join) => LogicalPlan::Join(Join { null_equality: NullEquality::NullEqualsNull, ..join }),
        other => other,
    };
    let answer = Expr::Column(Column::new_unqualified(answer));
    let there = Expr::Column(Column::new_unqualified(there));
    Ok(Some(when(there.is_not_null(), answer).otherwise(without_rows)?))
}

/// Returns the value for no matching rows: zero for a count, NULL for any other aggregate.
fn of_no_rows(value: Expr, aggregate: &Aggregate) -> Result<Expr> {
    let value = value.transform_up(|expression| {
        let Expr::Column(column) = &expression else { return Ok(Transformed::no(expression)) };
        let Some(index) = aggregate.schema.maybe_index_of_column(column) else { return Ok(Transformed::no(expression)) };
        let is_count = aggregate.aggr_expr.get(index).is_some_and(|call| match call.clone().unalias() {
            Expr::AggregateFunction(call) => matches!(call.func.name(), "count" | "regr_count" | "approx_distinct"),
            _ => false,
        });
        let data_type = expression.get_type(aggregate.schema.as_ref())?;
        let none = if is_count { ScalarValue::new_zero(&data_type)? } else { ScalarValue::try_from(&data_type)? };
        Ok(Transformed::yes(lit(none)))
    })?;
    Ok(value.data)
}
