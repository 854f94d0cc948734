//! The incremental plan of a view: a tree of nodes, each in the cheapest class that is right.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{Result, TableReference};
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, TableSource};

use crate::session::SchemaOnly;

/// How a node is kept up to date, from cheap to dear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// O(changes): filter, projection, UNNEST, UNION ALL.
    Linear,
    /// O(changes): aggregates over insert-only input by merging partial states, counts and exact sums over any input.
    Merge,
    /// O(changes + matches): inner joins, both sides stored by key.
    Join,
    /// O(rows of the touched keys): the query is run again over the rows of the keys that changed.
    KeyedRecompute,
    /// O(all input): the query is run again over the stored input.
    FullRecompute,
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Class::Linear => "linear",
            Class::Merge => "merge",
            Class::Join => "join",
            Class::KeyedRecompute => "keyed recompute",
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
        /// Which rows come too late to be counted; none: none do.
        lateness: Option<Lateness>,
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
    /// An aggregate directly over leaf 0 whose functions can be taken out of again (counts, exact sums), or none at all (DISTINCT):
    /// `LogicalPlan::Aggregate` whose input is the leaf's scan.
    Weighted {
        /// Over leaf 0.
        plan: LogicalPlan,
    },
    /// An inner join of leaves 0 and 1: `LogicalPlan::Join` over projections that rename the leaves' first columns.
    Join {
        /// Over the leaves.
        plan: LogicalPlan,
        /// By leaf, where the keys are that rows must have in common to meet. All conditions stand in the plan.
        keys: Vec<KeyedInput>,
    },
    /// A semi, anti or mark join of leaves 0 and 1 on equal keys with no further condition: `LogicalPlan::Join` over projections that
    /// rename the leaves' first columns.
    Semi {
        /// Over the leaves.
        plan: LogicalPlan,
        /// By leaf, where the keys are.
        keys: Vec<KeyedInput>,
    },
    /// The first rows of an order over leaf 0: `LogicalPlan::Sort` whose input renames the leaf's columns.
    Top {
        /// Over leaf 0.
        plan: LogicalPlan,
        /// Rows at the front that are passed over.
        skip: usize,
        /// The position after the last row that is given.
        fetch: usize,
    },
    /// Ranks over leaf 0, which is insert-only: `LogicalPlan::Window` of `row_number`, `rank` and `dense_rank`, all in one order and by
    /// one key. Only rows whose rank is not beyond the bound are given.
    Ranks {
        /// Over leaf 0.
        plan: LogicalPlan,
        /// Where the key is; equal keys are alike bit for bit.
        key: KeyedInput,
        /// Which of the window's functions is bounded.
        function: usize,
        /// The last rank that is given.
        bound: u64,
    },
    /// The sessions of input 0, which is insert-only: rows of one key belong to one session as long as no two that follow each other in
    /// time are further apart than the gap.
    Sessions {
        /// Where the key is; equal keys are alike bit for bit.
        key: KeyedInput,
        /// The column of the time, an Int64 without NULL.
        time: usize,
        /// In units of the time.
        gap: i64,
        /// What each output column is: a column of the input or, counted on from these, the first and the last time of the row's
        /// session.
        columns: Vec<usize>,
    },
    /// A plan over the leaves whose answer splits by a key: the answer over all rows is that over the rows of each key, put
    /// together. There is none for a key without rows.
    Keyed {
        /// Over the leaves.
        plan: LogicalPlan,
        /// By leaf, where the key is.
        keys: Vec<KeyedInput>,
        /// Over leaf 0, the only one, which is insert-only: those of its rows that can still come into an answer. The others never
        /// return and need not be stored. None: all.
        keep: Option<LogicalPlan>,
    },
    /// The rows of input 0 whose window the watermark lets stand. The other inputs are scans of one column each, whose latest time
    /// less a delay is a watermark; the smallest of them counts, and there is none before each has had a time.
    Watermark {
        /// The column of input 0, a timestamp, that holds the end of a row's window; the other inputs' columns are of its type.
        window_end: usize,
        /// How late events may come, for each of the other inputs, in units of that type.
        delays: Vec<i64>,
        /// Whether a row is shown only when the watermark has reached the end of its window. One without a window never is.
        emits_final: bool,
        /// How far the watermark can be past the end of a row's window before the row is gone, in the same units. None: for ever.
        retain: Option<i64>,
    },
    /// Any plan over the leaves: run over the whole stored input, before and after.
    Full {
        /// Over the leaves.
        plan: LogicalPlan,
    },
}

/// Which rows of an input of a node the view above can do without: those whose time is not after the end of the latest windows that the
/// watermark has taken out of the view. They are not taken in any more, and what is stored of them is dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expiry {
    /// Which input.
    pub input: usize,
    /// Over the columns of the input.
    pub time: RowTime,
    /// Of an aggregate: the same, over its own columns, of which only its groups' are used.
    pub groups: Option<RowTime>,
}

/// A time of each row, in the unit of the end of a window. Where it is NULL the row is never old.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowTime {
    /// A timestamp, or an Int64 that counts like one. Columns are unqualified.
    pub time: Expr,
    /// What is added to it.
    pub slack: i64,
}

/// How late a row of a source may come by its own time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lateness {
    /// The column of the time, by its index in the source's full schema.
    pub column: usize,
    /// A row is left out where its time is this far or further behind the latest one that the source has had, itself counted; in the
    /// units of the column.
    pub most: i64,
}

/// By what an input of a node is arranged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyedInput {
    /// Indexes of the key's columns, the first of one input meeting the first of another, of the same types. None: all rows have
    /// the same key.
    pub columns: Vec<usize>,
    /// Whether rows with a NULL in their key belong together; if not, each of them is alone.
    pub nulls_match: bool,
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
    /// What a step costs, in words.
    pub cost: String,
    /// What it stores, in words; none: nothing.
    pub state: Option<String>,
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
    /// What it can forget as the watermark goes on; at most one for each input.
    pub expiries: Vec<Expiry>,
}

impl Node {
    /// Whether rows of an input are dropped as the watermark goes on.
    #[must_use]
    pub fn expires(&self, input: usize) -> bool {
        self.expiries.iter().any(|expiry| expiry.input == input)
    }
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
