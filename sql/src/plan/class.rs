//! Which operator maintains a node. It decides the class.

/// How much work a change costs, from cheap to expensive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// O(changes): filter, projection, UNNEST, UNION ALL.
    Linear,
    /// O(changes): aggregates over insert-only input, which merge partial states; counts and exact sums over any input.
    Merge,
    /// O(changes + matches): inner and outer joins, both sides stored by key; recursions, where a retraction matches all that
    /// was derived from its row.
    Join,
    /// O(rows of the touched keys): the query is run again over the rows of the keys that changed.
    KeyedRecompute,
    /// O(all input): the query is run again over the stored input.
    FullRecompute,
}

/// The operator of a node. It decides the class. The operator that runs it, its cost and its description follow from the
/// [`Op`](super::Op) of this kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OperatorKind {
    /// Picks columns of a relation.
    Scan,
    /// Filters, projections, unnests and unions.
    Linear,
    /// Aggregates that merge partial states.
    Merge,
    /// Counts, exact sums and DISTINCT over input that retracts.
    Weighted,
    /// Inner joins.
    Join,
    /// Left, right and full joins on equal keys.
    Outer,
    /// Semi, anti and mark joins on equal keys.
    Semi,
    /// The first rows of an order over input that retracts.
    Top,
    /// The first rows by key over insert-only input.
    Ranks,
    /// Window functions whose frame begins with the partition.
    Running,
    /// Sessions over insert-only input.
    Sessions,
    /// The row before with the same key, over insert-only input in the order of its positions.
    Repeats,
    /// A plan that splits by a key or keeps the first rows, run again for the touched keys. Includes the linear operators above it.
    Keyed,
    /// A recursion whose step only adds rows.
    Recursion,
    /// A filter on windows by the watermark.
    Watermark,
    /// Any plan, run again over all input.
    Full,
}

impl OperatorKind {
    /// Returns how much work a change costs.
    #[must_use]
    pub fn class(self) -> Class {
        match self {
            OperatorKind::Scan | OperatorKind::Linear | OperatorKind::Watermark => Class::Linear,
            OperatorKind::Merge | OperatorKind::Weighted | OperatorKind::Repeats => Class::Merge,
            OperatorKind::Join | OperatorKind::Outer | OperatorKind::Semi | OperatorKind::Recursion => Class::Join,
            OperatorKind::Top | OperatorKind::Ranks | OperatorKind::Running | OperatorKind::Sessions | OperatorKind::Keyed => {
                Class::KeyedRecompute
            }
            OperatorKind::Full => Class::FullRecompute,
        }
    }

    /// Checks whether the operator stores rows or anything derived from them.
    #[must_use]
    pub fn has_state(self) -> bool {
        !matches!(self, OperatorKind::Scan | OperatorKind::Linear)
    }
}
