//! Rounds floats to whole numbers, a half to the even one, as PostgreSQL does in casts to whole numbers and `round` of a DOUBLE.

use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use datafusion::common::{Result, internal_err};
use datafusion::logical_expr::{ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

const NAME: &str = "round_half_even";

/// Returns the function.
fn function() -> Arc<ScalarUDF> {
    static FUNCTION: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
        let signature = Signature::uniform(1, vec![DataType::Float64, DataType::Float32], Volatility::Immutable);
        Arc::new(ScalarUDF::new_from_impl(HalfEven { signature }))
    });
    Arc::clone(&FUNCTION)
}

/// Rounds a float.
pub(crate) fn half_even(value: Expr) -> Expr {
    function().call(vec![value])
}

/// Checks whether an expression is rounded so.
pub(crate) fn is_half_even(expression: &Expr) -> bool {
    matches!(expression, Expr::ScalarFunction(call) if call.func.name() == NAME)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct HalfEven {
    signature: Signature,
}

impl ScalarUDFImpl for HalfEven {
    fn name(&self) -> &'static str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        match arguments {
            [data_type] => Ok(data_type.clone()),
            _ => internal_err!("round_half_even takes one argument"),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Some(value) = args.args.into_iter().next() else { return internal_err!("round_half_even takes one argument") };
        let value = value.into_array(args.number_rows)?;
        let rounded: ArrayRef = match value.data_type() {
            DataType::Float32 => Arc::new(value.as_primitive::<Float32Type>().unary::<_, Float32Type>(f32::round_ties_even)),
            _ => Arc::new(value.as_primitive::<Float64Type>().unary::<_, Float64Type>(f64::round_ties_even)),
        };
        Ok(ColumnarValue::Array(rounded))
    }
}
