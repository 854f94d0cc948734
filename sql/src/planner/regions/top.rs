//! The first rows of an order, over all rows or by key: a row that falls behind them never returns where rows only arrive, so that
//! only the first ones need be stored.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::expr::WindowFunctionDefinition;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{
    BinaryExpr, Expr, FetchType, Limit, LogicalPlan, LogicalPlanBuilder, Operator, Projection, SkipType, Sort, Window, lit,
};

use super::keyed::Cores;
use super::{Cut, has_subquery_or_outer_column, unique_schema};
use crate::plan::{Class, Node, Op};
use crate::planner::keys::plain_column;
use crate::planner::split::Split;
use crate::planner::{Refusal, keys, split};

/// Functions that count how many rows come before one, in an order.
const RANKS: [&str; 3] = ["row_number", "rank", "dense_rank"];

/// All rows under one key.
pub(super) fn of_all_rows() -> Split {
    Split { keys: vec![Vec::new()], nulls_match: true, title: "ORDER BY with LIMIT".to_owned() }
}

impl Cut<'_> {
    /// Whether a plan is the first rows of an order over rows that only arrive, with operators above that look at these only.
    pub(super) fn is_top(&self, plan: &LogicalPlan) -> bool {
        match plan {
            LogicalPlan::Sort(sort) => sort.fetch.is_some() && !self.retracts(&sort.input),
            LogicalPlan::Limit(_)
            | LogicalPlan::Projection(_)
            | LogicalPlan::Filter(_)
            | LogicalPlan::SubqueryAlias(_)
            | LogicalPlan::Unnest(_) => {
                !has_subquery_or_outer_column(plan) && plan.inputs().first().is_some_and(|input| self.is_top(input))
            }
            _ => false,
        }
    }

    /// Which rows of the only leaf can still come into the answer of a keyed region, as a plan over it.
    pub(super) fn keep(&self, plan: &LogicalPlan, cores: &Cores) -> Result<Option<LogicalPlan>> {
        let [input] = cores.inputs.as_slice() else { return Ok(None) };
        let columns = cores.plan.inputs().first().map_or(0, |leaf| leaf.schema().fields().len());
        // Computed keys are no columns of the plan, and would be lost.
        if input.retracts || input.schema.fields().len() != columns {
            return Ok(None);
        }
        match &cores.plan {
            LogicalPlan::Sort(sort) if sort.fetch.is_some() => Ok(Some(cores.plan.clone())),
            LogicalPlan::Window(window) if ranks_alike(window) => {
                let mut bounds = Vec::new();
                let _ = follow(plan, &mut bounds);
                let bound = bounds.into_iter().filter(|(column, _)| *column >= columns).min_by_key(|(_, bound)| *bound);
                let Some((column, bound)) = bound else { return Ok(None) };
                let names = window.schema.columns();
                let rank = Expr::Column(names[column].clone());
                let kept = LogicalPlanBuilder::from(cores.plan.clone())
                    .filter(rank.lt_eq(lit(bound)))?
                    .project(names[..columns].iter().cloned().map(Expr::Column))?
                    .build()?;
                Ok(Some(kept))
            }
            _ => Ok(None),
        }
    }
}

impl Cut<'_> {
    /// The first rows of an order over rows that can be taken back.
    pub(super) fn top(&self, plan: &LogicalPlan) -> Result<Node, Refusal> {
        let Some((sort, skip, fetch)) = of_changing(plan) else {
            return Err(DataFusionError::Internal("a sort has no limit".to_owned()).into());
        };
        let cores = self.over_arranged(LogicalPlan::Sort(sort.clone()), &of_all_rows())?;
        let input_keys: Vec<Option<Vec<usize>>> = cores.inputs.iter().map(|input| input.key.clone()).collect();
        Ok(Node {
            id: 0,
            expiries: Vec::new(),
            class: Class::KeyedRecompute,
            reason: None,
            cost: "O(changes x log rows + limit)".to_owned(),
            state: Some("all rows in their order".to_owned()),
            schema: unique_schema(plan.schema()),
            retracts: true,
            key: if fetch.saturating_sub(skip) <= 1 { Some(Vec::new()) } else { keys::of_plan(&cores.plan, &input_keys) },
            inputs: cores.inputs,
            op: Op::Top { plan: cores.plan, skip, fetch },
        })
    }
}

