//! Recursive queries: the table through which a step reads the rows of the step before, and bounds on the steps and their rows. DataFusion 55.2 runs
//! the steps, and would run those of a recursion that does not end for ever.

mod sifted;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::datatypes::SchemaRef;
use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::datasource::cte_worktable::CteWorkTable;
use datafusion::datasource::{provider_as_source, source_as_provider};
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{LogicalPlan, TableSource};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::recursive_query::RecursiveQueryExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt;

use self::sifted::LeftOutOfSteps;
use super::passing::{PassesOn, Passing};

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
            if recursion.recursive_term().is::<PassesOn<Counted>>() {
                return Ok(Transformed::no(plan));
            }
            let bound = Arc::new(RecursionBound::new(recursion.name()));
            let left_out = Arc::new(LeftOutOfSteps::default());
            let counted = |input: Arc<dyn ExecutionPlan>, is_first: bool| {
                PassesOn::over(input, Counted { bound: Arc::clone(&bound), left_out: Arc::clone(&left_out), is_first })
            };
            let bounded = RecursiveQueryExec::try_new(
                recursion.name().to_owned(),
                recursion.schema(),
                counted(Arc::clone(recursion.static_term()), true),
                counted(sifted::sifted(recursion.recursive_term(), &left_out)?, false),
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

/// Bounds the steps of a recursion and their rows.
#[derive(Debug, Default)]
pub struct RecursionBound {
    name: String,
    steps: AtomicUsize,
    rows: AtomicUsize,
}

impl RecursionBound {
    /// Creates the bound of a recursion that has this name.
    #[must_use]
    pub fn new(name: &str) -> RecursionBound {
        RecursionBound { name: name.to_owned(), ..RecursionBound::default() }
    }

    fn begin(&self) {
        self.steps.store(0, Ordering::Relaxed);
        self.rows.store(0, Ordering::Relaxed);
    }

    /// Counts a step.
    ///
    /// # Errors
    /// If there are too many, in words for the user. The query has to change.
    pub fn step(&self) -> Result<()> {
        let steps = self.steps.fetch_add(1, Ordering::Relaxed) + 1;
        if steps > STEPS { Err(self.endless(&format!("{STEPS} steps"))) } else { Ok(()) }
    }

    /// Counts rows of a step, copies included.
    ///
    /// # Errors
    /// As [`RecursionBound::step`].
    pub fn add(&self, rows: usize) -> Result<()> {
        let rows = self.rows.fetch_add(rows, Ordering::Relaxed).saturating_add(rows);
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
#[derive(Debug, Clone)]
struct Counted {
    bound: Arc<RecursionBound>,
    left_out: Arc<LeftOutOfSteps>,
    /// Whether this is the part with which a run begins.
    is_first: bool,
}

impl Passing for Counted {
    const NAME: &'static str = "Counted";

    fn execute(
        &self,
        input: &Arc<dyn ExecutionPlan>,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        if self.is_first {
            self.bound.begin();
            self.left_out.begin();
        } else {
            self.bound.step()?;
        }
        let bound = Arc::clone(&self.bound);
        let rows = input.execute(partition, context)?.map(move |batch| {
            let batch = batch?;
            bound.add(batch.num_rows())?;
            Ok(batch)
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(input.schema(), rows)))
    }
}

/// Returns what the last run of a plan left out within the steps of its recursions. `None` if the plan has no recursion.
#[must_use]
pub fn left_out_of_steps(plan: &Arc<dyn ExecutionPlan>) -> Option<(u64, Option<String>)> {
    let mut found: Option<(u64, Option<String>)> = None;
    let walked = plan.apply(|plan| {
        if let Some(counted) = plan.downcast_ref::<PassesOn<Counted>>()
            && counted.does().is_first
        {
            let (rows, error) = counted.does().left_out.so_far();
            let (all, first) = found.take().unwrap_or_default();
            found = Some((all + rows, first.or(error)));
        }
        Ok(TreeNodeRecursion::Continue)
    });
    walked.ok().and(found)
}
