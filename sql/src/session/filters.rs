//! Keeps filters above aggregates that return a row even without input.
//!
//! DataFusion 55 pushes a filter below an aggregate if it reads only grouping columns, and counts a filter that reads no column at
//! all among these: `s <> 'q'` where `s` is a constant NULL. Below an aggregate without GROUP BY, the filter then removes the input
//! instead of the one row that the aggregate always returns. The same goes for grouping sets, one of which may be empty.

use datafusion::common::Result;
use datafusion::common::tree_node::Transformed;
use datafusion::logical_expr::{Aggregate, Expr, LogicalPlan};
use datafusion::optimizer::push_down_filter::PushDownFilter;
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

/// [`PushDownFilter`], without these cases.
#[derive(Debug, Default)]
pub(super) struct FiltersStayAboveOneRow(PushDownFilter);

impl OptimizerRule for FiltersStayAboveOneRow {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.0.apply_order()
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        if let LogicalPlan::Filter(filter) = &plan
            && let LogicalPlan::Aggregate(aggregate) = filter.input.as_ref()
            && has_row_without_input(aggregate)
        {
            return Ok(Transformed::no(plan));
        }
        self.0.rewrite(plan, config)
    }
}

fn has_row_without_input(aggregate: &Aggregate) -> bool {
    aggregate.group_expr.is_empty() || aggregate.group_expr.iter().any(|group| matches!(group, Expr::GroupingSet(_)))
}
