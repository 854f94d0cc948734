//! Sums and quotients that keep their digits.
//!
//! A sum of BIGINT is a DECIMAL, as in PostgreSQL. DataFusion 55.2 returns a BIGINT, which wraps around. The sum of whole numbers
//! of up to 32 bits stays a BIGINT: it takes 2^32 of them to wrap around. The median of such sums is a DOUBLE, as that of BIGINT
//! is.

use arrow::datatypes::DataType;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::{Expr, ExprSchemable, Operator, WindowFunctionDefinition, cast};

use crate::session::functions::quotient::{as_decimal, quotient};

/// Casts the argument of a sum over BIGINT to a DECIMAL that holds it.
pub(super) fn sums(expression: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    match expression {
        Expr::AggregateFunction(mut call) if call.func.name() == "sum" => {
            let changed = widen(&mut call.params.args, schema);
            let call = Expr::AggregateFunction(call);
            Ok(if changed { Transformed::yes(call) } else { Transformed::no(call) })
        }
        Expr::WindowFunction(mut call) if matches!(&call.fun, WindowFunctionDefinition::AggregateUDF(function) if function.name() == "sum") =>
        {
            let changed = widen(&mut call.params.args, schema);
            let call = Expr::WindowFunction(call);
            Ok(if changed { Transformed::yes(call) } else { Transformed::no(call) })
        }
        other => Ok(Transformed::no(other)),
    }
}

/// Rewrites a quotient of DECIMALs, or of a DECIMAL and a whole number, to keep its digits.
pub(super) fn quotients(expression: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let Expr::BinaryExpr(division) = &expression else { return Ok(Transformed::no(expression)) };
    let (Operator::Divide, Ok(left), Ok(right)) = (division.op, division.left.get_type(schema), division.right.get_type(schema))
    else {
        return Ok(Transformed::no(expression));
    };
    let decimal = (left.is_decimal() || right.is_decimal()) && as_decimal(&left).is_some() && as_decimal(&right).is_some();
    if !decimal {
        return Ok(Transformed::no(expression));
    }
    let sides = vec![division.left.as_ref().clone(), division.right.as_ref().clone()];
    Ok(Transformed::yes(quotient().call(sides)))
}

/// Casts the argument of a median over whole DECIMALs, since a median between two whole numbers need not be whole.
pub(super) fn medians(expression: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    match expression {
        Expr::AggregateFunction(mut call) if call.func.name() == "median" => {
            let [argument] = call.params.args.as_mut_slice() else {
                return Ok(Transformed::no(Expr::AggregateFunction(call)));
            };
            let whole = matches!(argument.get_type(schema), Ok(DataType::Decimal128(_, 0)));
            if whole {
                *argument = cast(argument.clone(), DataType::Float64);
            }
            let call = Expr::AggregateFunction(call);
            Ok(if whole { Transformed::yes(call) } else { Transformed::no(call) })
        }
        other => Ok(Transformed::no(other)),
    }
}

fn widen(arguments: &mut [Expr], schema: &DFSchema) -> bool {
    let [argument] = arguments else { return false };
    let digits = match argument.get_type(schema) {
        Ok(DataType::Int64) => 19,
        Ok(DataType::UInt64) => 20,
        _ => return false,
    };
    *argument = cast(argument.clone(), DataType::Decimal128(digits, 0));
    true
}
