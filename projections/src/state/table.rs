//! Rows by key: the newest version of each, found by a hash index.
//!
//! The table is a set of immutable segments. A new version of a row goes into a new segment and the old one is only marked as
//! dead, so that what has to become durable is what is new. Segments are merged as they pile up or die (`merging`).
//!
//! In a table with weights, a row of weight 0 is a tombstone: the key is not there, and the row stays until no segment holds an
//! older version that a restart would bring back.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, new_empty_array};
use arrow::compute::interleave;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use hashbrown::HashTable;

use super::compact;
use super::keys::{KeyEncoder, Keys, spread};
use super::segment::{Place, Segment};
use super::{BatchId, MAX_BATCH_BYTES, MAX_BATCH_ROWS, TableCheckpoint};
use crate::error::Error;

/// What the index holds for each key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub(super) hash: u32,
    pub(super) place: Place,
}

/// A row that differs from what it was when the epoch began.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Change {
    /// The version when the epoch began, or [`Place::NONE`].
    pub(crate) before: Place,
    /// The newest version.
    pub(crate) after: Place,
}

/// Rows by key.
///
/// # Contract
/// - The keys of one call of [`StateTable::upsert`] differ from each other, and the places given with them are those that
///   [`StateTable::find`] gave, with no other change between (unchecked).
/// - A place is valid until the next [`StateTable::end_epoch`]; one of this epoch only until the next upsert (unchecked).
#[derive(Debug)]
pub(crate) struct StateTable {
    name: String,
    schema: SchemaRef,
    /// The first so many columns are the key.
    key_columns: usize,
    /// The column of weights, where there is one.
    pub(super) weight: Option<usize>,
    encoder: KeyEncoder,
    pub(super) segments: Vec<Option<Segment>>,
    free: Vec<usize>,
    /// Slots by the age of their segments. A newer segment's version of a row is the newer one.
    pub(super) order: BTreeMap<BatchId, usize>,
    pub(super) index: HashTable<Entry>,
    next_id: u64,
    /// Rows written in this epoch: what merging may spend follows it.
    pub(super) written: usize,
}

