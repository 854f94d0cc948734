//! Float keys for comparisons: -0.0 becomes 0.0, and every NaN becomes the one NaN, which equals itself and is above all numbers,
//! as in PostgreSQL.
//!
//! DataFusion 55.2 compares floats by their bits: -0.0 is below 0.0, and the NaN of `0.0 / 0.0`, whose sign bit is set, is below
//! all numbers. The values themselves do not change. Only comparisons, partitions and orders read the keys.

use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::{DataType, Field, FieldRef, Float32Type, Float64Type};
use datafusion::common::{Result, ScalarValue, internal_err};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

/// Returns the function.
pub(crate) fn float_key() -> Arc<ScalarUDF> {
    static FUNCTION: LazyLock<Arc<ScalarUDF>> =
        LazyLock::new(|| Arc::new(ScalarUDF::new_from_impl(FloatKey { signature: Signature::any(1, Volatility::Immutable) })));
    Arc::clone(&FUNCTION)
}

/// Returns the expression to compare in place of an expression of this type.
pub(crate) fn compared(expression: Expr, data_type: &DataType) -> Expr {
    let is_key = matches!(&expression, Expr::ScalarFunction(call) if call.func.name() == "float_key");
    if is_key || !matches!(data_type, DataType::Float32 | DataType::Float64) || is_plain_literal(&expression) {
        return expression;
    }
    float_key().call(vec![expression])
}

/// Checks whether a literal is its own key.
fn is_plain_literal(expression: &Expr) -> bool {
    match expression {
        Expr::Literal(ScalarValue::Float64(Some(value)), _) => *value != 0.0 && !value.is_nan(),
        Expr::Literal(ScalarValue::Float64(None), _) => true,
        _ => false,
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct FloatKey {
    signature: Signature,
}

impl ScalarUDFImpl for FloatKey {
    fn name(&self) -> &'static str {
        "float_key"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        match arguments {
            [data_type] => Ok(data_type.clone()),
            _ => internal_err!("float_key takes one argument"),
        }
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        match args.arg_fields {
            [field] => Ok(Arc::new(Field::new(self.name(), field.data_type().clone(), field.is_nullable()))),
            _ => internal_err!("float_key takes one argument"),
        }
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match args.args.as_slice() {
            [ColumnarValue::Array(values)] => Ok(ColumnarValue::Array(keys(values))),
            [ColumnarValue::Scalar(value)] => {
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&keys(&value.to_array()?), 0)?))
            }
            _ => internal_err!("float_key takes one argument"),
        }
    }
}

fn keys(values: &ArrayRef) -> ArrayRef {
    match values.data_type() {
        // Adding zero makes zeros of both signs positive.
        DataType::Float64 => Arc::new(
            values
                .as_primitive::<Float64Type>()
                .unary::<_, Float64Type>(|value| if value.is_nan() { f64::NAN } else { value + 0.0 }),
        ),
        DataType::Float32 => Arc::new(
            values
                .as_primitive::<Float32Type>()
                .unary::<_, Float32Type>(|value| if value.is_nan() { f32::NAN } else { value + 0.0 }),
        ),
        _ => Arc::clone(values),
    }
}
