//! The nodes of an incremental plan, and what each does. Facts only: [`crate::describe`] puts them into words.

use arrow::datatypes::SchemaRef;
use datafusion::logical_expr::{JoinType, LogicalPlan};

use super::class::{Class, OperatorKind};
use super::expiry::Expiry;
use super::reason::Reason;

/// One node of an incremental plan.
#[derive(Debug, Clone)]
pub struct Node {
    /// Its number in the tree, from the root (0) depth first. Its state is stored under this number.
    pub id: usize,
    /// Why it is not in a cheaper class, where a user might expect one. Each reason once.
    pub reasons: Vec<Reason>,
    /// What it does.
    pub op: Op,
    /// Schema of its rows.
    pub schema: SchemaRef,
    /// Whether it can retract rows that it has emitted. If not, its deltas have no negative weights.
    pub retracts: bool,
    /// Output columns that together identify a row at any time, if known. Empty for a relation of at most one row.
    pub key: Option<Vec<usize>>,
    /// The nodes that it reads.
    pub inputs: Vec<Node>,
    /// What it evicts as the watermark advances; at most one entry for each input.
    pub expiries: Vec<Expiry>,
}

impl Node {
    /// Returns its class.
    #[must_use]
    pub fn class(&self) -> Class {
        self.op.kind().class()
    }

    /// Checks whether its rows depend on no event. They are then computed once.
    #[must_use]
    pub fn is_constant(&self) -> bool {
        self.inputs.is_empty() && matches!(self.op, Op::Full { .. })
    }

    /// Returns the class of the most expensive operator in the tree under this node, itself included. Constant rows count as
    /// linear.
    #[must_use]
    pub fn most_expensive_class(&self) -> Class {
        let own = if self.is_constant() { Class::Linear } else { self.class() };
        self.inputs.iter().map(Node::most_expensive_class).fold(own, Class::max)
    }

