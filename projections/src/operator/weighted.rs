//! Counts, exact sums and averages of them, and DISTINCT, over input that takes rows back: each group keeps how many rows it has
//! and its sums, and a change adds to them or takes from them.
//!
//! Sums wrap around as DataFusion's do, so that what was added can be taken out again whatever came in between. Answers are
//! DataFusion's own: its accumulators are given the sums and counts as their states.

mod sums;

use std::future::ready;
use std::sync::Arc;

use alluvium_sql::Node;
use arrow::array::{Array, ArrayRef, AsArray, Int64Array, UInt32Array};
use arrow::compute::{cast, concat, interleave, take};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use datafusion::logical_expr::{EmitTo, LogicalPlan};
use datafusion::physical_expr::GroupsAccumulatorAdapter;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use self::sums::{Measure, Sums};
use super::expiry::Expired;
use super::linear::batch;
use super::merge::first_stage;
use super::merge::partial::{Arguments, Inputs};
use super::{Flush, Stateful};
use crate::consolidate::net;
use crate::delta::Delta;
use crate::error::Error;
use crate::physical::{self, Effort};
use crate::state::keys::{KeyEncoder, Keys, spread};
use crate::state::table::{Change, StateTable};
use crate::state::{MAX_BATCH_ROWS, Place, TableCheckpoint, Tables, compact};

/// Rows whose keys an epoch holds before its sums go into the table.
const MAX_EPOCH_ROWS: usize = 512 * 1024;

/// Runs an aggregate by adding and taking out.
pub(crate) struct Weighted {
    id: usize,
    inputs: Inputs,
    measures: Vec<Measure>,
    /// Key columns, then the number of rows, then for each aggregate how many values it has and, where it has one, their sum.
    table: StateTable,
    keys: usize,
    epoch: Epoch,
    answers: KeyEncoder,
    schema: SchemaRef,
    staged: Vec<(Arguments, Option<Int64Array>)>,
    /// Whether the answer to no rows at all was given, where there is no GROUP BY.
    begun: bool,
}

impl std::fmt::Debug for Weighted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Weighted").field("id", &self.id).field("table", &self.table).finish_non_exhaustive()
    }
}

/// What an epoch adds to each group.
#[derive(Default)]
struct Epoch {
    groups: HashTable<u32>,
    /// Of each group: where its key is first met.
    first: Vec<(usize, usize)>,
    hashes: Vec<u32>,
    rows: Vec<i64>,
    sums: Vec<Sums>,
    /// The key columns of each batch, and their encoding.
    batches: Vec<(Vec<ArrayRef>, Keys)>,
    held: usize,
}

