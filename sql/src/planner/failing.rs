//! Which expressions can fail on a row.
//!
//! A recompute runs over many rows at once and cannot leave one of them out. So expressions that can fail stay in a linear region
//! above it, which can.

use arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::common::tree_node::TreeNode;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, Operator};

/// Functions that return a value or NULL for all arguments.
const TOTAL: [&str; 17] = [
    "btrim",
    "character_length",
    "coalesce",
    "concat",
    "concat_ws",
    "contains",
    "ends_with",
    "get_field",
    "lower",
    "ltrim",
    "nullif",
    "nvl",
    "octet_length",
    "rtrim",
    "starts_with",
    "strpos",
    "upper",
];

/// Checks whether a projection or a filter computes anything that can fail. Other operators compute nothing by row.
pub(super) fn may_fail(plan: &LogicalPlan) -> bool {
    let fails = |expression: &Expr, input: &LogicalPlan| {
        expression.exists(|expression| Ok(fails_by_itself(expression, input.schema()))).unwrap_or(true)
    };
    match plan {
        LogicalPlan::Projection(projection) => projection.expr.iter().any(|expression| fails(expression, &projection.input)),
        LogicalPlan::Filter(filter) => fails(&filter.predicate, &filter.input),
        _ => false,
    }
}

/// Checks whether an expression can fail on arguments that did not fail.
fn fails_by_itself(expression: &Expr, schema: &DFSchema) -> bool {
    match expression {
        Expr::BinaryExpr(binary) => match binary.op {
            Operator::Plus | Operator::Minus | Operator::Multiply | Operator::Divide | Operator::Modulo => {
                !expression.get_type(schema).is_ok_and(|data_type| data_type.is_floating())
            }
            operator => !(operator.supports_propagation() || operator.is_logic_operator()),
        },
        Expr::Negative(_) => !expression.get_type(schema).is_ok_and(|data_type| data_type.is_floating()),
        Expr::Cast(cast) => match cast.expr.get_type(schema) {
            Ok(from) => !always_fits(&from, cast.field.data_type()),
            Err(_) => true,
        },
        Expr::ScalarFunction(call) => !TOTAL.contains(&call.func.name()),
        _ => false,
    }
}

/// Checks whether every value of one type fits in another.
fn always_fits(from: &DataType, to: &DataType) -> bool {
    let digits = |whole: &DataType| match whole {
        DataType::Int8 => Some(3),
        DataType::Int16 => Some(5),
        DataType::Int32 => Some(10),
        DataType::Int64 => Some(19),
        _ => None,
    };
    match (from, to) {
        _ if from == to => true,
        (_, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View) => !from.is_nested() && !from.is_binary(),
        (_, DataType::Float64) => from.is_numeric(),
        (DataType::Decimal128(precision, scale), DataType::Decimal128(wide, wide_scale)) => {
            wide_scale >= scale && i16::from(*wide) - i16::from(*wide_scale) >= i16::from(*precision) - i16::from(*scale)
        }
        (whole, DataType::Decimal128(precision, scale)) => {
            digits(whole).is_some_and(|digits| i16::from(*precision) - i16::from(*scale) >= digits)
        }
        (DataType::Date32, DataType::Timestamp(_, _)) => false,
        (whole, wider) => digits(whole).zip(digits(wider)).is_some_and(|(digits, wide)| digits <= wide),
    }
}
