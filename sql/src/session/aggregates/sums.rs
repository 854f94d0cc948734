//! `sum` and `avg` over a moving frame: floats are added up by [`sliding`](super::sliding). DataFusion 55.2 subtracts the values
//! that leave the frame, but NaN minus NaN is NaN for ever. It sums DISTINCT values over such a frame only if they are BIGINT.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::logical_expr::function::AccumulatorArgs;
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl};

use super::forward::forward;
use super::sliding::{DistinctFrame, FloatFrame};

/// DataFusion's `sum`, except over a moving frame.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Sum(Arc<AggregateUDF>);

impl Sum {
    pub(super) fn of(inner: Arc<AggregateUDF>) -> Sum {
        Sum(inner)
    }
}

impl AggregateUDFImpl for Sum {
    forward!(
        name,
        signature,
        return_type,
        state_fields,
        accumulator,
        groups_accumulator_supported,
        create_groups_accumulator,
        orderless
    );

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        if args.is_distinct {
            let values = args.expr_fields.first().map_or(DataType::Null, |field| field.data_type().clone());
            return Ok(Box::new(DistinctFrame::new(Arc::clone(&self.0), &values, args.return_field)));
        }
        match args.return_field.data_type() {
            DataType::Float64 => Ok(Box::new(FloatFrame::sum())),
            _ => self.0.create_sliding_accumulator(args),
        }
    }
}

/// DataFusion's `avg`, except over a moving frame.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Average(Arc<AggregateUDF>);

impl Average {
    pub(super) fn of(inner: Arc<AggregateUDF>) -> Average {
        Average(inner)
    }
}

impl AggregateUDFImpl for Average {
    forward!(
        name,
        aliases,
        signature,
        return_type,
        state_fields,
        accumulator,
        groups_accumulator_supported,
        create_groups_accumulator,
        orderless
    );

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let of_floats = args.expr_fields.first().is_some_and(|field| *field.data_type() == DataType::Float64);
        if of_floats && !args.is_distinct {
            return Ok(Box::new(FloatFrame::average()));
        }
        self.0.create_sliding_accumulator(args)
    }
}
