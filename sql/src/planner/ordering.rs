//! Makes every order decide. If an order leaves a choice that shows in the answer, the remaining columns are added to it. If it
//! shows nowhere, it is dropped. So an answer is a function of the rows, whatever order they arrived in.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, Result};
use datafusion::functions_aggregate::first_last::{first_value, first_value_udaf};
use datafusion::logical_expr::expr::{
    AggregateFunction, NullTreatment, Sort as SortExpr, WindowFunction, WindowFunctionDefinition,
};
use datafusion::logical_expr::{
    Distinct, DistinctOn, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, Sort, Window, WindowFrameBound, WindowFrameUnits,
};

use crate::plan::{RelationKind, plain_column};
use crate::planner::subqueries::has_subquery_or_outer_column;
use crate::planner::{Relation, aggregates};
use crate::session::plain_name;

/// Breaks the ties in a plan as it was written, and drops its sorts without effect.
pub(crate) fn settle(plan: LogicalPlan, relations: &BTreeMap<String, Relation>) -> Result<LogicalPlan> {
    let ties = Ties { relations };
    let plan = drop_sorts(plan)?;
    Ok(plan.transform_up_with_subqueries(|plan| ties.operator(plan))?.data)
}

/// Removes the sorts that no LIMIT reads.
pub(crate) fn drop_sorts(plan: LogicalPlan) -> Result<LogicalPlan> {
    drop_sorts_below(plan, false)
}

fn drop_sorts_below(plan: LogicalPlan, limited: bool) -> Result<LogicalPlan> {
    let plan = match plan {
        LogicalPlan::Sort(sort) if sort.fetch.is_none() && !limited => {
            return drop_sorts_below(Arc::unwrap_or_clone(sort.input), false);
        }
        other => other,
    };
    let limited = match &plan {
        LogicalPlan::Limit(_) => true,
        LogicalPlan::Projection(_) | LogicalPlan::SubqueryAlias(_) => limited,
        _ => false,
    };
    let plan = plan.map_children(|input| drop_sorts_below(input, limited).map(Transformed::yes))?.data;
    Ok(plan.map_subqueries(|subquery| drop_sorts_below(subquery, false).map(Transformed::yes))?.data)
}

/// Breaks ties in orders.
struct Ties<'a> {
    relations: &'a BTreeMap<String, Relation>,
}

