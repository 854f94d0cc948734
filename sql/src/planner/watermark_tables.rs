//! The watermark of a source as a table of one row: the latest time of its events, minus how late they may come. `watermark('orders')`
//! becomes a subquery of it, so that it is a function of the events alone.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::common::{DataFusionError, Result, TableReference};
use datafusion::functions_aggregate::expr_fn::max;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, TableSource, lit};
use datafusion::scalar::ScalarValue;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    Expr as SqlExpr, FunctionArg, FunctionArgExpr, FunctionArguments, Query, Statement as SqlStatement, Value,
};

use super::Relation;
use super::source_table::SourceTable;
use crate::dialect;
use crate::names::quoted;
use crate::session::SchemaOnly;
use crate::walk::{Rewrite, Step, walk};

/// The name of the function.
pub(crate) const WATERMARK: &str = "watermark";

/// Replaces calls, each of which names a source, by subqueries. Returns the sources.
///
/// # Errors
/// When our own subquery cannot be parsed: a bug.
pub(super) fn as_subqueries(query: &mut Query) -> Result<BTreeSet<String>> {
    let mut calls = Calls { sources: BTreeSet::new(), wrong: None };
    let _ = walk(query, &mut calls);
    calls.wrong.map_or(Ok(calls.sources), Err)
}

struct Calls {
    sources: BTreeSet<String>,
    wrong: Option<DataFusionError>,
}

impl Rewrite for Calls {
    fn after_expression(&mut self, expression: &mut SqlExpr) -> Step {
        let Some(source) = named(expression) else { return Step::Continue(()) };
        match subquery(&source) {
            Ok(query) => {
                *expression = SqlExpr::Subquery(query);
                self.sources.insert(source);
                Step::Continue(())
            }
            Err(error) => {
                self.wrong = Some(error);
                Step::Break(())
            }
        }
    }
}

/// Returns the source that a call of `watermark` names.
fn named(expression: &SqlExpr) -> Option<String> {
    let SqlExpr::Function(call) = expression else { return None };
    let [part] = call.name.0.as_slice() else { return None };
    part.as_ident().filter(|name| name.value.eq_ignore_ascii_case(WATERMARK))?;
    let FunctionArguments::List(list) = &call.args else { return None };
    match list.args.as_slice() {
        [FunctionArg::Unnamed(FunctionArgExpr::Expr(SqlExpr::Value(value)))] => match &value.value {
            Value::SingleQuotedString(name) => Some(name.clone()),
            _ => None,
        },
        _ => None,
    }
}

fn subquery(source: &str) -> Result<Box<Query>> {
    match dialect::parse(&format!("SELECT {WATERMARK} FROM {}", quoted(&table_name(source))))? {
        Statement::Statement(statement) => match *statement {
            SqlStatement::Query(query) => Ok(query),
            other => Err(DataFusionError::Internal(format!("a query of ours is none: {other}"))),
        },
        other => Err(DataFusionError::Internal(format!("a query of ours is none: {other}"))),
    }
}

/// Returns the name of a source's table.
pub(super) fn table_name(source: &str) -> String {
    format!("watermark of {source}")
}

/// Returns the table of a source that has a watermark.
///
/// # Errors
/// When the source has none, or when the plan cannot be built: a bug.
pub(super) fn table(source: &str, relation: &Relation) -> Result<Arc<dyn TableSource>> {
    let watermark = relation
        .watermark
        .ok_or_else(|| DataFusionError::Internal(format!("{source} has no watermark, and its watermark is read")))?;
    let latest = latest(source, relation, watermark.column)?;
    let time = Expr::Column(latest.schema().columns().swap_remove(0));
    let delay = i64::try_from(watermark.delay.as_nanos())
        .map_err(|_| DataFusionError::Plan(format!("the watermark of {source} is too late: its delay is beyond 292 years")))?;
    let reached = if delay == 0 { time } else { time - lit(ScalarValue::new_interval_mdn(0, 0, delay)) };
    let plan = LogicalPlanBuilder::from(latest).project(vec![reached.alias(WATERMARK)])?.build()?;
    Ok(Arc::new(SourceTable::new(Arc::clone(plan.schema().inner()), plan)))
}

/// Returns the latest time in a source's column: one row of one column.
pub(super) fn latest(name: &str, relation: &Relation, column: usize) -> Result<LogicalPlan> {
    let source: Arc<dyn TableSource> = Arc::new(SchemaOnly::new(Arc::clone(&relation.schema)));
    let scan = LogicalPlanBuilder::scan(TableReference::bare(name), source, Some(vec![column]))?;
    let time = Expr::Column(scan.schema().columns().swap_remove(0));
    scan.aggregate(Vec::<Expr>::new(), vec![max(time)])?.build()
}
