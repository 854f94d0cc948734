//! Which columns of its sources a view reads. Its rows depend on these columns: an event with a value that does not fit one of them
//! is left out.

use std::collections::{BTreeMap, BTreeSet};

use datafusion::common::Result;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::logical_expr::LogicalPlan;

use super::leaf::is_schema_only;
use super::operation::{Node, Op, RelationKind};

/// Indexes into each source's schema, by source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ColumnsRead(BTreeMap<String, BTreeSet<usize>>);

impl ColumnsRead {
    /// Returns the columns that the scans of a tree read.
    pub(crate) fn of_node(node: &Node) -> ColumnsRead {
        let mut read = ColumnsRead::default();
        read.add_node(node);
        read
    }

    /// Returns the columns of a source, ascending. Empty if the view reads its events but no columns (`count(*)`), or does not read
    /// it at all.
    pub fn of(&self, source: &str) -> impl Iterator<Item = usize> {
        self.0.get(source).into_iter().flatten().copied()
    }

    /// Checks whether the view reads this column of a source.
    #[must_use]
    pub fn contains(&self, source: &str, column: usize) -> bool {
        self.0.get(source).is_some_and(|columns| columns.contains(&column))
    }

    /// Adds the columns of another view.
    pub(crate) fn extend(&mut self, other: ColumnsRead) {
        for (source, columns) in other.0 {
            self.0.entry(source).or_default().extend(columns);
        }
    }

    /// Adds the columns that the scans of a plan of the view's query read, also in its subqueries.
    pub(crate) fn add_plan(&mut self, plan: &LogicalPlan) -> Result<()> {
        plan.apply_with_subqueries(|plan| {
            if let LogicalPlan::TableScan(scan) = plan
                && is_schema_only(&scan.source)
                && let Some(columns) = self.0.get_mut(scan.table_name.table())
            {
                match &scan.projection {
                    Some(projection) => columns.extend(projection),
                    None => columns.extend(0..scan.source.schema().fields().len()),
                }
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(())
    }

    fn add_node(&mut self, node: &Node) {
        if let Op::Scan { relation, kind: RelationKind::Source, projection, lateness } = &node.op {
            let columns = self.0.entry(relation.clone()).or_default();
            columns.extend(projection);
            columns.extend(lateness.map(|lateness| lateness.column));
        }
        node.inputs.iter().for_each(|input| self.add_node(input));
    }
}
