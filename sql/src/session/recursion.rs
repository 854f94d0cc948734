//! Recursive queries: the table through which a step reads the rows of the step before, and bounds on the steps and their rows. DataFusion 55.2 runs
//! the steps, and would run those of a recursion that does not end for ever.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::datasource::cte_worktable::CteWorkTable;
use datafusion::datasource::{provider_as_source, source_as_provider};
use datafusion::error::DataFusionError;
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{LogicalPlan, TableSource};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{Column, Literal};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::execution_plan::ReplaceChildrenOptions;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::recursive_query::RecursiveQueryExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, replace_children_if_necessary};
use futures::{Stream, StreamExt};

use crate::cause::{Cause, cause};

/// The most steps of a recursion: how often its second part runs.
const STEPS: usize = 10_000;

/// The most rows that the steps of a recursion may compute, copies included.
const ROWS: usize = 10_000_000;

/// Returns the table through which a step reads the rows of the step before.
pub(crate) fn work_table(name: &str, schema: SchemaRef) -> Arc<dyn TableSource> {
    provider_as_source(Arc::new(CteWorkTable::new(name, schema)))
}

/// Checks whether an operator reads the rows of the step before.
pub(crate) fn is_work_table(plan: &LogicalPlan) -> bool {
    let LogicalPlan::TableScan(scan) = plan else { return false };
    source_as_provider(&scan.source).is_ok_and(|provider| provider.is::<CteWorkTable>())
}

/// Checks whether a plan is a part of a recursion that reads the rows of the step before. A whole recursion is none.
pub(crate) fn is_of_step(plan: &LogicalPlan) -> bool {
    let mut found = false;
    let walked = plan.apply_with_subqueries(|plan| {
        found |= is_work_table(plan);
        Ok(match plan {
            _ if found => TreeNodeRecursion::Stop,
            LogicalPlan::RecursiveQuery(_) => TreeNodeRecursion::Jump,
            _ => TreeNodeRecursion::Continue,
        })
    });
    found || walked.is_err()
}

/// Bounds every recursion of a plan.
#[derive(Debug)]
pub(super) struct BoundRecursions;

impl PhysicalOptimizerRule for BoundRecursions {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let bounded = plan.transform_up(|plan| {
            let Some(recursion) = plan.downcast_ref::<RecursiveQueryExec>() else { return Ok(Transformed::no(plan)) };
            if recursion.recursive_term().is::<Counted>() {
                return Ok(Transformed::no(plan));
            }
            let spent = Arc::new(Spent { name: recursion.name().to_owned(), ..Spent::default() });
            let counted = |input: &Arc<dyn ExecutionPlan>, is_first: bool| {
                Arc::new(Counted { input: Arc::clone(input), spent: Arc::clone(&spent), is_first }) as Arc<dyn ExecutionPlan>
            };
            let bounded = RecursiveQueryExec::try_new(
                recursion.name().to_owned(),
                recursion.schema(),
                counted(recursion.static_term(), true),
                counted(&sifted(recursion.recursive_term())?, false),
                recursion.is_distinct(),
            )?;
            Ok(Transformed::yes(Arc::new(bounded) as Arc<dyn ExecutionPlan>))
        });
        Ok(bounded?.data)
    }

    fn name(&self) -> &'static str {
        "bound_recursions"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// Drops the rows on which an expression of a step fails, before the operator that computes it.
fn sifted(step: &Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let sifted = Arc::clone(step).transform_up(|plan| {
        let expressions: Vec<Arc<dyn PhysicalExpr>> = if let Some(projection) = plan.downcast_ref::<ProjectionExec>() {
            projection.expr().iter().map(|projected| Arc::clone(&projected.expr)).collect()
        } else if let Some(filter) = plan.downcast_ref::<FilterExec>() {
            vec![Arc::clone(filter.predicate())]
        } else {
            return Ok(Transformed::no(plan));
        };
        let computes = |expression: &Arc<dyn PhysicalExpr>| !expression.is::<Column>() && !expression.is::<Literal>();
        let expressions: Vec<_> = expressions.into_iter().filter(computes).collect();
        let input = plan.children().first().copied().cloned();
        let Some(input) = input.filter(|_| !expressions.is_empty()) else { return Ok(Transformed::no(plan)) };
        let input: Arc<dyn ExecutionPlan> = Arc::new(Sifted { input, expressions });
        Ok(Transformed::yes(replace_children_if_necessary(plan, vec![input])?))
    });
    Ok(sifted?.data)
}

