//! Whether the deltas of a node have to be consolidated.

use datafusion::logical_expr::LogicalPlan;

use super::columns::plain_column;
use super::operation::{Node, Op};

impl Node {
    /// Checks whether the node's deltas of one epoch may both insert and retract the same row, so that they have to be consolidated. An
    /// aggregate emits each key once, and only if it changed. So do ranks by position, and a projection or filter that keeps their
    /// columns.
    #[must_use]
    pub fn needs_consolidation(&self) -> bool {
        if !self.retracts {
            return false;
        }
        match (&self.op, self.inputs.as_slice()) {
            (Op::Merge { .. } | Op::Ranks { .. }, _) => false,
            (Op::Linear { plan }, [input]) if keeps_every_column(plan, constant_column(input)) => input.needs_consolidation(),
            _ => true,
        }
    }
}

/// Returns a column with the same value in every row: the rank, if only the first rank is emitted.
fn constant_column(node: &Node) -> Option<usize> {
    match (&node.op, node.inputs.first()) {
        (Op::Ranks { plan, function, bound: 1, .. }, Some(_)) => {
            let ranks = plan.schema().fields().len() - plan.inputs().first()?.schema().fields().len();
            Some(plan.schema().fields().len() - ranks + function)
        }
        _ => None,
    }
}

/// Checks whether a plan over one leaf emits each row of the leaf at most once, with every column except the one at `constant`, in any
/// order and under any names.
fn keeps_every_column(plan: &LogicalPlan, constant: Option<usize>) -> bool {
    columns_kept(plan)
        .is_some_and(|(width, kept)| (0..width).all(|column| constant == Some(column) || kept.contains(&Some(column))))
}

/// Returns the number of columns of the leaf, and which of them each column of the plan is.
fn columns_kept(plan: &LogicalPlan) -> Option<(usize, Vec<Option<usize>>)> {
    match plan {
        LogicalPlan::TableScan(scan) => {
            let width = scan.projected_schema.fields().len();
            Some((width, (0..width).map(Some).collect()))
        }
        LogicalPlan::SubqueryAlias(alias) => columns_kept(&alias.input),
        LogicalPlan::Filter(filter) => columns_kept(&filter.input),
        LogicalPlan::Projection(projection) => {
            let (width, below) = columns_kept(&projection.input)?;
            let schema = projection.input.schema();
            let column = |expression| {
                plain_column(expression).and_then(|column| schema.maybe_index_of_column(column)).and_then(|index| below[index])
            };
            Some((width, projection.expr.iter().map(column).collect()))
        }
        _ => None,
    }
}
