//! Makes `to_timestamp` and its relatives return values of the type that they declare.
//!
//! DataFusion 55 declares them in the session's time zone. For a text column they return an array without a zone, which a
//! projection rejects and which cannot be compared with another timestamp. The instants are right, so only the type is replaced.

use std::sync::Arc;

use arrow::array::make_array;
use arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::config::ConfigOptions;
use datafusion::execution::{FunctionRegistry, SessionState};
use datafusion::logical_expr::{ColumnarValue, Documentation, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature};

const FUNCTIONS: [&str; 5] =
    ["to_timestamp", "to_timestamp_seconds", "to_timestamp_millis", "to_timestamp_micros", "to_timestamp_nanos"];

/// Replaces the session's own functions by these.
pub(super) fn register(state: &mut SessionState) -> Result<()> {
    for name in FUNCTIONS {
        if let Some(function) = state.scalar_functions().get(name).cloned() {
            state.register_udf(Arc::new(ScalarUDF::from(InDeclaredZone { function })))?;
        }
    }
    Ok(())
}

/// A function whose timestamps get the zone that it declares.
#[derive(Debug, PartialEq, Eq, Hash)]
struct InDeclaredZone {
    function: Arc<ScalarUDF>,
}

impl ScalarUDFImpl for InDeclaredZone {
    fn name(&self) -> &str {
        self.function.name()
    }

    fn aliases(&self) -> &[String] {
        self.function.aliases()
    }

    fn signature(&self) -> &Signature {
        self.function.signature()
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        self.function.return_type(arguments)
    }

    fn with_updated_config(&self, config: &ConfigOptions) -> Option<ScalarUDF> {
        let function = Arc::new(self.function.inner().with_updated_config(config)?);
        Some(ScalarUDF::from(InDeclaredZone { function }))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let declared = arguments.return_field.data_type().clone();
        let given = self.function.invoke_with_args(arguments)?;
        match (given, &declared) {
            (ColumnarValue::Array(array), DataType::Timestamp(unit, zone))
                if array.data_type() == &DataType::Timestamp(*unit, None) && zone.is_some() =>
            {
                let in_zone = array.to_data().into_builder().data_type(declared).build()?;
                Ok(ColumnarValue::Array(make_array(in_zone)))
            }
            (given, _) => Ok(given),
        }
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.function.documentation()
    }
}
