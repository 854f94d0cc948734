//! The incremental plan of a view: a tree of nodes, each in the cheapest class that is right. Facts only, no text for people.
//!
//! | module | what it holds |
//! | --- | --- |
//! | `operation` | nodes of the tree, and what each does |
//! | `class` | which operator maintains a node, and its class |
//! | `reason` | why it is not in a cheaper class |
//! | `consolidation` | whether its deltas have to be consolidated |
//! | `expiry` | which rows can be evicted |
//! | `leaf` | scans that stand for inputs |
//! | `columns` | expressions that are plain columns |
//! | `columns_read` | which columns of its sources a view reads |

mod class;
mod columns;
mod columns_read;
mod consolidation;
mod expiry;
mod leaf;
mod operation;
mod reason;

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::common::Result;
use datafusion::common::tree_node::Transformed;
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::LogicalPlan;

pub use class::{Class, OperatorKind};
pub(crate) use columns::plain_column;
pub use columns_read::ColumnsRead;
pub use expiry::{Expiry, RowTime};
pub(crate) use leaf::is_schema_only;
pub use leaf::{leaf_index, leaf_name, leaf_scan};
pub(crate) use operation::given_leaf;
pub use operation::{KeyedInput, Lateness, Node, Op, RelationKind};
pub use reason::Reason;

/// How a view is maintained.
#[derive(Debug, Clone)]
pub struct ViewPlan {
    /// Schema of the view's rows.
    pub schema: SchemaRef,
    /// The root of the tree.
    pub root: Node,
    /// The optimized query over the relations themselves (sources and views by name): the law runs it in batch.
    pub batch: LogicalPlan,
    /// Hex digest of the optimized plan, the schemas that it reads and the state format. If it differs, the view must be rebuilt.
    pub fingerprint: String,
    /// The sources and views that it reads directly.
    pub reads: Vec<(RelationKind, String)>,
    /// The columns of these sources on which its rows depend.
    pub columns_read: ColumnsRead,
}

impl ViewPlan {
    /// Returns the view's query as one batch plan over the relations that `provider` returns by name. They must have the schemas
    /// that the view was planned with.
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
