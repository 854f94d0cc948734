//! Joins LATERAL subqueries before the subquery that they stand in is joined.
//!
//! DataFusion 55.2 joins EXISTS, IN and subqueries of one value first. Below a UNION, an ORDER BY or a LIMIT it takes a column that a LATERAL
//! subquery reads of its neighbour for one of the query around, and leaves the whole subquery as it is; then it pushes columns of
//! the query around below the UNION, and there is no plan.

use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::logical_expr::{LogicalPlan, Subquery};
use datafusion::optimizer::decorrelate_lateral_join::DecorrelateLateralJoin;
use datafusion::optimizer::decorrelate_predicate_subquery::DecorrelatePredicateSubquery;
use datafusion::optimizer::scalar_subquery_to_join::ScalarSubqueryToJoin;
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

/// Joins the LATERAL subqueries within a subquery. Goes from the innermost subquery outwards.
#[derive(Debug, Default)]
pub(super) struct NestedLateralsFirst {
    predicates: DecorrelatePredicateSubquery,
    values: ScalarSubqueryToJoin,
    laterals: DecorrelateLateralJoin,
}

impl OptimizerRule for NestedLateralsFirst {
    fn name(&self) -> &'static str {
        "nested_laterals_first"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Subquery(subquery) = plan else { return Ok(Transformed::no(plan)) };
        if !subquery.subquery.exists(|plan| Ok(matches!(plan, LogicalPlan::Join(join) if is_lateral(&join.right))))? {
            return Ok(Transformed::no(LogicalPlan::Subquery(subquery)));
        }
        // In DataFusion's order: what a LATERAL subquery asks of other relations is joined before the LATERAL subquery is.
        let rules: [&dyn OptimizerRule; 3] = [&self.predicates, &self.values, &self.laterals];
        let mut joined = subquery.subquery.as_ref().clone();
        for rule in rules {
            joined = joined.transform_down(|plan| rule.rewrite(plan, config))?.data;
        }
        let outer_ref_columns = joined.all_out_ref_exprs();
        let joined = Subquery { subquery: joined.into(), outer_ref_columns, spans: subquery.spans };
        Ok(Transformed::yes(LogicalPlan::Subquery(joined)))
    }
}

/// Checks whether a side of a join is a LATERAL subquery.
pub(crate) fn is_lateral(side: &LogicalPlan) -> bool {
    match side {
        LogicalPlan::Subquery(_) => true,
        LogicalPlan::SubqueryAlias(alias) => is_lateral(&alias.input),
        _ => false,
    }
}
