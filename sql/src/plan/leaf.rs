//! Leaves: the scans in a node's plan that stand for its inputs.

use std::any::Any;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::{Result, TableReference};
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder, TableSource};

use crate::session::SchemaOnly;

/// The table name of input `index` in a node's logical plan.
#[must_use]
pub fn leaf_name(index: usize) -> String {
    format!("$input{index}")
}

/// The scan of input `index` of a node, over a source of which only the schema is known. Whoever runs the plan gives scans of
/// this name a source of its own.
///
/// # Errors
/// When two columns of the schema have one name.
pub fn leaf_scan(index: usize, schema: &SchemaRef) -> Result<LogicalPlan> {
    let source = Arc::new(SchemaOnly::new(Arc::clone(schema)));
    LogicalPlanBuilder::scan(TableReference::bare(leaf_name(index)), source, None)?.build()
}

/// The input that a scan in a node's plan stands for; none for a scan of something else (`generate_series`).
#[must_use]
pub fn leaf_index(table: &TableReference) -> Option<usize> {
    match table {
        TableReference::Bare { table } => table.strip_prefix("$input")?.parse().ok(),
        _ => None,
    }
}

/// Whether a scan's source is one of ours, which stands for a relation or an input.
pub(crate) fn is_schema_only(source: &Arc<dyn TableSource>) -> bool {
    (source.as_ref() as &dyn Any).is::<SchemaOnly>()
}
