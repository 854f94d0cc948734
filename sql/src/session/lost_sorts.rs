//! Restores sorts that DataFusion has lost, before its last check looks for them.
//!
//! DataFusion 55 leaves out a sort by constant columns, and may then move the expressions that made them constant. To its last
//! check, the rows have no order, and it rejects a valid query. Sorting rows that are already in order costs little.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::physical_expr::{LexOrdering, PhysicalSortExpr};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, replace_children_if_necessary};

/// Sorts the input of each node that requires an order which the input is not known to have. Runs after all rules that change
/// plans.
#[derive(Debug)]
pub(super) struct LostSortsComeBack;

impl PhysicalOptimizerRule for LostSortsComeBack {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let sorted = plan.transform_up(|plan| {
            let orders = plan.required_input_ordering();
            let mut inputs: Vec<Arc<dyn ExecutionPlan>> = plan.children().into_iter().cloned().collect();
            let mut lost = false;
            for (input, order) in inputs.iter_mut().zip(orders) {
                let Some(order) = order.map(|order| order.into_single()) else { continue };
                if input.equivalence_properties().ordering_satisfy_requirement(order.clone())? {
                    continue;
                }
                if let Some(order) = LexOrdering::new(order.into_iter().map(PhysicalSortExpr::from)) {
                    let several = input.output_partitioning().partition_count() > 1;
                    *input = Arc::new(SortExec::new(order, Arc::clone(input)).with_preserve_partitioning(several));
                    lost = true;
                }
            }
            Ok(if lost { Transformed::yes(replace_children_if_necessary(plan, inputs)?) } else { Transformed::no(plan) })
        });
        Ok(sorted?.data)
    }

    fn name(&self) -> &'static str {
        "lost_sorts_come_back"
    }

    fn schema_check(&self) -> bool {
        true
    }
}
