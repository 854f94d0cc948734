//! Sums over a moving frame, computed only from the values in it: a value that leaves the frame leaves no trace.
//!
//! A frame is a queue of two stacks. Values are pushed onto the back, which keeps one running sum. When the front is empty, the
//! back is turned over onto it, with a sum for each value and all that came after it. So each value is added twice, and none is
//! ever subtracted.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, UInt64Array};
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type, Schema};
use datafusion::common::{Result, ScalarValue, internal_err};
use datafusion::logical_expr::function::AccumulatorArgs;
use datafusion::logical_expr::{Accumulator, AggregateUDF};

/// The sum or the average of the floats in a frame.
#[derive(Debug, Default)]
pub(super) struct FloatFrame {
    averages: bool,
    /// For each value, newest first, the sum of it and of the newer values in the front.
    front: Vec<f64>,
    back: VecDeque<f64>,
    back_sum: f64,
}

impl FloatFrame {
    pub(super) fn sum() -> FloatFrame {
        FloatFrame::default()
    }

    pub(super) fn average() -> FloatFrame {
        FloatFrame { averages: true, ..FloatFrame::default() }
    }

    fn push(&mut self, value: f64) {
        self.back.push_back(value);
        self.back_sum += value;
    }

    fn pop(&mut self) -> Result<()> {
        if self.front.is_empty() {
            let mut sum = 0.0;
            while let Some(value) = self.back.pop_back() {
                sum += value;
                self.front.push(sum);
            }
            self.back_sum = 0.0;
        }
        match self.front.pop() {
            Some(_) => Ok(()),
            None => internal_err!("a value leaves a frame that has none"),
        }
    }

    fn count(&self) -> usize {
        self.front.len() + self.back.len()
    }

    fn total(&self) -> f64 {
        self.front.last().copied().unwrap_or_default() + self.back_sum
    }
}

impl Accumulator for FloatFrame {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        values[0].as_primitive::<Float64Type>().iter().flatten().for_each(|value| self.push(value));
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let left = values[0].len() - values[0].null_count();
        (0..left).try_for_each(|_| self.pop())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let count = self.count();
        let divisor = if self.averages { count as f64 } else { 1.0 };
        Ok(ScalarValue::Float64((count > 0).then(|| self.total() / divisor)))
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        internal_err!("the state of a frame is not merged")
    }

    fn merge_batch(&mut self, _states: &[ArrayRef]) -> Result<()> {
        internal_err!("the state of a frame is not merged")
    }

    fn size(&self) -> usize {
        size_of_val(self) + (self.front.capacity() + self.back.capacity()) * size_of::<f64>()
    }
}

/// An aggregate over the distinct values in a frame, computed anew at each row.
#[derive(Debug)]
pub(super) struct DistinctFrame {
    function: Arc<AggregateUDF>,
    value: FieldRef,
    answer: FieldRef,
    rows_of: HashMap<ScalarValue, u64>,
}

impl DistinctFrame {
    pub(super) fn new(function: Arc<AggregateUDF>, values: &DataType, answer: FieldRef) -> DistinctFrame {
        let value = Arc::new(Field::new("value", values.clone(), true));
        DistinctFrame { function, value, answer, rows_of: HashMap::new() }
    }
}

impl Accumulator for DistinctFrame {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for row in (0..values[0].len()).filter(|row| values[0].is_valid(*row)) {
            *self.rows_of.entry(ScalarValue::try_from_array(&values[0], row)?).or_default() += 1;
        }
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for row in (0..values[0].len()).filter(|row| values[0].is_valid(*row)) {
            let value = ScalarValue::try_from_array(&values[0], row)?;
            match self.rows_of.get_mut(&value) {
                Some(1) => {
                    self.rows_of.remove(&value);
                }
                Some(rows) => *rows -= 1,
                None => return internal_err!("a value leaves a frame that does not have it"),
            }
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let schema = Schema::new(vec![Arc::clone(&self.value)]);
        let mut once = self.function.accumulator(AccumulatorArgs {
            return_field: Arc::clone(&self.answer),
            schema: &schema,
            ignore_nulls: false,
            order_bys: &[],
            is_reversed: false,
            name: self.function.name(),
            is_distinct: false,
            exprs: &[],
            expr_fields: &[Arc::clone(&self.value)],
        })?;
        if !self.rows_of.is_empty() {
            once.update_batch(&[ScalarValue::iter_to_array(self.rows_of.keys().cloned())?])?;
        }
        once.evaluate()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        internal_err!("the state of a frame is not merged")
    }

    fn merge_batch(&mut self, _states: &[ArrayRef]) -> Result<()> {
        internal_err!("the state of a frame is not merged")
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.rows_of.capacity() * (size_of::<ScalarValue>() + size_of::<UInt64Array>())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use arrow::array::Float64Array;

    use super::*;

    #[test]
    fn what_has_left_a_frame_leaves_nothing_behind() {
        let values = [1e300, 1.0, f64::NAN, 2.0, f64::INFINITY, 3.0, 4.0, f64::NEG_INFINITY, 5.0];
        let array = |value: f64| vec![Arc::new(Float64Array::from(vec![value])) as ArrayRef];
        for width in 1..4 {
            let mut frame = FloatFrame::sum();
            for (row, value) in values.iter().enumerate() {
                frame.update_batch(&array(*value)).unwrap();
                if row >= width {
                    frame.retract_batch(&array(values[row - width])).unwrap();
                }
                let wanted: f64 = values[(row + 1).saturating_sub(width)..=row].iter().sum();
                let ScalarValue::Float64(Some(found)) = frame.evaluate().unwrap() else { unreachable!() };
                assert!(found == wanted || (found.is_nan() && wanted.is_nan()), "{found} is not {wanted}");
            }
        }
    }
}
