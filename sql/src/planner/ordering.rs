//! Orders that decide: where an order leaves a choice that shows in the answer, the remaining columns are made part of it; where
//! it shows nowhere, it is dropped. So an answer is a function of the rows, whatever way they came in.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, Result};
use datafusion::logical_expr::expr::{AggregateFunction, Sort as SortExpr, WindowFunction, WindowFunctionDefinition};
use datafusion::logical_expr::{
    Distinct, DistinctOn, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, Sort, Window, WindowFrameUnits,
};

/// The plan with its orders settled.
pub(crate) fn settle(plan: LogicalPlan) -> Result<LogicalPlan> {
    let plan = settle_sorts(plan, false)?;
    Ok(plan.transform_up_with_subqueries(operator)?.data)
}

/// Drops a sort that no LIMIT reads, and breaks the ties of one that is read.
fn settle_sorts(plan: LogicalPlan, limited: bool) -> Result<LogicalPlan> {
    let plan = match plan {
        LogicalPlan::Sort(sort) if sort.fetch.is_none() && !limited => {
            return settle_sorts(Arc::unwrap_or_clone(sort.input), false);
        }
        LogicalPlan::Sort(sort) => {
            let expr = with_ties_broken(sort.expr, sort.input.schema());
            LogicalPlan::Sort(Sort { expr, input: sort.input, fetch: sort.fetch })
        }
        other => other,
    };
    let limited = match &plan {
        LogicalPlan::Limit(_) => true,
        LogicalPlan::Projection(_) | LogicalPlan::SubqueryAlias(_) => limited,
        _ => false,
    };
    let plan = plan.map_children(|input| settle_sorts(input, limited).map(Transformed::yes))?.data;
    Ok(plan.map_subqueries(|subquery| settle_sorts(subquery, false).map(Transformed::yes))?.data)
}

fn operator(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    match plan {
        LogicalPlan::Distinct(Distinct::On(on)) => distinct_on(on),
        LogicalPlan::Window(window) => positions(window),
        LogicalPlan::Aggregate(_) => aggregate_orders(plan),
        other => Ok(Transformed::no(other)),
    }
}

/// `DISTINCT ON` keeps the first row of each group: the whole row decides.
fn distinct_on(on: DistinctOn) -> Result<Transformed<LogicalPlan>> {
    let Some(sort_expr) = on.sort_expr else {
        return Ok(Transformed::no(LogicalPlan::Distinct(Distinct::On(on))));
    };
    let sort_expr = Some(with_ties_broken(sort_expr, on.input.schema()));
    Ok(Transformed::yes(LogicalPlan::Distinct(Distinct::On(DistinctOn { sort_expr, ..on }))))
}

/// Adds every column that can be sorted by and is not there yet.
fn with_ties_broken(mut sort: Vec<SortExpr>, schema: &DFSchema) -> Vec<SortExpr> {
    for (qualifier, field) in schema.iter() {
        let column = Expr::Column(Column::from((qualifier, field)));
        if is_sortable(field.data_type()) && !sort.iter().any(|key| key.expr == column) {
            sort.push(column.sort(true, false));
        }
    }
    sort
}

fn is_sortable(data_type: &DataType) -> bool {
    match data_type {
        DataType::Map(_, _) | DataType::Union(_, _) => false,
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => is_sortable(item.data_type()),
        DataType::Struct(fields) => fields.iter().all(|field| is_sortable(field.data_type())),
        _ => true,
    }
}

