//! Aggregates over insert-only input: the states of new rows are merged into the stored states.
//!
//! Within an epoch, rows go into DataFusion's own accumulators (`partial`). At a flush, or when these hold many groups, their states are
//! merged with those in the table and become the newest versions of their keys. Old states go before new ones, since some answers depend
//! on the order of arrival. For each touched key whose answer differs, a flush retracts the old answer and emits the new one.

mod partial;

use std::future::ready;
use std::sync::Arc;

use alluvium_sql::Node;
use arrow::array::{ArrayRef, BooleanArray, Int64Array, UInt32Array};
use arrow::compute::{concat, filter, take};
use arrow::datatypes::{Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::logical_expr::{EmitTo, GroupsAccumulator, LogicalPlan};
use rayon::prelude::*;

use self::partial::Partial;
use super::kit::aggregate::{Arguments, Inputs, state_field};
use super::kit::columns::with_type;
use super::kit::expiry::Expired;
use super::kit::rows::{batch, repeated};
use super::kit::stateful::{Flush, Pending, Stateful};
use crate::delta::Delta;
use crate::error::Error;
use crate::left_out::OnFailure;
use crate::state::keys::{KeyEncoder, Keys};
use crate::state::table::{StateTable, Update};
use crate::state::{MAX_BATCH_ROWS, Place, TableCheckpoint, Tables, compact};

/// How many groups the accumulators of an epoch may hold before they are merged into the table.
const MAX_PARTIAL_GROUPS: usize = 128 * 1024;

/// Runs a merging aggregate.
pub(crate) struct Merge {
    partial: Partial,
    stored: Stored,
}

/// The groups of all epochs.
struct Stored {
    id: usize,
    inputs: Inputs,
    table: StateTable,
    /// The number of key columns, at the front of the table and of the output.
    keys: usize,
    /// The number of state columns of each aggregate.
    states: Vec<usize>,
    /// Compares answers.
    answers: KeyEncoder,
    schema: SchemaRef,
}

impl std::fmt::Debug for Merge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Merge").field("id", &self.stored.id).field("table", &self.stored.table).finish_non_exhaustive()
    }
}

impl Merge {
    pub(crate) async fn new(node: &Node, plan: &LogicalPlan) -> Result<Self, Error> {
        let inputs = Inputs::plan(node, plan).await?;
        let mut fields = inputs.key_fields();
        let keys = fields.len();
        let mut states = Vec::new();
        for (number, aggregate) in inputs.aggregates().iter().enumerate() {
            let of_one = aggregate.state_fields()?;
            states.push(of_one.len());
            fields.extend(of_one.iter().map(|field| state_field(field, &format!("{number}:"))));
        }
        let table = StateTable::new(format!("n{}-groups", node.id), Arc::new(Schema::new(fields)), keys, None)?;
        let (partial, answers) = (Partial::new(&inputs)?, KeyEncoder::new(&node.schema.fields()[keys..])?);
        let schema = Arc::clone(&node.schema);
        Ok(Self { partial, stored: Stored { id: node.id, inputs, table, keys, states, answers, schema } })
    }

    /// Returns the changes to the answer caused by this epoch.
    fn changes(&mut self) -> Result<Vec<Delta>, Error> {
        if self.stored.inputs.is_global() && self.stored.table.len() == 0 && self.partial.groups() == 0 {
            // Without GROUP BY there is one group, even without rows.
            let nothing = self.stored.inputs.evaluate(&RecordBatch::new_empty(Arc::clone(self.stored.inputs.input_schema())))?;
            self.partial.update(&self.stored.inputs, &nothing)?;
        }
        self.drain()?;
        let stored = &mut self.stored;
        let changes = stored.table.updates();
        let deltas = changes.par_chunks(MAX_BATCH_ROWS).map(|changes| stored.answer(changes)).collect::<Result<Vec<_>, _>>()?;
        stored.table.end_epoch()?;
        Ok(deltas.into_iter().flatten().collect())
    }