impl StateTable {
    /// # Errors
    /// [`Error::Plan`] where a key column's type has no row encoding.
    pub(crate) fn new(name: String, schema: SchemaRef, key_columns: usize, weight: Option<usize>) -> Result<Self, Error> {
        let encoder = KeyEncoder::new(&schema.fields()[..key_columns])?;
        Ok(Self {
            name,
            schema,
            key_columns,
            weight,
            encoder,
            segments: Vec::new(),
            free: Vec::new(),
            order: BTreeMap::new(),
            index: HashTable::new(),
            next_id: 0,
            written: 0,
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// How many keys there are, tombstones among them.
    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    /// Row-encodes key columns.
    pub(crate) fn encode(&self, key_columns: &[ArrayRef], rows: usize) -> Result<Keys, Error> {
        self.encoder.encode(key_columns, rows)
    }

    /// Where the newest version of each key is; [`Place::NONE`] where there is none.
    pub(crate) fn find(&self, keys: &Keys, hashes: &[u32]) -> Vec<Place> {
        (0..keys.len()).map(|row| self.find_one(keys.get(row), hashes[row])).collect()
    }

    pub(super) fn find_one(&self, key: &[u8], hash: u32) -> Place {
        let same = |entry: &Entry| entry.hash == hash && self.segment(entry.place.slot()).keys.get(entry.place.row()) == key;
        self.index.find(spread(hash), same).map_or(Place::NONE, |entry| entry.place)
    }

    /// The weight of a version; 0 where there is none.
    pub(crate) fn weight_at(&self, place: Place) -> i64 {
        match self.weight {
            Some(column) if !place.is_none() => self.segment(place.slot()).weight(column, place.row()),
            _ => 0,
        }
    }

    /// Column `column` of the rows at some places, none of which is [`Place::NONE`].
    pub(crate) fn gather(&self, column: usize, places: &[Place]) -> Result<ArrayRef, Error> {
        if places.is_empty() {
            return Ok(new_empty_array(self.schema.field(column).data_type()));
        }
        // Only the segments concerned, numbered in the order in which they are met.
        let mut number = vec![u32::MAX; self.segments.len()];
        let mut arrays: Vec<&dyn arrow::array::Array> = Vec::new();
        let mut indices = Vec::with_capacity(places.len());
        for place in places {
            let seen = &mut number[place.slot()];
            if *seen == u32::MAX {
                *seen = arrays.len() as u32;
                arrays.push(self.segment(place.slot()).column(column).as_ref());
            }
            indices.push((*seen as usize, place.row()));
        }
        Ok(interleave(&arrays, &indices)?)
    }

    /// All columns of the rows at some places, in memory of their own.
    pub(super) fn gather_rows(&self, places: &[Place]) -> Result<RecordBatch, Error> {
        let columns: Vec<ArrayRef> = (0..self.schema.fields().len())
            .map(|column| Ok(compact::shed(&self.gather(column, places)?)))
            .collect::<Result<_, Error>>()?;
        let options = arrow::record_batch::RecordBatchOptions::new().with_row_count(Some(places.len()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?)
    }

    /// Makes `columns` the newest versions of `keys`.
    pub(crate) fn upsert(&mut self, columns: &[ArrayRef], keys: &Keys, hashes: &[u32], found: &[Place]) -> Result<(), Error> {
        let rows = keys.len();
        if rows == 0 {
            return Ok(());
        }
        let bytes: usize = columns.iter().map(|column| column.get_buffer_memory_size()).sum::<usize>() / rows + 1;
        let step = (MAX_BATCH_BYTES / bytes).clamp(1, MAX_BATCH_ROWS);
        for (range, columns) in compact::copy_pieces(columns, rows, step)? {
            let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns)?;
            let segment = Segment::new(self.take_id(), batch, keys.range(range.clone()));
            let slot = self.insert(segment)?;
            let mut before = Vec::with_capacity(range.len());
            for (row, at) in range.enumerate() {
                before.push(self.supersede(slot, row, found[at], hashes[at]));
            }
            self.segment_mut(slot).before = Some(before);
        }
        self.written += rows;
        self.tidy(true)
    }

    /// Points the index from the version `old` to the one at `(slot, row)`; gives the version when the epoch began.
    fn supersede(&mut self, slot: usize, row: usize, old: Place, hash: u32) -> Place {
        let place = Place::new(slot, row);
        if old.is_none() {
            self.index.insert_unique(spread(hash), Entry { hash, place }, |entry| spread(entry.hash));
            self.count_older(place, 0);
            return Place::NONE;
        }
        let entry = self.index.find_mut(spread(hash), |entry| entry.place == old);
        assert!(entry.is_some(), "a place that was found is in the index");
        if let Some(entry) = entry {
            entry.place = place;
        }
        let weight = self.weight;
        let superseded = self.segment_mut(old.slot());
        superseded.bury(old.row());
        if weight.is_some_and(|column| superseded.is_spent(column, old.row())) {
            superseded.spent -= 1;
        }
        let before = superseded.before.as_ref().map_or(old, |before| before[old.row()]);
        if weight.is_some() {
            let older = self.segment(old.slot()).older[old.row()].saturating_add(1);
            self.count_older(place, older);
        }
        before
    }

    /// Notes how many older versions there are of the row at a place, the next one of its segment.
    fn count_older(&mut self, place: Place, older: u8) {
        let Some(column) = self.weight else { return };
        let segment = self.segment_mut(place.slot());
        segment.older.push(older);
        segment.spent += usize::from(segment.is_spent(column, place.row()));
    }

    /// Every row written in this epoch, as it was and as it is.
    pub(crate) fn changes(&self) -> Vec<Change> {
        let mut changes = Vec::new();
        for slot in self.order.values() {
            let segment = self.segment(*slot);
            if let Some(before) = &segment.before {
                changes.extend(segment.rows_where(true).map(|row| Change { before: before[row], after: Place::new(*slot, row) }));
            }
        }
        changes
    }

    /// Forgets how rows were when the epoch began, and merges what has piled up.
    pub(crate) fn end_epoch(&mut self) -> Result<(), Error> {
        if self.written == 0 {
            return Ok(());
        }
        for segment in self.segments.iter_mut().flatten() {
            segment.before = None;
        }
        let newest = self.next_id;
        self.tidy(false)?;
        self.written = 0;
        self.keep_ids(newest)
    }

    /// The newest segment keeps the ids of those that left without a successor from being given again after a restart.
    pub(super) fn keep_ids(&mut self, newest: u64) -> Result<(), Error> {
        if self.order.last_key_value().is_some_and(|(id, _)| id.0 + 1 < self.next_id) || (self.order.is_empty() && newest > 0) {
            let empty = RecordBatch::new_empty(Arc::clone(&self.schema));
            let segment = Segment::new(self.take_id(), empty, Keys::collect(std::iter::empty()));
            self.insert(segment)?;
        }
        Ok(())
    }

    /// The places of all rows, oldest segment first.
    pub(crate) fn places(&self) -> Vec<Place> {
        self.order.values().flat_map(|slot| self.segment(*slot).rows_where(true).map(|row| Place::new(*slot, row))).collect()
    }

    /// What has to become durable.
    pub(crate) fn checkpoint(&mut self) -> TableCheckpoint {
        let mut added = Vec::new();
        for (id, slot) in &self.order {
            if let Some(segment) = &mut self.segments[*slot]
                && !segment.persisted
            {
                segment.persisted = true;
                added.push((*id, segment.rows.clone()));
            }
        }
        TableCheckpoint { table: self.name.clone(), added, live: self.order.keys().copied().collect() }
    }

    /// Takes the batches of a checkpoint, in its order. The table is empty.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where a batch has another schema.
    pub(crate) fn restore(&mut self, batches: Vec<(BatchId, RecordBatch)>) -> Result<(), Error> {
        let total: usize = batches.iter().map(|(_, batch)| batch.num_rows()).sum();
        self.index.reserve(total, |entry| spread(entry.hash));
        for (id, batch) in batches {
            let batch = adopt(&self.name, &self.schema, batch)?;
            if id.0 < self.next_id || batch.num_rows() > MAX_BATCH_ROWS {
                return Err(self.corrupt(format!("batch {} is out of order or too large", id.0)));
            }
            let keys = self.encode(&batch.columns()[..self.key_columns], batch.num_rows())?;
            let hashes = keys.hashes();
            let found = self.find(&keys, &hashes);
            let mut segment = Segment::new(id, batch, keys);
            segment.persisted = true;
            let slot = self.insert(segment)?;
            for (row, (old, hash)) in found.into_iter().zip(hashes).enumerate() {
                self.supersede(slot, row, old, hash);
            }
            self.next_id = id.0 + 1;
        }
        Ok(())
    }

    /// Rows and bytes held.
    pub(crate) fn size(&self) -> (u64, u64) {
        let segments: usize = self.segments.iter().flatten().map(|segment| segment.bytes).sum();
        (self.index.len() as u64, (segments + self.index.capacity() * 9 * 8 / 7) as u64)
    }

    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    pub(super) fn corrupt(&self, message: String) -> Error {
        Error::Corrupt { table: self.name.clone(), message }
    }

    pub(super) fn next_id(&self) -> u64 {
        self.next_id
    }

    pub(super) fn take_id(&mut self) -> BatchId {
        let id = BatchId(self.next_id);
        self.next_id += 1;
        id
    }

    pub(super) fn insert(&mut self, segment: Segment) -> Result<usize, Error> {
        let slot = self.free.pop().unwrap_or(self.segments.len());
        if slot >= Place::MAX_SLOTS {
            return Err(Error::Resources(format!("state {} has more than {} batches", self.name, Place::MAX_SLOTS)));
        }
        if slot == self.segments.len() {
            self.segments.push(None);
        }
        self.order.insert(segment.id, slot);
        self.segments[slot] = Some(segment);
        Ok(slot)
    }

    pub(super) fn remove(&mut self, slot: usize) -> Option<Segment> {
        let segment = self.segments[slot].take()?;
        self.order.remove(&segment.id);
        self.free.push(slot);
        Some(segment)
    }

    pub(super) fn segment(&self, slot: usize) -> &Segment {
        let segment = self.segments[slot].as_ref();
        assert!(segment.is_some(), "a place points to a segment that is there");
        segment.unwrap_or_else(|| unreachable!())
    }

    pub(super) fn segment_mut(&mut self, slot: usize) -> &mut Segment {
        let segment = self.segments[slot].as_mut();
        assert!(segment.is_some(), "a place points to a segment that is there");
        segment.unwrap_or_else(|| unreachable!())
    }
}

/// The batch under the table's own schema, when its types are the same.
pub(super) fn adopt(table: &str, schema: &SchemaRef, batch: RecordBatch) -> Result<RecordBatch, Error> {
    let found = batch.schema();
    let same = found.fields().len() == schema.fields().len()
        && found
            .fields()
            .iter()
            .zip(schema.fields())
            .all(|(found, expected)| found.data_type().equals_datatype(expected.data_type()));
    if !same {
        return Err(Error::Corrupt {
            table: table.to_owned(),
            message: format!("a batch has columns {found}, expected {schema}"),
        });
    }
    let rows = batch.num_rows();
    let columns = batch
        .columns()
        .iter()
        .zip(schema.fields())
        .map(|(column, field)| super::compact::with_type(column, field.data_type()))
        .collect::<Result<Vec<_>, Error>>()?;
    let options = arrow::record_batch::RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
        .map_err(|error| Error::Corrupt { table: table.to_owned(), message: error.to_string() })
}