/// Window functions that count positions (`row_number`, `lag`, frames of ROWS): rows that tie have no position of their own until
/// all their columns decide. Functions over peers (`rank`, frames of RANGE) must keep their ties.
fn positions(window: Window) -> Result<Transformed<LogicalPlan>> {
    let input = Arc::clone(&window.input);
    let schema = Arc::clone(input.schema());
    let mut changed = false;
    let settled: Vec<Expr> = window
        .window_expr
        .iter()
        .map(|expression| {
            expression.clone().transform_up(|expression| match expression {
                Expr::WindowFunction(mut call) if counts_positions(&call) => {
                    let broken = with_ties_broken(call.params.order_by.clone(), &schema);
                    changed |= broken.len() != call.params.order_by.len();
                    call.params.order_by = broken;
                    Ok(Transformed::yes(Expr::WindowFunction(call)))
                }
                other => Ok(Transformed::no(other)),
            })
        })
        .map(|settled| settled.map(|settled| settled.data))
        .collect::<Result<_>>()?;
    if !changed {
        return Ok(Transformed::no(LogicalPlan::Window(window)));
    }
    // The operators above know the columns by the expressions as they were written.
    let written = Arc::clone(&window.schema);
    let plan = LogicalPlanBuilder::from(Arc::unwrap_or_clone(input)).window(settled)?.build()?;
    let names = written.iter().zip(plan.schema().columns()).map(|((qualifier, field), column)| {
        Expr::Column(column).alias_qualified(qualifier.cloned(), field.name())
    });
    let names: Vec<Expr> = names.collect();
    Ok(Transformed::yes(LogicalPlanBuilder::from(plan).project(names)?.build()?))
}

fn counts_positions(call: &WindowFunction) -> bool {
    match &call.fun {
        WindowFunctionDefinition::WindowUDF(function)
            if matches!(function.name(), "row_number" | "ntile" | "lag" | "lead") =>
        {
            true
        }
        WindowFunctionDefinition::WindowUDF(function)
            if matches!(function.name(), "rank" | "dense_rank" | "percent_rank" | "cume_dist") =>
        {
            false
        }
        _ => call.params.window_frame.units == WindowFrameUnits::Rows && !is_whole_partition(call),
    }
}

/// Whether the frame is all rows of the partition: nothing to count then, unless the order itself shows.
fn is_whole_partition(call: &WindowFunction) -> bool {
    let frame = &call.params.window_frame;
    frame.start_bound.is_unbounded()
        && frame.end_bound.is_unbounded()
        && !matches!(call.fun.name(), "first_value" | "last_value" | "nth_value" | "array_agg" | "string_agg")
}

/// Aggregates over an order: the value itself decides a tie. DISTINCT values come in the order of the values.
fn aggregate_orders(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let LogicalPlan::Aggregate(aggregate) = &plan else {
        return Ok(Transformed::no(plan));
    };
    let schema = aggregate.input.schema();
    if !aggregate.aggr_expr.iter().any(|expression| settled_call(expression, schema).is_some()) {
        return Ok(Transformed::no(plan));
    }
    let aggr_expr: Vec<Expr> = aggregate
        .aggr_expr
        .iter()
        .map(|expression| match settled_call(expression, schema) {
            Some(settled) => settled.alias(expression.schema_name().to_string()),
            None => expression.clone(),
        })
        .collect();
    let written = Arc::clone(&aggregate.schema);
    let settled = datafusion::logical_expr::Aggregate::try_new_with_schema(
        Arc::clone(&aggregate.input),
        aggregate.group_expr.clone(),
        aggr_expr,
        written,
    )?;
    Ok(Transformed::yes(LogicalPlan::Aggregate(settled)))
}

fn settled_call(expression: &Expr, schema: &DFSchema) -> Option<Expr> {
    let Expr::AggregateFunction(call) = expression else {
        return None;
    };
    let AggregateFunction { func, params } = call;
    if !matches!(func.name(), "array_agg" | "string_agg" | "first_value" | "last_value" | "nth_value") {
        return None;
    }
    let value = params.args.first()?;
    let lists_a_set = params.distinct && params.order_by.is_empty();
    let ties = !params.distinct && !params.order_by.is_empty() && !params.order_by.iter().any(|key| key.expr == *value);
    if !(lists_a_set || ties) || !is_sortable(&value.get_type(schema).ok()?) || matches!(value, Expr::Literal(_, _)) {
        return None;
    }
    let mut settled = call.clone();
    settled.params.order_by.push(value.clone().sort(true, false));
    Some(Expr::AggregateFunction(settled))
}
