//! Columns of a view that are an INTERVAL are stored as their lengths: Parquet has no intervals of months, days and nanoseconds.
//!
//! INTERVALs of one length may be written in several ways: '1 month' = '30 days'. So which of them a group or an extreme shows is not decided.

use arrow::datatypes::{DataType, IntervalUnit};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, NullEquality, Result};
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Distinct, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder};

use crate::nested_types::holds;
use crate::planner::{Refusal, Spot};
use crate::session::{interval_length, plain_name};

/// Returns why a node is refused that would have to choose among INTERVALs of one length.
pub(super) fn refusal(plan: &LogicalPlan) -> Result<Option<Refusal>> {
    let schema = merge_schema(&plan.inputs());
    // Rules of ours compare the values of outer rows one by one, which decides nothing.
    let is_ours = |name: &str| name.starts_with('$');
    let is_interval = |expression: &Expr| {
        !matches!(expression, Expr::Column(column) if is_ours(column.name()))
            && expression.get_type(&schema).is_ok_and(|data_type| holds_interval(&data_type))
    };
    let by_length = "group by its seconds, date_part('epoch', ...), or by the text that CAST(... AS VARCHAR) gives";
    let refused = |what: String, help: &str, spot: Spot| {
        let message = format!(
            "{what} INTERVALs: those of one length, such as 1 month and 30 days, are equal, and which is shown is not decided"
        );
        Some(Refusal::Refused { message, help: help.to_owned(), spot })
    };
    let by_columns =
        |schema: &DFSchema| schema.fields().iter().any(|field| !is_ours(field.name()) && holds_interval(field.data_type()));
    let found = match plan {
        LogicalPlan::Aggregate(aggregate) if aggregate.group_expr.iter().any(is_interval) => {
            refused("a query groups by".to_owned(), by_length, Spot::Word("GROUP"))
        }
        LogicalPlan::Distinct(Distinct::All(input)) if by_columns(input.schema()) => {
            refused("a query drops copies of".to_owned(), by_length, Spot::Word("DISTINCT"))
        }
        LogicalPlan::Distinct(Distinct::On(on)) if on.on_expr.iter().any(is_interval) => {
            refused("DISTINCT ON compares".to_owned(), by_length, Spot::Word("DISTINCT"))
        }
        LogicalPlan::Join(join)
            if join.null_equality == NullEquality::NullEqualsNull
                && join.on.iter().any(|(left, right)| is_interval(left) && is_interval(right)) =>
        {
            refused("INTERSECT and EXCEPT compare".to_owned(), by_length, Spot::Whole)
        }
        _ => None,
    };
    if found.is_some() {
        return Ok(found);
    }
    let mut found = None;
    plan.apply_expressions(|expression| {
        expression.apply(|expression| {
            let (name, args, distinct): (&str, &[Expr], bool) = match expression {
                Expr::AggregateFunction(call) => (call.func.name(), &call.params.args, call.params.distinct),
                Expr::WindowFunction(call) => (call.fun.name(), &call.params.args, call.params.distinct),
                Expr::ScalarFunction(call) => (call.name(), &call.args, false),
                Expr::InSubquery(asked) => ("IN", std::slice::from_ref(asked.expr.as_ref()), false),
                _ => return Ok(TreeNodeRecursion::Continue),
            };
            let compares =
                distinct || matches!(plain_name(name), "min" | "max" | "mode" | "greatest" | "least" | "nullif" | "IN");
            if compares && args.iter().any(is_interval) {
                let (spot, help) = match name {
                    "IN" => (Spot::Word("IN"), "compare them with = in EXISTS, which compares lengths"),
                    _ => (Spot::Call(plain_name(name).to_owned()), "ask for its seconds: date_part('epoch', ...)"),
                };
                found = refused(format!("{} compares", plain_name(name)), help, spot);
            }
            Ok(if found.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })
    })?;
    Ok(found)
}

fn holds_interval(data_type: &DataType) -> bool {
    holds(data_type, &|data_type| *data_type == DataType::Interval(IntervalUnit::MonthDayNano))
}

/// Replaces each column that is an INTERVAL by its length.
pub(super) fn as_lengths(plan: LogicalPlan) -> Result<LogicalPlan> {
    let is_interval = |data_type: &DataType| *data_type == DataType::Interval(IntervalUnit::MonthDayNano);
    if !plan.schema().fields().iter().any(|field| is_interval(field.data_type())) {
        return Ok(plan);
    }
    let columns = plan.schema().columns().into_iter().zip(plan.schema().fields()).map(|(column, field)| {
        let value = Expr::Column(column.clone());
        match is_interval(field.data_type()) {
            true => interval_length().call(vec![value]).alias_qualified(column.relation, column.name),
            false => value,
        }
    });
    let columns: Vec<Expr> = columns.collect();
    LogicalPlanBuilder::from(plan).project(columns)?.build()
}
