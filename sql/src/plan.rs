//! The incremental plan of a view: a tree of nodes, each in the cheapest class that is right.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{Result, TableReference};
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder, TableSource};

use crate::session::SchemaOnly;

/// How a node is kept up to date, from cheap to dear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// O(changes): filter, projection, UNNEST, UNION ALL.
    Linear,
    /// O(changes): aggregates over insert-only input, by merging partial states.
    Merge,
    /// O(all input): the query is run again over the stored input.
    FullRecompute,
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Class::Linear => "linear",
            Class::Merge => "merge",
            Class::FullRecompute => "full recompute",
        })
    }
}

/// What a scan reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelationKind {
    /// A declared source: insert-only.
    Source,
    /// Another view: insert-only if that view is.
    View,
}

/// What a node does. Logical plans stand over leaves: table scans named [`leaf_name`]`(i)`, one for each input of the node,
/// with the schema of that input.
#[derive(Debug, Clone)]
pub enum Op {
    /// The changes of a relation, narrowed to some columns.
    Scan {
        /// The source's or view's name.
        relation: String,
        /// Which of the two.
        kind: RelationKind,
        /// Indexes into the relation's full schema, in output order.
        projection: Vec<usize>,
    },
    /// Filters, projections, unnests and unions: the delta of the output is the plan over the delta of the inputs. Weights pass
    /// through with their rows.
    Linear {
        /// Over the leaves.
        plan: LogicalPlan,
    },
    /// An aggregate directly over leaf 0, which is insert-only: `LogicalPlan::Aggregate` whose input is the leaf's scan.
    Merge {
        /// Over leaf 0.
        plan: LogicalPlan,
    },
    /// Any plan over the leaves: run over the whole stored input, before and after.
    Full {
        /// Over the leaves.
        plan: LogicalPlan,
    },
}

/// One node of an incremental plan.
#[derive(Debug, Clone)]
pub struct Node {
    /// Its number in the tree, root 0, depth first: names its state.
    pub id: usize,
    /// Its class.
    pub class: Class,
    /// Why it is not in a cheaper class, where a user might expect one.
    pub reason: Option<String>,
    /// What it does.
    pub op: Op,
    /// Schema of its rows.
    pub schema: SchemaRef,
    /// Whether rows that it gave can be taken back. If not, its deltas have no negative weights.
    pub retracts: bool,
    /// Output columns that together identify a row at any time, where known; empty for a relation of at most one row.
    pub key: Option<Vec<usize>>,
    /// What it reads.
    pub inputs: Vec<Node>,
}

/// How a view is kept up to date.
#[derive(Debug, Clone)]
pub struct ViewPlan {
    /// Schema of the view's rows.
    pub schema: SchemaRef,
    /// The tree.
    pub root: Node,
    /// The optimized query over the relations themselves (sources and views by name): what the law runs in batch.
    pub batch: LogicalPlan,
    /// Hex digest of the optimized plan, the schemas that it reads and the state format. Another value means: rebuild.
    pub fingerprint: String,
    /// The sources and views that it reads directly.
    pub reads: Vec<(RelationKind, String)>,
}

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

impl ViewPlan {
    /// The view's query as one batch over the relations that `provider` gives by name, with the schemas that the view was planned
    /// with.
    ///
    /// # Errors
    /// Those of `provider`.
    pub fn batch_plan_over(&self, provider: impl Fn(&str) -> Result<Arc<dyn TableProvider>>) -> Result<LogicalPlan> {
        let replaced = self.batch.clone().transform_down_with_subqueries(|plan| match plan {
            LogicalPlan::TableScan(mut scan) => {
                let name = scan.table_name.table().to_owned();
                if !self.reads.iter().any(|(_, read)| *read == name) || !is_schema_only(&scan.source) {
                    return Ok(Transformed::no(LogicalPlan::TableScan(scan)));
                }
                scan.source = provider_as_source(provider(&name)?);
                Ok(Transformed::yes(LogicalPlan::TableScan(scan)))
            }
            other => Ok(Transformed::no(other)),
        });
        Ok(replaced?.data)
    }
}

/// Whether a scan's source is one of ours, which stands for a relation or an input.
pub(crate) fn is_schema_only(source: &Arc<dyn TableSource>) -> bool {
    (source.as_ref() as &dyn Any).is::<SchemaOnly>()
}