/// A sort of which only some rows are given, and which: directly under its limit, of columns that can be ordered and told apart.
pub(super) fn of_changing(plan: &LogicalPlan) -> Option<(&Sort, usize, usize)> {
    let (sort, skip, fetch) = match plan {
        LogicalPlan::Sort(sort) => (sort, 0, sort.fetch?),
        LogicalPlan::Limit(limit) => {
            let LogicalPlan::Sort(sort) = limit.input.as_ref() else { return None };
            let (Ok(SkipType::Literal(skip)), Ok(FetchType::Literal(fetch))) = (limit.get_skip_type(), limit.get_fetch_type())
            else {
                return None;
            };
            let limit = fetch.map_or(usize::MAX, |fetch| skip.saturating_add(fetch));
            (sort, skip, limit.min(sort.fetch?))
        }
        _ => return None,
    };
    let schema = sort.input.schema();
    let told_apart = schema.fields().iter().all(|field| {
        field.data_type().is_floating()
            || split::is_exact(field.data_type()) && !matches!(field.data_type(), DataType::Dictionary(_, _))
    });
    (told_apart && !schema.fields().is_empty()).then_some((sort, skip, fetch))
}

/// The plan with its limits directly above their sorts: what only picks columns stands above both.
pub(super) fn limits_above_sorts(plan: LogicalPlan) -> Result<LogicalPlan> {
    let lowered = plan.transform_up(|plan| {
        let LogicalPlan::Limit(limit) = &plan else { return Ok(Transformed::no(plan)) };
        let LogicalPlan::Projection(projection) = limit.input.as_ref() else { return Ok(Transformed::no(plan)) };
        if !matches!(projection.input.as_ref(), LogicalPlan::Sort(_)) || has_subquery_or_outer_column(&limit.input) {
            return Ok(Transformed::no(plan));
        }
        let lowered = Limit { input: Arc::clone(&projection.input), ..limit.clone() };
        let schema = Arc::clone(&projection.schema);
        let above = Projection::try_new_with_schema(projection.expr.clone(), Arc::new(LogicalPlan::Limit(lowered)), schema)?;
        Ok(Transformed::yes(LogicalPlan::Projection(above)))
    });
    Ok(lowered?.data)
}

/// Whether a window operator holds nothing but ranks in one order, which do not look at the rows that come after.
pub(super) fn ranks_alike(window: &Window) -> bool {
    let mut calls = window.window_expr.iter().map(|expression| match expression.clone().unalias() {
        Expr::WindowFunction(call) => match &call.fun {
            WindowFunctionDefinition::WindowUDF(function) if RANKS.contains(&function.name()) => {
                Some((call.params.partition_by, call.params.order_by))
            }
            _ => None,
        },
        _ => None,
    });
    match calls.next() {
        Some(Some(first)) => calls.all(|call| call.as_ref() == Some(&first)),
        _ => false,
    }
}

/// Follows the columns of a window operator up through a plan: gives for each column of the plan the window's column that it is, and
/// collects the bounds that filters set. None where the columns get lost.
fn follow(plan: &LogicalPlan, bounds: &mut Vec<(usize, u64)>) -> Option<Vec<Option<usize>>> {
    match plan {
        // One over another looks at rows that the lower one's bound would leave out.
        LogicalPlan::Window(window) if matches!(window.input.as_ref(), LogicalPlan::Window(_)) => None,
        LogicalPlan::Window(window) => Some((0..window.schema.fields().len()).map(Some).collect()),
        LogicalPlan::SubqueryAlias(alias) => follow(&alias.input, bounds),
        LogicalPlan::Projection(projection) => {
            let below = follow(&projection.input, bounds)?;
            let schema = projection.input.schema();
            let column = |expression: &Expr| {
                plain_column(expression).and_then(|column| schema.maybe_index_of_column(column)).and_then(|index| below[index])
            };
            Some(projection.expr.iter().map(column).collect())
        }
        LogicalPlan::Filter(filter) => {
            let below = follow(&filter.input, bounds)?;
            let schema = filter.input.schema();
            for condition in split_conjunction(&filter.predicate) {
                if let Some((column, bound)) = upper_bound(condition)
                    && let Some(column) = schema.maybe_index_of_column(column).and_then(|index| below[index])
                {
                    bounds.push((column, bound));
                }
            }
            Some(below)
        }
        _ => {
            for input in plan.inputs() {
                let _ = follow(input, bounds);
            }
            None
        }
    }
}

/// What a condition says a column is not beyond.
pub(super) fn upper_bound(condition: &Expr) -> Option<(&Column, u64)> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = condition else { return None };
    let (column, op, value) = match (left.as_ref(), right.as_ref()) {
        (Expr::Column(column), Expr::Literal(value, _)) => (column, *op, value),
        (Expr::Literal(value, _), Expr::Column(column)) => (column, op.swap()?, value),
        _ => return None,
    };
    let ScalarValue::UInt64(Some(value)) = value else { return None };
    match op {
        Operator::Lt => Some((column, value.saturating_sub(1))),
        Operator::LtEq | Operator::Eq => Some((column, *value)),
        _ => None,
    }
}
