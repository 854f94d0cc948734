//! Counts, exact sums, averages of these, and DISTINCT, over input that retracts rows. Each group stores its number of rows and its
//! sums. A change adds to them or subtracts from them.
//!
//! Sums wrap around as DataFusion's do, so that a row can always be subtracted again. The answers are DataFusion's own: its
//! accumulators merge the stored sums and counts as their states.

mod epoch;
mod sums;

use std::future::ready;
use std::sync::Arc;

use alluvium_sql::Node;
use arrow::array::{Array, ArrayRef, Int64Array, UInt32Array};
use arrow::compute::{concat, interleave, take};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::logical_expr::{EmitTo, LogicalPlan};

use self::epoch::Epoch;
use self::sums::Measure;
use super::kit::aggregate::{Arguments, Inputs, accumulator_of_groups};
use super::kit::columns::with_type;
use super::kit::expiry::Expired;
use super::kit::rows::batch;
use super::kit::stateful::{Flush, Pending, Stateful};
use crate::consolidate::net;
use crate::delta::Delta;
use crate::error::Error;
use crate::left_out::OnFailure;
use crate::state::keys::{KeyEncoder, Keys};
use crate::state::table::{StateTable, Update};
use crate::state::{MAX_BATCH_ROWS, Place, TableCheckpoint, Tables};

/// The approximate number of rows whose keys an epoch may hold before its sums are added to the table.
const MAX_EPOCH_ROWS: usize = 512 * 1024;

/// Runs an aggregate by adding and subtracting.
pub(crate) struct Weighted {
    id: usize,
    inputs: Inputs,
    measures: Vec<Measure>,
    /// Key columns, then the number of rows, then for each aggregate the number of its values and, if it needs it, their sum.
    table: StateTable,
    keys: usize,
    epoch: Epoch,
    answers: KeyEncoder,
    schema: SchemaRef,
    /// Without GROUP BY: whether there is an answer, even if only over no rows.
    begun: bool,
}

impl std::fmt::Debug for Weighted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Weighted").field("id", &self.id).field("table", &self.table).finish_non_exhaustive()
    }
}

impl Weighted {
    pub(crate) async fn new(node: &Node, plan: &LogicalPlan) -> Result<Self, Error> {
        let inputs = Inputs::plan(node, plan).await?;
        let mut fields = inputs.key_fields();
        let keys = fields.len();
        fields.push(Field::new("__weight", DataType::Int64, false));
        let mut measures = Vec::new();
        for (number, aggregate) in inputs.aggregates().iter().enumerate() {
            let measure = Measure::of(aggregate, inputs.input_schema())?;
            fields.push(Field::new(format!("{number}:values"), DataType::Int64, false));
            if let Some(data_type) = measure.stored() {
                fields.push(Field::new(format!("{number}:sum"), data_type, false));
            }
            measures.push(measure);
        }
        let table = StateTable::new(format!("n{}-groups", node.id), Arc::new(Schema::new(fields)), keys, Some(keys))?;
        Ok(Self {
            id: node.id,
            inputs,
            measures,
            table,
            keys,
            epoch: Epoch::default(),
            answers: KeyEncoder::new(node.schema.fields())?,
            schema: Arc::clone(&node.schema),
            begun: false,
        })
    }

    /// Returns the changes to the answer caused by this epoch.
    fn changes(&mut self) -> Result<Vec<Delta>, Error> {
        self.drain()?;
        let mut deltas = Vec::new();
        let changes = self.table.updates();
        if self.inputs.is_global() && !self.begun {
            // Without GROUP BY there is an answer, with or without rows.
            let now = changes.first().map_or(Place::NONE, |change| change.after);
            deltas.push(Delta::insertions(batch(&self.schema, self.evaluate(&[now])?, 1)?));
        } else {
            for changes in changes.chunks(MAX_BATCH_ROWS) {
                self.answer(changes, &mut deltas)?;
            }
        }
        self.begun = true;
        self.table.end_epoch()?;
        if deltas.is_empty() {
            return Ok(deltas);
        }
        Ok(net(&self.schema, &self.answers, &deltas)?.into_deltas())
    }

    fn table_keys(&self, keys: Vec<ArrayRef>) -> Result<Vec<ArrayRef>, Error> {
        let fields = self.table.schema().fields();
        keys.iter().zip(fields).map(|(key, field)| with_type(key, field.data_type())).collect()
    }

    /// Adds the sums of the epoch so far to those of the table.
    fn drain(&mut self) -> Result<(), Error> {
        let epoch = std::mem::take(&mut self.epoch);
        let groups = epoch.first.len();
        if groups == 0 {
            return Ok(());
        }
        let encoded = Keys::collect(epoch.first.iter().map(|(batch, row)| epoch.batches[*batch].1.get(*row)));
        let found = self.table.find(&encoded, &epoch.hashes);
        let mut columns = Vec::with_capacity(self.table.schema().fields().len());
        for column in 0..self.keys {
            let arrays: Vec<&dyn Array> = epoch.batches.iter().map(|(keys, _)| keys[column].as_ref()).collect();
            columns.push(interleave(&arrays, &epoch.first)?);
        }
        let weights: Vec<i64> =
            found.iter().zip(&epoch.rows).map(|(place, weight)| self.table.weight_at(*place) + weight).collect();
        if weights.iter().any(|weight| *weight < 0) {
            return Err(Error::Bug("a group has a negative number of rows".to_owned()));
        }
        columns.push(Arc::new(Int64Array::from(weights)));
        let mut column = self.keys + 1;
        for (measure, sums) in self.measures.iter().zip(epoch.sums) {
            let width = 1 + usize::from(measure.stored().is_some());
            let old = self.states(column, width, &found)?;
            columns.extend(sums.plus(measure, &old)?);
            column += width;
        }
        self.table.upsert(&columns, &encoded, &epoch.hashes, &found)
    }

