//! Rewrites a physical plan so that rows on which an expression fails are left out at the operator where it fails: the law's third clause,
//! in batch. Below each such operator it evaluates the operator's expressions beforehand, and drops the rows on which they fail.
//!
//! Conditions of joins are evaluated on pairs of rows and stay as they are.

use std::sync::Arc;

use alluvium_sql::{PassesOn, Passing};
use datafusion::arrow::array::AsArray;
use datafusion::arrow::compute::filter_record_batch;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions, reset_plan_states};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt;

/// Returns the plan with a check below each operator that may fail on a row.
pub(super) fn without_failing_rows(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let changed = reset_plan_states(plan)?.transform_up(|plan| {
        let evaluated = evaluated(&plan)?;
        let input = match plan.children().as_slice() {
            [input] if !evaluated.is_empty() => Arc::clone(input),
            _ => return Ok(Transformed::no(plan)),
        };
        let checked = PassesOn::over(input, Checked(evaluated.into()));
        Ok(Transformed::yes(
            plan.replace_children(vec![checked], ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))?,
        ))
    });
    Ok(changed?.data)
}

/// Expressions that an operator evaluates on each row, or on the rows that pass a filter.
#[derive(Debug)]
struct Evaluated {
    filter: Option<Arc<dyn PhysicalExpr>>,
    expressions: Vec<Arc<dyn PhysicalExpr>>,
}

impl Evaluated {
    fn check(&self, rows: &RecordBatch) -> Result<()> {
        let filtered = match &self.filter {
            Some(filter) => {
                let wanted = filter.evaluate(rows)?.into_array(rows.num_rows())?;
                Some(filter_record_batch(rows, wanted.as_boolean())?)
            }
            None => None,
        };
        let rows = filtered.as_ref().unwrap_or(rows);
        self.expressions.iter().try_for_each(|expression| expression.evaluate(rows).map(drop))
    }
}

/// Returns the expressions that an operator evaluates on each row of its only input.
fn evaluated(plan: &Arc<dyn ExecutionPlan>) -> Result<Vec<Evaluated>> {
    if plan.children().len() != 1 {
        return Ok(Vec::new());
    }
    if let Some(aggregate) = plan.downcast_ref::<AggregateExec>() {
        if matches!(aggregate.mode(), AggregateMode::Final | AggregateMode::FinalPartitioned | AggregateMode::PartialReduce) {
            return Ok(Vec::new());
        }
        let keys = Evaluated { filter: None, expressions: aggregate.group_expr().input_exprs() };
        let arguments = aggregate.aggr_expr().iter().zip(aggregate.filter_expr());
        let arguments = arguments.map(|(of, filter)| Evaluated { filter: filter.clone(), expressions: of.expressions() });
        return Ok(std::iter::once(keys).chain(arguments).collect());
    }
    let mut expressions = Vec::new();
    plan.apply_expressions(&mut |expression| {
        expressions.push(Arc::clone(expression));
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(if expressions.is_empty() { Vec::new() } else { vec![Evaluated { filter: None, expressions }] })
}

/// Emits the rows of its input on which no expression fails.
#[derive(Debug, Clone)]
struct Checked(Arc<[Evaluated]>);

impl Passing for Checked {
    const NAME: &'static str = "Checked";

    fn execute(
        &self,
        input: &Arc<dyn ExecutionPlan>,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let evaluated = Arc::clone(&self.0);
        let rows = input.execute(partition, context)?.flat_map(move |batch| {
            let batches: Vec<Result<RecordBatch>> = match batch {
                Ok(batch) => good(&evaluated, batch).into_iter().map(Ok).collect(),
                Err(error) => vec![Err(error)],
            };
            futures::stream::iter(batches)
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(input.schema(), rows)))
    }
}

/// Returns the rows of a batch on which no expression fails, in order. An error that is not a row's is left to the operator.
fn good(evaluated: &[Evaluated], batch: RecordBatch) -> Vec<RecordBatch> {
    let mut good = Vec::new();
    // Rows still to try, the first on top.
    let mut untried = vec![batch];
    while let Some(rows) = untried.pop() {
        let failed = evaluated.iter().try_for_each(|one| one.check(&rows));
        let is_of_a_row = failed.is_err_and(|error| alluvium_sql::cause(&error) == alluvium_sql::Cause::Values);
        match rows.num_rows() {
            _ if !is_of_a_row => good.push(rows),
            0 | 1 => {}
            count => {
                untried.push(rows.slice(count / 2, count - count / 2));
                untried.push(rows.slice(0, count / 2));
            }
        }
    }
    good
}
