//! Operators as SQL means them, chosen where an expression is planned: by then the types of both sides are known, and only what a user
//! wrote is there.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{Expr, ExprSchemable, Operator, ScalarUDF};
use datafusion::sql::sqlparser::ast::BinaryOperator;

use super::functions::arithmetic::checked;
use super::functions::date_part::date_part;

/// Comes before DataFusion's own planners.
#[derive(Debug)]
pub(super) struct Operators;

impl ExprPlanner for Operators {
    fn plan_binary_op(&self, written: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        let (Ok(left), Ok(right)) = (written.left.get_type(schema), written.right.get_type(schema)) else {
            return Ok(PlannerResult::Original(written));
        };
        if let Some(function) = arithmetic(&written, &left, &right) {
            return Ok(PlannerResult::Planned(function.call(vec![written.left, written.right])));
        }
        Ok(PlannerResult::Original(written))
    }

    fn plan_extract(&self, arguments: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>> {
        Ok(PlannerResult::Planned(date_part().call(arguments)))
    }
}

/// The function that computes an operation better than DataFusion does.
fn arithmetic(written: &RawBinaryExpr, left: &DataType, right: &DataType) -> Option<Arc<ScalarUDF>> {
    let constant = matches!((&written.left, &written.right), (Expr::Literal(..), Expr::Literal(..)));
    match written.op {
        BinaryOperator::Plus if left.is_integer() && right.is_integer() && !constant => checked(Operator::Plus),
        BinaryOperator::Minus if left.is_integer() && right.is_integer() && !constant => checked(Operator::Minus),
        BinaryOperator::Multiply if left.is_integer() && right.is_integer() && !constant => checked(Operator::Multiply),
        _ => None,
    }
}
