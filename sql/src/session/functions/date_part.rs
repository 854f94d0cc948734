//! `date_part` and `extract`, with the seconds of a difference of two times. DataFusion 55.2 computes these from a 32-bit number:
//! it returns whole seconds, or nonsense beyond 2.1 seconds.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, AsArray, Float64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef, Int64Type, TimeUnit};
use datafusion::common::{Result, ScalarValue, internal_err};
use datafusion::functions::datetime::date_part as datafusion_date_part;
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

/// Returns the function, which replaces DataFusion's of the same name.
pub(crate) fn date_part() -> Arc<ScalarUDF> {
    static FUNCTION: LazyLock<Arc<ScalarUDF>> =
        LazyLock::new(|| Arc::new(ScalarUDF::new_from_impl(DatePart(datafusion_date_part()))));
    Arc::clone(&FUNCTION)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct DatePart(Arc<ScalarUDF>);

impl ScalarUDFImpl for DatePart {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn aliases(&self) -> &[String] {
        self.0.aliases()
    }

    fn signature(&self) -> &Signature {
        self.0.signature()
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        self.0.return_type(arguments)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        self.0.return_field_from_args(args)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.0.documentation()
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [ColumnarValue::Scalar(part), difference] = args.args.as_slice() else {
            return self.0.invoke_with_args(args);
        };
        let is_epoch = part.try_as_str().flatten().is_some_and(|part| part.eq_ignore_ascii_case("epoch"));
        let DataType::Duration(unit) = difference.data_type() else {
            return self.0.invoke_with_args(args);
        };
        if !is_epoch {
            return self.0.invoke_with_args(args);
        }
        match difference {
            ColumnarValue::Array(values) => Ok(ColumnarValue::Array(Arc::new(seconds(values, unit)?))),
            ColumnarValue::Scalar(value) => {
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&seconds(&value.to_array()?, unit)?, 0)?))
            }
        }
    }
}

fn seconds(values: &dyn Array, unit: TimeUnit) -> Result<Float64Array> {
    let each = match unit {
        TimeUnit::Second => 1.0,
        TimeUnit::Millisecond => 1e3,
        TimeUnit::Microsecond => 1e6,
        TimeUnit::Nanosecond => 1e9,
    };
    let counts = cast(values, &DataType::Int64)?;
    match counts.as_primitive_opt::<Int64Type>() {
        Some(counts) => Ok(counts.unary(|count| count as f64 / each)),
        None => internal_err!("a difference of times is no whole number"),
    }
}
