//! Which columns identify a row of a plan at any time. Conservative: none where it is not certain.

use datafusion::common::Column;
use datafusion::logical_expr::{Distinct, Expr, JoinType, LogicalPlan};

use crate::plan::leaf_index;

/// Indexes into the plan's columns, given the keys of its leaves; empty where there is at most one row.
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
            // With grouping sets, one set twice gives each of its rows twice.
            let sets = aggregate.group_expr.iter().any(|group| matches!(group, Expr::GroupingSet(_)));
            (!sets).then(|| (0..aggregate.group_expr.len()).collect())
        }
        LogicalPlan::Join(join) => {
            let left = of_plan(&join.left, leaves);
            let right = of_plan(&join.right, leaves);
            let shift = join.left.schema().fields().len();
            match join.join_type {
                JoinType::Inner | JoinType::Left | JoinType::Right => {
                    let mut key = left?;
                    key.extend(right?.into_iter().map(|column| column + shift));
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

/// The column that an expression is, under another name or not.
pub(crate) fn plain_column(expression: &Expr) -> Option<&Column> {
    match expression {
        Expr::Column(column) => Some(column),
        Expr::Alias(alias) => plain_column(&alias.expr),
        _ => None,
    }
}
