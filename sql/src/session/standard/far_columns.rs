//! Subqueries that read a column of a query further out than the one around them, as in
//! `EXISTS (SELECT 1 FROM b WHERE EXISTS (SELECT 1 FROM c WHERE c.x = b.x AND c.y = a.y))` over `a`. DataFusion 55.2 joins a subquery with the query
//! right around it, and has no plan for such a column.
//!
//! The query between is given the column. If it compares a column of its own with it, that one is read in its place. Otherwise its rows are joined
//! with the distinct values of the column, and those of the outer row are kept.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, ExprSchema, Result, Spans};
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{
    BinaryExpr, Expr, Filter, Join, LogicalPlan, LogicalPlanBuilder, Operator, Projection, Subquery, binary_expr,
};

use crate::session::nested_laterals::is_lateral;

/// Lets each subquery read columns of the query right around it only. `number` tells the columns apart.
pub(super) fn brought_near(plan: LogicalPlan, number: &mut usize) -> Result<LogicalPlan> {
    if !reads_far(&plan, false)? {
        return Ok(plan);
    }
    within(plan, &[], number)
}

/// Checks whether a subquery within a subquery reads columns of a query around it.
fn reads_far(plan: &LogicalPlan, is_inner: bool) -> Result<bool> {
    let is_inner = is_inner || matches!(plan, LogicalPlan::Subquery(_));
    let mut found = false;
    plan.apply_subqueries(|subquery| {
        let is_far = |column: &Expr| matches!(column, Expr::OuterReferenceColumn(_, column) if !reads(plan, column));
        found |= (is_inner && free_columns(subquery)?.iter().any(is_far)) || reads_far(subquery, true)?;
        Ok(TreeNodeRecursion::Continue)
    })?;
    for input in plan.inputs() {
        found = found || reads_far(input, is_inner)?;
    }
    Ok(found)
}

/// Checks whether an input of an operator has a column.
fn reads(plan: &LogicalPlan, column: &Column) -> bool {
    plan.inputs().iter().any(|input| input.schema().has_column(column))
}

/// Rewrites a plan that stands in subqueries of operators over the plans `around`, the innermost last.
fn within(plan: LogicalPlan, around: &[LogicalPlan], number: &mut usize) -> Result<LogicalPlan> {
    let plan = match plan {
        LogicalPlan::Join(join) if is_lateral(&join.right) => {
            let left = within(Arc::unwrap_or_clone(join.left), around, number)?;
            let beside: Vec<LogicalPlan> = around.iter().chain([&left]).cloned().collect();
            let right = within(Arc::unwrap_or_clone(join.right), &beside, number)?;
            LogicalPlan::Join(Join { left: Arc::new(left), right: Arc::new(right), ..join })
        }
        LogicalPlan::Subquery(subquery) => {
            let plan = within(Arc::unwrap_or_clone(subquery.subquery), around, number)?;
            return Ok(LogicalPlan::Subquery(over(plan, subquery.spans)));
        }
        other => other.map_children(|child| Ok(Transformed::yes(within(child, around, number)?)))?.data,
    };
    let input = match plan.inputs().as_slice() {
        [input] => (*input).clone(),
        _ => return Ok(plan),
    };
    let beside: Vec<LogicalPlan> = around.iter().chain([&input]).cloned().collect();
    let plan = plan.map_subqueries(|subquery| Ok(Transformed::yes(within(subquery, &beside, number)?)))?.data;
    match plan {
        LogicalPlan::Filter(filter) => filtered(filter, around, number),
        LogicalPlan::Projection(projection) => projected(projection, around, number),
        other => Ok(other),
    }
}

fn over(plan: LogicalPlan, spans: Spans) -> Subquery {
    let outer_ref_columns = plan.all_out_ref_exprs();
    Subquery { subquery: Arc::new(plan), outer_ref_columns, spans }
}

