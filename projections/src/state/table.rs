//! Rows by key: a hash index finds the newest version of each.
//!
//! A new version of a row goes into a new segment, and the old one is only marked as dead. So a checkpoint writes only what is new.
//! Segments are merged as they pile up or die (`merging`).
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
/// - The keys of one call of [`StateTable::upsert`] are distinct, and the places passed with them are those that [`StateTable::find`]
///   returned, with no other change in between (unchecked).
/// - A place is valid until the next [`StateTable::end_epoch`]. The place of a row that was written in this epoch is valid only until
///   the next upsert (unchecked).
#[derive(Debug)]
pub(crate) struct StateTable {
    /// How many leading columns form the key.
    key_columns: usize,
    /// The column of weights, if there is one.
    weight: Option<usize>,
    encoder: KeyEncoder,
    /// From old to new: a later segment has the newer version of a row.
    segments: Segments<Versions>,
    index: HashTable<Entry>,
    /// The number of rows written in this epoch, which sets the budget for merges.
    written: usize,
}

impl StateTable {
    /// Creates an empty table.
    ///
    /// # Errors
    /// [`Error::Plan`] if a key column's type has no row encoding.
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

    /// Returns the number of keys, including tombstones.
    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    /// Row-encodes key columns.
    pub(crate) fn encode(&self, key_columns: &[ArrayRef], rows: usize) -> Result<Keys, Error> {
        self.encoder.encode(key_columns, rows)
    }

    /// Finds the place of the newest version of each key, [`Place::NONE`] if there is none.
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

    /// Returns the weight of a version, 0 for [`Place::NONE`].
    pub(crate) fn weight_at(&self, place: Place) -> i64 {
        if place.is_none() { 0 } else { self.segments.get(place.slot()).index.weight(place.row()) }
    }

    /// Gathers column `column` of the rows at some places, none of which may be [`Place::NONE`].
    pub(crate) fn gather(&self, column: usize, places: &[Place]) -> Result<ArrayRef, Error> {
        self.segments.column(column, places)
    }

    /// Returns the places of all rows, oldest segment first.
    pub(crate) fn places(&self) -> Vec<Place> {
        self.segments.live_places(self.segments.order())
    }

    /// Writes `columns` as the newest versions of `keys`.
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

    /// Adds a segment at the end. Its rows are not in the index yet.
    fn add(&mut self, rows: RecordBatch, keys: Keys) -> Result<usize, Error> {
        let versions = Versions::new(keys, &rows, self.weight);
        let bytes = versions.bytes();
        self.segments.insert(rows, versions, bytes, None)
    }

    /// Points the index from the version `old` to the one at `(slot, row)`. Returns the version when the epoch began.
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

    /// Moves the index entry of a row from `old` to `new`.
    fn repoint(&mut self, hash: u32, old: Place, new: Place) {
        let entry = self.index.find_mut(spread(hash), |entry| entry.place == old);
        assert!(entry.is_some(), "a live row is in the index");
        if let Some(entry) = entry {
            entry.place = new;
        }
    }

    /// Removes a row from the index.
    fn unindex(&mut self, place: Place) {
        let hash = hash(self.key(place));
        if let Ok(entry) = self.index.find_entry(spread(hash), |entry| entry.place == place) {
            entry.remove();
        }
    }

    /// Returns every row written in this epoch, with its versions before and after.
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

    /// Ends an epoch: later updates count from here. Merges segments.
    pub(crate) fn end_epoch(&mut self) -> Result<(), Error> {
        if self.written == 0 {
            return Ok(());
        }
        self.segments.iter_mut().for_each(|segment| segment.index.before = None);
        self.merge_between_epochs()?;
        self.written = 0;
        self.segments.keep_ids()
    }

    /// Evicts all versions of each row that `expired` names by its key. Called between epochs.
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

    /// Returns what must become durable.
    pub(crate) fn checkpoint(&mut self) -> TableCheckpoint {
        self.segments.checkpoint()
    }

    /// Restores the batches of a checkpoint, in its order. The table must be empty.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if a batch has another schema or is out of order.
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

    /// Returns the number of rows and of bytes held.
    pub(crate) fn size(&self) -> (u64, u64) {
        let segments: usize = self.segments.iter().map(|segment| segment.bytes()).sum();
        (self.index.len() as u64, (segments + self.index.capacity() * 9 * 8 / 7) as u64)
    }
}
