//! Which columns of its sources a view reads: its rows depend on these, and an event of which one of them does not fit is left out.

use std::collections::{BTreeMap, BTreeSet};

use datafusion::common::Result;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::logical_expr::LogicalPlan;

use super::leaf::is_schema_only;
use super::node::Node;
use super::operation::{Op, RelationKind};

/// By source, indexes into its schema.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ColumnsRead(BTreeMap<String, BTreeSet<usize>>);

impl ColumnsRead {
    /// Those that the scans of a tree give.
    pub(crate) fn of_node(node: &Node) -> ColumnsRead {
        let mut read = ColumnsRead::default();
        read.add_node(node);
        read
    }

    /// Those of a source, rising. Empty where its events are read but none of its columns (`count(*)`), and where it is not read.
    pub fn of(&self, source: &str) -> impl Iterator<Item = usize> {
        self.0.get(source).into_iter().flatten().copied()
    }

    /// Whether it is one of those of a source.
    #[must_use]
    pub fn contains(&self, source: &str, column: usize) -> bool {
        self.0.get(source).is_some_and(|columns| columns.contains(&column))
    }

    /// Adds those of another.
    pub(crate) fn extend(&mut self, other: ColumnsRead) {
        for (source, columns) in other.0 {
            self.0.entry(source).or_default().extend(columns);
        }
    }

    /// Adds those that the scans of a plan of the view's query give, its subqueries among them.
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
