//! Forwards methods of our functions to the DataFusion function that they wrap.

/// Implements methods of `AggregateUDFImpl` by calling DataFusion's function in field 0.
macro_rules! forward {
    ($($method:ident),+ $(,)?) => { $(forward!(@ $method);)+ };
    (@ name) => {
        fn name(&self) -> &str {
            self.0.name()
        }
    };
    (@ aliases) => {
        fn aliases(&self) -> &[String] {
            self.0.aliases()
        }
    };
    (@ signature) => {
        fn signature(&self) -> &datafusion::logical_expr::Signature {
            self.0.signature()
        }
    };
    (@ return_type) => {
        fn return_type(&self, arguments: &[arrow::datatypes::DataType]) -> Result<arrow::datatypes::DataType> {
            self.0.return_type(arguments)
        }
    };
    (@ state_fields) => {
        fn state_fields(
            &self,
            args: datafusion::logical_expr::function::StateFieldsArgs,
        ) -> Result<Vec<arrow::datatypes::FieldRef>> {
            self.0.state_fields(args)
        }
    };
    (@ accumulator) => {
        fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
            self.0.accumulator(args)
        }
    };
    (@ groups_accumulator_supported) => {
        fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
            self.0.groups_accumulator_supported(args)
        }
    };
    (@ create_groups_accumulator) => {
        fn create_groups_accumulator(
            &self,
            args: AccumulatorArgs,
        ) -> Result<Box<dyn datafusion::logical_expr::GroupsAccumulator>> {
            self.0.create_groups_accumulator(args)
        }
    };
    // The answer does not depend on the order of rows.
    (@ orderless) => {
        fn order_sensitivity(&self) -> datafusion::logical_expr::utils::AggregateOrderSensitivity {
            datafusion::logical_expr::utils::AggregateOrderSensitivity::Insensitive
        }

        fn reverse_expr(&self) -> datafusion::logical_expr::ReversedUDAF {
            datafusion::logical_expr::ReversedUDAF::Identical
        }
    };
    // The function sorts its rows itself, whether or not they arrive in order.
    (@ ordering) => {
        fn order_sensitivity(&self) -> datafusion::logical_expr::utils::AggregateOrderSensitivity {
            datafusion::logical_expr::utils::AggregateOrderSensitivity::SoftRequirement
        }

        fn with_beneficial_ordering(
            self: std::sync::Arc<Self>,
            _beneficial: bool,
        ) -> Result<Option<std::sync::Arc<dyn AggregateUDFImpl>>> {
            Ok(Some(self))
        }

        fn reverse_expr(&self) -> datafusion::logical_expr::ReversedUDAF {
            datafusion::logical_expr::ReversedUDAF::NotSupported
        }
    };
}
pub(super) use forward;
