//! `body -> 'user' -> 'login'` and the other operators of JSON. The planner of their library names each operation, also within another. The type of an
//! expression with a name is found twice by DataFusion 55.2, so that each further operation takes twice as long.

use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::sql::sqlparser::ast::BinaryOperator;
use datafusion_functions_json::udfs::{json_as_text_udf, json_contains_udf, json_get_udf};

/// Names the outermost operation only. Runs before the planner of the library.
#[derive(Debug)]
pub(super) struct JsonOperators;

impl ExprPlanner for JsonOperators {
    fn plan_binary_op(&self, written: RawBinaryExpr, _: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        let (function, operator) = match written.op {
            BinaryOperator::Arrow => (json_get_udf(), "->"),
            BinaryOperator::LongArrow => (json_as_text_udf(), "->>"),
            BinaryOperator::HashArrow => (json_get_udf(), "#>"),
            BinaryOperator::HashLongArrow => (json_as_text_udf(), "#>>"),
            BinaryOperator::Question => (json_contains_udf(), "?"),
            _ => return Ok(PlannerResult::Original(written)),
        };
        let name = format!("{} {operator} {}", shown(&written.left), shown(&written.right));
        Ok(PlannerResult::Planned(function.call(vec![written.left.unalias(), written.right]).alias(name)))
    }
}

/// Returns a side as the library writes it in the name of an operation.
fn shown(side: &Expr) -> String {
    match side {
        Expr::Column(column) => column.name.clone(),
        Expr::Alias(alias) => alias.name.clone(),
        Expr::Cast(cast) => shown(&cast.expr),
        Expr::Literal(value, _) => match value.try_as_str() {
            Some(Some(text)) => format!("'{text}'"),
            _ => value.to_string(),
        },
        other => other.to_string(),
    }
}
