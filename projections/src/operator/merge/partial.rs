//! The aggregation of one epoch: what an aggregate reads of its input, and the accumulators that it feeds.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, UInt32Array};
use arrow::compute::{SortColumn, SortOptions, lexsort_to_indices, take};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use datafusion::physical_expr::GroupsAccumulatorAdapter;
use datafusion::physical_plan::aggregates::group_values::{GroupValues, new_group_values};
use datafusion::physical_plan::aggregates::order::GroupOrdering;
use datafusion::physical_plan::aggregates::{
    AggregateExec, AggregateMode, PhysicalGroupBy, aggregate_expressions, evaluate_group_by,
};

use super::one_group::OneGroup;
use crate::error::Error;
use crate::operator::linear::{evaluate, holds};

/// What an aggregate reads of its input.
pub(super) struct Inputs {
    group_by: PhysicalGroupBy,
    aggregates: Vec<Arc<AggregateFunctionExpr>>,
    filters: Vec<Option<Arc<dyn PhysicalExpr>>>,
    /// For each aggregate its arguments, and after them what it is ordered by.
    arguments: Vec<Vec<Arc<dyn PhysicalExpr>>>,
    /// For each aggregate that takes its rows only in order: how.
    orders: Vec<Option<Vec<SortOptions>>>,
    key_schema: SchemaRef,
    input_schema: SchemaRef,
}

/// The keys, arguments and filters of some rows.
pub(super) struct Arguments {
    rows: usize,
    /// For each grouping set, the key columns.
    keys: Vec<Vec<ArrayRef>>,
    arguments: Vec<Vec<ArrayRef>>,
    filters: Vec<Option<BooleanArray>>,
}

impl Inputs {
    pub(super) fn new(exec: &AggregateExec) -> Result<Self, Error> {
        if exec.group_expr().has_grouping_set() {
            return Err(Error::Plan("grouping sets do not merge".to_owned()));
        }
        let aggregates = exec.aggr_expr().to_vec();
        let orders = aggregates.iter().map(|aggregate| {
            let needed = aggregate.order_sensitivity() == AggregateOrderSensitivity::HardRequirement;
            let options = aggregate.order_bys().iter().map(|by| by.options).collect::<Vec<_>>();
            (needed && !options.is_empty()).then_some(options)
        });
        Ok(Self {
            orders: orders.collect(),
            arguments: aggregate_expressions(&aggregates, &AggregateMode::Partial, 0)?,
            filters: exec.filter_expr().to_vec(),
            key_schema: exec.group_expr().group_schema(&exec.input_schema())?,
            group_by: exec.group_expr().clone(),
            input_schema: exec.input_schema(),
            aggregates,
        })
    }

    pub(super) fn aggregates(&self) -> &[Arc<AggregateFunctionExpr>] {
        &self.aggregates
    }

    pub(super) fn key_schema(&self) -> &SchemaRef {
        &self.key_schema
    }

    pub(super) fn input_schema(&self) -> &SchemaRef {
        &self.input_schema
    }

    /// Whether there is no GROUP BY.
    pub(super) fn is_global(&self) -> bool {
        self.group_by.is_true_no_grouping()
    }

    /// Whether some aggregate takes its rows only in order: then each batch is an aggregation by itself, and states are merged.
    pub(super) fn in_order_only(&self) -> bool {
        self.orders.iter().any(Option::is_some)
    }

    /// # Errors
    /// [`Error::Row`] where an expression fails.
    pub(super) fn evaluate(&self, rows: &RecordBatch) -> Result<Arguments, Error> {
        let filters = self.filters.iter().map(|filter| filter.as_ref().map(|filter| holds(filter, rows)).transpose());
        Ok(Arguments {
            rows: rows.num_rows(),
            keys: if self.is_global() { Vec::new() } else { evaluate_group_by(&self.group_by, rows)? },
            arguments: self.arguments.iter().map(|of_one| evaluate(of_one, rows)).collect::<Result<_, _>>()?,
            filters: filters.collect::<Result<_, _>>()?,
        })
    }

    /// A new aggregation.
    pub(super) fn partial(&self) -> Result<Partial, Error> {
        Ok(Partial {
            keys: if self.is_global() {
                Keys::One { seen: false }
            } else {
                Keys::Many(new_group_values(Arc::clone(&self.key_schema), &GroupOrdering::None)?)
            },
            accumulators: self.accumulators()?,
            indices: Vec::new(),
        })
    }