/// Returns the columns of queries around a subquery that it or a subquery within it reads.
fn free_columns(plan: &LogicalPlan) -> Result<Vec<Expr>> {
    let mut free = plan.all_out_ref_exprs();
    plan.apply(|plan| {
        plan.apply_subqueries(|subquery| {
            for column in free_columns(subquery)? {
                let is_own = matches!(&column, Expr::OuterReferenceColumn(_, column) if reads(plan, column));
                if !is_own && !free.contains(&column) {
                    free.push(column);
                }
            }
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    Ok(free)
}

/// The columns that the subqueries of an operator read across the query that it stands in, with the plan that has each.
fn far_columns<'a>(plan: &LogicalPlan, input: &LogicalPlan, around: &'a [LogicalPlan]) -> Result<Vec<(Column, &'a LogicalPlan)>> {
    let mut far: Vec<(Column, &LogicalPlan)> = Vec::new();
    plan.apply_subqueries(|subquery| {
        for column in free_columns(subquery)? {
            let Expr::OuterReferenceColumn(_, column) = column else { continue };
            if input.schema().has_column(&column) || far.iter().any(|(other, _)| *other == column) {
                continue;
            }
            if let Some(owner) = around.iter().rev().find(|plan| plan.schema().has_column(&column)) {
                far.push((column, owner));
            }
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(far)
}

fn filtered(filter: Filter, around: &[LogicalPlan], number: &mut usize) -> Result<LogicalPlan> {
    let plan = LogicalPlan::Filter(filter.clone());
    let far = far_columns(&plan, &filter.input, around)?;
    if far.is_empty() {
        return Ok(plan);
    }
    let mut near: BTreeMap<Column, Column> = BTreeMap::new();
    for (column, _) in &far {
        near.extend(equal_to(column, &filter).map(|own| (column.clone(), own)));
    }
    let mut beside = Beside::new(&filter.input, number);
    for (column, owner) in far.iter().filter(|(column, _)| !near.contains_key(column)) {
        // What the operator itself compares with the same rows becomes a key of the join.
        let direct = outer_columns_of(&filter.predicate)?;
        let direct = direct.into_iter().filter(|other| owner.schema().has_column(other));
        for column in std::iter::once(column.clone()).chain(direct) {
            beside.add(column, owner);
        }
    }
    let joined = beside.joined()?;
    let (input, kept, given) = joined.unwrap_or_else(|| (filter.input.as_ref().clone(), Vec::new(), BTreeMap::new()));
    let own = given.clone();
    near.extend(given);
    let schema = Arc::clone(input.schema());
    let read = renamed_in_subqueries(plan, &near, schema.as_ref())?;
    let LogicalPlan::Filter(read) = read else { return Ok(read) };
    let predicate = read.predicate.transform_up(|expression| Ok(with_own(expression, &own)))?.data;
    let predicate = conjunction(kept.into_iter().chain([predicate.clone()])).unwrap_or(predicate);
    let columns: Vec<Expr> = filter.input.schema().columns().into_iter().map(Expr::Column).collect();
    let rows = Arc::new(LogicalPlan::Filter(Filter::try_new(predicate, Arc::new(input))?));
    Ok(LogicalPlan::Projection(Projection::try_new_with_schema(columns, rows, Arc::clone(filter.input.schema()))?))
}

fn projected(projection: Projection, around: &[LogicalPlan], number: &mut usize) -> Result<LogicalPlan> {
    let plan = LogicalPlan::Projection(projection.clone());
    let far = far_columns(&plan, &projection.input, around)?;
    if far.is_empty() {
        return Ok(plan);
    }
    let mut beside = Beside::new(&projection.input, number);
    for (column, owner) in far {
        beside.add(column, owner);
    }
    let Some((input, kept, given)) = beside.joined()? else { return Ok(plan) };
    let read = renamed_in_subqueries(plan, &given, input.schema().as_ref())?;
    let LogicalPlan::Projection(read) = read else { return Ok(read) };
    let rows = match conjunction(kept) {
        Some(kept) => LogicalPlan::Filter(Filter::try_new(kept, Arc::new(input))?),
        None => input,
    };
    let named = read.expr.into_iter().zip(projection.schema.iter()).map(|(value, (qualifier, field))| match &value {
        Expr::Column(column) if column.name() == field.name() && column.relation.as_ref() == qualifier => value,
        _ => value.unalias().alias_qualified(qualifier.cloned(), field.name()),
    });
    let named: Vec<Expr> = named.collect();
    Ok(LogicalPlan::Projection(Projection::try_new_with_schema(named, Arc::new(rows), projection.schema)?))
}

/// Returns a column of the filter's own rows that each row which passes has equal to an outer column.
fn equal_to(outer: &Column, filter: &Filter) -> Option<Column> {
    split_conjunction(&filter.predicate).into_iter().find_map(|condition| {
        let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = condition else { return None };
        let (own, field) = match (left.as_ref(), right.as_ref()) {
            (own, Expr::OuterReferenceColumn(field, column)) | (Expr::OuterReferenceColumn(field, column), own)
                if column == outer =>
            {
                (own, field)
            }
            _ => return None,
        };
        let Expr::Column(own) = own else { return None };
        let found = filter.input.schema().field_from_column(own).ok()?;
        (found.data_type() == field.data_type() && has_one_form(field.data_type())).then(|| own.clone())
    })
}

/// Checks whether equal values of a type are the same value.
fn has_one_form(data_type: &DataType) -> bool {
    let is_time = matches!(data_type, DataType::Date32 | DataType::Timestamp(_, _) | DataType::Time64(_) | DataType::Boolean);
    data_type.is_integer() || data_type.is_string() || data_type.is_decimal() || is_time
}

/// Distinct values of outer columns beside the rows of an operator.
struct Beside<'a, 'n> {
    input: &'a LogicalPlan,
    /// For each plan that outer columns come from, the columns, each with its name beside the rows.
    values: Vec<(&'a LogicalPlan, Vec<(Column, Column)>)>,
    number: &'n mut usize,
}

/// The rows with the values, the conditions that keep those of the outer row, and the column that holds each outer column.
type Joined = (LogicalPlan, Vec<Expr>, BTreeMap<Column, Column>);

impl<'a, 'n> Beside<'a, 'n> {
    fn new(input: &'a LogicalPlan, number: &'n mut usize) -> Self {
        Self { input, values: Vec::new(), number }
    }

    fn add(&mut self, column: Column, owner: &'a LogicalPlan) {
        let known = self.values.iter().position(|(other, _)| std::ptr::eq(*other, owner));
        let index = known.unwrap_or_else(|| {
            self.values.push((owner, Vec::new()));
            self.values.len() - 1
        });
        let columns = &mut self.values[index].1;
        if columns.iter().all(|(other, _)| *other != column) {
            columns.push((column, Column::new_unqualified(format!("$far{}", self.number))));
            *self.number += 1;
        }
    }

    /// `None` if there is nothing to join, or an outer query is a part of another that it reads.
    fn joined(self) -> Result<Option<Joined>> {
        let mut input = self.input.clone();
        let (mut kept, mut given) = (Vec::new(), BTreeMap::new());
        for (owner, columns) in self.values {
            if !free_columns(owner)?.is_empty() {
                return Ok(None);
            }
            let values = columns.iter().map(|(outer, own)| Expr::Column(outer.clone()).alias(own.name()));
            let values = LogicalPlanBuilder::from(owner.clone()).project(values.collect::<Vec<_>>())?.distinct()?.build()?;
            input = LogicalPlanBuilder::from(input).cross_join(values)?.build()?;
            for (outer, own) in columns {
                let field = Arc::clone(owner.schema().field_from_column(&outer)?);
                // INTERVALs of one length are equal, and a row would be met by several of them.
                if matches!(field.data_type(), DataType::Interval(_)) {
                    return Ok(None);
                }
                let equal = if field.is_nullable() { Operator::IsNotDistinctFrom } else { Operator::Eq };
                let of_outer = Expr::OuterReferenceColumn(field, outer.clone());
                kept.push(binary_expr(Expr::Column(own.clone()), equal, of_outer));
                given.insert(outer, own);
            }
        }
        Ok(Some((input, kept, given)))
    }
}

/// Lets the subqueries of an operator read columns of its own rows in the place of those of queries around.
fn renamed_in_subqueries(plan: LogicalPlan, near: &BTreeMap<Column, Column>, rows: &DFSchema) -> Result<LogicalPlan> {
    let own = |expression: Expr| match &expression {
        Expr::OuterReferenceColumn(_, column) => match near.get(column) {
            Some(own) => {
                let field = Arc::clone(rows.field_from_column(own)?);
                Ok(Transformed::yes(Expr::OuterReferenceColumn(field, own.clone())))
            }
            None => Ok(Transformed::no(expression)),
        },
        _ => Ok(Transformed::no(expression)),
    };
    let renamed = plan.map_subqueries(|subquery| {
        let LogicalPlan::Subquery(subquery) = subquery else { return Ok(Transformed::no(subquery)) };
        let plan = Arc::unwrap_or_clone(subquery.subquery);
        let renamed = plan.transform_up(|plan| plan.map_expressions(|expression| expression.transform_up(own)))?;
        Ok(Transformed::yes(LogicalPlan::Subquery(over(renamed.data, subquery.spans))))
    });
    Ok(renamed?.data)
}

fn with_own(expression: Expr, own: &BTreeMap<Column, Column>) -> Transformed<Expr> {
    match &expression {
        Expr::OuterReferenceColumn(_, column) => match own.get(column) {
            Some(own) => Transformed::yes(Expr::Column(own.clone())),
            None => Transformed::no(expression),
        },
        _ => Transformed::no(expression),
    }
}

/// Returns the outer columns that an expression reads outside of subqueries.
fn outer_columns_of(expression: &Expr) -> Result<Vec<Column>> {
    let mut columns = Vec::new();
    expression.apply(|expression| {
        if let Expr::OuterReferenceColumn(_, column) = expression
            && !columns.contains(column)
        {
            columns.push(column.clone());
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(columns)
}
