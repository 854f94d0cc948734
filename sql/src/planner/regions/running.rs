//! Window functions whose frame begins with the partition and ends with the current row or its peers. Their answer for a row does not
//! depend on the rows behind it.

use arrow::datatypes::DataType;
use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::expr::{NullTreatment, WindowFunction, WindowFunctionDefinition};
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, Window, WindowFrameBound, WindowFrameUnits};

use super::cut::Cut;
use super::leaves::unique_schema;
use super::sorts::{follow, ranks_alike};
use crate::plan::{KeyedInput, Node, Op, Reason};
use crate::planner::split::{self, Split};
use crate::planner::subqueries::has_subquery_or_outer_column;
use crate::planner::{Refusal, equality, failing, keys};

/// Aggregates whose state goes on from any row.
const AGGREGATES: [&str; 5] = ["count", "sum", "avg", "min", "max"];

/// Window functions that go on from any row, without and with regard to peers.
const POSITIONS: [&str; 1] = ["row_number"];
const PEERS: [&str; 2] = ["rank", "dense_rank"];

/// Window functions that return a row of the frame.
const VALUES: [&str; 2] = ["first_value", "last_value"];

/// Ranks in larger numbers over rows that only arrive may have a bound under which few rows are stored.
const MOST_RANKS: usize = 3;

impl Cut<'_> {
    /// Checks whether all functions of a window operator have one order and one key, and go on from any row.
    pub(super) fn is_running(&self, window: &Window) -> bool {
        if !self.operators.running {
            return false;
        }
        let schema = window.input.schema();
        let mut calls = Vec::with_capacity(window.window_expr.len());
        for expression in &window.window_expr {
            let Expr::WindowFunction(call) = expression.clone().unalias() else { return false };
            calls.push(call);
        }
        let Some(params) = calls.first().map(|call| call.params.clone()) else { return false };
        let alike =
            |call: &WindowFunction| call.params.partition_by == params.partition_by && call.params.order_by == params.order_by;
        let type_of = |key: &Expr| key.get_type(schema.as_ref()).ok();
        let exact = |key: &Expr| type_of(key).is_some_and(|data_type| equality::is_exact(&data_type));
        let peers = calls.iter().any(|call| counts_peers(call));
        // Floats that are peers can have different encodings.
        let ordered = |key: &Expr| {
            type_of(key).is_some_and(|data_type| {
                !data_type.is_nested()
                    && !matches!(data_type, DataType::Dictionary(..) | DataType::RunEndEncoded(..) | DataType::Null)
                    && (equality::is_exact(&data_type) || data_type.is_floating() && !peers)
            })
        };
        calls.iter().all(|call| alike(call) && goes_on(call))
            && !(ranks_alike(window) && calls.len() > MOST_RANKS)
            && params.partition_by.iter().all(exact)
            && !params.order_by.is_empty()
            && params.order_by.iter().all(|sort| ordered(&sort.expr))
    }

    /// Checks whether a filter bounds functions of such a window operator with PARTITION BY. Few rows are then emitted, and the answers of
    /// all the others need not be stored.
    pub(super) fn bounds_running(&self, plan: &LogicalPlan) -> bool {
        let mut below = plan;
        while matches!(below, LogicalPlan::Filter(_) | LogicalPlan::Projection(_) | LogicalPlan::SubqueryAlias(_)) {
            if self.bounded_ranks(below).is_some() || failing::may_fail(below) || has_subquery_or_outer_column(below) {
                return false;
            }
            let Some(input) = below.inputs().into_iter().next() else { return false };
            below = input;
        }
        let LogicalPlan::Window(window) = below else { return false };
        let mut bounds = Vec::new();
        let _ = follow(plan, &mut bounds);
        let columns = window.input.schema().fields().len();
        bounds.iter().any(|(column, _)| *column >= columns)
            && self.reads_relation(below)
            && split::of_operator(below).is_some()
            && self.is_running(window)
    }

    pub(super) fn running(&self, plan: &LogicalPlan, window: &Window) -> Result<Node, Refusal> {
        let key = split::common_partition(&window.window_expr);
        let split = Split { keys: vec![key], nulls_match: true, reason: Reason::Window };
        let mut cores = self.over_arranged(plan.clone(), &split)?;
        let (Some(input), Some(key)) = (cores.inputs.pop(), cores.keys.pop()) else {
            return Err(DataFusionError::Internal("a window has no input".to_owned()).into());
        };
        Ok(Node {
            id: 0,
            expiries: Vec::new(),
            reasons: Vec::new(),
            schema: unique_schema(plan.schema()),
            retracts: true,
            key: keys::of_plan(&cores.plan, std::slice::from_ref(&input.key)),
            op: Op::Running { plan: cores.plan, key: KeyedInput { columns: key.columns, nulls_match: true } },
            inputs: vec![input],
        })
    }
}

/// Checks whether the answer for a row follows from that for the row before it, or before its peers.
fn goes_on(call: &WindowFunction) -> bool {
    let params = &call.params;
    if params.distinct || params.filter.is_some() || params.null_treatment == Some(NullTreatment::IgnoreNulls) {
        return false;
    }
    let frame = &params.window_frame;
    let from_start = matches!(&frame.start_bound, WindowFrameBound::Preceding(distance) if distance.is_null())
        && frame.end_bound == WindowFrameBound::CurrentRow
        && matches!(frame.units, WindowFrameUnits::Rows | WindowFrameUnits::Range);
    match &call.fun {
        WindowFunctionDefinition::AggregateUDF(function) => AGGREGATES.contains(&function.name()) && from_start,
        WindowFunctionDefinition::WindowUDF(function) => {
            let name = function.name();
            POSITIONS.contains(&name) || PEERS.contains(&name) || VALUES.contains(&name) && params.args.len() == 1 && from_start
        }
    }
}

/// Checks whether the answer for a row depends on its peers behind it.
fn counts_peers(call: &WindowFunction) -> bool {
    match &call.fun {
        WindowFunctionDefinition::WindowUDF(function) if POSITIONS.contains(&function.name()) => false,
        WindowFunctionDefinition::WindowUDF(function) if PEERS.contains(&function.name()) => true,
        _ => call.params.window_frame.units != WindowFrameUnits::Rows,
    }
}