impl Ties<'_> {
    fn operator(&self, plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
        match plan {
            LogicalPlan::Sort(sort) => {
                let expr = self.broken(sort.expr, &sort.input);
                Ok(Transformed::yes(LogicalPlan::Sort(Sort { expr, ..sort })))
            }
            LogicalPlan::Distinct(Distinct::On(on)) => distinct_on(on),
            LogicalPlan::Window(window) => self.positions(window),
            LogicalPlan::Aggregate(_) => self.aggregate_orders(plan),
            other => Ok(Transformed::no(other)),
        }
    }

    /// Adds the keys that break ties: the sequence if the rows are those of one source, else every column that can be sorted by.
    fn broken(&self, mut sort: Vec<SortExpr>, input: &LogicalPlan) -> Vec<SortExpr> {
        let schema = input.schema();
        let columns: Vec<Expr> = match self.sequence(input) {
            Some(columns) => columns.into_iter().map(Expr::Column).collect(),
            None => schema
                .iter()
                .filter(|(_, field)| is_sortable(field.data_type()))
                .map(|column| Expr::Column(Column::from(column)))
                .collect(),
        };
        for column in columns {
            add_key(&mut sort, column);
        }
        sort
    }

    /// Returns the columns that order the rows by their events, if each row comes from an event of its own: its sequence, and its place in
    /// its message where that may hold several.
    fn sequence(&self, plan: &LogicalPlan) -> Option<Vec<Column>> {
        match plan {
            LogicalPlan::TableScan(scan) => {
                let relation = self.relations.get(scan.table_name.table())?;
                let column = |name: &&str| scan.projected_schema.columns_with_unqualified_name(name).into_iter().next();
                (relation.kind == RelationKind::Source).then(|| relation.order_of_events().iter().map(column).collect())?
            }
            LogicalPlan::Filter(filter) => self.sequence(&filter.input),
            LogicalPlan::SubqueryAlias(alias) => {
                let above = |below: &Column| {
                    let index = alias.input.schema().maybe_index_of_column(below)?;
                    alias.schema.columns().into_iter().nth(index)
                };
                self.sequence(&alias.input)?.iter().map(above).collect()
            }
            LogicalPlan::Projection(projection) => {
                let above = |below: &Column| {
                    let index = projection.expr.iter().position(|expression| plain_column(expression) == Some(below))?;
                    projection.schema.columns().into_iter().nth(index)
                };
                self.sequence(&projection.input)?.iter().map(above).collect()
            }
            _ => None,
        }
    }

    /// Breaks ties for window functions that count positions (`row_number`, `lag`, frames of ROWS). Tied rows have no position of
    /// their own until all their columns decide. Functions over peers (`rank`, frames of RANGE) must keep their ties.
    fn positions(&self, window: Window) -> Result<Transformed<LogicalPlan>> {
        let input = Arc::clone(&window.input);
        let mut changed = false;
        let settled: Vec<Expr> = window
            .window_expr
            .iter()
            .map(|expression| {
                expression.clone().transform_up(|expression| match expression {
                    Expr::WindowFunction(mut call) if counts_positions(&call) => {
                        let broken = self.broken(call.params.order_by.clone(), &input);
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
        // The operators above refer to the columns by the expressions as they were written.
        let written = Arc::clone(&window.schema);
        let plan = LogicalPlanBuilder::from(Arc::unwrap_or_clone(input)).window(settled)?.build()?;
        let names = written
            .iter()
            .zip(plan.schema().columns())
            .map(|((qualifier, field), column)| Expr::Column(column).alias_qualified(qualifier.cloned(), field.name()));
        let names: Vec<Expr> = names.collect();
        Ok(Transformed::yes(LogicalPlanBuilder::from(plan).project(names)?.build()?))
    }

    /// Breaks ties for aggregates. Tied rows are ordered by their events if each row comes from an event of one source; else the
    /// value itself decides. The value also decides if there is neither an ORDER BY nor an order of events. DISTINCT values are
    /// ordered by value.
    fn aggregate_orders(&self, plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Aggregate(aggregate) = &plan else {
            return Ok(Transformed::no(plan));
        };
        let input = Input {
            schema: aggregate.input.schema(),
            by_arrival: by_arrival(&aggregate.input, self.relations),
            sequence: self.sequence(&aggregate.input),
        };
        let settled: Vec<Option<Expr>> = aggregate.aggr_expr.iter().map(|expression| settled_call(expression, &input)).collect();
        if settled.iter().all(Option::is_none) {
            return Ok(Transformed::no(plan));
        }
        let expressions = aggregate.aggr_expr.iter().zip(settled).map(|(expression, settled)| match settled {
            Some(settled) => settled.alias(expression.schema_name().to_string()),
            None => expression.clone(),
        });
        let settled = datafusion::logical_expr::Aggregate::try_new_with_schema(
            Arc::clone(&aggregate.input),
            aggregate.group_expr.clone(),
            expressions.collect(),
            Arc::clone(&aggregate.schema),
        )?;
        Ok(Transformed::yes(LogicalPlan::Aggregate(settled)))
    }
}

/// Checks whether a plan emits rows in the order of one source's events. A row that depends on a subquery can be emitted, or emitted
/// again, when the rows of the subquery change.
pub(super) fn by_arrival(plan: &LogicalPlan, relations: &BTreeMap<String, Relation>) -> bool {
    match plan {
        LogicalPlan::TableScan(scan) => relations.get(scan.table_name.table()).is_some_and(|relation| relation.by_arrival),
        // Constant rows, which no event changes.
        LogicalPlan::EmptyRelation(_) | LogicalPlan::Values(_) => true,
        LogicalPlan::Filter(_) | LogicalPlan::SubqueryAlias(_) | LogicalPlan::Projection(_) | LogicalPlan::Unnest(_) => {
            !has_subquery_or_outer_column(plan) && plan.inputs().into_iter().all(|input| by_arrival(input, relations))
        }
        _ => false,
    }
}

/// Rewrites `DISTINCT ON`, which keeps the first row of each group, as an aggregate. The selected columns break its ties. The
/// columns of ON stay groups, so that they are known to identify a row.
fn distinct_on(on: DistinctOn) -> Result<Transformed<LogicalPlan>> {
    let Some(mut sort) = on.sort_expr else {
        return Ok(Transformed::no(LogicalPlan::Distinct(Distinct::On(on))));
    };
    let selected: Vec<Expr> = on.select_expr.iter().map(|expression| expression.clone().unalias()).collect();
    for value in &selected {
        if is_sortable(&value.get_type(on.input.schema().as_ref())?) {
            add_key(&mut sort, value.clone());
        }
    }
    let mut groups: Vec<Expr> = Vec::new();
    for group in on.on_expr {
        if !groups.contains(&group) {
            groups.push(group);
        }
    }
    // Within a group, the columns of ON are constant.
    sort.retain(|key| !groups.contains(&key.expr));
    let mut firsts: Vec<Expr> = Vec::new();
    let mut places: Vec<usize> = Vec::new();
    for value in selected {
        places.push(match groups.iter().position(|group| *group == value) {
            Some(group) => group,
            None => {
                let first = first_value(value, sort.clone());
                let known = firsts.iter().position(|other| *other == first);
                groups.len()
                    + known.unwrap_or_else(|| {
                        firsts.push(first);
                        firsts.len() - 1
                    })
            }
        });
    }
    let aggregate = LogicalPlanBuilder::from(Arc::unwrap_or_clone(on.input)).aggregate(groups, firsts)?.build()?;
    let columns = aggregate.schema().columns();
    let named = on.schema.iter().zip(places).filter_map(|((qualifier, field), place)| {
        Some(Expr::Column(columns.get(place)?.clone()).alias_qualified(qualifier.cloned(), field.name()))
    });
    let named: Vec<Expr> = named.collect();
    Ok(Transformed::yes(LogicalPlanBuilder::from(aggregate).project(named)?.build()?))
}

fn add_key(sort: &mut Vec<SortExpr>, key: Expr) {
    if !matches!(key, Expr::Literal(_, _)) && !sort.iter().any(|other| other.expr == key) {
        sort.push(key.sort(true, false));
    }
}

fn is_sortable(data_type: &DataType) -> bool {
    match data_type {
        DataType::Map(_, _) | DataType::Union(_, _) => false,
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => is_sortable(item.data_type()),
        DataType::Struct(fields) => fields.iter().all(|field| is_sortable(field.data_type())),
        _ => true,
    }
}

/// Checks whether a window function depends on the positions of rows in their order, so that ties must be broken.
pub(super) fn counts_positions(call: &WindowFunction) -> bool {
    match &call.fun {
        WindowFunctionDefinition::WindowUDF(function) if matches!(function.name(), "row_number" | "ntile" | "lag" | "lead") => {
            true
        }
        WindowFunctionDefinition::WindowUDF(function)
            if matches!(function.name(), "rank" | "dense_rank" | "percent_rank" | "cume_dist") =>
        {
            false
        }
        _ if call.params.window_frame.units == WindowFrameUnits::Rows => !is_whole_partition(call),
        // At an end of the partition, the rest of the frame does not matter.
        WindowFunctionDefinition::WindowUDF(function) if call.params.null_treatment != Some(NullTreatment::IgnoreNulls) => {
            let (start, end) = (&call.params.window_frame.start_bound, &call.params.window_frame.end_bound);
            match function.name() {
                "first_value" => start.is_unbounded() && !is_offset(end),
                "last_value" => end.is_unbounded() && !is_offset(start),
                _ => false,
            }
        }
        _ => false,
    }
}

/// Checks whether a frame bound is a distance, which RANGE measures in the only column of ORDER BY.
fn is_offset(bound: &WindowFrameBound) -> bool {
    !bound.is_unbounded() && !matches!(bound, WindowFrameBound::CurrentRow)
}

/// Checks whether the frame is the whole partition and the function does not show the order. Then positions do not matter.
fn is_whole_partition(call: &WindowFunction) -> bool {
    let frame = &call.params.window_frame;
    frame.start_bound.is_unbounded()
        && frame.end_bound.is_unbounded()
        && !matches!(plain_name(call.fun.name()), "first_value" | "last_value" | "nth_value" | "array_agg" | "string_agg")
}

/// The input of an aggregate.
struct Input<'a> {
    schema: &'a DFSchema,
    by_arrival: bool,
    /// The columns that order the rows by their events, if there are any.
    sequence: Option<Vec<Column>>,
}

/// Returns the call with an order that decides. `None` if its order decides already, or if it means the order of arrival.
fn settled_call(expression: &Expr, input: &Input<'_>) -> Option<Expr> {
    let call = aggregates::call(expression)?;
    let AggregateFunction { func, params } = call;
    if !matches!(func.name(), "any_value" | "array_agg" | "string_agg" | "first_value" | "last_value" | "nth_value") {
        return None;
    }
    let value = params.args.first()?;
    if !is_sortable(&value.get_type(input.schema).ok()?) || matches!(value, Expr::Literal(_, _)) {
        return None;
    }
    let mut settled = call.clone();
    let order_by = &mut settled.params.order_by;
    drop_repeated(order_by);
    let is_decided = params.order_by.iter().any(|key| key.expr == *value);
    let by_value = value.clone().sort(true, false);
    match (params.order_by.is_empty(), params.distinct) {
        (true, true) => order_by.push(by_value),
        (true, false) if !input.by_arrival => {
            order_by.push(by_value);
            if func.name() == "any_value" {
                settled.func = first_value_udaf();
            }
        }
        (false, false) if !is_decided => match &input.sequence {
            Some(columns) => columns.iter().for_each(|column| add_key(order_by, Expr::Column(column.clone()))),
            // These functions keep tied rows in order of arrival.
            None if input.by_arrival && func.name() != "nth_value" => {}
            None => order_by.push(by_value),
        },
        _ => {}
    }
    (settled != *call).then(|| Expr::AggregateFunction(settled))
}

/// Drops keys that stand in an order before. They decide nothing, and DataFusion's `first_value` has state for each key once only.
fn drop_repeated(order_by: &mut Vec<SortExpr>) {
    let mut kept: Vec<SortExpr> = Vec::new();
    for key in order_by.drain(..) {
        if !kept.iter().any(|earlier| earlier.expr == key.expr) {
            kept.push(key);
        }
    }
    *order_by = kept;
}
