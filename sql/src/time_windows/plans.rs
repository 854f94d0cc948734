//! Builds the plan of each kind of window. Times are computed as whole numbers of their unit, so that windows are exact in every
//! unit and before 1970. Only windows of months use the calendar.

use std::sync::Arc;

use arrow::datatypes::{DataType, IntervalMonthDayNano};
use datafusion::common::{Column, Result, ScalarValue};
use datafusion::functions::datetime::date_bin;
use datafusion::functions_aggregate::min_max::{max_udaf, min_udaf};
use datafusion::functions_nested::expr_fn::{gen_series, make_array};
use datafusion::logical_expr::expr::{WindowFunction, WindowFunctionParams};
use datafusion::logical_expr::{
    AggregateUDF, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, WindowFrame, WindowFrameBound, WindowFrameUnits,
    WindowFunctionDefinition, cast, lit, when,
};

use super::arguments::{Call, Kind};

/// Intermediate columns, which no user can write.
pub(crate) const TIME: &str = "$time";
pub(crate) const STARTS: &str = "$starts";
pub(crate) const NEAREST: &str = "$nearest";
pub(crate) const OPENED: &str = "$opened";

/// Plans a call. The result has all columns of the input, then those of the window.
pub(super) fn plan(call: Call) -> Result<LogicalPlan> {
    let Call { input, name, time, time_type, kind } = call;
    let columns: Vec<Expr> = input.schema().columns().into_iter().map(Expr::Column).collect();
    let timed = LogicalPlanBuilder::from(input).filter(time.clone().is_not_null())?;
    let instant = cast(time.clone(), DataType::Int64);
    let window = Window { columns, time_type };
    let windowed = match kind {
        Kind::Tumble { size, offset } => {
            let start = floor(instant, size, offset);
            window.of_instants(timed, start.clone(), start + lit(size))?
        }
        Kind::TumbleMonths { size } => {
            let start = bin(size, &time);
            window.of_times(timed, start.clone(), start + months(size))?
        }
        Kind::Hop { slide, size, offset } => {
            // The first window that has not ended yet is the one after the last that has.
            let first = floor(instant.clone() - lit(size), slide, offset) + lit(slide);
            let starts = gen_series(first, floor(instant, slide, offset), lit(slide));
            let each = window.with(timed, [starts.alias(STARTS)])?.unnest_column(STARTS)?;
            window.of_instants(each, column(STARTS), column(STARTS) + lit(size))?
        }
        Kind::HopMonths { slide, size } => {
            let last = bin(slide, &time);
            let starts = (0..=(size - 1) / slide).map(|back| last.clone() - months(back * slide));
            let each = window.with(timed, [make_array(starts.collect()).alias(STARTS)])?.unnest_column(STARTS)?;
            let end = column(STARTS) + months(size);
            window.of_times(each.filter(time.lt(end.clone()))?, column(STARTS), end)?
        }
        Kind::Session { gap, keys } => sessions(&window, window.with(timed, [instant.alias(TIME)])?, gap, &keys)?,
    };
    match name {
        Some(name) => windowed.alias(name)?.build(),
        None => windowed.build(),
    }
}

/// Plans sessions. A session begins with a row that has no earlier row within the gap before it, and ends a gap after its last row.
fn sessions(window: &Window, timed: LogicalPlanBuilder, gap: i64, keys: &[Expr]) -> Result<LogicalPlanBuilder> {
    let near = WindowFrame::new_bounds(
        WindowFrameUnits::Range,
        WindowFrameBound::Preceding(ScalarValue::Int64(Some(gap))),
        WindowFrameBound::CurrentRow,
    );
    let nearest = over(min_udaf(), column(TIME), keys, Some(near));
    let opened = when(column(TIME).eq(column(NEAREST)), column(TIME)).end()?;
    let opens = window.with(named(timed, nearest, &window.columns, NEAREST)?, [column(TIME), opened.alias(OPENED)])?;
    let last_opened = over(max_udaf(), column(OPENED), keys, Some(WindowFrame::new(Some(false))));
    let started = named(opens, last_opened, &window.columns, STARTS)?;
    let mut session = keys.to_vec();
    session.push(column(STARTS));
    let last = over(max_udaf(), column(TIME), &session, None);
    let kept: Vec<Expr> = window.columns.iter().cloned().chain([column(STARTS)]).collect();
    let ended = named(started, last, &kept, NEAREST)?;
    window.of_instants(ended, column(STARTS), column(NEAREST) + lit(gap))
}

/// Adds a window function under a name, beside the columns and the time.
fn named(input: LogicalPlanBuilder, function: Expr, columns: &[Expr], name: &str) -> Result<LogicalPlanBuilder> {
    let computed = input.window(vec![function])?;
    let Some(last) = computed.schema().columns().pop() else { return Ok(computed) };
    let kept = columns.iter().cloned().chain([column(TIME), Expr::Column(last).alias(name)]);
    computed.project(kept.collect::<Vec<_>>())
}

/// Returns an aggregate over the rows of a key, with a frame over their times or over all of them.
fn over(function: Arc<AggregateUDF>, value: Expr, keys: &[Expr], frame: Option<WindowFrame>) -> Expr {
    let order_by = if frame.is_some() { vec![column(TIME).sort(true, false)] } else { Vec::new() };
    Expr::WindowFunction(Box::new(WindowFunction {
        fun: WindowFunctionDefinition::AggregateUDF(function),
        params: WindowFunctionParams {
            args: vec![value],
            partition_by: keys.to_vec(),
            order_by,
            window_frame: frame.unwrap_or_else(|| WindowFrame::new(None)),
            filter: None,
            null_treatment: None,
            distinct: false,
        },
    }))
}

/// What all kinds of windows have in common.
struct Window {
    columns: Vec<Expr>,
    time_type: DataType,
}

impl Window {
    /// Projects the columns and some more.
    fn with(&self, input: LogicalPlanBuilder, more: impl IntoIterator<Item = Expr>) -> Result<LogicalPlanBuilder> {
        input.project(self.columns.iter().cloned().chain(more).collect::<Vec<_>>())
    }

    fn of_instants(&self, input: LogicalPlanBuilder, start: Expr, end: Expr) -> Result<LogicalPlanBuilder> {
        let (start, end) = (cast(start, self.time_type.clone()), cast(end, self.time_type.clone()));
        self.with(input, [start.alias("window_start"), end.alias("window_end")])
    }

    fn of_times(&self, input: LogicalPlanBuilder, start: Expr, end: Expr) -> Result<LogicalPlanBuilder> {
        let schema = Arc::clone(input.schema());
        let start = start.cast_to(&self.time_type, schema.as_ref())?;
        let end = end.cast_to(&self.time_type, schema.as_ref())?;
        self.with(input, [start.alias("window_start"), end.alias("window_end")])
    }
}

/// Returns the last multiple of a size, counted from an offset, that is not after an instant.
fn floor(instant: Expr, size: i64, offset: i64) -> Expr {
    let from_offset = if offset == 0 { instant.clone() } else { instant.clone() - lit(offset) };
    // The remainder of a negative number is negative.
    instant - (from_offset % lit(size) + lit(size)) % lit(size)
}

/// Returns the start of the period of months that holds a time.
fn bin(size: i32, time: &Expr) -> Expr {
    date_bin().call(vec![months(size), time.clone()])
}

fn months(months: i32) -> Expr {
    lit(ScalarValue::IntervalMonthDayNano(Some(IntervalMonthDayNano::new(months, 0, 0))))
}

fn column(name: &str) -> Expr {
    Expr::Column(Column::new_unqualified(name))
}
