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

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Constraints, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::joins::{
    CrossJoinExec, HashJoinExec, NestedLoopJoinExec, PiecewiseMergeJoinExec, SortMergeJoinExec,
};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, PlanProperties};

use super::passing::{PassesOn, Passing};

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
            Ok(Transformed::yes(PassesOn::over(plan, Unordered(keeps))))
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
#[derive(Debug, Clone)]
struct Unordered(Keeps);

impl Passing for Unordered {
    const NAME: &'static str = "Unordered";

    fn properties(&self, input: &Arc<dyn ExecutionPlan>) -> Arc<PlanProperties> {
        let claims = match self.0 {
            Keeps::Nothing => EquivalenceProperties::new(input.schema()),
            Keeps::Order => input.equivalence_properties().clone().with_constraints(Constraints::default()),
        };
        let (partitioning, behavior) = (input.output_partitioning().clone(), input.pipeline_behavior());
        Arc::new(PlanProperties::new(claims, partitioning, behavior, input.boundedness()))
    }

    fn keeps_order(&self) -> bool {
        self.0 == Keeps::Order
    }

    /// Lets a projection through if it only picks columns, so that the join need not build columns that nobody reads. Other expressions can be
    /// constant, and the operators above may rely on that.
    fn lets_through(&self, projection: &ProjectionExec) -> bool {
        projection.expr().iter().all(|projected| projected.expr.is::<Column>())
    }

    fn execute(
        &self,
        input: &Arc<dyn ExecutionPlan>,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        input.execute(partition, context)
    }
}
