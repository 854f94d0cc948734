//! Views whose options bound their rows by the watermark: `emit = 'final'` and `retain`.
//!
//! Both options are filters on the end of a row's window, and the law holds for the query with these filters. With W the smallest
//! of the watermarks, they are `window_end <= W` and `window_end > W - retain`. W only grows, so a window that has been removed
//! never returns, whatever arrives late. Its state is evicted ([`expiry`]).
//!
//! A session has no fixed end: a row that arrives late enough could join a session that has been removed to one that has not, and
//! so bring it back. So a view with `retain` leaves out rows that arrive too late for any session that it retains. These are the
//! rows whose time, on arrival, is not after `W - retain`, with W the watermark of their own source at that moment. The law holds
//! for the query over the source without these rows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{DataType, Schema};
use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, DataFusionError, Result, ScalarValue};
use datafusion::functions_aggregate::min_max::max_udaf;
use datafusion::logical_expr::expr::{WindowFunction, WindowFunctionParams};
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{
    Expr, LogicalPlan, LogicalPlanBuilder, WindowFrame, WindowFrameBound, WindowFrameUnits, WindowFunctionDefinition, lit,
    scalar_subquery,
};

use crate::declarations::{Emit, ViewOptions};
use crate::plan::{ColumnsRead, Expiry, Lateness, Node, Op, RelationKind, RowTime, ViewPlan};
use crate::planner::optimize::{fingerprint_over, optimized, relations_read};
use crate::planner::{Refusal, Relation, Spot, expiry, regions, watermark_tables};
use crate::session::session_state;
use crate::time_units::units;

const WINDOW_END: &str = "window_end";

/// Bounds the plan of a view's query by the watermark.
pub(super) fn bounded(
    plan: ViewPlan,
    relations: &BTreeMap<String, Relation>,
    options: &ViewOptions,
) -> Result<ViewPlan, Refusal> {
    let option = if options.emit == Emit::Final { "emit" } else { "retain" };
    let Some((window_end, field)) = plan.schema.column_with_name(WINDOW_END) else {
        return Err(refused(
            option,
            format!("{option} is about the end of a window, and the view has no column {WINDOW_END}"),
            "select window_end of TUMBLE or HOP, or name your own column so",
        ));
    };
    let DataType::Timestamp(unit, _) = field.data_type() else {
        return Err(refused(option, format!("{WINDOW_END} is {}, and not a time", field.data_type()), "make it a TIMESTAMP"));
    };
    let sources: Vec<(&String, &Relation)> = relations.iter().filter(|(_, relation)| relation.watermark.is_some()).collect();
    if sources.is_empty() {
        return Err(refused(
            option,
            format!("{option} waits for a watermark, and no source of the view has one"),
            "add to the OPTIONS of the source: watermark 'placed_at - 5 seconds'",
        ));
    }
    let retain = options.retain.map(|retain| {
        units(retain, *unit).ok_or_else(|| {
            refused(
                "retain",
                format!("retain is finer than {WINDOW_END}, which is {}", field.data_type()),
                "use whole units of it",
            )
        })
    });
    let retain = retain.transpose()?;
    let mut inputs = Vec::with_capacity(sources.len() + 1);
    let mut delays = Vec::with_capacity(sources.len());
    let mut reached = Vec::with_capacity(sources.len());
    for (name, relation) in &sources {
        let Some(watermark) = relation.watermark else { continue };
        let time = relation.schema.field(watermark.column);
        let delay = units(watermark.delay, *unit).filter(|_| time.data_type() == field.data_type());
        let Some(delay) = delay else {
            return Err(refused(
                option,
                format!("{WINDOW_END} is {}, and the watermark of {name} is of {}", field.data_type(), time.data_type()),
                "declare the two with the same type, or cast one to it in the view",
            ));
        };
        delays.push(delay);
        let latest = watermark_tables::latest(name, relation, watermark.column)?;
        reached.push(scalar_subquery(Arc::new(latest)) - interval(watermark.delay));
        inputs.push(scan(name, relation, watermark.column));
    }
    let mut rows = plan.root;
    let mut query = plan.batch;
    if let Some(retain) = options.retain {
        let late = leave_out_late_rows(&mut rows, relations, retain);
        query = without_late_rows(query, relations, &late, retain)?;
        let end = Expr::Column(Column::new_unqualified(field.name()));
        expiry::mark(&mut rows, &RowTime { time: end, slack: 0 });
    }
    let batch = filtered(query, window_end, &reached, options)?;
    let reads = relations_read(&batch, relations)?;
    inputs.insert(0, rows);
    let rows = &inputs[0];
    let mut root = Node {
        id: 0,
        reasons: Vec::new(),
        expiries: Vec::new(),
        schema: Arc::clone(&plan.schema),
        retracts: rows.retracts || retain.is_some(),
        key: rows.key.clone(),
        op: Op::Watermark { window_end, delays, emits_final: options.emit == Emit::Final, retain, by_query: false },
        inputs,
    };
    regions::number(&mut root, &mut 0);
    let mut columns_read = ColumnsRead::of_node(&root);
    columns_read.extend(plan.columns_read);
    let fingerprint = fingerprint_over(&batch, &reads, &columns_read, relations);
    Ok(ViewPlan { schema: plan.schema, fingerprint, batch, root, reads, columns_read })
}

