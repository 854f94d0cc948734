//! `percentile_cont` that interpolates as exactly as floats can. DataFusion 55.2 rounds the position between two values to a
//! millionth.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array, Float64Builder};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::function::AccumulatorArgs;
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{CastExpr, Literal};

use super::forward::forward;

/// DataFusion's `percentile_cont`, which collects the values. The answer is computed here.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Interpolated(Arc<AggregateUDF>);

impl Interpolated {
    pub(super) fn of(inner: Arc<AggregateUDF>) -> Interpolated {
        Interpolated(inner)
    }
}

impl AggregateUDFImpl for Interpolated {
    forward!(name, aliases, signature, return_type, state_fields, groups_accumulator_supported);

    fn supports_within_group_clause(&self) -> bool {
        true
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let (place, data_type) = (place(&args)?, args.return_field.data_type().clone());
        let distinct = args.is_distinct;
        let inner = self.0.accumulator(args)?;
        // The state of a DISTINCT aggregate does not keep how often each value occurred.
        Ok(match place {
            Some(place) if !distinct => Box::new(OneGroup { inner, place, data_type }),
            _ => inner,
        })
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        let (place, data_type) = (place(&args)?, args.return_field.data_type().clone());
        let inner = self.0.create_groups_accumulator(args)?;
        Ok(match place {
            Some(place) => Box::new(Groups { inner, place, data_type }),
            None => inner,
        })
    }
}

/// Returns the percentile, from 0 (the smallest value) to 1. `None` if it is invalid, which DataFusion reports.
fn place(args: &AccumulatorArgs) -> Result<Option<f64>> {
    let Some(place) = args.exprs.get(1).and_then(literal) else { return Ok(None) };
    let ScalarValue::Float64(Some(place)) = place.cast_to(&DataType::Float64)? else { return Ok(None) };
    if !(0.0..=1.0).contains(&place) {
        return Ok(None);
    }
    let descending = args.order_bys.first().is_some_and(|key| key.options.descending);
    Ok(Some(if descending { 1.0 - place } else { place }))
}

fn literal(expression: &Arc<dyn PhysicalExpr>) -> Option<&ScalarValue> {
    match expression.downcast_ref::<CastExpr>() {
        Some(cast) => literal(cast.expr()),
        None => expression.downcast_ref::<Literal>().map(Literal::value),
    }
}

/// Returns the value at a percentile. NaN is the largest value.
fn at(place: f64, values: &ArrayRef) -> Result<Option<f64>> {
    let values = cast(values, &DataType::Float64)?;
    let mut values: Vec<f64> = values.as_primitive::<Float64Type>().iter().flatten().collect();
    let Some(last) = values.len().checked_sub(1) else { return Ok(None) };
    let position = place * last as f64;
    let (lower, upper) = (position.floor() as usize, position.ceil() as usize);
    let order = |one: &f64, other: &f64| one.is_nan().cmp(&other.is_nan()).then(one.total_cmp(other));
    let (_, lower_value, above) = values.select_nth_unstable_by(lower.min(last), order);
    let lower_value = *lower_value;
    let next = above.iter().copied().min_by(order).filter(|_| upper > lower);
    Ok(Some(next.map_or(lower_value, |next| lower_value + (next - lower_value) * (position - lower as f64))))
}

#[derive(Debug)]
struct OneGroup {
    inner: Box<dyn Accumulator>,
    place: f64,
    data_type: DataType,
}

impl Accumulator for OneGroup {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.inner.update_batch(values)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.inner.retract_batch(values)
    }

    fn supports_retract_batch(&self) -> bool {
        self.inner.supports_retract_batch()
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        // Reading the state takes it, so it is put back.
        let states = self.inner.state()?.into_iter().map(|state| state.to_array()).collect::<Result<Vec<_>>>()?;
        self.inner.merge_batch(&states)?;
        let Some(lists) = states.first().and_then(|state| state.as_list_opt::<i32>()) else {
            return exec_err!("the state of percentile_cont is no list");
        };
        ScalarValue::Float64(at(self.place, &lists.value(0))?).cast_to(&self.data_type)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.inner.state()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.inner.merge_batch(states)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.inner.size()
    }
}

struct Groups {
    inner: Box<dyn GroupsAccumulator>,
    place: f64,
    data_type: DataType,
}

impl GroupsAccumulator for Groups {
    fn update_batch(&mut self, values: &[ArrayRef], groups: &[usize], filter: Option<&BooleanArray>, total: usize) -> Result<()> {
        self.inner.update_batch(values, groups, filter, total)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let state = self.inner.state(emit_to)?;
        let Some(lists) = state.first().and_then(|state| state.as_list_opt::<i32>()) else {
            return exec_err!("the state of percentile_cont is no list");
        };
        let mut answers = Float64Builder::with_capacity(lists.len());
        for group in 0..lists.len() {
            answers.append_option(at(self.place, &lists.value(group))?);
        }
        let answers: Float64Array = answers.finish();
        Ok(cast(&answers, &self.data_type)?)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        self.inner.state(emit_to)
    }

    fn merge_batch(&mut self, values: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.inner.merge_batch(values, groups, total)
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        self.inner.convert_to_state(values, filter)
    }

    fn size(&self) -> usize {
        self.inner.size()
    }
}
