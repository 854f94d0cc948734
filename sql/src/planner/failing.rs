//! Which expressions may fail on a row.
//!
//! An operator that recomputes runs over many rows at once and cannot leave one of them out. So what may fail there stands in a linear region
//! above it, which can.

use arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::common::tree_node::TreeNode;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, Operator};

/// Functions that have an answer, or NULL, for all arguments.
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

/// Whether a projection or a filter computes anything that may fail. Others compute nothing by row.
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

/// Whether an expression may fail on arguments that did not.
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

/// Whether each value of a type has one of another.
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
