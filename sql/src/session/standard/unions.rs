//! Casts the inputs of a UNION to their common types. DataFusion 55.2 finds these only when it analyses the plan, and a subquery
//! that reads a column of the UNION compares it by the type of the first input.

use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr_rewriter::coerce_plan_expr_for_schema;
use datafusion::logical_expr::{LogicalPlan, Union};
use datafusion::optimizer::analyzer::type_coercion::coerce_union_schema;

/// Casts the inputs of a UNION. Leaves it as it is if their types agree, or if they have no common type, which the analyzer
/// reports.
pub(super) fn of_common_types(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let LogicalPlan::Union(union) = plan else { return Ok(Transformed::no(plan)) };
    let Ok(common) = coerce_union_schema(&union.inputs) else { return Ok(Transformed::no(LogicalPlan::Union(union))) };
    let agrees = |schema: &DFSchema| {
        schema.fields().iter().zip(common.fields()).all(|(own, common)| own.data_type() == common.data_type())
    };
    if agrees(&union.schema) && union.inputs.iter().all(|input| agrees(input.schema())) {
        return Ok(Transformed::no(LogicalPlan::Union(union)));
    }
    let columns = union.schema.iter().zip(common.fields()).map(|((qualifier, field), common)| {
        let field = field.as_ref().clone().with_data_type(common.data_type().clone()).with_nullable(common.is_nullable());
        (qualifier.cloned(), Arc::new(field))
    });
    let schema = Arc::new(DFSchema::new_with_metadata(columns.collect(), union.schema.metadata().clone())?);
    let inputs =
        union.inputs.into_iter().map(|input| Ok(Arc::new(coerce_plan_expr_for_schema(Arc::unwrap_or_clone(input), &schema)?)));
    let inputs = inputs.collect::<Result<Vec<_>>>()?;
    Ok(Transformed::yes(LogicalPlan::Union(Union { inputs, schema })))
}
