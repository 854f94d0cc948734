//! The segments of a table: their slots, ids, order, rows and checkpoints.
//!
//! A segment is one immutable batch. What its table also knows about the rows (keys, buckets, weights) stays in memory, in the segment's
//! index `X`. The rows themselves are in a [`SegmentStore`].

mod store;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, new_empty_array};
use arrow::compute::interleave;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};

use self::store::{InMemory, SegmentStore};
use super::merging::Size;
use super::place::Place;
use super::{BatchId, MAX_BATCH_BYTES, MAX_BATCH_ROWS, TableCheckpoint, compact};
use crate::error::Error;

/// One immutable batch, and which of its rows are live.
#[derive(Debug)]
pub(crate) struct Segment<X> {
    id: BatchId,
    /// What the table knows about the rows.
    pub(crate) index: X,
    len: usize,
    live: usize,
    /// A bit for each row, set if it is removed. Empty while none is.
    dead: Vec<u64>,
    bytes: usize,
    /// The rows, until a checkpoint has returned them.
    unsaved: Option<RecordBatch>,
}

impl<X> Segment<X> {
    pub(crate) fn id(&self) -> BatchId {
        self.id
    }

    /// Returns the number of rows, including the dead ones.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn live(&self) -> usize {
        self.live
    }

    pub(crate) fn dead(&self) -> usize {
        self.len - self.live
    }

    /// Returns the bytes of the rows and of the index.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn is_live(&self, row: usize) -> bool {
        self.dead.get(row / 64).is_none_or(|bits| bits >> (row % 64) & 1 == 0)
    }

    /// Marks a row as dead.
    pub(crate) fn remove(&mut self, row: usize) {
        assert!(self.is_live(row), "a row is removed once");
        if self.dead.is_empty() {
            self.dead = vec![0; self.len.div_ceil(64)];
        }
        self.dead[row / 64] |= 1 << (row % 64);
        self.live -= 1;
    }

    pub(crate) fn live_rows(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.len).filter(|row| self.is_live(*row))
    }

    pub(crate) fn dead_rows(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.len).filter(|row| !self.is_live(*row))
    }

    /// Returns what a merge of this segment would write and drop.
    pub(crate) fn size(&self) -> Size {
        let bytes = self.bytes / self.len.max(1) * self.live;
        Size { rows: self.live, bytes, garbage: self.dead(), len: self.len }
    }
}

/// The segments of a table, in an order that its checkpoints keep.
///
/// # Contract
/// - Each new segment has a higher id than all before it. No id is used again, not even after a restart from a checkpoint that was taken
///   directly after [`Segments::keep_ids`] (checked by `state/tests.rs`).
/// - A place is valid until its segment is removed (unchecked).
#[derive(Debug)]
pub(crate) struct Segments<X, S = InMemory> {
    name: String,
    schema: SchemaRef,
    slots: Vec<Option<Segment<X>>>,
    free: Vec<usize>,
    /// Slots in the order of the segments.
    order: Vec<usize>,
    next_id: u64,
    store: S,
}

impl<X, S: SegmentStore> Segments<X, S> {
    pub(crate) fn new(name: String, schema: SchemaRef) -> Self {
        Self { name, schema, slots: Vec::new(), free: Vec::new(), order: Vec::new(), next_id: 0, store: S::default() }
    }

    /// Returns the name of the table.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Returns the schema of the rows as they are stored.
    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Returns the slots in the order of the segments.
    pub(crate) fn order(&self) -> &[usize] {
        &self.order
    }

