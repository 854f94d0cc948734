//! EXISTS in SELECT, rewritten as a count of rows above zero. DataFusion 55.2 joins such a subquery only in WHERE.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::tree_node::Transformed;
use datafusion::functions_aggregate::count::count;
use datafusion::logical_expr::expr::Exists;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Operator, Subquery, binary_expr, lit};

/// Rewrites EXISTS as a comparison of a count.
pub(super) fn counted(expression: Expr) -> Result<Transformed<Expr>> {
    let Expr::Exists(Exists { subquery, negated }) = expression else { return Ok(Transformed::no(expression)) };
    // What the subquery selects does not matter.
    let mut rows = Arc::clone(&subquery.subquery);
    while let LogicalPlan::Projection(projection) = rows.as_ref() {
        rows = Arc::clone(&projection.input);
    }
    let rows = LogicalPlanBuilder::from(Arc::unwrap_or_clone(rows));
    let counted = rows.aggregate(Vec::<Expr>::new(), vec![count(lit(1_i64)).alias("$count")])?.build()?;
    let counted = Expr::ScalarSubquery(Subquery { subquery: Arc::new(counted), ..subquery });
    let operator = if negated { Operator::Eq } else { Operator::Gt };
    Ok(Transformed::yes(binary_expr(counted, operator, lit(0_i64))))
}
