//! Which columns identify a row of a plan at any time. Conservative: `None` if it is not certain.

use datafusion::logical_expr::{Distinct, Expr, JoinType, LogicalPlan};

use crate::plan::{leaf_index, plain_column};
use crate::planner::equality::is_exact;

/// Returns the key as indexes into the plan's columns, given the keys of its leaves. Empty if there is at most one row.
pub(crate) fn of_plan(plan: &LogicalPlan, leaves: &[Option<Vec<usize>>]) -> Option<Vec<usize>> {
    match plan {
        LogicalPlan::TableScan(scan) => leaves.get(leaf_index(&scan.table_name)?)?.clone(),
        LogicalPlan::Projection(projection) => {
            let key = of_plan(&projection.input, leaves)?;
            let schema = projection.input.schema();
            let given: Vec<Option<usize>> = projection
                .expr
                .iter()
                .map(|expression| plain_column(expression).and_then(|column| schema.maybe_index_of_column(column)))
                .collect();
            key.iter().map(|column| given.iter().position(|index| *index == Some(*column))).collect()
        }
        LogicalPlan::Filter(filter) => of_plan(&filter.input, leaves),
        LogicalPlan::SubqueryAlias(alias) => of_plan(&alias.input, leaves),
        LogicalPlan::Sort(sort) => of_plan(&sort.input, leaves),
        LogicalPlan::Limit(limit) => of_plan(&limit.input, leaves),
        LogicalPlan::Window(window) => of_plan(&window.input, leaves),
        LogicalPlan::Distinct(Distinct::All(input)) => Some((0..input.schema().fields().len()).collect()),
        LogicalPlan::Aggregate(aggregate) => {
            // With grouping sets, a set that is listed twice gives each of its rows twice.
            let sets = aggregate.group_expr.iter().any(|group| matches!(group, Expr::GroupingSet(_)));
            (!sets).then(|| (0..aggregate.group_expr.len()).collect())
        }
        LogicalPlan::Join(join) => {
            let left = of_plan(&join.left, leaves);
            let right = of_plan(&join.right, leaves);
            let shift = join.left.schema().fields().len();
            match join.join_type {
                JoinType::Inner | JoinType::Left | JoinType::Right => {
                    let one_right = meets_one(&right, join.on.iter().map(|(_, on)| on), &join.right);
                    let one_left = meets_one(&left, join.on.iter().map(|(on, _)| on), &join.left);
                    let shifted = right.map(|right| right.into_iter().map(|column| column + shift).collect::<Vec<usize>>());
                    if one_right && join.join_type != JoinType::Right && left.is_some() {
                        return left;
                    }
                    if one_left && join.join_type != JoinType::Left && shifted.is_some() {
                        return shifted;
                    }
                    let mut key = left?;
                    key.extend(shifted?);
                    Some(key)
                }
                JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => left,
                JoinType::RightSemi | JoinType::RightAnti => right,
                JoinType::Full | JoinType::RightMark => None,
            }
        }
        LogicalPlan::EmptyRelation(_) => Some(Vec::new()),
        _ => None,
    }
}

/// Checks whether the equal columns of a join hold a key of this side, so that a row of the other side matches at most one row.
fn meets_one<'a>(key: &Option<Vec<usize>>, on: impl Iterator<Item = &'a Expr>, side: &LogicalPlan) -> bool {
    let Some(key) = key else { return false };
    let schema = side.schema();
    let equal: Vec<usize> =
        on.filter_map(|on| plain_column(on).and_then(|column| schema.maybe_index_of_column(column))).collect();
    key.iter().all(|column| equal.contains(column) && is_exact(schema.field(*column).data_type()))
}