    /// Checks whether rows of an input are evicted as the watermark advances.
    #[must_use]
    pub fn expires(&self, input: usize) -> bool {
        self.expiries.iter().any(|expiry| expiry.input == input)
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

/// What a node does. Logical plans read leaves: table scans named [`leaf_name`](super::leaf_name)`(i)`, one for each input of the
/// node, with the schema of that input.
#[derive(Debug, Clone)]
pub enum Op {
    /// The changes of a relation, restricted to some columns.
    Scan {
        /// The source's or view's name.
        relation: String,
        /// Which of the two.
        kind: RelationKind,
        /// Indexes into the relation's full schema, in output order.
        projection: Vec<usize>,
        /// Which rows arrive too late to be counted. `None` if none do.
        lateness: Option<Lateness>,
    },
    /// Filters, projections, unnests and unions: the plan over the deltas of the inputs gives the delta of the output. Rows keep
    /// their weights.
    Linear {
        /// Over the leaves.
        plan: LogicalPlan,
    },
    /// An aggregate directly over leaf 0, which is insert-only: `LogicalPlan::Aggregate` whose input is the leaf's scan.
    Merge {
        /// Over leaf 0.
        plan: LogicalPlan,
    },
    /// An aggregate directly over leaf 0 that rows can be taken out of (counts, exact sums), or one without functions (DISTINCT):
    /// `LogicalPlan::Aggregate` whose input is the leaf's scan.
    Weighted {
        /// Over leaf 0.
        plan: LogicalPlan,
    },
    /// An inner join of leaves 0 and 1: `LogicalPlan::Join` over projections that rename the leaves' first columns.
    Join {
        /// Over the leaves.
        plan: LogicalPlan,
        /// For each leaf, the key that rows must have in common to match. The plan holds all conditions.
        keys: Vec<KeyedInput>,
    },
    /// A left, right or full join of leaves 0 and 1 on at least one equal key: `LogicalPlan::Join` over projections that rename the
    /// leaves' first columns.
    Outer {
        /// Over the leaves.
        plan: LogicalPlan,
        /// For each leaf, the key that rows must have in common to match. The plan holds all conditions.
        keys: Vec<KeyedInput>,
        /// Whether the matches of each row are counted. If not, rows match exactly if their keys are equal, and equal keys have equal
        /// bits.
        counted: bool,
    },
    /// A semi, anti or mark join of leaves 0 and 1 on equal keys with no further condition: `LogicalPlan::Join` over projections that
    /// rename the leaves' first columns.
    Semi {
        /// Over the leaves.
        plan: LogicalPlan,
        /// The key of each leaf.
        keys: Vec<KeyedInput>,
    },
    /// The first rows of an order over leaf 0: `LogicalPlan::Sort` whose input renames the leaf's columns.
    Top {
        /// Over leaf 0.
        plan: LogicalPlan,
        /// The number of rows to skip at the front.
        skip: usize,
        /// The position after the last row to emit.
        fetch: usize,
    },
    /// Ranks over leaf 0, which is insert-only: `LogicalPlan::Window` of `row_number`, `rank` and `dense_rank`, all with one order
    /// and one key. Only rows whose rank is within the bound are emitted.
    Ranks {
        /// Over leaf 0.
        plan: LogicalPlan,
        /// The key; equal keys have equal bits.
        key: KeyedInput,
        /// Index of the bounded function in the window.
        function: usize,
        /// The last rank that is emitted.
        bound: u64,
    },
    /// Window functions over leaf 0 whose frame begins with the partition and ends with the current row or its peers:
    /// `LogicalPlan::Window`, all with one order and one key.
    Running {
        /// Over leaf 0.
        plan: LogicalPlan,
        /// The key; equal keys have equal bits.
        key: KeyedInput,
    },
    /// The sessions of input 0, which is insert-only. Rows of one key belong to one session as long as no two successive times are
    /// further apart than the gap.
    Sessions {
        /// The key; equal keys have equal bits.
        key: KeyedInput,
        /// The column of the time, an Int64 without NULL.
        time: usize,
        /// In units of the time.
        gap: i64,
        /// What each output column is: the index of a column of the input or, counting on from these, the first and the last time
        /// of the row's session.
        columns: Vec<usize>,
    },
    /// The rows of input 0, which is insert-only and comes in the order of its positions, each with the position of the row before it that has
    /// the same key; NULL where there is none, or none that is near enough.
    Repeats {
        /// Where the key is; equal keys are alike bit for bit.
        key: KeyedInput,
        /// The column of the position, an Int64 without NULL.
        at: usize,
        /// How far away a row may be to be given. None: any distance.
        within: Option<i64>,
    },
    /// A plan over the leaves whose answer splits by a key: the answer over all rows is the union of the answers over the rows of
    /// each key. A key without rows has an empty answer.
    Keyed {
        /// Over the leaves.
        plan: LogicalPlan,
        /// The key of each leaf.
        keys: Vec<KeyedInput>,
        /// Over leaf 0, which is then the only one and insert-only: the rows of it that can still enter an answer. The other rows
        /// never return and need not be stored. If `None`, all rows are stored.
        keep: Option<LogicalPlan>,
    },
    /// The rows of input 0 whose window the watermark keeps. Each of the other inputs is a scan of one column; its latest time
    /// minus a delay is a watermark. The smallest of these watermarks counts, and there is none until each input has had a time.
    Watermark {
        /// The timestamp column of input 0 that holds the end of a row's window. The columns of the other inputs have the same
        /// type.
        window_end: usize,
        /// How late events may arrive, for each of the other inputs, in units of that type.
        delays: Vec<i64>,
        /// Whether a row is emitted only once the watermark has reached the end of its window. A row without a window is then never
        /// emitted.
        emits_final: bool,
        /// How far the watermark can pass the end of a row's window before the row is removed, in the same units. If `None`, rows
        /// are kept for ever.
        retain: Option<i64>,
        /// Whether the query itself asks for it, with `watermark()`. Then no row is emitted as long as there is no watermark.
        by_query: bool,
    },
    /// A recursion: the rows of input 0, those that a step adds to them, those that it adds to these, and so on.
    Recursion {
        /// A tree of scans, linear operators, inner joins and semi joins. It reads the rows of the recursion as the relation `work`, and each
        /// other input of the node as the relation with the name of its leaf. Inputs only add rows to its answer as they grow.
        step: Box<Node>,
        /// The name of the recursion's rows in the step.
        work: String,
        /// Whether equal rows are one (UNION), and not each a row of its own (UNION ALL).
        distinct: bool,
    },
    /// Any plan over the leaves, run over the whole stored input before and after a change.
    Full {
        /// Over the leaves.
        plan: LogicalPlan,
    },
}

/// How late a row of a source may arrive, by its own time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lateness {
    /// The column of the time, as index into the source's full schema.
    pub column: usize,
    /// A row is left out if its time is this far or further behind the latest time that the source has had, that of the row
    /// included. In the units of the column.
    pub most: i64,
}

/// The key by which an input of a node is arranged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyedInput {
    /// Indexes of the key's columns. The columns of two inputs match by position and have the same types. If empty, all rows have
    /// the same key.
    pub columns: Vec<usize>,
    /// Whether rows with a NULL in their key belong together. If not, each of them is alone.
    pub nulls_match: bool,
}

