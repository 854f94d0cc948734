//! What each node of a plan does. Facts only: the words for it are in [`crate::describe`].

use datafusion::logical_expr::{JoinType, LogicalPlan};

use super::class::OperatorKind;

/// What a scan reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelationKind {
    /// A declared source: insert-only.
    Source,
    /// Another view: insert-only if that view is.
    View,
}

/// What a node does. Logical plans stand over leaves: table scans named [`leaf_name`](super::leaf_name)`(i)`, one for each input of the node,
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

impl Op {
    /// Which operator keeps the node up to date.
    #[must_use]
    pub fn kind(&self) -> OperatorKind {
        match self {
            Op::Scan { .. } => OperatorKind::Scan,
            Op::Linear { .. } => OperatorKind::Linear,
            Op::Merge { .. } => OperatorKind::Merge,
            Op::Weighted { .. } => OperatorKind::Weighted,
            Op::Join { .. } => OperatorKind::Join,
            Op::Semi { .. } => OperatorKind::Semi,
            Op::Top { .. } => OperatorKind::Top,
            Op::Ranks { .. } => OperatorKind::Ranks,
            Op::Sessions { .. } => OperatorKind::Sessions,
            Op::Keyed { .. } => OperatorKind::Keyed,
            Op::Watermark { .. } => OperatorKind::Watermark,
            Op::Full { .. } => OperatorKind::Full,
        }
    }

    /// What the node runs over its leaves; none where no plan says it.
    #[must_use]
    pub fn plan(&self) -> Option<&LogicalPlan> {
        match self {
            Op::Scan { .. } | Op::Watermark { .. } | Op::Sessions { .. } => None,
            Op::Linear { plan }
            | Op::Merge { plan }
            | Op::Weighted { plan }
            | Op::Join { plan, .. }
            | Op::Semi { plan, .. }
            | Op::Top { plan, .. }
            | Op::Ranks { plan, .. }
            | Op::Keyed { plan, .. }
            | Op::Full { plan } => Some(plan),
        }
    }

    /// The key by which the rows of an input can be split, so that no two parts ever meet; none where there is no such key. An
    /// aggregate's is its groups, which stand in its plan.
    #[must_use]
    pub fn shard_key(&self, input: usize) -> Option<&KeyedInput> {
        match self {
            Op::Join { keys, .. } | Op::Semi { keys, .. } | Op::Keyed { keys, .. } => keys.get(input),
            Op::Ranks { key, .. } | Op::Sessions { key, .. } => (input == 0).then_some(key),
            _ => None,
        }
    }
}

/// The leaf whose rows a semi, anti or mark join gives; it asks only whether the other one has a match.
pub(crate) fn given_leaf(plan: &LogicalPlan) -> usize {
    use JoinType::{RightAnti, RightMark, RightSemi};
    match plan {
        LogicalPlan::Join(join) => usize::from(matches!(join.join_type, RightSemi | RightAnti | RightMark)),
        _ => 0,
    }
}