/// Passes on the rows of its input on which no expression fails.
#[derive(Debug)]
struct Sifted {
    input: Arc<dyn ExecutionPlan>,
    expressions: Vec<Arc<dyn PhysicalExpr>>,
}

impl Sifted {
    fn over_one(&self, mut children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        match (children.pop(), children.is_empty()) {
            (Some(input), true) => Ok(Arc::new(Sifted { input, expressions: self.expressions.clone() })),
            _ => Err(DataFusionError::Internal("Sifted has one input".to_owned())),
        }
    }
}

/// Returns the rows on which no expression fails, found by halving.
fn without_failing(expressions: &[Arc<dyn PhysicalExpr>], rows: &RecordBatch) -> Result<RecordBatch> {
    let tried = expressions.iter().try_for_each(|expression| expression.evaluate(rows).map(drop));
    match tried {
        Ok(()) => Ok(rows.clone()),
        Err(error) if cause(&error) != Cause::Values => Err(error),
        Err(_) if rows.num_rows() <= 1 => Ok(rows.slice(0, 0)),
        Err(_) => {
            let middle = rows.num_rows() / 2;
            let first = without_failing(expressions, &rows.slice(0, middle))?;
            let second = without_failing(expressions, &rows.slice(middle, rows.num_rows() - middle))?;
            Ok(concat_batches(&rows.schema(), [&first, &second])?)
        }
    }
}

impl DisplayAs for Sifted {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sifted")
    }
}

impl ExecutionPlan for Sifted {
    fn name(&self) -> &'static str {
        "Sifted"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.over_one(children)
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.over_one(children)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let input = self.input.execute(partition, context)?;
        let (schema, expressions) = (self.input.schema(), self.expressions.clone());
        let rows = input.map(move |rows| without_failing(&expressions, &rows?));
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows)))
    }
}

/// What the steps of one run have spent.
#[derive(Debug, Default)]
struct Spent {
    name: String,
    steps: AtomicUsize,
    rows: AtomicUsize,
}

impl Spent {
    fn begin(&self) {
        self.steps.store(0, Ordering::Relaxed);
        self.rows.store(0, Ordering::Relaxed);
    }

    fn step(&self) -> Result<()> {
        let steps = self.steps.fetch_add(1, Ordering::Relaxed) + 1;
        if steps > STEPS { Err(self.endless(&format!("{STEPS} steps"))) } else { Ok(()) }
    }

    fn add(&self, rows: usize) -> Result<()> {
        let rows = self.rows.fetch_add(rows, Ordering::Relaxed) + rows;
        if rows > ROWS { Err(self.endless(&format!("{ROWS} rows"))) } else { Ok(()) }
    }

    fn endless(&self, bound: &str) -> DataFusionError {
        DataFusionError::Plan(format!(
            "the recursion of {} has not ended after {bound}: its rows may lead back to themselves; write UNION in place of UNION ALL, \
             or bound its depth in WHERE, as in WHERE depth < 100",
            self.name
        ))
    }
}

/// Counts the runs of a part of a recursion, and its rows.
#[derive(Debug)]
struct Counted {
    input: Arc<dyn ExecutionPlan>,
    spent: Arc<Spent>,
    /// Whether this is the part with which a run begins.
    is_first: bool,
}

impl Counted {
    fn over_one(&self, mut children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        match (children.pop(), children.is_empty()) {
            (Some(input), true) => Ok(Arc::new(Counted { input, spent: Arc::clone(&self.spent), is_first: self.is_first })),
            _ => Err(DataFusionError::Internal("Counted has one input".to_owned())),
        }
    }
}

impl DisplayAs for Counted {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Counted")
    }
}

impl ExecutionPlan for Counted {
    fn name(&self) -> &'static str {
        "Counted"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.over_one(children)
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.over_one(children)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        if self.is_first {
            self.spent.begin();
        } else {
            self.spent.step()?;
        }
        let input = self.input.execute(partition, context)?;
        Ok(Box::pin(CountedStream { input, spent: Arc::clone(&self.spent) }))
    }
}

struct CountedStream {
    input: SendableRecordBatchStream,
    spent: Arc<Spent>,
}

impl Stream for CountedStream {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.input.poll_next_unpin(context).map(|batch| {
            batch.map(|batch| {
                let batch = batch?;
                self.spent.add(batch.num_rows())?;
                Ok(batch)
            })
        })
    }
}

impl RecordBatchStream for CountedStream {
    fn schema(&self) -> SchemaRef {
        self.input.schema()
    }
}
