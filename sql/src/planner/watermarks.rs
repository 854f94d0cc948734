//! Views whose options bound their rows by the watermark: `emit = 'final'` and `retain`.
//!
//! Both are filters on the end of a row's window, and the law holds of the query with these filters: with W the smallest of the
//! watermarks, `window_end <= W` and `window_end > W - retain`. W only grows, so that a window that is gone never returns, whatever comes
//! late: its groups need not be kept either.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{DataType, Schema};
use datafusion::common::{DataFusionError, Result, ScalarValue, TableReference};
use datafusion::functions_aggregate::expr_fn::max;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, TableSource, lit, scalar_subquery};

use crate::catalog::watermarks::units;
use crate::catalog::{Emit, ViewOptions};
use crate::plan::{Class, Expiry, Node, Op, RelationKind, ViewPlan, leaf_index};
use crate::planner::{Refusal, Relation, Spot, fingerprint, keys, optimized, regions, relations_read};
use crate::session::{SchemaOnly, session_state};

const WINDOW_END: &str = "window_end";

/// The plan of a view's query under its watermarks.
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
        reached.push(latest(name, relation, watermark.column)? - interval(watermark.delay));
        inputs.push(scan(name, relation, watermark.column));
    }
    let batch = filtered(plan.batch.clone(), window_end, &reached, options)?;
    let reads = relations_read(&batch, relations)?;
    let expiry = retain.and_then(|_| expiry(&plan.root, window_end));
    inputs.insert(0, plan.root);
    let rows = &inputs[0];
    let mut root = Node {
        id: 0,
        class: Class::Linear,
        reason: None,
        cost: "O(changes + rows that the watermark passes)".to_owned(),
        state: Some(state(options, expiry).to_owned()),
        schema: Arc::clone(&plan.schema),
        retracts: rows.retracts || retain.is_some(),
        key: rows.key.clone(),
        op: Op::Watermark { window_end, delays, emits_final: options.emit == Emit::Final, retain, expiry },
        inputs,
    };
    regions::number(&mut root, &mut 0);
    Ok(ViewPlan { schema: plan.schema, fingerprint: fingerprint::of_view(&batch, &reads, relations), batch, root, reads })
}

fn refused(option: &'static str, message: String, help: &str) -> Refusal {
    Refusal::Refused { message, help: help.to_owned(), spot: Spot::Word(option) }
}

fn state(options: &ViewOptions, expiry: Option<Expiry>) -> &'static str {
    match (options.emit, options.retain, expiry) {
        (_, None, _) => "rows of windows that are not over",
        (_, Some(_), Some(_)) => "rows of windows that are retained; groups of others are dropped",
        (_, Some(_), None) => "rows of windows that are retained",
    }
}

fn interval(duration: Duration) -> Expr {
    lit(ScalarValue::new_interval_mdn(0, 0, i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)))
}

/// The latest time of a source's column, as a subquery.
fn latest(name: &str, relation: &Relation, column: usize) -> Result<Expr> {
    let source: Arc<dyn TableSource> = Arc::new(SchemaOnly::new(Arc::clone(&relation.schema)));
    let scan = LogicalPlanBuilder::scan(TableReference::bare(name), source, Some(vec![column]))?;
    let time = Expr::Column(scan.schema().columns().swap_remove(0));
    Ok(scalar_subquery(Arc::new(scan.aggregate(Vec::<Expr>::new(), vec![max(time)])?.build()?)))
}

fn scan(name: &str, relation: &Relation, column: usize) -> Node {
    Node {
        id: 0,
        class: Class::Linear,
        reason: None,
        cost: "O(changes)".to_owned(),
        state: None,
        op: Op::Scan { relation: name.to_owned(), kind: RelationKind::Source, projection: vec![column] },
        schema: Arc::new(Schema::new(vec![relation.schema.field(column).clone()])),
        retracts: false,
        key: None,
        inputs: Vec::new(),
    }
}

/// The query that the law is about. A window without an end is never over, and never old.
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

/// The first aggregate below, where its groups hold the column.
fn expiry(rows: &Node, column: usize) -> Option<Expiry> {
    let (mut node, mut column, mut depth) = (rows, column, 0);
    loop {
        match (&node.op, node.inputs.as_slice()) {
            (Op::Linear { plan }, [input]) => {
                column = column_of_leaf(plan, column)?;
                (node, depth) = (input, depth + 1);
            }
            (Op::Merge { plan: LogicalPlan::Aggregate(aggregate) }, _) => {
                return (column < aggregate.group_expr.len()).then_some(Expiry { depth, column });
            }
            _ => return None,
        }
    }
}

/// The column of the only leaf that a column of a plan is.
fn column_of_leaf(plan: &LogicalPlan, column: usize) -> Option<usize> {
    match plan {
        LogicalPlan::TableScan(scan) => leaf_index(&scan.table_name).map(|_| column),
        LogicalPlan::Filter(_) | LogicalPlan::SubqueryAlias(_) => column_of_leaf(plan.inputs().first()?, column),
        LogicalPlan::Projection(projection) => {
            let below = keys::plain_column(projection.expr.get(column)?)?;
            column_of_leaf(&projection.input, projection.input.schema().maybe_index_of_column(below)?)
        }
        _ => None,
    }
}