    fn accumulators(&self) -> Result<Vec<Box<dyn GroupsAccumulator>>, Error> {
        self.aggregates.iter().map(|aggregate| self.accumulator(aggregate)).collect()
    }

    /// Accumulators of an aggregate, for as many groups as there may be.
    pub(super) fn accumulator(&self, aggregate: &Arc<AggregateFunctionExpr>) -> Result<Box<dyn GroupsAccumulator>, Error> {
        if self.is_global() {
            return Ok(Box::new(OneGroup::new(aggregate)?));
        }
        if aggregate.groups_accumulator_supported() {
            return Ok(aggregate.create_groups_accumulator()?);
        }
        let aggregate = Arc::clone(aggregate);
        Ok(Box::new(GroupsAccumulatorAdapter::new(move || aggregate.create_accumulator())))
    }
}

/// An aggregation under way.
pub(super) struct Partial {
    keys: Keys,
    accumulators: Vec<Box<dyn GroupsAccumulator>>,
    indices: Vec<usize>,
}

enum Keys {
    /// Without GROUP BY.
    One { seen: bool },
    Many(Box<dyn GroupValues>),
}

impl Partial {
    pub(super) fn groups(&self) -> usize {
        match &self.keys {
            Keys::One { seen } => usize::from(*seen),
            Keys::Many(keys) => keys.len(),
        }
    }

    pub(super) fn update(&mut self, inputs: &Inputs, arguments: &Arguments) -> Result<(), Error> {
        match &mut self.keys {
            Keys::One { seen } => {
                *seen = true;
                self.indices.clear();
                self.indices.resize(arguments.rows, 0);
                self.accumulate(inputs, arguments)
            }
            Keys::Many(_) => {
                for set in &arguments.keys {
                    if let Keys::Many(keys) = &mut self.keys {
                        keys.intern(set, &mut self.indices)?;
                    }
                    self.accumulate(inputs, arguments)?;
                }
                Ok(())
            }
        }
    }

    fn accumulate(&mut self, inputs: &Inputs, arguments: &Arguments) -> Result<(), Error> {
        let groups = self.groups();
        for (number, accumulator) in self.accumulators.iter_mut().enumerate() {
            let (values, filter) = (&arguments.arguments[number], arguments.filters[number].as_ref());
            let Some(order) = &inputs.orders[number] else {
                accumulator.update_batch(values, &self.indices, filter, groups)?;
                continue;
            };
            let by = in_order(&values[values.len() - order.len()..], order, arguments.rows)?;
            let values: Vec<ArrayRef> = values.iter().map(|array| Ok(take(array, &by, None)?)).collect::<Result<_, Error>>()?;
            let indices: Vec<usize> = by.values().iter().map(|row| self.indices[*row as usize]).collect();
            let filter = filter.map(|filter| take(filter, &by, None)).transpose()?;
            accumulator.update_batch(&values, &indices, filter.as_ref().map(|filter| filter.as_boolean()), groups)?;
        }
        Ok(())
    }

    /// The keys of all groups; the aggregation starts anew.
    pub(super) fn take_keys(&mut self) -> Result<Vec<ArrayRef>, Error> {
        match &mut self.keys {
            Keys::One { seen } => {
                *seen = false;
                Ok(Vec::new())
            }
            Keys::Many(keys) => {
                let emitted = keys.emit(EmitTo::All)?;
                keys.clear_shrink(0);
                Ok(emitted)
            }
        }
    }

    /// The accumulators of all groups; the aggregation goes on with new ones.
    pub(super) fn take_accumulators(&mut self, inputs: &Inputs) -> Result<Vec<Box<dyn GroupsAccumulator>>, Error> {
        Ok(std::mem::replace(&mut self.accumulators, inputs.accumulators()?))
    }
}

/// The rows in order; equal ones in the order of their arrival.
fn in_order(by: &[ArrayRef], options: &[SortOptions], rows: usize) -> Result<UInt32Array, Error> {
    let arrival: ArrayRef = Arc::new(UInt32Array::from_iter_values(0..rows as u32));
    let mut columns: Vec<SortColumn> = by
        .iter()
        .zip(options)
        .map(|(array, options)| SortColumn { values: Arc::clone(array), options: Some(*options) })
        .collect();
    columns.push(SortColumn { values: arrival, options: None });
    Ok(lexsort_to_indices(&columns, None)?)
}
