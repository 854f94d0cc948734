//! INTERSECT ALL keeps as many copies of a row as the side with fewer copies has. EXCEPT ALL keeps as many as the left side has
//! more than the right. DataFusion 55.2 keeps or drops all copies at once (its issues 12955 and 12956). Here the copies are
//! numbered, so that no two rows are equal, and the semi or anti join that DataFusion plans is right.

use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, NullEquality, Result};
use datafusion::functions_window::row_number::row_number_udwf;
use datafusion::logical_expr::expr::{WindowFunction, WindowFunctionParams};
use datafusion::logical_expr::{
    Distinct, Expr, Join, JoinType, LogicalPlan, LogicalPlanBuilder, WindowFrame, WindowFunctionDefinition,
};

/// The columns that hold the number of a copy, on the left and on the right.
const COPY: [&str; 2] = ["$copy", "$other_copy"];

/// Rewrites these operators to count copies.
pub(super) fn counted(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    match plan {
        LogicalPlan::Join(join) if is_of_all(&join) => {
            let Join { left, right, on, join_type, schema, .. } = join;
            let (left, left_copy) = numbered(Arc::unwrap_or_clone(left), COPY[0])?;
            let (right, right_copy) = numbered(Arc::unwrap_or_clone(right), COPY[1])?;
            let (mut left_keys, mut right_keys): (Vec<Expr>, Vec<Expr>) = on.into_iter().unzip();
            left_keys.push(left_copy);
            right_keys.push(right_copy);
            let joined =
                LogicalPlanBuilder::from(left).join_with_expr_keys(right, join_type, (left_keys, right_keys), None)?.build()?;
            let joined = match joined {
                LogicalPlan::Join(join) => LogicalPlan::Join(Join { null_equality: NullEquality::NullEqualsNull, ..join }),
                other => other,
            };
            let columns: Vec<Expr> = schema.columns().into_iter().map(Expr::Column).collect();
            Ok(Transformed::yes(LogicalPlanBuilder::from(joined).project(columns)?.build()?))
        }
        other => Ok(Transformed::no(other)),
    }
}

/// Recognizes these operators by the equality of NULLs, which no join that a user writes has. If the left side has no copies, the
/// operator without ALL gives the same answer.
fn is_of_all(join: &Join) -> bool {
    matches!(join.join_type, JoinType::LeftSemi | JoinType::LeftAnti)
        && join.null_equality == NullEquality::NullEqualsNull
        && join.filter.is_none()
        && join.on.len() == join.left.schema().fields().len()
        && !is_distinct(&join.left)
        && !join.left.schema().fields().iter().any(|field| field.name() == COPY[0])
}

fn is_distinct(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Distinct(Distinct::All(_)) => true,
        LogicalPlan::SubqueryAlias(alias) => is_distinct(&alias.input),
        _ => false,
    }
}

/// Numbers each row among its copies, and returns the column that holds the number.
fn numbered(plan: LogicalPlan, name: &str) -> Result<(LogicalPlan, Expr)> {
    let columns: Vec<Expr> = plan.schema().columns().into_iter().map(Expr::Column).collect();
    let number = Expr::WindowFunction(Box::new(WindowFunction {
        fun: WindowFunctionDefinition::WindowUDF(row_number_udwf()),
        params: WindowFunctionParams {
            args: Vec::new(),
            partition_by: columns.clone(),
            order_by: Vec::new(),
            window_frame: WindowFrame::new(None),
            filter: None,
            null_treatment: None,
            distinct: false,
        },
    }));
    let windowed = LogicalPlanBuilder::from(plan).window(vec![number])?;
    let last = windowed.schema().columns().pop().map(|column| Expr::Column(column).alias(name));
    let plan = windowed.project(columns.into_iter().chain(last).collect::<Vec<_>>())?.build()?;
    Ok((plan, Expr::Column(Column::new_unqualified(name))))
}