impl Weighted {
    pub(crate) async fn new(node: &Node, plan: &LogicalPlan) -> Result<Self, Error> {
        let Some(input) = node.inputs.first() else {
            return Err(Error::Bug("an aggregate has no input".to_owned()));
        };
        let planned = physical::plan(plan, &[Arc::clone(&input.schema)], Effort::AsWritten).await?;
        let inputs = Inputs::new(first_stage(&planned.plan)?)?;
        let mut fields: Vec<Field> = inputs.key_schema().fields().iter().map(|field| super::merge::bare(field, "")).collect();
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
            staged: Vec::new(),
            begun: false,
        })
    }

    /// What the epoch changes in the answer.
    fn changes(&mut self) -> Result<Vec<Delta>, Error> {
        self.drain()?;
        let mut deltas = Vec::new();
        let changes = self.table.changes();
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
        let change = net(&self.schema, &self.answers, &deltas)?;
        Ok(if change.weights.is_empty() { Vec::new() } else { vec![change.into_delta()] })
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
            return Err(Error::Bug("a group has less than no rows".to_owned()));
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

    /// Columns of the table at some places; nothing counted and nothing summed where there is none.
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

    /// The answers that some keys had, taken out, and those that they have.
    fn answer(&self, changes: &[Change], deltas: &mut Vec<Delta>) -> Result<(), Error> {
        let global = self.inputs.is_global();
        let there = |place: Place| global || self.table.weight_at(place) > 0;
        let had: Vec<&Change> = changes.iter().filter(|change| there(change.before)).collect();
        let has: Vec<&Change> = changes.iter().filter(|change| there(change.after)).collect();
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

    /// The aggregates of the states at some places.
    fn evaluate(&self, places: &[Place]) -> Result<Vec<ArrayRef>, Error> {
        let groups: Vec<usize> = (0..places.len()).collect();
        let mut column = self.keys + 1;
        let mut answers = Vec::with_capacity(self.measures.len());
        for (measure, aggregate) in self.measures.iter().zip(self.inputs.aggregates()) {
            let width = 1 + usize::from(measure.stored().is_some());
            let stored = self.states(column, width, places)?;
            let mut accumulator = accumulator(aggregate)?;
            let states = measure.states(&stored, aggregate)?;
            accumulator.merge_batch(&states, &groups, groups.len())?;
            answers.push(accumulator.evaluate(EmitTo::All)?);
            column += width;
        }
        Ok(answers)
    }
}

impl Stateful for Weighted {
    fn stage(&mut self, _input: usize, delta: Delta) -> Result<(), Error> {
        self.staged.push((self.inputs.evaluate(&delta.rows)?, delta.weights.clone()));
        Ok(())
    }

    fn unstage(&mut self) {
        self.staged.clear();
    }

    fn absorb(&mut self) -> Result<(), Error> {
        for (arguments, weights) in std::mem::take(&mut self.staged) {
            let rows = arguments.rows();
            let keys = arguments.keys().first().cloned().unwrap_or_default();
            let keys = self.table_keys(keys)?;
            let encoded = self.table.encode(&keys, rows)?;
            let weight = |row: usize| weights.as_ref().map_or(1, |weights| weights.value(row));
            let groups = self.epoch.intern(keys, encoded, rows, self.measures.len());
            for (row, group) in groups.iter().enumerate() {
                self.epoch.rows[*group as usize] += weight(row);
            }
            for (number, measure) in self.measures.iter().enumerate() {
                let (values, filter) = arguments.of(number);
                self.epoch.sums[number].add(measure, values, filter, &groups, weight)?;
            }
            if self.epoch.held > MAX_EPOCH_ROWS {
                self.drain()?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Flush<'_> {
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

impl Epoch {
    /// The group of each row.
    fn intern(&mut self, columns: Vec<ArrayRef>, keys: Keys, rows: usize, measures: usize) -> Vec<u32> {
        let hashes = keys.hashes();
        let number = self.batches.len();
        self.batches.push((columns, keys));
        self.held += rows;
        let mut groups = Vec::with_capacity(rows);
        for (row, hash) in hashes.into_iter().enumerate() {
            let (batches, first, known) = (&self.batches, &self.first, &self.hashes);
            let key = batches[number].1.get(row);
            let same = |group: &u32| {
                let (batch, row) = first[*group as usize];
                known[*group as usize] == hash && batches[batch].1.get(row) == key
            };
            let group = match self.groups.entry(spread(hash), same, |group| spread(known[*group as usize])) {
                Entry::Occupied(group) => *group.get(),
                Entry::Vacant(vacant) => {
                    let group = first.len() as u32;
                    vacant.insert(group);
                    self.first.push((number, row));
                    self.hashes.push(hash);
                    self.rows.push(0);
                    group
                }
            };
            groups.push(group);
        }
        self.sums.resize_with(measures, Sums::default);
        self.sums.iter_mut().for_each(|sums| sums.grow(self.first.len()));
        groups
    }
}

/// An accumulator for any number of groups.
fn accumulator(aggregate: &Arc<AggregateFunctionExpr>) -> Result<Box<dyn datafusion::logical_expr::GroupsAccumulator>, Error> {
    if aggregate.groups_accumulator_supported() {
        return Ok(aggregate.create_groups_accumulator()?);
    }
    let aggregate = Arc::clone(aggregate);
    Ok(Box::new(GroupsAccumulatorAdapter::new(move || aggregate.create_accumulator())))
}

/// The array as another type that is the same but for names, or that it is cast to.
fn with_type(array: &ArrayRef, wanted: &DataType) -> Result<ArrayRef, Error> {
    if array.data_type() == wanted {
        Ok(Arc::clone(array))
    } else if array.data_type().equals_datatype(wanted) {
        compact::with_type(array, wanted)
    } else {
        Ok(cast(array, wanted)?)
    }
}

/// The values of a column of counts.
fn counts(array: &ArrayRef) -> &[i64] {
    array.as_primitive::<Int64Type>().values()
}
