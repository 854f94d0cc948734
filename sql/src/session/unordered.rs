//! Makes joins and grouping sets promise nothing about the order of their rows, and aggregates nothing about their groups.
//!
//! DataFusion 55 derives properties of a join's rows from those of its inputs, and leaves out sorts that then seem needless. Two of
//! these conclusions are wrong. A column that is constant on the null-supplying side of an outer join can also be NULL after it. The
//! order of the side that is not preserved is lost if keys repeat (its issue 25052). `ORDER BY`, ranks and top n then come out
//! wrong.
//!
//! An aggregate over grouping sets claims the order of its input, though the keys that a set leaves out are NULL. An aggregate above it
//! then takes its input for sorted, and returns a group more than once.
//!
//! A projection passes on that its input has no two rows of the same group, but of the wrong columns: those that have the places of the groups after
//! it. A sort by these columns and others then seems done. So all other aggregates claim their order, and not that their groups are unique.
//!
//! So each of them is put below a node that passes its rows on and claims no order, constants or equalities.

use std::fmt;
use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Constraints, Result};
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::execution_plan::ReplaceChildrenOptions;
use datafusion::physical_plan::joins::{
    CrossJoinExec, HashJoinExec, NestedLoopJoinExec, PiecewiseMergeJoinExec, SortMergeJoinExec,
};
use datafusion::physical_plan::projection::{ProjectionExec, make_with_child};
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties};

/// Puts every join and every aggregate below an [`Unordered`]. Runs before all rules that look at order.
#[derive(Debug)]
pub(super) struct PromiseNoOrder;

impl PhysicalOptimizerRule for PromiseNoOrder {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let replaced = plan.transform_up(|plan| {
            let is_join = plan.is::<HashJoinExec>()
                || plan.is::<NestedLoopJoinExec>()
                || plan.is::<CrossJoinExec>()
                || plan.is::<SortMergeJoinExec>()
                || plan.is::<PiecewiseMergeJoinExec>();
            let keeps = match plan.downcast_ref::<AggregateExec>() {
                Some(aggregate) if aggregate.group_expr().has_grouping_set() => Keeps::Nothing,
                // What follows the first of two stages looks for it right below.
                Some(aggregate) if *aggregate.mode() == AggregateMode::Partial => return Ok(Transformed::no(plan)),
                Some(aggregate) if aggregate.group_expr().is_empty() => return Ok(Transformed::no(plan)),
                Some(_) => Keeps::Order,
                None if is_join => Keeps::Nothing,
                None => return Ok(Transformed::no(plan)),
            };
            Ok(Transformed::yes(Arc::new(Unordered::over(plan, keeps)) as Arc<dyn ExecutionPlan>))
        });
        Ok(replaced?.data)
    }

    fn name(&self) -> &'static str {
        "promise_no_order"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// What of the claims of an input is passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keeps {
    Nothing,
    /// All but the columns of which no two rows are equal.
    Order,
}

/// Passes on the rows of its input, and not all that it claims of them.
#[derive(Debug)]
struct Unordered {
    keeps: Keeps,
    input: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
}

impl Unordered {
    fn over(input: Arc<dyn ExecutionPlan>, keeps: Keeps) -> Unordered {
        let claims = match keeps {
            Keeps::Nothing => EquivalenceProperties::new(input.schema()),
            Keeps::Order => input.equivalence_properties().clone().with_constraints(Constraints::default()),
        };
        let properties =
            PlanProperties::new(claims, input.output_partitioning().clone(), input.pipeline_behavior(), input.boundedness());
        Unordered { keeps, input, properties: Arc::new(properties) }
    }

    fn over_one(&self, mut children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        match (children.pop(), children.is_empty()) {
            (Some(input), true) => Ok(Arc::new(Unordered::over(input, self.keeps))),
            _ => Err(DataFusionError::Internal("Unordered has one input".to_owned())),
        }
    }
}

impl DisplayAs for Unordered {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Unordered")
    }
}

impl ExecutionPlan for Unordered {
    fn name(&self) -> &'static str {
        "Unordered"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![self.keeps == Keeps::Order]
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

    /// Pushes a projection down if it only picks columns, so that the join need not build columns that nobody reads. Other
    /// expressions can be constant, and the operators above may rely on that.
    fn try_swapping_with_projection(&self, projection: &ProjectionExec) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        if !projection.expr().iter().all(|projected| projected.expr.is::<Column>()) {
            return Ok(None);
        }
        let input = make_with_child(projection, &self.input)?;
        Ok(Some(Arc::new(Unordered::over(input, self.keeps))))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        self.input.execute(partition, context)
    }
}
