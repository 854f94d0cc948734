//! The arguments of aggregates.
//!
//! `sum` of a BIGINT adds up DECIMALs, so its argument is a cast of every row. arrow's cast multiplies by the scale and counts the
//! digits of each value, with checks that cannot fail if the decimal holds every BIGINT. Here such a cast only widens the values.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Decimal128Array};
use arrow::datatypes::{DataType, Decimal128Type, Int64Type, Schema, UInt64Type};
use arrow::record_batch::RecordBatch;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::CastExpr;

use crate::error::Error;

/// One argument of an aggregate.
pub(super) struct Argument {
    expression: Arc<dyn PhysicalExpr>,
    /// The precision of the decimals to which the whole numbers of the expression are widened, if they are.
    precision: Option<u8>,
}

impl Argument {
    /// # Errors
    /// [`Error::Plan`] if a cast reads a column that the input does not have.
    pub(super) fn of(expression: Arc<dyn PhysicalExpr>, input: &Schema) -> Result<Self, Error> {
        if let Some(cast) = expression.downcast_ref::<CastExpr>()
            && let DataType::Decimal128(precision, 0) = cast.cast_type()
        {
            let digits = match cast.expr().data_type(input)? {
                DataType::Int64 => Some(19),
                DataType::UInt64 => Some(20),
                _ => None,
            };
            if digits.is_some_and(|digits| digits <= *precision) {
                return Ok(Self { expression: Arc::clone(cast.expr()), precision: Some(*precision) });
            }
        }
        Ok(Self { expression, precision: None })
    }

    /// Evaluates the argument on each row.
    ///
    /// # Errors
    /// [`Error::Row`] if the expression fails on a row.
    pub(super) fn evaluate(&self, rows: &RecordBatch) -> Result<ArrayRef, Error> {
        let values = self.expression.evaluate(rows)?.into_array(rows.num_rows())?;
        let Some(precision) = self.precision else { return Ok(values) };
        let widened: Decimal128Array = if let Some(values) = values.as_primitive_opt::<Int64Type>() {
            values.unary::<_, Decimal128Type>(i128::from)
        } else if let Some(values) = values.as_primitive_opt::<UInt64Type>() {
            values.unary::<_, Decimal128Type>(i128::from)
        } else {
            return Err(Error::Bug(format!("an argument of type {} is widened", values.data_type())));
        };
        Ok(Arc::new(widened.with_precision_and_scale(precision, 0)?))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use arrow::array::{Int32Array, Int64Array, UInt64Array};
    use arrow::datatypes::Field;
    use datafusion::physical_expr::expressions::{Column, cast};

    use super::*;

    /// Evaluates a cast of a column as an argument and as DataFusion does; the first says whether it was widened.
    fn both(column: ArrayRef, wanted: DataType) -> (bool, ArrayRef, ArrayRef) {
        let schema = Arc::new(Schema::new(vec![Field::new("v", column.data_type().clone(), true)]));
        let rows = RecordBatch::try_new(Arc::clone(&schema), vec![column]).unwrap();
        let cast = cast(Arc::new(Column::new("v", 0)), &schema, wanted).unwrap();
        let theirs = cast.evaluate(&rows).unwrap().into_array(rows.num_rows()).unwrap();
        let argument = Argument::of(cast, &schema).unwrap();
        (argument.precision.is_some(), argument.evaluate(&rows).unwrap(), theirs)
    }

    #[test]
    fn widened_values_are_those_of_a_cast() {
        let signed: ArrayRef = Arc::new(Int64Array::from(vec![Some(i64::MIN), Some(-1), None, Some(0), Some(i64::MAX)]));
        let unsigned: ArrayRef = Arc::new(UInt64Array::from(vec![Some(0), None, Some(u64::MAX)]));
        for (column, precision) in [(&signed, 19), (&signed, 38), (&unsigned, 20)] {
            let (widened, ours, theirs) = both(Arc::clone(column), DataType::Decimal128(precision, 0));
            assert!(widened);
            assert_eq!(&ours, &theirs);
        }
    }

    #[test]
    fn casts_that_can_fail_or_scale_stay_casts() {
        let signed: ArrayRef = Arc::new(Int64Array::from(vec![Some(7), None]));
        let small: ArrayRef = Arc::new(Int32Array::from(vec![Some(7), None]));
        for (column, wanted) in [
            (&signed, DataType::Decimal128(18, 0)),
            (&signed, DataType::Decimal128(25, 2)),
            (&small, DataType::Decimal128(19, 0)),
            (&signed, DataType::Float64),
        ] {
            let (widened, ours, theirs) = both(Arc::clone(column), wanted);
            assert!(!widened);
            assert_eq!(&ours, &theirs);
        }
    }
}
