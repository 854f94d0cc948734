//! The aggregation of one epoch: DataFusion's accumulators, and the group of each row.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, UInt32Array};
use arrow::compute::{SortColumn, SortOptions, lexsort_to_indices, take};
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};
use datafusion::physical_plan::aggregates::group_values::{GroupValues, new_group_values};
use datafusion::physical_plan::aggregates::order::GroupOrdering;

use crate::error::Error;
use crate::operator::kit::aggregate::{Arguments, Inputs};

/// An aggregation in progress.
pub(super) struct Partial {
    grouping: Grouping,
    accumulators: Vec<Box<dyn GroupsAccumulator>>,
    indices: Vec<usize>,
}

enum Grouping {
    /// Without GROUP BY.
    Global {
        seen: bool,
    },
    ByKey(Box<dyn GroupValues>),
}

impl Partial {
    /// Starts an aggregation.
    ///
    /// # Errors
    /// [`Error::Plan`] if DataFusion cannot group by a key's type.
    pub(super) fn new(inputs: &Inputs) -> Result<Self, Error> {
        Ok(Self {
            grouping: if inputs.is_global() {
                Grouping::Global { seen: false }
            } else {
                Grouping::ByKey(new_group_values(Arc::clone(inputs.key_schema()), &GroupOrdering::None)?)
            },
            accumulators: inputs.accumulators()?,
            indices: Vec::new(),
        })
    }

    pub(super) fn groups(&self) -> usize {
        match &self.grouping {
            Grouping::Global { seen } => usize::from(*seen),
            Grouping::ByKey(keys) => keys.len(),
        }
    }

    pub(super) fn update(&mut self, inputs: &Inputs, arguments: &Arguments) -> Result<(), Error> {
        match &mut self.grouping {
            Grouping::Global { seen } => {
                *seen = true;
                self.indices.clear();
                self.indices.resize(arguments.rows(), 0);
                self.accumulate(inputs, arguments)
            }
            Grouping::ByKey(_) => {
                for set in arguments.keys() {
                    if let Grouping::ByKey(keys) = &mut self.grouping {
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
            let (values, filter) = arguments.of(number);
            let Some(order) = &inputs.orders()[number] else {
                accumulator.update_batch(values, &self.indices, filter, groups)?;
                continue;
            };
            let by = in_order(&values[values.len() - order.len()..], order, arguments.rows())?;
            let values: Vec<ArrayRef> = values.iter().map(|array| Ok(take(array, &by, None)?)).collect::<Result<_, Error>>()?;
            let indices: Vec<usize> = by.values().iter().map(|row| self.indices[*row as usize]).collect();
            let filter = filter.map(|filter| take(filter, &by, None)).transpose()?;
            accumulator.update_batch(&values, &indices, filter.as_ref().map(|filter| filter.as_boolean()), groups)?;
        }
        Ok(())
    }

    /// Takes the keys of all groups and starts over.
    pub(super) fn take_keys(&mut self) -> Result<Vec<ArrayRef>, Error> {
        match &mut self.grouping {
            Grouping::Global { seen } => {
                *seen = false;
                Ok(Vec::new())
            }
            Grouping::ByKey(keys) => {
                let emitted = keys.emit(EmitTo::All)?;
                keys.clear_shrink(0);
                Ok(emitted)
            }
        }
    }

    /// Takes the accumulators and replaces them with new ones.
    pub(super) fn take_accumulators(&mut self, inputs: &Inputs) -> Result<Vec<Box<dyn GroupsAccumulator>>, Error> {
        Ok(std::mem::replace(&mut self.accumulators, inputs.accumulators()?))
    }
}

/// Returns the indices of the rows in sort order. Ties are in the order of their arrival.
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
