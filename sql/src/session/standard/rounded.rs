//! Casts to whole numbers round, and `round` of a DOUBLE takes a half to the even number. DataFusion 55.2 cuts the first, and takes the second away
//! from zero.
//!
//! A number with a point is a NUMERIC to PostgreSQL, and so is what whole numbers and such numbers give. Its half goes away from zero.

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result};
use datafusion::functions::math::expr_fn::round;
use datafusion::logical_expr::{Expr, ExprSchemable, cast};

use crate::session::functions::half_even::{half_even, is_half_even};

/// Rounds the number that is cast to a whole number, or rounded to one.
pub(super) fn to_whole(expression: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    match expression {
        Expr::Cast(mut cast) if cast.field.data_type().is_integer() => {
            let changed = round_below(&mut cast.expr, schema);
            Ok(Transformed::new_transformed(Expr::Cast(cast), changed))
        }
        Expr::TryCast(mut cast) if cast.field.data_type().is_integer() => {
            let changed = round_below(&mut cast.expr, schema);
            Ok(Transformed::new_transformed(Expr::TryCast(cast), changed))
        }
        Expr::ScalarFunction(mut call)
            if call.func.name() == "round"
                && call.args.len() == 1
                && call.args[0].get_type(schema).is_ok_and(|data_type| data_type.is_floating())
                && is_double(&call.args[0], schema) =>
        {
            Ok(Transformed::yes(half_even(call.args.remove(0))))
        }
        other => Ok(Transformed::no(other)),
    }
}

/// Rounds what a cast reads, and returns whether it changed.
fn round_below(value: &mut Expr, schema: &DFSchema) -> bool {
    let is_rounded = is_half_even(value) || matches!(value, Expr::ScalarFunction(call) if call.func.name() == "round");
    let rounded: fn(Expr) -> Expr = match value.get_type(schema) {
        Ok(DataType::Float32 | DataType::Float64) if is_rounded => return false,
        Ok(DataType::Float32 | DataType::Float64) if is_double(value, schema) => half_even,
        Ok(DataType::Float32 | DataType::Float64) => |value| round(vec![value]),
        Ok(DataType::Decimal128(_, scale)) if scale > 0 => |value| cast(value, DataType::Decimal128(38, 0)),
        Ok(DataType::Decimal256(_, scale)) if scale > 0 => |value| cast(value, DataType::Decimal256(76, 0)),
        _ => return false,
    };
    *value = rounded(std::mem::take(value));
    true
}

/// Checks whether a float is a DOUBLE or a REAL to PostgreSQL too: it reads a column of floats, a cast to one, or a function.
fn is_double(value: &Expr, schema: &DFSchema) -> bool {
    let is_of_floats = |value: &Expr| match value {
        Expr::Column(_) | Expr::Cast(_) | Expr::TryCast(_) | Expr::ScalarSubquery(_) | Expr::OuterReferenceColumn(..) => {
            value.get_type(schema).is_ok_and(|data_type| data_type.is_floating())
        }
        Expr::ScalarFunction(call) => {
            !matches!(call.func.name(), "abs" | "round" | "coalesce" | "nullif" | "greatest" | "least")
                && value.get_type(schema).is_ok_and(|data_type| data_type.is_floating())
        }
        Expr::AggregateFunction(_) | Expr::WindowFunction(_) => true,
        _ => false,
    };
    value.exists(|value| Ok(is_of_floats(value))).unwrap_or(true)
}
