//! By which keys an operator's answer splits. Run over the input rows of some keys only, such an operator gives exactly the rows
//! that its whole answer has for these keys. Conservative: `None` if it is not certain.

use datafusion::common::{DFSchema, NullEquality};
use datafusion::logical_expr::{Expr, ExprSchemable, Join, JoinType, LogicalPlan};

use crate::plan::Reason;
use crate::planner::aggregates;
use crate::planner::equality::{is_exact, splits};

/// The key of an operator, as expressions over each of its inputs.
#[derive(Debug, Clone)]
pub(crate) struct Split {
    /// The key expressions of each input. All inputs have equally many, of the same types.
    pub(crate) keys: Vec<Vec<Expr>>,
    /// Whether rows whose keys are NULL belong together.
    pub(crate) nulls_match: bool,
    /// Why the operator is recomputed by key, if no cheaper class applies.
    pub(crate) reason: Reason,
}

impl Split {
    /// All rows under one key.
    pub(crate) fn of_all_rows() -> Split {
        Split { keys: vec![Vec::new()], nulls_match: true, reason: Reason::FirstRows }
    }
}

/// Returns how an operator splits, if it does.
pub(crate) fn of_operator(plan: &LogicalPlan) -> Option<Split> {
    match plan {
        LogicalPlan::Window(window) => {
            let keys = common_partition(&window.window_expr);
            all_split(&keys, window.input.schema()).then(|| Split { keys: vec![keys], nulls_match: true, reason: Reason::Window })
        }
        LogicalPlan::Join(join) => of_join(join),
        LogicalPlan::Aggregate(aggregate) => {
            let keys = aggregate.group_expr.clone();
            let sets = keys.iter().any(|key| matches!(key, Expr::GroupingSet(_)));
            if sets || !all_split(&keys, aggregate.input.schema()) {
                return None;
            }
            let reason = aggregates::obstacle(aggregate).unwrap_or_else(|| Reason::Retracts(aggregates::functions(aggregate)));
            Some(Split { keys: vec![keys], nulls_match: true, reason })
        }
        _ => None,
    }
}

/// Returns the equal keys of a join that narrow down which rows match. There may be none.
pub(crate) fn of_inner(join: &Join) -> Split {
    let usable = |(left, right): &&(Expr, Expr)| {
        let types = (left.get_type(join.left.schema().as_ref()), right.get_type(join.right.schema().as_ref()));
        matches!(types, (Ok(left), Ok(right)) if left == right && splits(&left))
    };
    let (left, right): (Vec<Expr>, Vec<Expr>) = join.on.iter().filter(usable).cloned().unzip();
    Split { keys: vec![left, right], nulls_match: join.null_equality == NullEquality::NullEqualsNull, reason: Reason::Join }
}

/// Returns the equal keys of a left, right or full join, if there are any that narrow down which rows match.
pub(crate) fn of_outer(join: &Join) -> Option<Split> {
    let is_outer = matches!(join.join_type, JoinType::Left | JoinType::Right | JoinType::Full) && !join.null_aware;
    let split = of_inner(join);
    (is_outer && !split.keys[0].is_empty()).then_some(split)
}

/// Checks whether rows match exactly if their keys are equal, and equal keys have equal bits.
pub(crate) fn is_by_keys(join: &Join) -> bool {
    let keys = &of_inner(join).keys[0];
    let exact = |key: &Expr| key.get_type(join.left.schema().as_ref()).is_ok_and(|data_type| is_exact(&data_type));
    join.filter.is_none() && !keys.is_empty() && keys.len() == join.on.len() && keys.iter().all(exact)
}

/// Returns the keys of a semi, anti or mark join, if it has no further condition and equal keys have equal bits.
pub(crate) fn of_semi(join: &Join) -> Option<Split> {
    use JoinType::{LeftAnti, LeftMark, LeftSemi, RightAnti, RightMark, RightSemi};
    let is_semi = matches!(join.join_type, LeftSemi | LeftAnti | LeftMark | RightSemi | RightAnti | RightMark);
    if !is_semi || (join.null_aware && (join.on.len() != 1 || join.join_type != LeftAnti)) {
        return None;
    }
    is_by_keys(join).then(|| of_inner(join))
}

/// Splits joins on equal keys: rows of one key match no rows of another. NOT IN with its NULL rule does not split, since one NULL
/// empties the answer.
fn of_join(join: &Join) -> Option<Split> {
    let reason = match join.join_type {
        JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full => Reason::Join,
        JoinType::LeftMark | JoinType::RightMark => Reason::Mark,
        _ => Reason::Semi,
    };
    let (left, right): (Vec<Expr>, Vec<Expr>) = join.on.iter().cloned().unzip();
    let alike = left.iter().zip(&right).all(|(left, right)| {
        let types = (left.get_type(join.left.schema().as_ref()), right.get_type(join.right.schema().as_ref()));
        matches!(types, (Ok(left), Ok(right)) if left == right)
    });
    let splits = !join.null_aware && alike && all_split(&left, join.left.schema());
    let nulls_match = join.null_equality == NullEquality::NullEqualsNull;
    splits.then(|| Split { keys: vec![left, right], nulls_match, reason })
}

/// Checks whether a window operator is directly above another one with the same key, so that both form one region.
pub(crate) fn shares_key(plan: &LogicalPlan) -> bool {
    let LogicalPlan::Window(above) = plan else { return false };
    let LogicalPlan::Window(below) = above.input.as_ref() else { return false };
    let (above, below) = (common_partition(&above.window_expr), common_partition(&below.window_expr));
    above.iter().all(|key| below.contains(key)) && below.iter().all(|key| above.contains(key))
}

/// Returns the expressions that all functions of a window operator are partitioned by.
pub(crate) fn common_partition(expressions: &[Expr]) -> Vec<Expr> {
    let mut partitions = expressions.iter().map(|expression| match expression.clone().unalias() {
        Expr::WindowFunction(call) => call.params.partition_by,
        _ => Vec::new(),
    });
    let first = partitions.next().unwrap_or_default();
    partitions.fold(first, |common, other| common.into_iter().filter(|key| other.contains(key)).collect())
}

fn all_split(keys: &[Expr], schema: &DFSchema) -> bool {
    !keys.is_empty() && keys.iter().all(|key| key.get_type(schema).is_ok_and(|data_type| splits(&data_type)))
}
