//! `array_agg` and `string_agg` that keep rows which tie in ORDER BY in order of arrival, however the input is cut into batches.
//!
//! DataFusion 55.2 merges the lists of two states with a heap, which mixes tied rows. It also requires sorted input for
//! `string_agg`, and so has no plan for two orders in one SELECT. Here a merged list is appended to the one before it, and
//! DataFusion's stable sort orders both when the answer or the state is read.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use datafusion::common::{Result, ScalarValue, internal_err};
use datafusion::logical_expr::function::AccumulatorArgs;
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl};

use super::forward::forward;

/// DataFusion's `array_agg` or `string_agg`, over input in any order.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Gathered(Arc<AggregateUDF>);

impl Gathered {
    pub(super) fn of(inner: Arc<AggregateUDF>) -> Gathered {
        Gathered(inner)
    }
}

impl AggregateUDFImpl for Gathered {
    forward!(
        name,
        aliases,
        signature,
        return_type,
        state_fields,
        groups_accumulator_supported,
        create_groups_accumulator,
        ordering
    );

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let in_order = !args.order_bys.is_empty() && !args.is_distinct;
        let arguments = args.exprs.len();
        let inner = self.0.accumulator(args)?;
        Ok(if in_order { Box::new(List { inner, arguments }) } else { inner })
    }

    fn supports_null_handling_clause(&self) -> bool {
        self.0.inner().supports_null_handling_clause()
    }
}

/// The values of one group, with their sort keys.
#[derive(Debug)]
struct List {
    inner: Box<dyn Accumulator>,
    /// The number of columns before those of ORDER BY: the value, and a delimiter that is read elsewhere.
    arguments: usize,
}

impl Accumulator for List {
    fn update_batch(&mut self, columns: &[ArrayRef]) -> Result<()> {
        self.inner.update_batch(columns)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.inner.evaluate()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.inner.state()
    }

    /// Merges states. Each has a list of values and a list of structs with the sort keys of these values.
    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let [values, orders] = states else { return internal_err!("the state of an ordered list has {} columns", states.len()) };
        let (Some(values), Some(orders)) = (values.as_list_opt::<i32>(), orders.as_list_opt::<i32>()) else {
            return internal_err!("the state of an ordered list is no list");
        };
        for state in (0..values.len()).filter(|state| values.is_valid(*state)) {
            let orders = orders.value(state);
            let Some(orders) = orders.as_struct_opt() else {
                return internal_err!("what a list is ordered by is no struct");
            };
            let mut columns = vec![values.value(state); self.arguments];
            columns.extend(orders.columns().iter().cloned());
            self.inner.update_batch(&columns)?;
        }
        Ok(())
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.inner.size()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use arrow::array::Int64Array;
    use arrow::compute::SortOptions;
    use arrow::datatypes::{DataType, Field, Int64Type, Schema};
    use datafusion::functions_aggregate::array_agg::array_agg_udaf;
    use datafusion::physical_expr::PhysicalSortExpr;
    use datafusion::physical_expr::aggregate::{AggregateExprBuilder, AggregateFunctionExpr};
    use datafusion::physical_expr::expressions::Column;

    use super::*;

    /// Returns the list of nine tied values that were cut into three states and merged.
    fn merged(function: Arc<AggregateUDF>) -> Vec<i64> {
        let schema = Schema::new(vec![Field::new("x", DataType::Int64, true), Field::new("o", DataType::Int64, true)]);
        let order = PhysicalSortExpr { expr: Arc::new(Column::new("o", 1)), options: SortOptions::default() };
        let call: AggregateFunctionExpr = AggregateExprBuilder::new(function, vec![Arc::new(Column::new("x", 0))])
            .schema(Arc::new(schema))
            .order_by(vec![order])
            .alias("list")
            .build()
            .unwrap();
        let mut whole = call.create_accumulator().unwrap();
        for start in [1, 4, 7] {
            let mut part = call.create_accumulator().unwrap();
            let values: ArrayRef = Arc::new(Int64Array::from_iter_values(start..start + 3));
            let orders: ArrayRef = Arc::new(Int64Array::from(vec![0; 3]));
            part.update_batch(&[values, orders]).unwrap();
            let states: Vec<ArrayRef> = part.state().unwrap().iter().map(|state| state.to_array().unwrap()).collect();
            whole.merge_batch(&states).unwrap();
        }
        let list = whole.evaluate().unwrap().to_array().unwrap();
        list.as_list::<i32>().value(0).as_primitive::<Int64Type>().values().to_vec()
    }

    #[test]
    fn rows_that_tie_stay_in_the_order_in_which_they_came() {
        let ours = AggregateUDF::new_from_impl(Gathered::of(array_agg_udaf()));
        assert_eq!(merged(Arc::new(ours)), [1, 2, 3, 4, 5, 6, 7, 8, 9]);
        assert_ne!(merged(array_agg_udaf()), [1, 2, 3, 4, 5, 6, 7, 8, 9], "DataFusion has fixed it, so our rule can go");
    }
}
