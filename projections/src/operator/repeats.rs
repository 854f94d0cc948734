//! The row before with the same key, over rows that only arrive, in the order of their positions: what tells a copy from a first event.
//!
//! Of each key the position of its last row is stored. Where only near rows count, positions that are too far behind are evicted, which no
//! answer shows.

use std::collections::HashMap;
use std::future::ready;
use std::sync::Arc;

use alluvium_sql::{KeyedInput, Node};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;

use super::kit::columns::with_type;
use super::kit::rows::{arrivals, batch};
use super::kit::stateful::{Flush, Pending, Stateful};
use crate::delta::Delta;
use crate::error::Error;
use crate::left_out::OnFailure;
use crate::state::keys::Keys;
use crate::state::table::StateTable;
use crate::state::{Place, TableCheckpoint, Tables};

/// Evicts when this share of the distance that counts has gone by: less often costs memory, more often time.
const EVICTIONS: i64 = 4;

/// Finds the row before each.
#[derive(Debug)]
pub(crate) struct Repeats {
    id: usize,
    /// The key, then the position of its last row.
    table: StateTable,
    input: SchemaRef,
    key: Vec<usize>,
    at: usize,
    within: Option<i64>,
    /// The position of the last row, and that of the last row when positions were evicted last.
    newest: i64,
    evicted: i64,
    schema: SchemaRef,
}

impl Repeats {
    pub(crate) fn new(node: &Node, key: &KeyedInput, at: usize, within: Option<i64>) -> Result<Self, Error> {
        let Some(input) = node.inputs.first() else {
            return Err(Error::Bug("repeats have no input".to_owned()));
        };
        let mut fields: Vec<Field> = key.columns.iter().map(|column| input.schema.field(*column).clone()).collect();
        fields.push(Field::new("__at", DataType::Int64, false));
        // Two columns of the input may have one name.
        let fields: Vec<Field> = fields
            .into_iter()
            .enumerate()
            .map(|(index, field)| field.clone().with_name(format!("{index}:{}", field.name())))
            .collect();
        Ok(Self {
            id: node.id,
            table: StateTable::new(format!("n{}-last", node.id), Arc::new(Schema::new(fields)), key.columns.len(), None)?,
            input: Arc::clone(&input.schema),
            key: key.columns.clone(),
            at,
            within,
            newest: i64::MIN,
            evicted: i64::MIN,
            schema: Arc::clone(&node.schema),
        })
    }

    /// The rows that arrived, each with the position of the row before it.
    fn changes(&mut self, arrived: Vec<Delta>) -> Result<Vec<Delta>, Error> {
        if arrived.is_empty() {
            return Ok(Vec::new());
        }
        let rows = arrivals(arrived, &self.input)?;
        let fields = self.table.schema().fields();
        let columns: Vec<ArrayRef> = self
            .key
            .iter()
            .zip(fields)
            .map(|(column, field)| with_type(rows.column(*column), field.data_type()))
            .collect::<Result<_, _>>()?;
        let keys = self.table.encode(&columns, rows.num_rows())?;
        let hashes = keys.hashes();
        let found = self.table.find(&keys, &hashes);
        let positions = rows.column(self.at).as_primitive::<Int64Type>().clone();
        let before = self.before(&keys, &found, &positions)?;
        self.keep(&columns, &positions, &keys, &hashes, &found)?;
        let width = self.schema.fields().len() - 1;
        let mut given: Vec<ArrayRef> = rows.columns()[..width].to_vec();
        given.push(Arc::new(before));
        Ok(vec![Delta::insertions(batch(&self.schema, given, rows.num_rows())?)])
    }

    /// The position of the row before each, where it is near enough.
    fn before(&self, keys: &Keys, found: &[Place], positions: &Int64Array) -> Result<Int64Array, Error> {
        let stored: Vec<Place> = found.iter().copied().filter(|place| !place.is_none()).collect();
        let stored = self.table.gather(self.key.len(), &stored)?;
        let mut stored = stored.as_primitive::<Int64Type>().values().iter();
        let mut last: HashMap<&[u8], i64> = HashMap::with_capacity(keys.len());
        let mut before = Vec::with_capacity(keys.len());
        for (row, place) in found.iter().enumerate() {
            let known = if place.is_none() { None } else { stored.next().copied() };
            let at = positions.value(row);
            let previous = last.insert(keys.get(row), at).or(known);
            let near = |previous: &i64| self.within.is_none_or(|within| at.saturating_sub(*previous) <= within);
            before.push(previous.filter(near));
        }
        Ok(Int64Array::from(before))
    }

    /// Stores the last position of each key, and evicts those that are too far behind.
    fn keep(
        &mut self,
        columns: &[ArrayRef],
        positions: &Int64Array,
        keys: &Keys,
        hashes: &[u32],
        found: &[Place],
    ) -> Result<(), Error> {
        let mut last: HashMap<&[u8], u32> = HashMap::with_capacity(keys.len());
        for row in 0..keys.len() {
            last.insert(keys.get(row), row as u32);
        }
        let mut rows: Vec<u32> = last.into_values().collect();
        rows.sort_unstable();
        let taken = UInt32Array::from(rows.clone());
        let positions: &dyn Array = positions;
        let all = columns.iter().map(AsRef::as_ref).chain([positions]);
        let kept: Vec<ArrayRef> = all.map(|column| take(column, &taken, None)).collect::<Result<_, _>>()?;
        let of_rows = |row: &u32| *row as usize;
        let kept_keys = Keys::collect(rows.iter().map(|row| keys.get(*row as usize)));
        let kept_hashes: Vec<u32> = rows.iter().map(of_rows).map(|row| hashes[row]).collect();
        let kept_found: Vec<Place> = rows.iter().map(of_rows).map(|row| found[row]).collect();
        self.table.upsert(&kept, &kept_keys, &kept_hashes, &kept_found)?;
        self.table.end_epoch()?;
        self.newest = self.newest.max(newest_of(&kept[self.key.len()]));
        let Some(within) = self.within else { return Ok(()) };
        if self.newest.saturating_sub(self.evicted) <= within / EVICTIONS {
            return Ok(());
        }
        let (bound, at) = (self.newest.saturating_sub(within), self.key.len());
        self.table.evict(|rows: &RecordBatch| {
            let positions = rows.column(at).as_primitive::<Int64Type>().values();
            Ok(positions.iter().map(|position| Some(*position < bound)).collect::<BooleanArray>())
        })?;
        self.evicted = self.newest;
        Ok(())
    }
}

fn newest_of(positions: &ArrayRef) -> i64 {
    positions.as_primitive::<Int64Type>().values().iter().copied().max().unwrap_or(i64::MIN)
}

impl Stateful for Repeats {
    type Prepared = Delta;

    fn prepare(&self, _input: usize, delta: Delta) -> Result<Delta, Error> {
        Ok(delta)
    }

    fn flush<'a>(&'a mut self, pending: Pending<Delta>, _failing: OnFailure<'a>) -> Flush<'a> {
        Box::pin(ready(self.changes(pending.into_iter().flatten().collect())))
    }

    fn checkpoint(&mut self, tables: &mut Vec<TableCheckpoint>) {
        tables.push(self.table.checkpoint());
    }

    fn restore(&mut self, tables: &mut Tables) -> Result<(), Error> {
        self.table.restore(tables.take(&format!("n{}-last", self.id))?)?;
        let places = self.table.places();
        self.newest = newest_of(&self.table.gather(self.key.len(), &places)?);
        self.evicted = self.newest;
        Ok(())
    }

    fn size(&self) -> (u64, u64) {
        self.table.size()
    }
}
