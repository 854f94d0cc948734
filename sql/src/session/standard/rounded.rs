//! `CAST(2.5 AS BIGINT)` and `round(2.5)` of floats take a half to the even number. DataFusion 55.2 cuts the first, and takes the second away from
//! zero.

use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::{Expr, ExprSchemable};

use crate::session::functions::half_even::{half_even, is_half_even};

/// Rounds the float that is cast to a whole number, or rounded to one.
pub(super) fn to_even(expression: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let is_float = |value: &Expr| value.get_type(schema).is_ok_and(|data_type| data_type.is_floating());
    match expression {
        Expr::Cast(mut cast) if cast.field.data_type().is_integer() && is_float(&cast.expr) && !is_half_even(&cast.expr) => {
            *cast.expr = half_even(std::mem::take(&mut *cast.expr));
            Ok(Transformed::yes(Expr::Cast(cast)))
        }
        Expr::TryCast(mut cast) if cast.field.data_type().is_integer() && is_float(&cast.expr) && !is_half_even(&cast.expr) => {
            *cast.expr = half_even(std::mem::take(&mut *cast.expr));
            Ok(Transformed::yes(Expr::TryCast(cast)))
        }
        Expr::ScalarFunction(mut call) if call.func.name() == "round" && call.args.len() == 1 && is_float(&call.args[0]) => {
            Ok(Transformed::yes(half_even(call.args.remove(0))))
        }
        other => Ok(Transformed::no(other)),
    }
}
