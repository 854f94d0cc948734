//! Rows by key: the newest version of each, found by a hash index.
//!
//! A new version of a row goes into a new segment, and the old one is only marked as dead, so that no more has to become durable than
//! what is new. Segments are merged as they pile up or die (`merging`).
//!
//! In a table with weights, a row of weight 0 is a tombstone: the key is not there, and the row stays until no segment holds an
//! older version that a restart would bring back.

mod merging;
mod versions;

use arrow::array::{ArrayRef, BooleanArray};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use hashbrown::HashTable;

use self::versions::Versions;
use super::keys::{KeyEncoder, Keys, hash, spread};
use super::place::Place;
use super::segments::Segments;
use super::{BatchId, TableCheckpoint};
use crate::error::Error;

/// What the index holds for each key.
#[derive(Debug, Clone, Copy)]
struct Entry {
    hash: u32,
    place: Place,
}

/// A row that was written in this epoch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Update {
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
    /// The first so many columns are the key.
    key_columns: usize,
    /// The column of weights, where there is one.
    weight: Option<usize>,
    encoder: KeyEncoder,
    /// By age: a newer segment's version of a row is the newer one.
    segments: Segments<Versions>,
    index: HashTable<Entry>,
    /// Rows written in this epoch: what merging may spend follows it.
    written: usize,
}

impl StateTable {
    /// # Errors
    /// [`Error::Plan`] where a key column's type has no row encoding.
    pub(crate) fn new(name: String, schema: SchemaRef, key_columns: usize, weight: Option<usize>) -> Result<Self, Error> {
        let encoder = KeyEncoder::new(&schema.fields()[..key_columns])?;
        let segments = Segments::new(name, schema);
        Ok(Self { key_columns, weight, encoder, segments, index: HashTable::new(), written: 0 })
    }

    pub(crate) fn name(&self) -> &str {
        self.segments.name()
    }