    /// Merges the states of the epoch so far into the table.
    fn drain(&mut self) -> Result<(), Error> {
        let groups = self.partial.groups();
        if groups == 0 {
            return Ok(());
        }
        let stored = &mut self.stored;
        let keys = self.partial.take_keys()?;
        let keys = stored.with_types(0, keys)?;
        let encoded = stored.table.encode(&keys, groups)?;
        let hashes = encoded.hashes();
        let found = stored.table.find(&encoded, &hashes);
        let accumulators = self.partial.take_accumulators(&stored.inputs)?;
        // Accumulators assume that each of their groups has a row. So only groups that the table has are merged. The others are added
        // as they are.
        let (old, new): (Vec<u32>, Vec<u32>) = (0..groups as u32).partition(|group| !found[*group as usize].is_none());
        let places: Vec<Place> = old.iter().map(|group| found[*group as usize]).collect();
        let (kept, order) = if accumulators.is_empty() { (Vec::new(), new) } else { (places, [old, new].concat()) };
        let indices = UInt32Array::from(order);
        let mut columns = keys.iter().map(|key| Ok(take(key, &indices, None)?)).collect::<Result<Vec<_>, Error>>()?;
        let states = accumulators.into_par_iter().enumerate();
        let states = states.map(|(number, accumulator)| stored.merged(number, accumulator, &kept, &indices));
        columns.extend(states.collect::<Result<Vec<_>, Error>>()?.into_iter().flatten());
        let rows = indices.values().iter().map(|group| *group as usize);
        let hashes: Vec<u32> = rows.clone().map(|group| hashes[group]).collect();
        let found: Vec<Place> = rows.clone().map(|group| found[group]).collect();
        stored.table.upsert(&columns, &Keys::collect(rows.map(|group| encoded.get(group))), &hashes, &found)
    }
}

impl Stateful for Merge {
    type Prepared = Vec<Arguments>;

    fn prepare(&self, _input: usize, delta: Delta) -> Result<Vec<Arguments>, Error> {
        repeated(delta)?.iter().map(|rows| self.stored.inputs.evaluate(rows)).collect()
    }

    fn absorb(&mut self, pending: &mut Pending<Vec<Arguments>>) -> Result<(), Error> {
        for arguments in pending.iter_mut().flat_map(|of_input| of_input.drain(..)).flatten() {
            self.partial.update(&self.stored.inputs, &arguments)?;
            if self.partial.groups() >= MAX_PARTIAL_GROUPS || self.stored.inputs.in_order_only() {
                self.drain()?;
            }
        }
        Ok(())
    }

    fn flush<'a>(&'a mut self, _pending: Pending<Vec<Arguments>>, _failing: OnFailure<'a>) -> Flush<'a> {
        Box::pin(ready(self.changes()))
    }

    fn evict(&mut self, _input: usize, expired: &Expired) -> Result<(), Error> {
        self.stored.table.evict(|rows| expired.of(rows))
    }

    fn checkpoint(&mut self, tables: &mut Vec<TableCheckpoint>) {
        tables.push(self.stored.table.checkpoint());
    }

    fn restore(&mut self, tables: &mut Tables) -> Result<(), Error> {
        self.stored.table.restore(tables.take(&format!("n{}-groups", self.stored.id))?)
    }

    fn size(&self) -> (u64, u64) {
        self.stored.table.size()
    }
}

impl Stored {
    /// Returns the state columns of an aggregate: first for the groups that the table has at `kept`, merged with their stored states,
    /// then for the new groups. `groups` has the accumulator's number of each.
    fn merged(
        &self,
        number: usize,
        mut accumulator: Box<dyn GroupsAccumulator>,
        kept: &[Place],
        groups: &UInt32Array,
    ) -> Result<Vec<ArrayRef>, Error> {
        let first = self.first_state(number);
        let state = self.with_types(first, accumulator.state(EmitTo::All)?)?;
        if kept.is_empty() {
            return Ok(state);
        }
        let (old, new) = (groups.slice(0, kept.len()), groups.slice(kept.len(), groups.len() - kept.len()));
        let rows_of = |groups: &UInt32Array| -> Result<Vec<ArrayRef>, Error> {
            state.iter().map(|column| Ok(take(column, groups, None)?)).collect()
        };
        let numbers: Vec<usize> = (0..kept.len()).collect();
        let mut both = self.inputs.accumulator(&self.inputs.aggregates()[number])?;
        both.merge_batch(&self.gather(first, self.states[number], kept)?, &numbers, kept.len())?;
        both.merge_batch(&rows_of(&old)?, &numbers, kept.len())?;
        let merged = self.with_types(first, both.state(EmitTo::All)?)?;
        if new.is_empty() {
            return Ok(merged);
        }
        let rows = merged.iter().zip(rows_of(&new)?);
        rows.map(|(old, new)| Ok(concat(&[old.as_ref(), new.as_ref()])?)).collect()
    }

