//! Why a node is not in a cheaper class.

/// Why a node is not in a cheaper class, where a user might expect one. Functions are named as in SQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// The rows do not depend on any event.
    Constant,
    /// A shape of query that has no operator of its own.
    OtherShape,
    /// A join whose rows do not split by a key.
    Join,
    /// An inner join without equal keys.
    JoinWithoutKeys,
    /// NOT IN where a value may be NULL.
    NullAwareNotIn,
    /// EXISTS or IN whose result is a value.
    Mark,
    /// IN, EXISTS, INTERSECT or EXCEPT.
    Semi,
    /// A window function.
    Window,
    /// ORDER BY with LIMIT.
    FirstRows,
    /// DISTINCT.
    Distinct,
    /// A recursive query.
    Recursion,
    /// A subquery.
    Subquery,
    /// Sessions, which late rows change.
    Sessions,
    /// GROUPING SETS, ROLLUP or CUBE.
    GroupingSets,
    /// `min` or `max` of nested values, which have only a partial order: the function.
    NestedExtreme(String),
    /// An aggregate whose answer depends on how its input is cut: the function.
    DependsOnCuts(String),
    /// An aggregate whose partial states do not merge: the function.
    DoesNotMerge(String),
    /// An aggregate that is not a function call: the expression.
    OtherAggregate(String),
    /// An aggregate over input that retracts: its functions; empty for DISTINCT.
    Retracts(Vec<String>),
}