    pub(crate) fn schema(&self) -> &SchemaRef {
        self.segments.schema()
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

    fn find_one(&self, key: &[u8], hash: u32) -> Place {
        let same = |entry: &Entry| entry.hash == hash && self.key(entry.place) == key;
        self.index.find(spread(hash), same).map_or(Place::NONE, |entry| entry.place)
    }

    fn key(&self, place: Place) -> &[u8] {
        self.segments.get(place.slot()).index.keys.get(place.row())
    }

    /// The weight of a version; 0 where there is none.
    pub(crate) fn weight_at(&self, place: Place) -> i64 {
        if place.is_none() { 0 } else { self.segments.get(place.slot()).index.weight(place.row()) }
    }

    /// Column `column` of the rows at some places, none of which is [`Place::NONE`].
    pub(crate) fn gather(&self, column: usize, places: &[Place]) -> Result<ArrayRef, Error> {
        self.segments.column(column, places)
    }

    /// The places of all rows, oldest segment first.
    pub(crate) fn places(&self) -> Vec<Place> {
        self.segments.live_places(self.segments.order())
    }

    /// Makes `columns` the newest versions of `keys`.
    pub(crate) fn upsert(&mut self, columns: &[ArrayRef], keys: &Keys, hashes: &[u32], found: &[Place]) -> Result<(), Error> {
        let rows = keys.len();
        if rows == 0 {
            return Ok(());
        }
        for (range, piece) in self.segments.pieces(columns, rows)? {
            let slot = self.add(piece, keys.range(range.clone()))?;
            let before = range.enumerate().map(|(row, at)| self.supersede(slot, row, found[at], hashes[at]));
            let before = before.collect();
            self.segments.get_mut(slot).index.before = Some(before);
        }
        self.written += rows;
        self.merge_in_epoch()
    }

    /// Makes a segment at the end, whose rows are not in the index yet.
    fn add(&mut self, rows: RecordBatch, keys: Keys) -> Result<usize, Error> {
        let versions = Versions::new(keys, &rows, self.weight);
        let bytes = versions.bytes();
        self.segments.insert(rows, versions, bytes, None)
    }

    /// Points the index from the version `old` to the one at `(slot, row)`; gives the version when the epoch began.
    fn supersede(&mut self, slot: usize, row: usize, old: Place, hash: u32) -> Place {
        let place = Place::new(slot, row);
        if old.is_none() {
            self.index.insert_unique(spread(hash), Entry { hash, place }, |entry| spread(entry.hash));
            self.segments.get_mut(slot).index.count_older(row, 0);
            return Place::NONE;
        }
        self.repoint(hash, old, place);
        let superseded = self.segments.get_mut(old.slot());
        superseded.remove(old.row());
        superseded.index.no_longer_spent(old.row());
        let before = superseded.index.before.as_ref().map_or(old, |before| before[old.row()]);
        let older = superseded.index.older(old.row()).saturating_add(1);
        self.segments.get_mut(slot).index.count_older(row, older);
        before
    }

    /// The index finds the row at `old` at `new` from now on.
    fn repoint(&mut self, hash: u32, old: Place, new: Place) {
        let entry = self.index.find_mut(spread(hash), |entry| entry.place == old);
        assert!(entry.is_some(), "a live row is in the index");
        if let Some(entry) = entry {
            entry.place = new;
        }
    }

    /// Takes a row out of the index.
    fn unindex(&mut self, place: Place) {
        let hash = hash(self.key(place));
        if let Ok(entry) = self.index.find_entry(spread(hash), |entry| entry.place == place) {
            entry.remove();
        }
    }

    /// Every row written in this epoch, as it was and as it is.
    pub(crate) fn updates(&self) -> Vec<Update> {
        let mut updates = Vec::new();
        for slot in self.segments.order() {
            let segment = self.segments.get(*slot);
            if let Some(before) = &segment.index.before {
                let of_segment = segment.live_rows().map(|row| Update { before: before[row], after: Place::new(*slot, row) });
                updates.extend(of_segment);
            }
        }
        updates
    }

    /// Ends an epoch: from now on updates count from here. Merges segments.
    pub(crate) fn end_epoch(&mut self) -> Result<(), Error> {
        if self.written == 0 {
            return Ok(());
        }
        self.segments.iter_mut().for_each(|segment| segment.index.before = None);
        self.merge_between_epochs()?;
        self.written = 0;
        self.segments.keep_ids()
    }

    /// Evicts every row, in all its versions, that `expired` names by its key. Between epochs.
    pub(crate) fn evict(&mut self, expired: impl Fn(&RecordBatch) -> Result<BooleanArray, Error>) -> Result<(), Error> {
        let mut touched = Vec::new();
        for slot in self.segments.order() {
            let rows: Vec<usize> = expired(&self.segments.rows(*slot)?)?.values().set_indices().collect();
            if !rows.is_empty() {
                touched.push((*slot, rows));
            }
        }
        touched.iter().for_each(|(slot, _)| self.discount_versions(*slot));
        for (slot, rows) in &touched {
            for row in rows {
                if self.segments.get(*slot).is_live(*row) {
                    self.unindex(Place::new(*slot, *row));
                    self.segments.get_mut(*slot).remove(*row);
                }
            }
        }
        for (slot, _) in touched {
            self.write_live(&[slot])?;
        }
        self.segments.keep_ids()
    }

    /// What has to become durable.
    pub(crate) fn checkpoint(&mut self) -> TableCheckpoint {
        self.segments.checkpoint()
    }

    /// Takes the batches of a checkpoint, in its order. The table is empty.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where a batch has another schema.
    pub(crate) fn restore(&mut self, batches: Vec<(BatchId, RecordBatch)>) -> Result<(), Error> {
        let total: usize = batches.iter().map(|(_, batch)| batch.num_rows()).sum();
        self.index.reserve(total, |entry| spread(entry.hash));
        for (id, batch) in batches {
            let batch = self.segments.adopt(id, batch)?;
            if !self.segments.rises(id) {
                return Err(self.segments.corrupt(format!("batch {} is out of order", id.0)));
            }
            let keys = self.encode(&batch.columns()[..self.key_columns], batch.num_rows())?;
            let hashes = keys.hashes();
            let found = self.find(&keys, &hashes);
            let versions = Versions::new(keys, &batch, self.weight);
            let bytes = versions.bytes();
            let slot = self.segments.restore(id, batch, versions, bytes)?;
            for (row, (old, hash)) in found.into_iter().zip(hashes).enumerate() {
                self.supersede(slot, row, old, hash);
            }
        }
        Ok(())
    }

    /// Rows and bytes held.
    pub(crate) fn size(&self) -> (u64, u64) {
        let segments: usize = self.segments.iter().map(|segment| segment.bytes()).sum();
        (self.index.len() as u64, (segments + self.index.capacity() * 9 * 8 / 7) as u64)
    }
}