    /// Returns the table's first state column of an aggregate.
    fn first_state(&self, number: usize) -> usize {
        self.keys + self.states[..number].iter().sum::<usize>()
    }

    fn gather(&self, first: usize, count: usize, places: &[Place]) -> Result<Vec<ArrayRef>, Error> {
        (first..first + count).map(|column| self.table.gather(column, places)).collect()
    }

    /// Gives arrays the types of the table's columns, from `first` on.
    fn with_types(&self, first: usize, arrays: Vec<ArrayRef>) -> Result<Vec<ArrayRef>, Error> {
        let fields = &self.table.schema().fields()[first..];
        arrays.into_iter().zip(fields).map(|(array, field)| with_type(&array, field.data_type())).collect()
    }

    /// Retracts the old answers of some keys and emits the new ones, if they differ.
    fn answer(&self, changes: &[Update]) -> Result<Option<Delta>, Error> {
        let after: Vec<Place> = changes.iter().map(|change| change.after).collect();
        let before: Vec<Place> = changes.iter().map(|change| change.before).filter(|place| !place.is_none()).collect();
        let keys = self.gather(0, self.keys, &after)?;
        let new = self.evaluate(&after)?;
        if before.is_empty() {
            let columns = [keys, new].concat();
            return Ok(Some(Delta::insertions(batch(&self.schema, columns, after.len())?)));
        }
        let old = self.evaluate(&before)?;
        let old_answers = self.answers.encode(&old, before.len())?;
        let new_answers = self.answers.encode(&new, after.len())?;
        let (mut is_out, mut is_in) = (Vec::with_capacity(before.len()), Vec::with_capacity(after.len()));
        for (row, change) in changes.iter().enumerate() {
            let differs = change.before.is_none() || old_answers.get(is_out.len()) != new_answers.get(row);
            is_in.push(differs);
            if !change.before.is_none() {
                is_out.push(differs);
            }
        }
        let had: BooleanArray = changes.iter().map(|change| Some(!change.before.is_none())).collect();
        let (is_out, is_in) = (BooleanArray::from(is_out), BooleanArray::from(is_in));
        let (out, rows) = (is_out.true_count(), is_out.true_count() + is_in.true_count());
        if rows == 0 {
            return Ok(None);
        }
        let mut columns = Vec::with_capacity(self.schema.fields().len());
        for key in &keys {
            let old_key = filter(&filter(key, &had)?, &is_out)?;
            columns.push(concat(&[old_key.as_ref(), filter(key, &is_in)?.as_ref()])?);
        }
        for (old, new) in old.iter().zip(&new) {
            columns.push(concat(&[filter(old, &is_out)?.as_ref(), filter(new, &is_in)?.as_ref()])?);
        }
        let weights: Int64Array = (0..rows).map(|row| Some(if row < out { -1 } else { 1 })).collect();
        Ok(Some(Delta { rows: batch(&self.schema, columns, rows)?, weights: Some(weights) }))
    }

    /// Evaluates the states at some places.
    fn evaluate(&self, places: &[Place]) -> Result<Vec<ArrayRef>, Error> {
        let groups: Vec<usize> = (0..places.len()).collect();
        let mut first = self.keys;
        let mut answers = Vec::with_capacity(self.states.len());
        for (number, (aggregate, count)) in self.inputs.aggregates().iter().zip(&self.states).enumerate() {
            let mut accumulator = self.inputs.accumulator(aggregate)?;
            accumulator.merge_batch(&self.gather(first, *count, places)?, &groups, groups.len())?;
            let answer = accumulator.evaluate(EmitTo::All)?;
            answers.push(compact::with_type(&answer, self.schema.field(self.keys + number).data_type())?);
            first += count;
        }
        Ok(answers)
    }
}
