//! Finds a row by all its columns.

use hashbrown::HashTable;

use crate::state::keys::spread;
use crate::state::place::Place;
use crate::state::weights::WeightedRows;

/// The place of each row by the hash of its columns.
#[derive(Debug)]
pub(super) struct ContentIndex {
    /// Tells rows with the same hash apart.
    pub(super) rows: WeightedRows,
    places: HashTable<WholeRow>,
}

#[derive(Debug, Clone, Copy)]
struct WholeRow {
    hash: u32,
    place: Place,
}

impl ContentIndex {
    pub(super) fn new(rows: WeightedRows) -> Self {
        Self { rows, places: HashTable::new() }
    }

    /// Returns the places of the rows with a hash, nearly always at most one.
    pub(super) fn candidates(&self, hash: u32) -> impl Iterator<Item = Place> + '_ {
        self.places.iter_hash(spread(hash)).filter(move |entry| entry.hash == hash).map(|entry| entry.place)
    }

    pub(super) fn insert(&mut self, hash: u32, place: Place) {
        self.places.insert_unique(spread(hash), WholeRow { hash, place }, |entry| spread(entry.hash));
    }

    pub(super) fn remove(&mut self, hash: u32, place: Place) {
        if let Ok(entry) = self.places.find_entry(spread(hash), |entry| entry.place == place) {
            entry.remove();
        }
    }

    /// Moves the entry of a row from `old` to `new`.
    pub(super) fn repoint(&mut self, hash: u32, old: Place, new: Place) {
        let entry = self.places.find_mut(spread(hash), |entry| entry.place == old);
        assert!(entry.is_some(), "a live row is in the index");
        if let Some(entry) = entry {
            entry.place = new;
        }
    }

    /// Returns the number of bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.places.capacity() * (size_of::<WholeRow>() + 1)
    }
}