    /// Gathers columns of the table at some places, with zeros for [`Place::NONE`].
    fn states(&self, first: usize, width: usize, places: &[Place]) -> Result<Vec<ArrayRef>, Error> {
        let there: Vec<Place> = places.iter().copied().filter(|place| !place.is_none()).collect();
        (first..first + width)
            .map(|column| {
                let known = self.table.gather(column, &there)?;
                let zero = sums::zero(self.table.schema().field(column).data_type())?;
                let both = concat(&[known.as_ref(), zero.as_ref()])?;
                let mut next = 0;
                let indices: UInt32Array = places
                    .iter()
                    .map(|place| {
                        if place.is_none() {
                            return Some(there.len() as u32);
                        }
                        next += 1;
                        Some(next - 1)
                    })
                    .collect();
                Ok(take(&both, &indices, None)?)
            })
            .collect()
    }

    /// Retracts the old answers of some keys and emits the new ones.
    fn answer(&self, changes: &[Update], deltas: &mut Vec<Delta>) -> Result<(), Error> {
        let global = self.inputs.is_global();
        let there = |place: Place| global || self.table.weight_at(place) > 0;
        let had: Vec<&Update> = changes.iter().filter(|change| there(change.before)).collect();
        let has: Vec<&Update> = changes.iter().filter(|change| there(change.after)).collect();
        for (weight, changes) in [(-1, had), (1, has)] {
            if changes.is_empty() {
                continue;
            }
            let after: Vec<Place> = changes.iter().map(|change| change.after).collect();
            let places: Vec<Place> = changes.iter().map(|change| if weight < 0 { change.before } else { change.after }).collect();
            let mut columns: Vec<ArrayRef> =
                (0..self.keys).map(|column| self.table.gather(column, &after)).collect::<Result<_, _>>()?;
            columns.extend(self.evaluate(&places)?);
            let columns = columns.iter().zip(self.schema.fields());
            let columns = columns.map(|(column, field)| with_type(column, field.data_type())).collect::<Result<_, _>>()?;
            let weights = Int64Array::from_value(weight, places.len());
            deltas.push(Delta { rows: batch(&self.schema, columns, places.len())?, weights: Some(weights) });
        }
        Ok(())
    }

    /// Evaluates the states at some places.
    fn evaluate(&self, places: &[Place]) -> Result<Vec<ArrayRef>, Error> {
        let groups: Vec<usize> = (0..places.len()).collect();
        let mut column = self.keys + 1;
        let mut answers = Vec::with_capacity(self.measures.len());
        for (measure, aggregate) in self.measures.iter().zip(self.inputs.aggregates()) {
            let width = 1 + usize::from(measure.stored().is_some());
            let stored = self.states(column, width, places)?;
            let mut accumulator = accumulator_of_groups(aggregate)?;
            let states = measure.states(&stored, aggregate)?;
            accumulator.merge_batch(&states, &groups, groups.len())?;
            answers.push(accumulator.evaluate(EmitTo::All)?);
            column += width;
        }
        Ok(answers)
    }
}

impl Stateful for Weighted {
    /// The evaluated arguments, and the weights of the rows.
    type Prepared = (Arguments, Option<Int64Array>);

    fn prepare(&self, _input: usize, delta: Delta) -> Result<Self::Prepared, Error> {
        Ok((self.inputs.evaluate(&delta.rows)?, delta.weights))
    }

    fn absorb(&mut self, pending: &mut Pending<Self::Prepared>) -> Result<(), Error> {
        for (arguments, weights) in pending.iter_mut().flat_map(|of_input| of_input.drain(..)) {
            let keys = self.table_keys(arguments.keys().first().cloned().unwrap_or_default())?;
            let encoded = self.table.encode(&keys, arguments.rows())?;
            self.epoch.add((keys, encoded), &self.measures, &arguments, weights.as_ref())?;
            if self.epoch.held > MAX_EPOCH_ROWS {
                self.drain()?;
            }
        }
        Ok(())
    }

    fn flush<'a>(&'a mut self, _pending: Pending<Self::Prepared>, _failing: OnFailure<'a>) -> Flush<'a> {
        Box::pin(ready(self.changes()))
    }

    fn evict(&mut self, _input: usize, expired: &Expired) -> Result<(), Error> {
        self.table.evict(|rows| expired.of(rows))
    }

    fn checkpoint(&mut self, tables: &mut Vec<TableCheckpoint>) {
        tables.push(self.table.checkpoint());
    }

    fn restore(&mut self, tables: &mut Tables) -> Result<(), Error> {
        self.begun = true;
        self.table.restore(tables.take(&format!("n{}-groups", self.id))?)
    }

    fn size(&self) -> (u64, u64) {
        self.table.size()
    }
}
