//! Recognizes sessions: the window operators that [`crate::time_windows`] makes of SESSION, with columns that no user can name.

use datafusion::common::{Column, DataFusionError, ScalarValue};
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, Window, WindowFrameBound};

use super::cut::Cut;
use super::leaves::unique_schema;
use crate::plan::{KeyedInput, Node, Op, Reason, plain_column};
use crate::planner::{Refusal, equality};
use crate::time_windows::{NEAREST, OPENED, STARTS, TIME};

/// The window operators of SESSION, as one operator over their input.
pub(super) struct Sessions<'p> {
    input: &'p LogicalPlan,
    keys: Vec<Expr>,
    time: usize,
    gap: i64,
    /// The origin of each column: a column of the input, or the first or last time of the row's session.
    columns: Vec<Given>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Given {
    Input(usize),
    First,
    Last,
}

/// Returns the only function of a window operator, if it is this aggregate of this column.
fn only_call(window: &Window, function: &str, value: &str) -> Option<WindowFunction> {
    let [expression] = window.window_expr.as_slice() else { return None };
    let Expr::WindowFunction(call) = expression.clone().unalias() else { return None };
    let [Expr::Column(Column { name, .. })] = call.params.args.as_slice() else { return None };
    (call.fun.name() == function && name == value).then_some(*call)
}

/// Recognizes a plan that SESSION was rewritten to.
pub(super) fn of_plan(plan: &LogicalPlan) -> Option<Sessions<'_>> {
    let LogicalPlan::Window(ended) = plan else { return None };
    let last = only_call(ended, "max", TIME)?;
    let (started, below_ended) = window_below(&ended.input)?;
    let last_opened = only_call(started, "max", OPENED)?;
    let (near, below_started) = window_below(&started.input)?;
    let nearest = only_call(near, "min", TIME)?;
    let WindowFrameBound::Preceding(ScalarValue::Int64(Some(gap))) = &nearest.params.window_frame.start_bound else {
        return None;
    };
    let keys = nearest.params.partition_by.clone();
    let starts_too = |expr: &Expr| matches!(expr, Expr::Column(column) if column.name == STARTS);
    let mut by_session = last.params.partition_by;
    by_session.retain(|key| !starts_too(key));
    if last_opened.params.partition_by.len() != keys.len() || by_session.len() != keys.len() {
        return None;
    }
    let input = near.input.as_ref();
    let time = input.schema().fields().iter().position(|field| field.name() == TIME)?;
    let width = input.schema().fields().len();
    // The columns of the lowest operator. Each operator above adds one.
    let of_near: Vec<Option<Given>> = (0..width).map(|index| Some(Given::Input(index))).chain([None]).collect();
    let mut of_started = through(&below_started, of_near)?;
    of_started.push(Some(Given::First));
    let mut of_ended = through(&below_ended, of_started)?;
    of_ended.push(Some(Given::Last));
    let columns = of_ended.into_iter().collect::<Option<Vec<_>>>()?;
    Some(Sessions { input, keys, time, gap: *gap, columns })
}

/// Returns the window operator below some projections, and these projections from the lowest up.
fn window_below(plan: &LogicalPlan) -> Option<(&Window, Vec<&LogicalPlan>)> {
    match plan {
        LogicalPlan::Window(window) => Some((window, Vec::new())),
        LogicalPlan::Projection(projection) => {
            let (window, mut above) = window_below(&projection.input)?;
            above.push(plan);
            Some((window, above))
        }
        _ => None,
    }
}

/// Follows columns up through projections. `columns` are the ones below the lowest projection.
fn through(projections: &[&LogicalPlan], mut columns: Vec<Option<Given>>) -> Option<Vec<Option<Given>>> {
    for plan in projections {
        let LogicalPlan::Projection(projection) = plan else { return None };
        let schema = projection.input.schema();
        let given = |expression: &Expr| {
            let column = plain_column(expression).and_then(|column| schema.maybe_index_of_column(column))?;
            columns.get(column).copied().flatten()
        };
        let given: Vec<Option<Given>> = projection.expr.iter().map(given).collect();
        // Only the columns that open a session are computed, and only the next operator reads them.
        let named = projection.schema.fields().iter().zip(&given);
        if named.into_iter().any(|(field, given)| given.is_none() && field.name() != OPENED && field.name() != NEAREST) {
            return None;
        }
        columns = given;
    }
    Some(columns)
}

impl Cut<'_> {
    /// Recognizes sessions over insert-only input, by keys whose equal values have equal bits.
    pub(super) fn sessions_of<'p>(&self, plan: &'p LogicalPlan) -> Option<Sessions<'p>> {
        let sessions = of_plan(plan)?;
        let schema = sessions.input.schema();
        let exact = |key: &Expr| key.get_type(schema.as_ref()).is_ok_and(|data_type| equality::is_exact(&data_type));
        let fits = !sessions.keys.is_empty() && sessions.keys.iter().all(exact);
        (fits && self.reads_relation(sessions.input) && !self.retracts(sessions.input)).then_some(sessions)
    }

    pub(super) fn sessions(&self, plan: &LogicalPlan, sessions: &Sessions<'_>) -> Result<Node, Refusal> {
        let (input, key, _) = self.arranged(sessions.input.clone(), &sessions.keys, 0)?;
        // Computed keys follow the columns of the input.
        let width = input.schema.fields().len();
        let columns = sessions.columns.iter().map(|column| match column {
            Given::Input(index) => *index,
            Given::First => width,
            Given::Last => width + 1,
        });
        if input.schema.field(sessions.time).data_type() != &arrow::datatypes::DataType::Int64 {
            return Err(DataFusionError::Internal("the time of a session is no number".to_owned()).into());
        }
        Ok(Node {
            id: 0,
            expiries: Vec::new(),
            reasons: vec![Reason::Sessions],
            schema: unique_schema(plan.schema()),
            retracts: true,
            key: None,
            op: Op::Sessions {
                key: KeyedInput { columns: key.clone(), nulls_match: true },
                time: sessions.time,
                gap: sessions.gap,
                columns: columns.collect(),
            },
            inputs: vec![input],
        })
    }
}
