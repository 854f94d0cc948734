//! Chooses the functions behind operators as SQL means them, while an expression is planned. At that point the types of both sides
//! are known, and there is only what a user wrote.

use std::sync::Arc;

use arrow::datatypes::{DataType, IntervalUnit};
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{Expr, ExprSchemable, Operator, ScalarUDF};
use datafusion::sql::sqlparser::ast::BinaryOperator;

use super::functions::arithmetic::{checked, is_checked};
use super::functions::date_part::date_part;

/// Runs before DataFusion's own planners.
#[derive(Debug)]
pub(super) struct Operators;

impl ExprPlanner for Operators {
    fn plan_binary_op(&self, written: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        let written = with_interval(written, schema);
        let Some(operator) = whole_number_operator(&written) else { return Ok(PlannerResult::Original(written)) };
        // The right side first: in a long chain it is short, and often decides.
        let integer = |side: &Expr| whole_number_type(side, schema).filter(DataType::is_integer);
        let Some(right) = integer(&written.right) else { return Ok(PlannerResult::Original(written)) };
        let Some(left) = integer(&written.left) else { return Ok(PlannerResult::Original(written)) };
        match checked(operator) {
            Some(function) => {
                Ok(PlannerResult::Planned(chained(&function, (written.left, &left), (written.right, &right), schema)))
            }
            None => Ok(PlannerResult::Original(written)),
        }
    }

    fn plan_extract(&self, arguments: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>> {
        Ok(PlannerResult::Planned(date_part().call(arguments)))
    }
}

/// A time plus or minus a text that is a length of time, as in `at + '50 milliseconds'`: the text is an INTERVAL.
fn with_interval(written: RawBinaryExpr, schema: &DFSchema) -> RawBinaryExpr {
    let (BinaryOperator::Plus | BinaryOperator::Minus, Expr::Literal(text, _)) = (&written.op, &written.right) else {
        return written;
    };
    let Some(Some(text)) = text.try_as_str().filter(|text| text.is_some_and(|text| text.contains(char::is_alphabetic))) else {
        return written;
    };
    let is_time = |data_type: &DataType| matches!(data_type, DataType::Timestamp(_, _) | DataType::Date32);
    if !written.left.get_type(schema).is_ok_and(|left| is_time(&left)) {
        return written;
    }
    match ScalarValue::from(text).cast_to(&DataType::Interval(IntervalUnit::MonthDayNano)) {
        Ok(interval) => RawBinaryExpr { right: Expr::Literal(interval, None), ..written },
        Err(_) => written,
    }
}

/// Returns the operator of an operation that can wrap around if its sides are whole numbers. `None` for constants, which the
/// optimizer computes.
fn whole_number_operator(written: &RawBinaryExpr) -> Option<Operator> {
    let constant = matches!((&written.left, &written.right), (Expr::Literal(..), Expr::Literal(..)));
    match written.op {
        _ if constant => None,
        BinaryOperator::Plus => Some(Operator::Plus),
        BinaryOperator::Minus => Some(Operator::Minus),
        BinaryOperator::Multiply => Some(Operator::Multiply),
        _ => None,
    }
}

/// Returns the type of a side. DataFusion finds the type of a call through the names of all calls in it, which are as long as it is
/// deep.
fn whole_number_type(side: &Expr, schema: &DFSchema) -> Option<DataType> {
    match side {
        Expr::ScalarFunction(call) if is_checked(&call.func) => {
            let types: Option<Vec<DataType>> = match call.args.as_slice() {
                // All sides have one type: see `chained`.
                [first, _, _, ..] => return whole_number_type(first, schema),
                sides => sides.iter().map(|side| whole_number_type(side, schema)).collect(),
            };
            call.func.return_type(&types?).ok()
        }
        side => side.get_type(schema).ok(),
    }
}

/// Calls a function on both sides. A chain of one operator over one type becomes one call, so that thousands of terms are not
/// thousands of nested calls. It is still computed from left to right.
fn chained(function: &Arc<ScalarUDF>, left: (Expr, &DataType), right: (Expr, &DataType), schema: &DFSchema) -> Expr {
    match left.0 {
        Expr::ScalarFunction(mut call)
            if call.func == *function
                && left.1 == right.1
                && call.args.iter().take(2).all(|side| whole_number_type(side, schema).as_ref() == Some(right.1)) =>
        {
            call.args.push(right.0);
            Expr::ScalarFunction(call)
        }
        left => function.call(vec![left, right.0]),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};

    use super::*;
    use crate::{Catalog, SqlFile};

    /// Returns how many sides each operation of whole numbers has, in an expression over columns of several types.
    fn sides(expression: &str) -> Vec<usize> {
        let text = format!(
            "CREATE EXTERNAL TABLE t (a BIGINT, b BIGINT, i INT, d DOUBLE) STORED AS FILE LOCATION 't';
             CREATE MATERIALIZED VIEW v AS SELECT {expression} AS s FROM t;"
        );
        let catalog = Catalog::load(&[SqlFile { path: "test.sql".to_owned(), text }]).unwrap();
        let mut found = Vec::new();
        let visited = catalog.views[0].plan.batch.apply(|node| {
            node.apply_expressions(|expression| {
                expression.apply(|expression| {
                    if let Expr::ScalarFunction(call) = expression
                        && is_checked(&call.func)
                    {
                        found.push(call.args.len());
                    }
                    Ok(TreeNodeRecursion::Continue)
                })
            })
        });
        visited.unwrap();
        found
    }

    #[test]
    fn a_chain_of_one_operator_over_one_type_is_one_call() {
        assert_eq!(sides("a + b + a + b"), [4]);
        assert_eq!(sides("a - b - a"), [3]);
        assert_eq!(sides("a + (b + a)"), [2, 2]);
        assert_eq!(sides("a + b - a - b"), [3, 2]);
        assert_eq!(sides("i + i + i"), [3]);
        assert_eq!(sides("i + i + a"), [2, 2]);
        assert_eq!(sides("i + a + a"), [2, 2]);
        assert_eq!(sides("d + a + b"), [0; 0]);
    }

    #[test]
    fn thousands_of_terms_are_planned() {
        // The parser recurses for each term.
        let planned = std::thread::Builder::new().stack_size(256 << 20).spawn(|| {
            assert_eq!(sides(&vec!["a"; 2_000].join(" + ")), [2_000]);
            // Operations on floats are DataFusion's own, which takes seconds for thousands of terms.
            assert_eq!(sides(&vec!["d"; 300].join(" + ")), [0; 0]);
        });
        planned.unwrap().join().unwrap();
    }
}
