//! Aggregates without GROUP BY: one group, which has an answer even without rows.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray};
use arrow::compute::filter;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{Accumulator, EmitTo, GroupsAccumulator};
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;

/// A single [`Accumulator`] as a [`GroupsAccumulator`]. DataFusion's own ones assume that each group has a row.
#[derive(Debug)]
pub(crate) struct OneGroup {
    aggregate: Arc<AggregateFunctionExpr>,
    accumulator: Box<dyn Accumulator>,
}

impl OneGroup {
    pub(crate) fn new(aggregate: &Arc<AggregateFunctionExpr>) -> Result<Self> {
        Ok(Self { aggregate: Arc::clone(aggregate), accumulator: aggregate.create_accumulator()? })
    }

    fn take(&mut self) -> Result<Box<dyn Accumulator>> {
        Ok(std::mem::replace(&mut self.accumulator, self.aggregate.create_accumulator()?))
    }
}

impl GroupsAccumulator for OneGroup {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        _group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        _total_num_groups: usize,
    ) -> Result<()> {
        let filtered = match opt_filter {
            None => values.to_vec(),
            Some(mask) => values.iter().map(|array| Ok(filter(array, mask)?)).collect::<Result<_>>()?,
        };
        if filtered.first().is_some_and(|array| array.is_empty()) {
            return Ok(());
        }
        self.accumulator.update_batch(&filtered)
    }

    fn evaluate(&mut self, _emit_to: EmitTo) -> Result<ArrayRef> {
        self.take()?.evaluate()?.to_array()
    }

    fn state(&mut self, _emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        self.take()?.state()?.into_iter().map(|value| value.to_array()).collect()
    }

    fn merge_batch(&mut self, values: &[ArrayRef], _group_indices: &[usize], _total_num_groups: usize) -> Result<()> {
        self.accumulator.merge_batch(values)
    }

    fn convert_to_state(&self, _values: &[ArrayRef], _opt_filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        Err(DataFusionError::NotImplemented("the rows of one group are not states".to_owned()))
    }

    fn size(&self) -> usize {
        self.accumulator.size()
    }
}
