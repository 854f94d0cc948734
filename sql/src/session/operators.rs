//! Chooses the functions behind operators as SQL means them, while an expression is planned. At that point the types of both sides
//! are known, and there is only what a user wrote.

use std::sync::Arc;

use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, IntervalUnit};
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{Expr, ExprSchemable, Operator, ScalarUDF, cast};
use datafusion::sql::sqlparser::ast::BinaryOperator;

use super::functions::arithmetic::{checked, checked_from_right, is_checked};
use super::functions::date_part::date_part;

/// Runs before DataFusion's own planners.
#[derive(Debug)]
pub(super) struct Operators;

impl ExprPlanner for Operators {
    fn plan_binary_op(&self, written: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        let written = with_interval(written, schema);
        let Some(operator) = arithmetic_operator(&written) else { return Ok(PlannerResult::Original(written)) };
        let Some(function) = checked(operator) else { return Ok(PlannerResult::Original(written)) };
        // The right side first: in a long chain it is short, and often decides.
        let Some(right) = side_type(&written.right, schema) else { return Ok(PlannerResult::Original(written)) };
        if right.is_floating() || right.is_decimal() {
            return Ok(match long_chain(operator, &written.left, &right, schema) {
                Some(of_chain) => {
                    let mut sides = flattened(operator, written.left);
                    sides.push(written.right);
                    let sides = sides.into_iter().map(|side| as_type(side, &of_chain, schema)).collect();
                    PlannerResult::Planned(function.call(sides))
                }
                None => PlannerResult::Original(written),
            });
        }
        let left = side_type(&written.left, schema).filter(DataType::is_integer);
        match left.filter(|_| right.is_integer()) {
            Some(left) => {
                Ok(PlannerResult::Planned(chained(operator, &function, (written.left, &left), (written.right, &right), schema)))
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
fn arithmetic_operator(written: &RawBinaryExpr) -> Option<Operator> {
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
fn side_type(side: &Expr, schema: &DFSchema) -> Option<DataType> {
    match side {
        Expr::ScalarFunction(call) if is_checked(&call.func) => {
            let types: Option<Vec<DataType>> = match call.args.as_slice() {
                // All sides have one type: see `chained`.
                [first, _, _, ..] => return side_type(first, schema),
                sides => sides.iter().map(|side| side_type(side, schema)).collect(),
            };
            call.func.return_type(&types?).ok()
        }
        side => side.get_type(schema).ok(),
    }
}

/// Calls a function on both sides. A chain of one operator over one type becomes one call, so that thousands of terms are not
/// thousands of nested calls. It is still computed from left to right.
///
/// So does a chain that is nested to the right, which is computed from there.
fn chained(
    operator: Operator,
    function: &Arc<ScalarUDF>,
    left: (Expr, &DataType),
    right: (Expr, &DataType),
    schema: &DFSchema,
) -> Expr {
    let of_one_type =
        |sides: &[&Expr]| left.1 == right.1 && sides.iter().all(|side| side_type(side, schema).as_ref() == Some(right.1));
    if let (Some(from_right), Expr::ScalarFunction(call)) = (checked_from_right(operator), &right.0) {
        let sides = match call.args.as_slice() {
            sides if call.func == from_right => Some(sides.iter().collect::<Vec<_>>()),
            [first, Expr::ScalarFunction(deeper)] if call.func == *function && deeper.func == *function => {
                match deeper.args.as_slice() {
                    [second, third] => Some(vec![first, second, third]).filter(|sides| of_one_type(sides)),
                    _ => None,
                }
            }
            _ => None,
        };
        if let Some(sides) = sides.filter(|_| left.1 == right.1) {
            return from_right.call(std::iter::once(left.0).chain(sides.into_iter().cloned()).collect());
        }
    }
    match left.0 {
        Expr::ScalarFunction(mut call)
            if call.func == *function
                && left.1 == right.1
                && call.args.iter().take(2).all(|side| side_type(side, schema).as_ref() == Some(right.1)) =>
        {
            call.args.push(right.0);
            Expr::ScalarFunction(call)
        }
        left => function.call(vec![left, right.0]),
    }
}

/// How many nested operations on floats or decimals DataFusion plans and evaluates by itself. Names and types of the operations take it time
/// quadratic in the depth, and its recursion takes stack.
const LONG: usize = 64;

/// Returns the type in which a chain of one operator, with one more side of type `right`, is computed as one call from left to right. `None` if
/// it is short, or if its sides would not keep their values in one type.
fn long_chain(operator: Operator, left: &Expr, right: &DataType, schema: &DFSchema) -> Option<DataType> {
    let fits = |side: &DataType, of_chain: &DataType| match (side, of_chain) {
        // What fits is added exactly, whatever the precision on the way.
        (DataType::Decimal128(_, scale), DataType::Decimal128(DECIMAL128_MAX_PRECISION, of_chain)) => {
            scale == of_chain && operator != Operator::Multiply
        }
        _ => side.is_floating() && side == of_chain,
    };
    let of_chain = match left {
        Expr::ScalarFunction(call) if is_checked(&call.func) => {
            let is_same = call.args.len() > LONG && checked(operator).is_some_and(|function| function == call.func);
            is_same.then(|| side_type(left, schema)).flatten()?
        }
        Expr::BinaryExpr(_) if depth(operator, left) >= LONG => {
            let of_chain = side_type(left, schema)?;
            let mut side = left;
            while let Some((deeper, right)) = operation(operator, side) {
                if !fits(&side_type(right, schema)?, &of_chain) {
                    return None;
                }
                side = deeper;
            }
            fits(&side_type(side, schema)?, &of_chain).then_some(of_chain)?
        }
        _ => return None,
    };
    fits(right, &of_chain).then_some(of_chain)
}

/// Returns the sides of an operation of this operator.
fn operation(operator: Operator, expression: &Expr) -> Option<(&Expr, &Expr)> {
    match expression {
        Expr::BinaryExpr(operation) if operation.op == operator => Some((operation.left.as_ref(), operation.right.as_ref())),
        _ => None,
    }
}

/// Returns how many operations of one operator are nested in each other's left side, up to [`LONG`].
fn depth(operator: Operator, expression: &Expr) -> usize {
    std::iter::successors(Some(expression), |side| operation(operator, side).map(|(left, _)| left)).take(LONG + 1).count() - 1
}

/// Returns all sides of a chain, from left to right.
fn flattened(operator: Operator, chain: Expr) -> Vec<Expr> {
    let mut reversed = Vec::new();
    let mut rest = chain;
    loop {
        match rest {
            Expr::ScalarFunction(call) if checked(operator).is_some_and(|function| function == call.func) => {
                let mut sides = call.args;
                sides.extend(reversed.into_iter().rev());
                return sides;
            }
            Expr::BinaryExpr(operation) if operation.op == operator => {
                reversed.push(*operation.right);
                rest = *operation.left;
            }
            first => {
                reversed.push(first);
                reversed.reverse();
                return reversed;
            }
        }
    }
}

fn as_type(side: Expr, data_type: &DataType, schema: &DFSchema) -> Expr {
    match side_type(&side, schema) {
        Some(own) if own == *data_type => side,
        _ => cast(side, data_type.clone()),
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
            "CREATE EXTERNAL TABLE t (a BIGINT, b BIGINT, i INT, d DOUBLE, m DECIMAL(10, 2), n DECIMAL(1, 0)) STORED AS FILE LOCATION 't';
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
        assert_eq!(sides("a - (b - (a - b))"), [4]);
        assert_eq!(sides("a + (b + (a + (b + a)))"), [5]);
        assert_eq!(sides("a + (b + (a + i))"), [2, 2, 2]);
        assert_eq!(sides("a + b - a - b"), [3, 2]);
        assert_eq!(sides("i + i + i"), [3]);
        assert_eq!(sides("i + i + a"), [2, 2]);
        assert_eq!(sides("i + a + a"), [2, 2]);
        assert_eq!(sides("d + a + b"), [0; 0]);
        assert_eq!(sides(&vec!["d"; 65].join(" + ")), [0; 0]);
        assert_eq!(sides(&vec!["d"; 66].join(" * ")), [66]);
        // A product of decimals has a scale of its own.
        assert_eq!(sides(&vec!["n"; 70].join(" * ")), [0; 0]);
    }

    #[test]
    fn thousands_of_terms_are_planned() {
        // The parser recurses for each term.
        let planned = std::thread::Builder::new().stack_size(256 << 20).spawn(|| {
            assert_eq!(sides(&vec!["a"; 2_000].join(" + ")), [2_000]);
            assert_eq!(sides(&vec!["d"; 2_000].join(" + ")), [2_000]);
            assert_eq!(sides(&vec!["m"; 2_000].join(" - ")), [2_000]);
        });
        planned.unwrap().join().unwrap();
    }
}