impl Op {
    /// Returns which operator maintains the node.
    #[must_use]
    pub fn kind(&self) -> OperatorKind {
        match self {
            Op::Scan { .. } => OperatorKind::Scan,
            Op::Linear { .. } => OperatorKind::Linear,
            Op::Merge { .. } => OperatorKind::Merge,
            Op::Weighted { .. } => OperatorKind::Weighted,
            Op::Join { .. } => OperatorKind::Join,
            Op::Outer { .. } => OperatorKind::Outer,
            Op::Semi { .. } => OperatorKind::Semi,
            Op::Top { .. } => OperatorKind::Top,
            Op::Ranks { .. } => OperatorKind::Ranks,
            Op::Running { .. } => OperatorKind::Running,
            Op::Sessions { .. } => OperatorKind::Sessions,
            Op::Repeats { .. } => OperatorKind::Repeats,
            Op::Keyed { .. } => OperatorKind::Keyed,
            Op::Watermark { .. } => OperatorKind::Watermark,
            Op::Recursion { .. } => OperatorKind::Recursion,
            Op::Full { .. } => OperatorKind::Full,
        }
    }

    /// Returns what the node runs over its leaves. `None` if it has no plan.
    #[must_use]
    pub fn plan(&self) -> Option<&LogicalPlan> {
        match self {
            Op::Scan { .. } | Op::Watermark { .. } | Op::Sessions { .. } | Op::Repeats { .. } | Op::Recursion { .. } => None,
            Op::Linear { plan }
            | Op::Merge { plan }
            | Op::Weighted { plan }
            | Op::Join { plan, .. }
            | Op::Outer { plan, .. }
            | Op::Semi { plan, .. }
            | Op::Top { plan, .. }
            | Op::Ranks { plan, .. }
            | Op::Running { plan, .. }
            | Op::Keyed { plan, .. }
            | Op::Full { plan } => Some(plan),
        }
    }

    /// Returns the key by which the rows of an input can be split so that rows of two parts never match. `None` if there is no such
    /// key. The key of an aggregate is its groups, which are in its plan.
    #[must_use]
    pub fn shard_key(&self, input: usize) -> Option<&KeyedInput> {
        match self {
            Op::Join { keys, .. } | Op::Outer { keys, .. } | Op::Semi { keys, .. } | Op::Keyed { keys, .. } => keys.get(input),
            Op::Ranks { key, .. } | Op::Running { key, .. } | Op::Sessions { key, .. } | Op::Repeats { key, .. } => {
                (input == 0).then_some(key)
            }
            _ => None,
        }
    }
}

/// Returns the leaf whose rows a semi, anti or mark join emits. Of the other leaf, the join only tests for a match.
pub(crate) fn given_leaf(plan: &LogicalPlan) -> usize {
    use JoinType::{RightAnti, RightMark, RightSemi};
    match plan {
        LogicalPlan::Join(join) => usize::from(matches!(join.join_type, RightSemi | RightAnti | RightMark)),
        _ => 0,
    }
}
