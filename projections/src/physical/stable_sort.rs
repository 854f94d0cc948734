//! A sort that keeps equal rows in the order in which they arrived.
//!
//! DataFusion's sort may return equal rows in any order, and this order depends on the other rows. A sum of floats over equal rows then
//! differs in its last digits, so a recomputed answer would differ from the emitted one.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::{SortColumn, concat_batches, lexsort_to_indices, take_record_batch};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{LexOrdering, PhysicalExpr};
use datafusion::physical_plan::execution_plan::ReplaceChildrenOptions;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::{StreamExt, TryStreamExt, stream};

/// The largest number of rows in a batch that a sort returns.
const BATCH_ROWS: usize = 8192;

/// Sorts all rows of its input.
#[derive(Debug, Clone)]
pub(crate) struct StableSort {
    by: LexOrdering,
    properties: Arc<PlanProperties>,
    input: Arc<dyn ExecutionPlan>,
}

/// Makes the sorts of a plan stable. A sort that keeps only the first rows stays as it is, since its order decides which they are.
pub(super) fn stable_sorts(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let replaced = plan.transform_up(|plan| {
        let Some(sort) = plan.downcast_ref::<SortExec>() else { return Ok(Transformed::no(plan)) };
        if sort.fetch().is_some() {
            return Ok(Transformed::no(plan));
        }
        let stable =
            StableSort { by: sort.expr().clone(), properties: Arc::clone(sort.properties()), input: Arc::clone(sort.input()) };
        Ok(Transformed::yes(Arc::new(stable) as Arc<dyn ExecutionPlan>))
    });
    Ok(replaced?.data)
}

impl DisplayAs for StableSort {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StableSort: {}", self.by)
    }
}

impl ExecutionPlan for StableSort {
    fn name(&self) -> &'static str {
        "StableSort"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        for key in self.by.iter() {
            if visit(&key.expr)? == TreeNodeRecursion::Stop {
                return Ok(TreeNodeRecursion::Stop);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match (children.pop(), children.is_empty()) {
            (Some(input), true) => Ok(Arc::new(Self { input, ..Self::clone(&self) })),
            _ => Err(DataFusionError::Internal("a sort has one input".to_owned())),
        }
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        match (children.pop(), children.is_empty()) {
            (Some(input), true) => Ok(Arc::new(Self { input, ..Self::clone(&self) })),
            _ => Err(DataFusionError::Internal("a sort has one input".to_owned())),
        }
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let input = self.input.execute(partition, context)?;
        let (by, schema) = (self.by.clone(), self.input.schema());
        let sorted = async move {
            let batches: Vec<_> = input.try_collect().await?;
            let rows = concat_batches(&schema, &batches)?;
            drop(batches);
            let mut columns = by
                .iter()
                .map(|key| {
                    let values = key.expr.evaluate(&rows)?.into_array(rows.num_rows())?;
                    Ok(SortColumn { values, options: Some(key.options) })
                })
                .collect::<Result<Vec<_>>>()?;
            let position: ArrayRef = Arc::new(UInt32Array::from_iter_values(0..rows.num_rows() as u32));
            columns.push(SortColumn { values: position, options: None });
            let rows = take_record_batch(&rows, &lexsort_to_indices(&columns, None)?)?;
            let pieces = (0..rows.num_rows()).step_by(BATCH_ROWS).map(|start| {
                let length = BATCH_ROWS.min(rows.num_rows() - start);
                Ok(rows.slice(start, length))
            });
            Ok::<_, DataFusionError>(stream::iter(pieces.collect::<Vec<Result<_>>>()))
        };
        let sorted = stream::once(sorted).try_flatten().boxed();
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), sorted)))
    }
}
