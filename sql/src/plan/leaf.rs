//! Leaves: the scans in a node's plan that stand for its inputs.

use std::any::Any;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::{Result, TableReference};
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder, TableSource};

use crate::session::SchemaOnly;

/// Returns the table name of input `index` in a node's logical plan.
#[must_use]
pub fn leaf_name(index: usize) -> String {
    format!("$input{index}")
}

/// Returns the scan of input `index` of a node, over a source of which only the schema is known. To run the plan, replace the
/// source of scans with this name.
///
/// # Errors
/// When two columns of the schema have the same name.
pub fn leaf_scan(index: usize, schema: &SchemaRef) -> Result<LogicalPlan> {
    let source = Arc::new(SchemaOnly::new(Arc::clone(schema)));
    LogicalPlanBuilder::scan(TableReference::bare(leaf_name(index)), source, None)?.build()
}

/// Returns the input that a scan in a node's plan stands for. `None` for a scan of something else (`generate_series`).
#[must_use]
pub fn leaf_index(table: &TableReference) -> Option<usize> {
    match table {
        TableReference::Bare { table } => table.strip_prefix("$input")?.parse().ok(),
        _ => None,
    }
}

/// Checks whether the source of a scan is ours, and so stands for a relation or an input.
pub(crate) fn is_schema_only(source: &Arc<dyn TableSource>) -> bool {
    (source.as_ref() as &dyn Any).is::<SchemaOnly>()
}
