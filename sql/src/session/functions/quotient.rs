//! Division of DECIMALs by DECIMALs or whole numbers. The quotient is rounded to sixteen decimal places or more, as in PostgreSQL.
//! DataFusion 55.2 gives four places more than the dividend has, and cuts off the rest.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, AsArray, Decimal128Array};
use arrow::datatypes::{DataType, Decimal128Type, Field, FieldRef, i256};
use arrow::error::ArrowError;
use datafusion::common::{Result, internal_err};
use datafusion::logical_expr::{
    ColumnarValue, Expr, Operator, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::arithmetic::{enclosed, infix};

/// The most digits of a DECIMAL.
const DIGITS: u8 = 38;
/// The fewest decimal places of a quotient.
const PLACES: i8 = 16;

/// Returns the function.
pub(crate) fn quotient() -> Arc<ScalarUDF> {
    static FUNCTION: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
        Arc::new(ScalarUDF::new_from_impl(Quotient { signature: Signature::user_defined(Volatility::Immutable) }))
    });
    Arc::clone(&FUNCTION)
}

/// Returns the DECIMAL type that holds a number. `None` if the type is neither a DECIMAL of up to 38 digits nor a whole number.
pub(crate) fn as_decimal(data_type: &DataType) -> Option<DataType> {
    Some(match data_type {
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale) => DataType::Decimal128(*precision, *scale),
        DataType::Int8 | DataType::UInt8 => DataType::Decimal128(3, 0),
        DataType::Int16 | DataType::UInt16 => DataType::Decimal128(5, 0),
        DataType::Int32 | DataType::UInt32 => DataType::Decimal128(10, 0),
        DataType::Int64 => DataType::Decimal128(19, 0),
        DataType::UInt64 => DataType::Decimal128(20, 0),
        DataType::Null => DataType::Decimal128(1, 0),
        _ => return None,
    })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Quotient {
    signature: Signature,
}

impl ScalarUDFImpl for Quotient {
    fn name(&self) -> &'static str {
        "quotient"
    }

    fn display_name(&self, arguments: &[Expr]) -> Result<String> {
        Ok(infix(arguments.iter().map(enclosed), Operator::Divide))
    }

    fn schema_name(&self, arguments: &[Expr]) -> Result<String> {
        Ok(infix(arguments.iter().map(|argument| argument.schema_name().to_string()), Operator::Divide))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        match arguments.iter().map(as_decimal).collect::<Option<Vec<_>>>() {
            Some(decimals) => Ok(decimals),
            None => internal_err!("a quotient of {arguments:?}"),
        }
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        match self.coerce_types(arguments)?.as_slice() {
            [DataType::Decimal128(_, dividend), DataType::Decimal128(_, divisor)] => {
                Ok(DataType::Decimal128(DIGITS, PLACES.max(*dividend).max(*divisor)))
            }
            _ => internal_err!("a quotient has two sides"),
        }
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let types: Vec<DataType> = args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        let nullable = args.arg_fields.iter().any(|field| field.is_nullable());
        Ok(Arc::new(Field::new(self.name(), self.return_type(&types)?, nullable)))
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [dividend, divisor] = args.args.as_slice() else { return internal_err!("a quotient has two sides") };
        let both_scalar = matches!((dividend, divisor), (ColumnarValue::Scalar(_), ColumnarValue::Scalar(_)));
        let rows = if both_scalar { 1 } else { args.number_rows };
        let (dividend, divisor) = (dividend.to_array(rows)?, divisor.to_array(rows)?);
        let (DataType::Decimal128(_, from), DataType::Decimal128(_, by), DataType::Decimal128(_, scale)) =
            (dividend.data_type(), divisor.data_type(), args.return_field.data_type())
        else {
            return internal_err!("a quotient of {} by {}", dividend.data_type(), divisor.data_type());
        };
        let shift = u32::try_from(scale - from + by).unwrap_or_default();
        let pairs = dividend.as_primitive::<Decimal128Type>().iter().zip(divisor.as_primitive::<Decimal128Type>());
        let quotients = pairs.map(|pair| match pair {
            (Some(dividend), Some(divisor)) => divided(dividend, divisor, shift).map(Some),
            _ => Ok(None),
        });
        let quotients = quotients.collect::<Result<Decimal128Array, ArrowError>>()?.with_precision_and_scale(DIGITS, *scale)?;
        if both_scalar {
            let scalar = datafusion::common::ScalarValue::try_from_array(&quotients, 0)?;
            return Ok(ColumnarValue::Scalar(scalar));
        }
        Ok(ColumnarValue::Array(Arc::new(quotients)))
    }
}

/// `dividend * 10^shift / divisor`, rounded half away from zero.
fn divided(dividend: i128, divisor: i128, shift: u32) -> Result<i128, ArrowError> {
    if divisor == 0 {
        return Err(ArrowError::DivideByZero);
    }
    let narrow = 10i128.checked_pow(shift).and_then(|power| dividend.checked_mul(power));
    // Twice the remainder must fit, too.
    if let Some(scaled) = narrow.filter(|_| divisor.unsigned_abs() < (i128::MAX as u128) / 2) {
        let (quotient, remainder) = (scaled / divisor, scaled % divisor);
        let up = remainder.unsigned_abs() * 2 >= divisor.unsigned_abs();
        let sign = if (scaled < 0) == (divisor < 0) { 1 } else { -1 };
        return Ok(if up { quotient + sign } else { quotient });
    }
    let too_large = || ArrowError::ComputeError("a quotient has more than 38 digits".to_owned());
    let power = i256::from_i128(10).checked_pow(shift).ok_or_else(too_large)?;
    let scaled = i256::from_i128(dividend).checked_mul(power).ok_or_else(too_large)?;
    let by = i256::from_i128(divisor);
    let quotient = scaled.checked_div(by).ok_or_else(too_large)?;
    let remainder = scaled.checked_rem(by).ok_or_else(too_large)?;
    let size = |value: i256| if value < i256::ZERO { value.wrapping_neg() } else { value };
    let up = size(remainder).checked_mul(i256::from_i128(2)).is_none_or(|twice| twice >= size(by));
    let sign = i256::from_i128(if (dividend < 0) == (divisor < 0) { 1 } else { -1 });
    let rounded = if up { quotient.wrapping_add(sign) } else { quotient };
    rounded.to_i128().filter(|value| value.unsigned_abs() < 10u128.pow(u32::from(DIGITS))).ok_or_else(too_large)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn quotients_are_rounded() {
        assert_eq!(divided(10, 3, 2).unwrap(), 333);
        assert_eq!(divided(20, -3, 2).unwrap(), -667);
        assert_eq!(divided(-1, 2, 0).unwrap(), -1);
        assert_eq!(divided(1_108_811_340_000_000_000, 1_000_000_000_000_000_000, 16).unwrap(), 11_088_113_400_000_000);
        assert_eq!(divided(10i128.pow(37), 10i128.pow(30), 16).unwrap(), 10i128.pow(23));
        assert!(divided(1, 0, 1).is_err() && divided(10i128.pow(37), 1, 16).is_err());
    }
}
