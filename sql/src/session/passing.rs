//! Physical operators over one input that have its columns and do one thing to its rows or to what is known of them. Here is what they share.

use std::fmt;
use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::execution_plan::ReplaceChildrenOptions;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};

/// What such an operator does.
///
/// # Contract
/// - The rows of [`Passing::execute`] have the columns of the input (unchecked).
/// - If [`Passing::keeps_order`], they have its order (unchecked).
pub trait Passing: fmt::Debug + Clone + Send + Sync + 'static {
    /// Its name in plans.
    const NAME: &'static str;

    /// Returns what is known of its rows. By default, all that is known of the input.
    fn properties(&self, input: &Arc<dyn ExecutionPlan>) -> Arc<PlanProperties> {
        Arc::clone(input.properties())
    }

    /// Checks whether it keeps the order of the input.
    fn keeps_order(&self) -> bool {
        true
    }

    /// Checks whether a projection above it can be computed below it.
    fn lets_through(&self, _projection: &ProjectionExec) -> bool {
        false
    }

    /// Returns its rows.
    ///
    /// # Errors
    /// Those of the input, and its own.
    fn execute(
        &self,
        input: &Arc<dyn ExecutionPlan>,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream>;
}

/// An operator that does what `P` says.
#[derive(Debug)]
pub struct PassesOn<P> {
    does: P,
    input: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
}

impl<P: Passing> PassesOn<P> {
    /// Puts the operator above its input.
    pub fn over(input: Arc<dyn ExecutionPlan>, does: P) -> Arc<dyn ExecutionPlan> {
        let properties = does.properties(&input);
        Arc::new(PassesOn { does, input, properties })
    }

    /// Returns what it does.
    pub fn does(&self) -> &P {
        &self.does
    }

    fn over_one(&self, mut children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        match (children.pop(), children.is_empty()) {
            (Some(input), true) => Ok(PassesOn::over(input, self.does.clone())),
            _ => Err(DataFusionError::Internal(format!("{} has one input", P::NAME))),
        }
    }
}

impl<P: Passing> DisplayAs for PassesOn<P> {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(P::NAME)
    }
}

impl<P: Passing> ExecutionPlan for PassesOn<P> {
    fn name(&self) -> &'static str {
        P::NAME
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![self.does.keeps_order()]
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

    fn try_swapping_with_projection(&self, projection: &ProjectionExec) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        if !self.does.lets_through(projection) {
            return Ok(None);
        }
        let input = datafusion::physical_plan::projection::make_with_child(projection, &self.input)?;
        Ok(Some(PassesOn::over(input, self.does.clone())))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        self.does.execute(&self.input, partition, context)
    }
}
