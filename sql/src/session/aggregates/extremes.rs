//! `min` and `max` of floats in one order: -0.0 equals 0.0, and NaN of either sign is one value above all others, as in PostgreSQL.
//!
//! DataFusion 55.2 accepts a NaN when it comes and replaces it by the next value. So its answer depends on the order of rows and on
//! how they are cut into batches. Here floats are mapped to whole numbers in the same order, and DataFusion's functions for whole
//! numbers do the rest.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type, Int64Type};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::function::AccumulatorArgs;
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, SetMonotonicity};

use super::forward::forward;

/// DataFusion's `min` or `max`, with floats in one order.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Extreme(Arc<AggregateUDF>);

impl Extreme {
    pub(super) fn of(inner: Arc<AggregateUDF>) -> Extreme {
        Extreme(inner)
    }
}

impl AggregateUDFImpl for Extreme {
    forward!(name, signature, return_type, state_fields, groups_accumulator_supported, orderless);

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        self.0.coerce_types(arguments)
    }

    fn set_monotonicity(&self, data_type: &DataType) -> SetMonotonicity {
        if data_type.is_floating() { SetMonotonicity::NotMonotonic } else { self.0.inner().set_monotonicity(data_type) }
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let data_type = args.return_field.data_type().clone();
        if !data_type.is_floating() {
            return self.0.accumulator(args);
        }
        let (return_field, expr_fields) = ranked();
        let inner = self.0.accumulator(AccumulatorArgs { return_field, expr_fields: &expr_fields, ..args })?;
        Ok(Box::new(Ranked { inner, data_type }))
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let data_type = args.return_field.data_type().clone();
        if !data_type.is_floating() {
            return self.0.create_sliding_accumulator(args);
        }
        let (return_field, expr_fields) = ranked();
        let inner = self.0.create_sliding_accumulator(AccumulatorArgs { return_field, expr_fields: &expr_fields, ..args })?;
        Ok(Box::new(Ranked { inner, data_type }))
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        let data_type = args.return_field.data_type().clone();
        if !data_type.is_floating() {
            return self.0.create_groups_accumulator(args);
        }
        let (return_field, expr_fields) = ranked();
        let inner = self.0.create_groups_accumulator(AccumulatorArgs { return_field, expr_fields: &expr_fields, ..args })?;
        Ok(Box::new(RankedGroups { inner, data_type }))
    }
}

/// Returns the fields of the whole numbers.
fn ranked() -> (FieldRef, Vec<FieldRef>) {
    let field: FieldRef = Arc::new(Field::new("rank", DataType::Int64, true));
    (Arc::clone(&field), vec![field])
}

/// Returns the rank of a float in the order of all floats.
fn rank(value: f64) -> i64 {
    if value.is_nan() {
        i64::MAX
    } else if value == 0.0 {
        0
    } else {
        flipped(value.to_bits() as i64)
    }
}

/// Maps the bits of negative floats to the order of whole numbers, and back.
fn flipped(bits: i64) -> i64 {
    bits ^ (((bits >> 63) as u64) >> 1) as i64
}

fn value(rank: i64) -> f64 {
    if rank == i64::MAX { f64::NAN } else { f64::from_bits(flipped(rank) as u64) }
}

fn to_ranks(floats: &ArrayRef) -> Result<ArrayRef> {
    let floats = cast(floats, &DataType::Float64)?;
    let ranks: Int64Array = floats.as_primitive::<Float64Type>().unary(rank);
    Ok(Arc::new(ranks))
}

fn to_floats(ranks: &ArrayRef, data_type: &DataType) -> Result<ArrayRef> {
    let floats: Float64Array = ranks.as_primitive::<Int64Type>().unary(value);
    Ok(cast(&floats, data_type)?)
}

fn to_float(rank: ScalarValue, data_type: &DataType) -> Result<ScalarValue> {
    ScalarValue::try_from_array(&to_floats(&rank.to_array()?, data_type)?, 0)
}

fn all(arrays: &[ArrayRef], change: impl Fn(&ArrayRef) -> Result<ArrayRef>) -> Result<Vec<ArrayRef>> {
    arrays.iter().map(change).collect()
}

/// The accumulator of one group.
#[derive(Debug)]
struct Ranked {
    inner: Box<dyn Accumulator>,
    data_type: DataType,
}

impl Accumulator for Ranked {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.inner.update_batch(&all(values, to_ranks)?)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.inner.retract_batch(&all(values, to_ranks)?)
    }

    fn supports_retract_batch(&self) -> bool {
        self.inner.supports_retract_batch()
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        to_float(self.inner.evaluate()?, &self.data_type)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.inner.state()?.into_iter().map(|rank| to_float(rank, &self.data_type)).collect()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.inner.merge_batch(&all(states, to_ranks)?)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.inner.size()
    }
}

/// The accumulator of many groups.
struct RankedGroups {
    inner: Box<dyn GroupsAccumulator>,
    data_type: DataType,
}

impl GroupsAccumulator for RankedGroups {
    fn update_batch(&mut self, values: &[ArrayRef], groups: &[usize], filter: Option<&BooleanArray>, total: usize) -> Result<()> {
        self.inner.update_batch(&all(values, to_ranks)?, groups, filter, total)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        to_floats(&self.inner.evaluate(emit_to)?, &self.data_type)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        all(&self.inner.state(emit_to)?, |ranks| to_floats(ranks, &self.data_type))
    }

    fn merge_batch(&mut self, values: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.inner.merge_batch(&all(values, to_ranks)?, groups, total)
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let states = self.inner.convert_to_state(&all(values, to_ranks)?, filter)?;
        all(&states, |ranks| to_floats(ranks, &self.data_type))
    }

    fn size(&self) -> usize {
        self.inner.size()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_in_the_order_of_floats() {
        let floats = [f64::NEG_INFINITY, f64::MIN, -1.5, -f64::MIN_POSITIVE, 0.0, 5e-324, 2.0, f64::MAX, f64::INFINITY, f64::NAN];
        for pair in floats.windows(2) {
            assert!(rank(pair[0]) < rank(pair[1]), "{pair:?}");
        }
        for float in floats {
            assert_eq!(value(rank(float)).to_bits(), float.to_bits());
        }
        assert_eq!((rank(-0.0), rank(-f64::NAN)), (rank(0.0), rank(f64::NAN)));
    }
}
