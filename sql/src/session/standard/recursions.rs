//! Recursions whose first part has other types now: their steps read rows of these types.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema};
use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder, TableScan};

use crate::session::recursion::{is_work_table, work_table};

/// Gives the second part of a recursion the types of the first.
pub(super) fn of_first_part(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let LogicalPlan::RecursiveQuery(recursion) = &plan else { return Ok(Transformed::no(plan)) };
    let first = recursion.static_term.schema();
    let types = |schema: &Schema| schema.fields().iter().map(|field| field.data_type().clone()).collect::<Vec<_>>();
    let wanted = types(first.as_arrow());
    let mut changed = false;
    let second = recursion.recursive_term.as_ref().clone().transform_up(|plan| {
        let is_own =
            |scan: &TableScan| scan.table_name.table() == recursion.name && types(scan.source.schema().as_ref()) != wanted;
        match &plan {
            LogicalPlan::TableScan(scan) if is_work_table(&plan) && is_own(scan) => {
                let nullable = first.fields().iter().map(|field| Arc::new(field.as_ref().clone().with_nullable(true)));
                let schema = Arc::new(Schema::new(nullable.collect::<Vec<Arc<Field>>>()));
                changed = true;
                let scan = LogicalPlanBuilder::scan(
                    scan.table_name.clone(),
                    work_table(&recursion.name, schema),
                    scan.projection.clone(),
                );
                Ok(Transformed::yes(scan?.build()?))
            }
            _ if changed => Ok(Transformed::yes(plan.recompute_schema()?)),
            _ => Ok(Transformed::no(plan)),
        }
    })?;
    if !changed && types(recursion.recursive_term.schema().as_arrow()) == wanted {
        return Ok(Transformed::no(plan));
    }
    let first = LogicalPlanBuilder::from(recursion.static_term.as_ref().clone());
    Ok(Transformed::yes(first.to_recursive_query(recursion.name.clone(), second.data, recursion.is_distinct)?.build()?))
}