fn refused(option: &'static str, message: String, help: &str) -> Refusal {
    Refusal::Refused { message, help: help.to_owned(), spot: Spot::Word(option) }
}

fn interval(duration: Duration) -> Expr {
    lit(ScalarValue::new_interval_mdn(0, 0, i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)))
}

fn scan(name: &str, relation: &Relation, column: usize) -> Node {
    Node {
        id: 0,
        reasons: Vec::new(),
        op: Op::Scan { relation: name.to_owned(), kind: RelationKind::Source, projection: vec![column], lateness: None },
        expiries: Vec::new(),
        schema: Arc::new(Schema::new(vec![relation.schema.field(column).clone()])),
        retracts: false,
        key: None,
        inputs: Vec::new(),
    }
}

/// Returns the query that the law speaks of. A window without an end is never over and never old.
fn filtered(query: LogicalPlan, window_end: usize, reached: &[Expr], options: &ViewOptions) -> Result<LogicalPlan> {
    let end = Expr::Column(query.schema().columns().swap_remove(window_end));
    let all = |bound: &dyn Fn(&Expr) -> Expr| conjunction(reached.iter().map(|reached| end.clone().lt_eq(bound(reached))));
    let mut kept = Vec::new();
    if options.emit == Emit::Final {
        kept.extend(all(&|reached| reached.clone()));
    }
    if let Some(retain) = options.retain {
        kept.extend(all(&|reached| reached.clone() - interval(retain)).map(Expr::is_not_true));
    }
    let Some(kept) = conjunction(kept) else {
        return Err(DataFusionError::Internal("a view without bounds is bounded".to_owned()));
    };
    optimized(&session_state()?, &LogicalPlanBuilder::from(query).filter(kept)?.build()?)
}

/// Makes the scans leave out rows that arrive too late for any retained session, and returns their sources: those that sessions
/// read by the column of their watermark. Also marks what these sessions can evict.
fn leave_out_late_rows(root: &mut Node, relations: &BTreeMap<String, Relation>, retain: Duration) -> BTreeSet<String> {
    let mut late = BTreeSet::new();
    sessions_in_time(root, relations, &mut late);
    mark_scans(root, relations, &late, retain);
    late
}

