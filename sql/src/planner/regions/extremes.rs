//! Rewrites `min` and `max` over all rows of an input that retracts. Each becomes the first value of an order, which is maintained
//! in O(changes). The aggregate would be run again over all rows.
//!
//! An aggregate has an answer even over no rows. So the first values are joined to a row that always exists: the row of the other
//! aggregates if there are any (these must be counts and exact sums), else a constant row.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, Result};
use datafusion::logical_expr::{
    Aggregate, Expr, ExprSchemable, JoinType, LogicalPlan, LogicalPlanBuilder, Projection, SortExpr, lit,
};

use super::cut::Cut;
use crate::planner::{aggregates, equality};

/// Column names that no user can write.
const ROW: &str = "$row";
const VALUE: &str = "$value";
const KEY: &str = "$key";

/// A minimum or a maximum.
struct Extreme {
    value: Expr,
    /// True for `min`, false for `max`.
    least: bool,
}

impl Cut<'_> {
    /// Replaces such aggregates by the first values of an order.
    pub(super) fn extremes_as_tops(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        let replaced = plan.transform_up(|plan| match &plan {
            LogicalPlan::Aggregate(aggregate) => Ok(match self.extremes(aggregate)? {
                Some(replaced) => Transformed::yes(replaced),
                None => Transformed::no(plan),
            }),
            _ => Ok(Transformed::no(plan)),
        });
        Ok(replaced?.data)
    }

    fn extremes(&self, aggregate: &Aggregate) -> Result<Option<LogicalPlan>> {
        let (input, schema) = (&aggregate.input, aggregate.input.schema());
        let extremes: Vec<Option<Extreme>> = aggregate.aggr_expr.iter().map(|expression| extreme(expression, schema)).collect();
        let others: Vec<Expr> = aggregate
            .aggr_expr
            .iter()
            .zip(&extremes)
            .filter(|(_, extreme)| extreme.is_none())
            .map(|(other, _)| other.clone())
            .collect();
        let parts = extremes.iter().flatten().count() + usize::from(!others.is_empty());
        // Each part computes the input again, so several parts must share a cheap one.
        let fits = aggregate.group_expr.is_empty()
            && others.len() < extremes.len()
            && self.reads_relation(input)
            && self.retracts(input)
            && (parts == 1 || self.is_cheap(input));
        if !fits {
            return Ok(None);
        }
        let known_by = self.known_by(input);
        let base = if others.is_empty() {
            LogicalPlanBuilder::empty(true).project([lit(1_i64).alias(ROW)])?
        } else {
            let others = Aggregate::try_new(Arc::clone(input), Vec::new(), others)?;
            if !aggregates::takes_out(&others) {
                return Ok(None);
            }
            let given = LogicalPlanBuilder::from(LogicalPlan::Aggregate(others));
            let columns: Vec<Expr> = given.schema().columns().into_iter().map(Expr::Column).collect();
            given.project(columns.into_iter().chain([lit(1_i64).alias(ROW)]))?
        };
        let mut of_others = base.schema().columns().into_iter();
        let mut joined = base;
        let mut given = Vec::with_capacity(extremes.len());
        for (number, extreme) in extremes.into_iter().enumerate() {
            let column = match extreme {
                None => of_others.next(),
                Some(Extreme { value, least }) => {
                    let (row, name) = (format!("{ROW}{number}"), format!("{VALUE}{number}"));
                    let column = Column::new_unqualified(name.clone());
                    let known_by =
                        known_by.iter().enumerate().map(|(place, key)| key.clone().alias(format!("{KEY}{number}:{place}")));
                    let columns = [lit(1_i64).alias(&row), value.clone().alias(name)].into_iter().chain(known_by);
                    let first = LogicalPlanBuilder::from(input.as_ref().clone())
                        .filter(value.is_not_null())?
                        .project(columns.collect::<Vec<_>>())?
                        .sort_with_limit([SortExpr::new(Expr::Column(column.clone()), least, false)], Some(1))?;
                    let on = (vec![Column::new_unqualified(ROW)], vec![Column::new_unqualified(row)]);
                    joined = joined.join(first.build()?, JoinType::Left, on, None)?;
                    Some(column)
                }
            };
            let Some(column) = column else { return Ok(None) };
            given.push(Expr::Column(column));
        }
        let names = aggregate.schema.iter();
        let given = given
            .into_iter()
            .zip(names)
            .map(|(given, (qualifier, field))| given.alias_qualified(qualifier.cloned(), field.name()));
        let given = Projection::try_new_with_schema(given.collect(), Arc::new(joined.build()?), Arc::clone(&aggregate.schema))?;
        Ok(Some(LogicalPlan::Projection(given)))
    }

    /// Returns the columns that identify a row of a plan. With them, a changed value is a new version of its row: one change, not
    /// two. Empty if no key is known, or if a column of the key is not plain.
    fn known_by(&self, plan: &LogicalPlan) -> Vec<Expr> {
        let key = self.node(plan).ok().and_then(|node| node.key).unwrap_or_default();
        let columns = plan.schema().columns();
        if key.iter().all(|column| is_plain(plan.schema().field(*column).data_type())) {
            key.iter().map(|column| Expr::Column(columns[*column].clone())).collect()
        } else {
            Vec::new()
        }
    }

    /// Checks whether a plan only filters, projects and renames the rows of one relation.
    fn is_cheap(&self, plan: &LogicalPlan) -> bool {
        let is_linear = matches!(plan, LogicalPlan::Projection(_) | LogicalPlan::Filter(_) | LogicalPlan::SubqueryAlias(_));
        self.pick(plan).is_some() || is_linear && plan.inputs().iter().all(|input| self.is_cheap(input))
    }
}

/// Returns the `min` or `max` that an expression is, if the function orders values of its type as a sort does.
fn extreme(expression: &Expr, schema: &DFSchema) -> Option<Extreme> {
    let Expr::AggregateFunction(call) = expression.clone().unalias() else { return None };
    let least = match call.func.name() {
        "min" => true,
        "max" => false,
        _ => return None,
    };
    let ([value], None, true) = (call.params.args.as_slice(), &call.params.filter, call.params.order_by.is_empty()) else {
        return None;
    };
    is_plain(&value.get_type(schema).ok()?).then(|| Extreme { value: value.clone(), least })
}

/// Checks whether values of a type are plain: an aggregate and a sort order them alike, and equal values have equal bits.
fn is_plain(data_type: &DataType) -> bool {
    equality::is_exact(data_type) && !data_type.is_nested() && !matches!(data_type, DataType::Dictionary(_, _))
}
