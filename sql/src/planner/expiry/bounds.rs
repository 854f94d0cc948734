//! Times of the form column plus constant, and conditions that bound one time by another.

use arrow::datatypes::{DataType, IntervalMonthDayNano};
use datafusion::common::{Column, DFSchema, ScalarValue};
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, Operator};

use crate::time_units::units_of_nanos;

/// Returns the pairs of expressions of which a condition says that the first is at or before the second.
pub(super) fn not_after(condition: &Expr) -> Vec<(&Expr, &Expr)> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = condition else { return Vec::new() };
    match op {
        Operator::Lt | Operator::LtEq => vec![(left, right)],
        Operator::Gt | Operator::GtEq => vec![(right, left)],
        Operator::Eq => vec![(left, right), (right, left)],
        _ => Vec::new(),
    }
}

/// Splits an expression into a column and the constant added to it.
pub(super) fn shifted(expression: &Expr, schema: &DFSchema) -> Option<(Column, i64)> {
    match expression {
        Expr::Column(column) if schema.has_column(column) => Some((column.clone(), 0)),
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Plus, right }) => {
            let (column, shift) = shifted(left, schema)?;
            Some((column, shift.checked_add(constant(right, &left.get_type(schema).ok()?)?)?))
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Minus, right }) => {
            let (column, shift) = shifted(left, schema)?;
            Some((column, shift.checked_sub(constant(right, &left.get_type(schema).ok()?)?)?))
        }
        _ => None,
    }
}

/// Returns a column and a distance: the time is at most the column plus the distance, and is NULL only where the column is.
pub(super) fn upper_bound(time: &Expr, schema: &DFSchema) -> Option<(Column, i64)> {
    let data_type = |expression: &Expr| expression.get_type(schema).ok();
    match time {
        Expr::Column(column) => Some((column.clone(), 0)),
        Expr::Cast(cast) => {
            counts_alike(&data_type(&cast.expr)?, cast.field.data_type()).then(|| upper_bound(&cast.expr, schema))?
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Plus, right }) => {
            let (column, more) = upper_bound(left, schema)?;
            Some((column, more.checked_add(constant(right, &data_type(left)?)?)?))
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Minus, right }) => {
            let (column, more) = upper_bound(left, schema)?;
            let of_it = right.column_refs().iter().all(|other| **other == column);
            let less = constant(right, &data_type(left)?).or_else(|| (of_it && is_remainder(right)).then_some(0))?;
            Some((column, more.checked_sub(less)?))
        }
        _ => None,
    }
}

/// Checks whether an expression is a remainder made non-negative: `(x % n + n) % n`.
pub(super) fn is_remainder(expression: &Expr) -> bool {
    let remainder = |expression: &Expr| match expression {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Modulo, right }) => Some((left.as_ref().clone(), whole(right)?)),
        _ => None,
    };
    let Some((sum, size)) = remainder(expression) else { return false };
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Plus, right }) = &sum else { return false };
    size > 0 && whole(right) == Some(size) && remainder(left).is_some_and(|(_, other)| other == size)
}

pub(super) fn whole(expression: &Expr) -> Option<i64> {
    match expression {
        Expr::Literal(ScalarValue::Int64(Some(value)), _) => Some(*value),
        _ => None,
    }
}

/// Checks whether a cast between two types keeps the number that a time is stored as, and so never fails. A cast to another zone
/// does not.
pub(super) fn counts_alike(from: &DataType, to: &DataType) -> bool {
    from == to || matches!((from, to), (DataType::Int64, DataType::Timestamp(..)) | (DataType::Timestamp(..), DataType::Int64))
}

/// Returns a constant that is added to a column of a type, in the units of that type. `None` if it is not a whole number of units,
/// or if it depends on the calendar, as a day does in a zone.
pub(crate) fn constant(expression: &Expr, data_type: &DataType) -> Option<i64> {
    let Expr::Literal(value, _) = expression else { return None };
    let nanos = match (value, data_type) {
        (ScalarValue::Int64(Some(value)), DataType::Int64) => return Some(*value),
        (ScalarValue::IntervalMonthDayNano(Some(IntervalMonthDayNano { months: 0, days, nanoseconds })), _) => {
            i128::from(*days) * 86_400_000_000_000 + i128::from(*nanoseconds)
        }
        (ScalarValue::IntervalDayTime(Some(interval)), _) => {
            i128::from(interval.days) * 86_400_000_000_000 + i128::from(interval.milliseconds) * 1_000_000
        }
        _ => return None,
    };
    let DataType::Timestamp(unit, None) = data_type else { return None };
    units_of_nanos(nanos, *unit)
}