fn sessions_in_time(node: &mut Node, relations: &BTreeMap<String, Relation>, sources: &mut BTreeSet<String>) {
    // A filter of the query decides what expires below it.
    if matches!(node.op, Op::Watermark { .. }) {
        return;
    }
    if let (Op::Sessions { time, gap, .. }, [input]) = (&node.op, node.inputs.as_slice()) {
        let time = Expr::Column(Column::new_unqualified(input.schema.field(*time).name()));
        let scans = expiry::scanned(input, &RowTime { time: time.clone(), slack: 0 }).unwrap_or_default();
        let found = scans.iter().map(|(scan, column)| match &scan.op {
            Op::Scan { relation, .. } => {
                relations.get(relation)?.watermark.filter(|watermark| watermark.column == *column).map(|_| relation.clone())
            }
            _ => None,
        });
        if let Some(found) = found.collect::<Option<Vec<_>>>().filter(|found| !found.is_empty()) {
            sources.extend(found);
            node.expiries.push(Expiry { input: 0, time: RowTime { time, slack: *gap }, groups: None });
        }
    }
    node.inputs.iter_mut().for_each(|input| sessions_in_time(input, relations, sources));
}

fn mark_scans(node: &mut Node, relations: &BTreeMap<String, Relation>, late: &BTreeSet<String>, retain: Duration) {
    if let Op::Scan { relation, lateness, .. } = &mut node.op
        && late.contains(relation)
    {
        *lateness = relations.get(relation).and_then(|relation| lateness_of(relation, retain));
    }
    node.inputs.iter_mut().for_each(|input| mark_scans(input, relations, late, retain));
}

fn lateness_of(relation: &Relation, retain: Duration) -> Option<Lateness> {
    let watermark = relation.watermark?;
    let DataType::Timestamp(unit, _) = relation.schema.field(watermark.column).data_type() else { return None };
    Some(Lateness { column: watermark.column, most: units(watermark.delay, *unit)?.checked_add(units(retain, *unit)?)? })
}

/// Filters late rows out of the query's sources. A row is late relative to the latest time of its source up to that row, in order
/// of arrival.
fn without_late_rows(
    query: LogicalPlan,
    relations: &BTreeMap<String, Relation>,
    late: &BTreeSet<String>,
    retain: Duration,
) -> Result<LogicalPlan> {
    let replaced = query.transform_up_with_subqueries(|plan| match &plan {
        LogicalPlan::TableScan(scan) if late.contains(scan.table_name.table()) => {
            let Some((relation, watermark)) =
                relations.get(scan.table_name.table()).and_then(|relation| Some((relation, relation.watermark?)))
            else {
                return Ok(Transformed::no(plan));
            };
            let all = LogicalPlanBuilder::scan(scan.table_name.clone(), Arc::clone(&scan.source), None)?;
            let time = Expr::Column(Column::new(Some(scan.table_name.clone()), relation.schema.field(watermark.column).name()));
            let so_far = over_arrivals(time.clone());
            let with_latest = all.window(vec![so_far])?;
            let Some(latest) = with_latest.schema().columns().pop() else { return Ok(Transformed::no(plan)) };
            let too_late = time.lt_eq(Expr::Column(latest) - interval(watermark.delay) - interval(retain));
            let given = scan.projected_schema.columns().into_iter().map(Expr::Column);
            let in_time = with_latest.filter(too_late.is_not_true())?.project(given.collect::<Vec<_>>())?.build()?;
            Ok(Transformed::yes(in_time))
        }
        _ => Ok(Transformed::no(plan)),
    });
    Ok(replaced?.data)
}

/// Returns the latest time up to each row, in order of arrival.
fn over_arrivals(time: Expr) -> Expr {
    let so_far = WindowFrame::new_bounds(
        WindowFrameUnits::Rows,
        WindowFrameBound::Preceding(ScalarValue::UInt64(None)),
        WindowFrameBound::CurrentRow,
    );
    Expr::WindowFunction(Box::new(WindowFunction {
        fun: WindowFunctionDefinition::AggregateUDF(max_udaf()),
        params: WindowFunctionParams {
            args: vec![time],
            partition_by: Vec::new(),
            order_by: Vec::new(),
            window_frame: so_far,
            filter: None,
            null_treatment: None,
            distinct: false,
        },
    }))
}
