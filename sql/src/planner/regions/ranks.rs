//! The first rows by key: `row_number() <= n` and its relatives, over insert-only input.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{Expr, ExprSchemable, Filter, LogicalPlan, Window, lit};

use super::cut::Cut;
use super::leaves::unique_schema;
use super::sorts::{ranks_alike, upper_bound};
use crate::plan::{KeyedInput, Node, Op, plain_column};
use crate::planner::{Refusal, equality, keys, split};

/// The largest number of rank functions in one window operator.
const MOST_FUNCTIONS: usize = 3;

/// A window operator of ranks, with the rank that is bounded and its bound.
pub(super) struct Bounded<'p> {
    plan: &'p LogicalPlan,
    window: &'p Window,
    function: usize,
    bound: u64,
}

impl Cut<'_> {
    /// Repeats each bound that a filter sets on a rank directly above the window operator that computes the rank.
    pub(super) fn bounds_above_ranks(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        Ok(plan.transform_down(|plan| self.bounded(plan, &[]))?.data)
    }

    /// Pushes bounds on columns of a plan, by index, down to the operators that the columns come from.
    fn bounded(&self, plan: LogicalPlan, bounds: &[(usize, u64)]) -> Result<Transformed<LogicalPlan>> {
        if self.bounded_ranks(&plan).is_some() {
            return Ok(Transformed::no(plan));
        }
        let below: Vec<(usize, u64)> = match &plan {
            LogicalPlan::Filter(filter) => {
                let schema = filter.input.schema();
                let own = split_conjunction(&filter.predicate)
                    .into_iter()
                    .filter_map(|condition| upper_bound(condition))
                    .filter_map(|(column, bound)| Some((schema.maybe_index_of_column(column)?, bound)));
                bounds.iter().copied().chain(own).collect()
            }
            LogicalPlan::SubqueryAlias(_) => bounds.to_vec(),
            LogicalPlan::Projection(projection) => {
                let schema = projection.input.schema();
                let column = |index: &usize| schema.maybe_index_of_column(plain_column(projection.expr.get(*index)?)?);
                bounds.iter().filter_map(|(index, bound)| Some((column(index)?, *bound))).collect()
            }
            LogicalPlan::Window(window) => return self.bounded_window(&plan, window, bounds),
            _ => return Ok(Transformed::no(plan)),
        };
        if below.is_empty() {
            return Ok(Transformed::no(plan));
        }
        plan.map_children(|input| self.bounded(input, &below))
    }

    fn bounded_window(&self, plan: &LogicalPlan, window: &Window, bounds: &[(usize, u64)]) -> Result<Transformed<LogicalPlan>> {
        let columns = window.input.schema().fields().len();
        let lowest = bounds.iter().filter(|(column, _)| *column >= columns).min_by_key(|(_, bound)| *bound);
        let Some((column, bound)) = lowest else { return Ok(Transformed::no(plan.clone())) };
        if !self.can_bound(window) {
            return Ok(Transformed::no(plan.clone()));
        }
        let rank = Expr::Column(window.schema.columns()[*column].clone());
        let filter = Filter::try_new(rank.lt_eq(lit(*bound)), Arc::new(plan.clone()))?;
        Ok(Transformed::yes(LogicalPlan::Filter(filter)))
    }

    /// Checks whether rows beyond the bound need not be stored, and the other rows can be found by their key.
    fn can_bound(&self, window: &Window) -> bool {
        let schema = window.input.schema();
        let Some(Expr::WindowFunction(call)) = window.window_expr.first().map(|first| first.clone().unalias()) else {
            return false;
        };
        let exact = |key: &Expr| key.get_type(schema.as_ref()).is_ok_and(|data_type| equality::is_exact(&data_type));
        // Functions other than `row_number` count peers, and floats that are peers can have different encodings.
        let ordered = |key: &Expr| {
            key.get_type(schema.as_ref()).is_ok_and(|data_type| equality::is_exact(&data_type) || data_type.is_floating())
        };
        let counts_peers = !window.window_expr.iter().all(|function| match function.clone().unalias() {
            Expr::WindowFunction(call) => call.fun.name() == "row_number",
            _ => false,
        });
        ranks_alike(window)
            && window.window_expr.len() <= MOST_FUNCTIONS
            && self.reads_relation(&window.input)
            && !self.retracts(&window.input)
            && !call.params.partition_by.is_empty()
            && call.params.partition_by.iter().all(exact)
            && !call.params.order_by.is_empty()
            && call.params.order_by.iter().all(|sort| if counts_peers { exact(&sort.expr) } else { ordered(&sort.expr) })
    }

    /// Recognizes a filter that sets a bound on ranks directly above their window operator.
    pub(super) fn bounded_ranks<'p>(&self, plan: &'p LogicalPlan) -> Option<Bounded<'p>> {
        let LogicalPlan::Filter(filter) = plan else { return None };
        let LogicalPlan::Window(window) = filter.input.as_ref() else { return None };
        let (column, bound) = upper_bound(&filter.predicate)?;
        let column = window.schema.maybe_index_of_column(column)?;
        let function = column.checked_sub(window.input.schema().fields().len())?;
        self.can_bound(window).then_some(Bounded { plan: &filter.input, window, function, bound })
    }

    pub(super) fn ranks(&self, bounded: &Bounded<'_>) -> Result<Node, Refusal> {
        let split = split::of_operator(bounded.plan).ok_or_else(|| DataFusionError::Internal("ranks do not split".to_owned()))?;
        let mut cores = self.over_arranged(bounded.plan.clone(), &split)?;
        let (Some(input), Some(key)) = (cores.inputs.pop(), cores.keys.pop()) else {
            return Err(DataFusionError::Internal("ranks have no input".to_owned()).into());
        };
        let columns = bounded.window.input.schema().fields().len();
        let is_first = bounded.bound == 1
            && matches!(bounded.window.window_expr[bounded.function].clone().unalias(),
                Expr::WindowFunction(call) if call.fun.name() == "row_number");
        // A key has one first row.
        let by_key = is_first && key.columns.iter().all(|column| *column < columns);
        let row_key =
            if by_key { Some(key.columns.clone()) } else { keys::of_plan(&cores.plan, std::slice::from_ref(&input.key)) };
        Ok(Node {
            id: 0,
            expiries: Vec::new(),
            reasons: Vec::new(),
            schema: unique_schema(bounded.plan.schema()),
            retracts: true,
            key: row_key,
            op: Op::Ranks {
                plan: cores.plan,
                key: KeyedInput { columns: key.columns, nulls_match: true },
                function: bounded.function,
                bound: bounded.bound,
            },
            inputs: vec![input],
        })
    }
}
