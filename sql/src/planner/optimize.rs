//! The optimized plan of a query, and the relations that it reads.

use std::collections::{BTreeMap, BTreeSet};

use datafusion::common::DataFusionError;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;

use super::{Relation, fingerprint, ordering};
use crate::plan::{ColumnsRead, RelationKind, is_schema_only};
use crate::session;

/// Optimizes a plan and drops its sorts without effect. The optimizer adds sorts of its own (for DISTINCT ON), which matter as
/// little as a user's.
pub(crate) fn optimized(state: &SessionState, written: &LogicalPlan) -> Result<LogicalPlan, DataFusionError> {
    ordering::drop_sorts(session::optimized(state, written)?)
}

/// Returns the relations that a plan scans, also in its subqueries, sorted by name.
pub(crate) fn relations_read(
    plan: &LogicalPlan,
    relations: &BTreeMap<String, Relation>,
) -> Result<Vec<(RelationKind, String)>, DataFusionError> {
    let mut read = BTreeSet::new();
    plan.apply_with_subqueries(|plan| {
        if let LogicalPlan::TableScan(scan) = plan
            && is_schema_only(&scan.source)
        {
            read.insert(scan.table_name.table().to_owned());
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(read.into_iter().filter_map(|name| relations.get(&name).map(|relation| (relation.kind, name))).collect())
}

/// Returns the fingerprint of a view over the relations that it reads.
pub(crate) fn fingerprint_over(
    batch: &LogicalPlan,
    reads: &[(RelationKind, String)],
    columns: &ColumnsRead,
    relations: &BTreeMap<String, Relation>,
) -> String {
    let read = reads.iter().filter_map(|(_, name)| {
        let relation = relations.get(name)?;
        let columns = columns.of(name).map(|column| relation.schema.field(column));
        Some((name.as_str(), relation.fingerprint.as_str(), columns.collect()))
    });
    fingerprint::of_view(batch, read)
}