    /// Iterates over all segments, in no particular order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Segment<X>> {
        self.slots.iter().flatten()
    }

    /// Iterates over all segments, in no particular order.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Segment<X>> {
        self.slots.iter_mut().flatten()
    }

    /// Returns the segment of a slot.
    pub(crate) fn get(&self, slot: usize) -> &Segment<X> {
        let segment = self.slots[slot].as_ref();
        assert!(segment.is_some(), "a place points to a segment that is there");
        segment.unwrap_or_else(|| unreachable!())
    }

    /// Returns the segment of a slot.
    pub(crate) fn get_mut(&mut self, slot: usize) -> &mut Segment<X> {
        let segment = self.slots[slot].as_mut();
        assert!(segment.is_some(), "a place points to a segment that is there");
        segment.unwrap_or_else(|| unreachable!())
    }

    /// Returns the segment at a position of the order.
    pub(crate) fn at(&self, position: usize) -> &Segment<X> {
        self.get(self.order[position])
    }

    /// Returns the places of the live rows of some slots.
    pub(crate) fn live_places(&self, slots: &[usize]) -> Vec<Place> {
        let mut places = Vec::with_capacity(slots.iter().map(|slot| self.get(*slot).live).sum());
        for slot in slots {
            let segment = self.get(*slot);
            if segment.dead.is_empty() {
                places.extend((0..segment.len).map(|row| Place::new(*slot, row)));
            } else {
                places.extend(segment.live_rows().map(|row| Place::new(*slot, row)));
            }
        }
        places
    }

    /// Gathers column `column` of the rows at some places, none of which may be [`Place::NONE`].
    pub(crate) fn column(&self, column: usize, places: &[Place]) -> Result<ArrayRef, Error> {
        let mut columns = self.columns(std::iter::once(column), places)?;
        columns.pop().ok_or_else(|| Error::Bug("gathering a column returned none".to_owned()))
    }

    /// Gathers some columns of the rows at some places, none of which may be [`Place::NONE`].
    pub(crate) fn columns(&self, columns: impl Iterator<Item = usize>, places: &[Place]) -> Result<Vec<ArrayRef>, Error> {
        if places.is_empty() {
            return Ok(columns.map(|column| new_empty_array(self.schema.field(column).data_type())).collect());
        }
        // Numbers only the segments concerned, in the order in which they first occur.
        let mut number = vec![u32::MAX; self.slots.len()];
        let mut slots: Vec<usize> = Vec::new();
        let mut indices = Vec::with_capacity(places.len());
        for place in places {
            let seen = &mut number[place.slot()];
            if *seen == u32::MAX {
                *seen = slots.len() as u32;
                slots.push(place.slot());
            }
            indices.push((*seen as usize, place.row()));
        }
        columns
            .map(|column| {
                let arrays = slots.iter().map(|slot| self.store.column(*slot, column)).collect::<Result<Vec<_>, _>>()?;
                let arrays: Vec<&dyn Array> = arrays.iter().map(|array| array.as_ref()).collect();
                Ok(interleave(&arrays, &indices)?)
            })
            .collect()
    }

    /// Returns all rows of a slot, including the dead ones.
    pub(crate) fn rows(&self, slot: usize) -> Result<RecordBatch, Error> {
        self.store.rows(slot)
    }

    /// Copies the rows at some places to memory of their own.
    pub(crate) fn copy(&self, places: &[Place]) -> Result<RecordBatch, Error> {
        let columns = self.columns(0..self.schema.fields().len(), places)?;
        self.batch(columns.iter().map(compact::shed).collect(), places.len())
    }

    /// Copies rows in pieces that fit in a segment, each to memory of its own.
    pub(crate) fn pieces(&self, columns: &[ArrayRef], rows: usize) -> Result<Vec<(Range<usize>, RecordBatch)>, Error> {
        let bytes: usize = columns.iter().map(|column| column.get_buffer_memory_size()).sum::<usize>() / rows.max(1) + 1;
        let step = (MAX_BATCH_BYTES / bytes).clamp(1, MAX_BATCH_ROWS);
        let pieces = compact::copy_pieces(columns, rows, step)?.into_iter();
        pieces.map(|(range, columns)| Ok((range.clone(), self.batch(columns, range.len())?))).collect()
    }

    fn batch(&self, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch, Error> {
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?)
    }

    /// Adds a segment at a position of the order, by default the end, and returns its slot. `index_bytes` is the size of the index.
    ///
    /// # Errors
    /// [`Error::Resources`] if there are too many segments.
    pub(crate) fn insert(
        &mut self,
        rows: RecordBatch,
        index: X,
        index_bytes: usize,
        position: Option<usize>,
    ) -> Result<usize, Error> {
        let id = BatchId(self.next_id);
        let slot = self.put(id, rows.clone(), index, index_bytes, position)?;
        self.get_mut(slot).unsaved = Some(rows);
        Ok(slot)
    }

    fn put(
        &mut self,
        id: BatchId,
        rows: RecordBatch,
        index: X,
        index_bytes: usize,
        position: Option<usize>,
    ) -> Result<usize, Error> {
        let len = rows.num_rows();
        assert!(len <= MAX_BATCH_ROWS, "a segment has at most {MAX_BATCH_ROWS} rows");
        let slot = self.free.pop().unwrap_or(self.slots.len());
        if slot >= Place::MAX_SLOTS {
            return Err(Error::Resources(format!("state {} has more than {} batches", self.name, Place::MAX_SLOTS)));
        }
        if slot == self.slots.len() {
            self.slots.push(None);
        }
        self.next_id = self.next_id.max(id.0 + 1);
        self.order.insert(position.unwrap_or(self.order.len()), slot);
        let bytes = compact::bytes(&rows) + index_bytes;
        self.slots[slot] = Some(Segment { id, index, len, live: len, dead: Vec::new(), bytes, unsaved: None });
        self.store.put(slot, rows);
        Ok(slot)
    }

    /// Removes segments.
    pub(crate) fn remove(&mut self, slots: &[usize]) {
        if slots.is_empty() {
            return;
        }
        for slot in slots {
            self.slots[*slot] = None;
            self.store.remove(*slot);
            self.free.push(*slot);
        }
        let slots_of = &self.slots;
        self.order.retain(|slot| slots_of[*slot].is_some());
    }

    /// Makes sure that no id is used again after a restart: if the newest segments were removed, adds an empty one with a new id.
    ///
    /// # Errors
    /// As [`Segments::insert`].
    pub(crate) fn keep_ids(&mut self) -> Result<(), Error>
    where
        X: Default,
    {
        if self.iter().map(|segment| segment.id.0 + 1).max().unwrap_or(0) < self.next_id {
            self.insert(RecordBatch::new_empty(Arc::clone(&self.schema)), X::default(), 0, None)?;
        }
        Ok(())
    }

    /// Returns what must become durable.
    pub(crate) fn checkpoint(&mut self) -> TableCheckpoint {
        let (mut added, mut live) = (Vec::new(), Vec::with_capacity(self.order.len()));
        for slot in &self.order {
            if let Some(segment) = &mut self.slots[*slot] {
                live.push(segment.id);
                added.extend(segment.unsaved.take().map(|rows| (segment.id, rows)));
            }
        }
        TableCheckpoint { table: self.name.clone(), added, live }
    }

    /// Checks a batch of a checkpoint and gives it the table's own schema.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if it has other columns or too many rows.
    pub(crate) fn adopt(&self, id: BatchId, batch: RecordBatch) -> Result<RecordBatch, Error> {
        if batch.num_rows() > MAX_BATCH_ROWS {
            return Err(self.corrupt(format!("batch {} is too large", id.0)));
        }
        let found = batch.schema();
        let same = found.fields().len() == self.schema.fields().len()
            && found
                .fields()
                .iter()
                .zip(self.schema.fields())
                .all(|(found, expected)| found.data_type().equals_datatype(expected.data_type()));
        if !same {
            return Err(self.corrupt(format!("a batch has columns {found}, expected {}", self.schema)));
        }
        let columns = batch.columns().iter().zip(self.schema.fields());
        let columns = columns.map(|(column, field)| compact::with_type(column, field.data_type()));
        self.batch(columns.collect::<Result<_, _>>()?, batch.num_rows()).map_err(|error| self.corrupt(error.to_string()))
    }

    /// Checks whether an id is above those of all segments so far.
    pub(crate) fn rises(&self, id: BatchId) -> bool {
        id.0 >= self.next_id
    }

    /// Adds an adopted batch of a checkpoint at the end.
    pub(crate) fn restore(&mut self, id: BatchId, rows: RecordBatch, index: X, index_bytes: usize) -> Result<usize, Error> {
        self.put(id, rows, index, index_bytes, None)
    }

    /// Creates an [`Error::Corrupt`] that names the table.
    pub(crate) fn corrupt(&self, message: String) -> Error {
        Error::Corrupt { table: self.name.clone(), message }
    }
}
