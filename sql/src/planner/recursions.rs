//! Refuses recursions that do not only add rows with each step, and those whose steps would lose digits.

use arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::logical_expr::logical_plan::RecursiveQuery;
use datafusion::logical_expr::{Distinct, Expr, ExprSchemable, Join, JoinType, LogicalPlan};

use crate::planner::{Refusal, Spot};
use crate::session::{is_of_step, is_work_table};
use crate::type_names::sql_types;

/// Why an operator cannot read the rows of a recursion that it is a part of: what it is, and what a later step would do.
type Obstacle = (&'static str, &'static str);

const CHANGES: &str = "a later step would change what it gave";
const TAKES_BACK: &str = "a later step would take back rows that it gave";

/// Returns why a recursion is refused.
pub(super) fn refusal(recursion: &RecursiveQuery) -> Result<Option<Refusal>> {
    let name = &recursion.name;
    if let Some((what, then)) = obstacle(&recursion.recursive_term) {
        return Ok(Some(Refusal::Refused {
            message: format!("{what} over {name} within its own recursion: {then}"),
            help: format!("let the recursion only add rows, and compute this over the whole of {name}, in the query after it"),
            spot: Spot::Word("RECURSIVE"),
        }));
    }
    let LogicalPlan::Projection(second) = recursion.recursive_term.as_ref() else { return Ok(None) };
    for (expression, field) in second.expr.iter().zip(recursion.static_term.schema().fields()) {
        let Expr::Cast(cast) = expression.clone().unalias() else { continue };
        let (from, to) = (cast.expr.get_type(second.input.schema().as_ref())?, field.data_type());
        // A text that is written out is of the type that it is read as.
        let is_written = from.is_string() && matches!(cast.expr.as_ref(), Expr::Literal(..));
        if !is_written && !keeps_values(&from, to) {
            let from = sql_types(&from.to_string());
            return Ok(Some(Refusal::Refused {
                message: format!(
                    "{} is {} in the first part of {name}, and {from} in the second",
                    field.name(),
                    sql_types(&to.to_string())
                ),
                help: format!("cast it in the first part: CAST({} AS {from})", field.name()),
                spot: Spot::Word("RECURSIVE"),
            }));
        }
    }
    Ok(None)
}

/// Returns the first operator above the rows of the step before that does not only add rows to its answer as these grow.
fn obstacle(plan: &LogicalPlan) -> Option<Obstacle> {
    if is_work_table(plan) {
        return None;
    }
    let own = match plan {
        LogicalPlan::Projection(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Unnest(_)
        | LogicalPlan::Union(_)
        | LogicalPlan::Distinct(Distinct::All(_)) => None,
        LogicalPlan::Join(join) => of_join(join),
        LogicalPlan::Aggregate(_) => Some(("an aggregate", CHANGES)),
        LogicalPlan::Window(_) => Some(("a window function", CHANGES)),
        LogicalPlan::Sort(_) | LogicalPlan::Limit(_) | LogicalPlan::Distinct(Distinct::On(_)) => {
            Some(("ORDER BY with LIMIT", TAKES_BACK))
        }
        LogicalPlan::RecursiveQuery(_) => Some(("another recursion", "each of its steps would need all of the other's")),
        _ => Some(("an operator of this kind", CHANGES)),
    };
    own.or_else(|| plan.inputs().into_iter().find(|input| is_of_step(input)).and_then(obstacle))
}

fn of_join(join: &Join) -> Option<Obstacle> {
    use JoinType::{Full, Inner, Left, LeftAnti, LeftMark, LeftSemi, Right, RightAnti, RightMark, RightSemi};
    let on_left = is_of_step(&join.left);
    match join.join_type {
        Inner => None,
        Left | LeftSemi | LeftAnti | LeftMark if on_left => None,
        Right | RightSemi | RightAnti | RightMark if !on_left => None,
        Left | Right | Full => Some(("the optional side of an outer join", TAKES_BACK)),
        LeftAnti | RightAnti => Some(("NOT EXISTS, NOT IN or EXCEPT", TAKES_BACK)),
        LeftSemi | RightSemi | LeftMark | RightMark => Some(("EXISTS, IN or INTERSECT", CHANGES)),
    }
}

/// Checks whether a cast keeps every value that it does not fail on.
fn keeps_values(from: &DataType, to: &DataType) -> bool {
    use DataType::{Decimal128, Decimal256, Float32, Float64, Null};
    if from == to || *from == Null || from.is_nested() || to.is_string() {
        return true;
    }
    match (from, to) {
        (Decimal128(_, scale) | Decimal256(_, scale), Decimal128(_, other) | Decimal256(_, other)) => scale <= other,
        (from, Decimal128(..) | Decimal256(..)) => from.is_integer(),
        (Decimal128(_, scale) | Decimal256(_, scale), to) if to.is_integer() => *scale <= 0,
        (Float64, Float32) => false,
        (from, to) if to.is_integer() => from.is_integer(),
        (from, Float32 | Float64) => from.is_numeric(),
        _ => false,
    }
}
