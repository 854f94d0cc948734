//! Finds the stored rows of a kept side that gain their first match, or lose their last one, as the other side changes.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;

use crate::consolidate::{Net, taken};
use crate::error::Error;
use crate::operator::kit::bucketed::BucketedDelta;
use crate::operator::kit::expiry::Expired;
use crate::state::arrangement::Arrangement;
use crate::state::keys::Keys;
use crate::state::multiset::Multiset;
use crate::state::{MAX_BATCH_ROWS, Place, TableCheckpoint, Tables};

/// A stored row that has gained its first match or lost its last one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flip {
    pub(super) place: Place,
    /// Whether it has matches now.
    pub(super) matches: bool,
}

/// The number of matches of each stored row of a side. Equal rows have equally many, so there is one number for all of them. A row
/// without a match has no number.
#[derive(Debug)]
pub(super) struct MatchCounts(Multiset);

/// Stored rows, and how many matches they have from now on.
struct Counted {
    rows: RecordBatch,
    keys: Keys,
    hashes: Vec<u32>,
    now: Vec<i64>,
}

impl MatchCounts {
    /// Counts the matches of rows of `schema`.
    pub(super) fn new(name: String, schema: &SchemaRef) -> Result<Self, Error> {
        Ok(Self(Multiset::new(name, schema)?))
    }

    /// Counts the pairs of changed rows of the other side with `stored` rows. Returns the stored rows that flip.
    pub(super) fn change(
        &mut self,
        stored: &Arrangement,
        change: &BucketedDelta,
        pairs: &[(u32, Place)],
    ) -> Result<Vec<Flip>, Error> {
        let mut by_place: Vec<(Place, i64)> = pairs.iter().map(|(row, place)| (*place, change.weight(*row as usize))).collect();
        by_place.sort_unstable_by_key(|(place, _)| place.index());
        let changes = by_place.chunk_by(|one, next| one.0 == next.0);
        let changes = changes.map(|of_row| (of_row[0].0, of_row.iter().map(|(_, weight)| weight).sum()));
        let changes: Vec<(Place, i64)> = changes.filter(|(_, change)| *change != 0).collect();
        let (mut flips, mut counted) = (Vec::new(), Vec::new());
        // Equal rows can be in several chunks. So all counts are read before one is written.
        for chunk in changes.chunks(MAX_BATCH_ROWS) {
            let places: Vec<Place> = chunk.iter().map(|(place, _)| *place).collect();
            let rows = stored.gather(&places)?;
            let keys = self.0.encode(rows.columns(), rows.num_rows())?;
            let hashes = keys.hashes();
            let before = self.0.weights(&keys, &hashes);
            let now: Vec<i64> = before.iter().zip(chunk).map(|(before, (_, change))| before + change).collect();
            let flipped = (0..now.len()).filter(|row| (before[*row] == 0) != (now[*row] == 0));
            flips.extend(flipped.map(|row| Flip { place: places[row], matches: now[row] != 0 }));
            counted.push(Counted { rows, keys, hashes, now });
        }
        counted.into_iter().try_for_each(|counted| self.write(counted))?;
        Ok(flips)
    }

    /// Replaces the numbers of some rows, which may be equal to each other.
    pub(super) fn replace(&mut self, rows: &RecordBatch, now: &[i64]) -> Result<(), Error> {
        let keys = self.0.encode(rows.columns(), rows.num_rows())?;
        let hashes = keys.hashes();
        self.write(Counted { rows: rows.clone(), keys, hashes, now: now.to_vec() })
    }

    fn write(&mut self, counted: Counted) -> Result<(), Error> {
        let Counted { rows, keys, hashes, now } = counted;
        let before = self.0.weights(&keys, &hashes);
        let mut written: HashSet<&[u8]> = HashSet::new();
        let differs = (0..now.len()).filter(|row| now[*row] != before[*row] && written.insert(keys.get(*row)));
        let differs: Vec<usize> = differs.collect();
        let weights = differs.iter().map(|row| now[*row] - before[*row]).collect();
        let net = if differs.len() == now.len() {
            Net { rows, weights, keys, hashes }
        } else {
            Net {
                keys: Keys::collect(differs.iter().map(|row| keys.get(*row))),
                hashes: differs.iter().map(|row| hashes[*row]).collect(),
                rows: taken(&rows, differs.iter().map(|row| *row as u32).collect())?,
                weights,
            }
        };
        self.0.apply_net(&net)
    }

    pub(super) fn end_epoch(&mut self) -> Result<(), Error> {
        self.0.end_epoch()
    }

    pub(super) fn evict(&mut self, expired: &Expired) -> Result<(), Error> {
        self.0.evict(|rows| expired.of(rows))
    }

    pub(super) fn checkpoint(&mut self) -> TableCheckpoint {
        self.0.checkpoint()
    }

    pub(super) fn restore(&mut self, tables: &mut Tables) -> Result<(), Error> {
        let batches = tables.take(self.0.name())?;
        self.0.restore(batches)
    }

    pub(super) fn size(&self) -> (u64, u64) {
        self.0.size()
    }
}

/// The distinct keys of the changes of a side, and which of them had rows before the changes are applied.
pub(super) struct KeysBefore {
    keys: Keys,
    /// The bucket of each key.
    buckets: Vec<u32>,
    had_rows: Vec<bool>,
}

impl KeysBefore {
    /// Takes the keys of `change`, which is not yet applied to `changing`.
    pub(super) fn new(changing: &Arrangement, change: &BucketedDelta) -> Result<Self, Error> {
        let rows = change.rows();
        let columns: Vec<ArrayRef> = changing.by().columns().iter().map(|column| Arc::clone(rows.column(*column))).collect();
        let all = changing.by().keys(&columns, rows.num_rows())?;
        let mut distinct: HashSet<&[u8]> = HashSet::new();
        let first: Vec<usize> = (0..all.len()).filter(|row| distinct.insert(all.get(*row))).collect();
        let keys = Keys::collect(first.iter().map(|row| all.get(*row)));
        let buckets: Vec<u32> = first.iter().map(|row| change.buckets()[*row]).collect();
        let had_rows = have_rows(changing, &keys, &buckets)?;
        Ok(Self { keys, buckets, had_rows })
    }

    /// Returns the rows of the other side whose keys now have rows and had none, or the other way round. The changes have been applied
    /// to `changed`.
    pub(super) fn flips(&self, changed: &Arrangement, other: &Arrangement) -> Result<Vec<Flip>, Error> {
        let have_rows = have_rows(changed, &self.keys, &self.buckets)?;
        let flipped = (0..have_rows.len()).filter(|key| have_rows[*key] != self.had_rows[*key]);
        let candidates: Vec<(usize, Place)> =
            flipped.flat_map(|key| other.places(self.buckets[key]).iter().map(move |place| (key, *place))).collect();
        let mut flips = Vec::new();
        for candidates in candidates.chunks(MAX_BATCH_ROWS) {
            let places: Vec<Place> = candidates.iter().map(|(_, place)| *place).collect();
            let stored = keys_at(other, &places)?;
            let same = candidates.iter().enumerate().filter(|(row, (key, _))| stored.get(*row) == self.keys.get(*key));
            flips.extend(same.map(|(_, (key, place))| Flip { place: *place, matches: have_rows[*key] }));
        }
        Ok(flips)
    }
}

/// Checks which keys have rows. All rows in the bucket of a key nearly always have this key, so the first row decides nearly always.
fn have_rows(stored: &Arrangement, keys: &Keys, buckets: &[u32]) -> Result<Vec<bool>, Error> {
    let mut found = vec![false; keys.len()];
    let mut open: Vec<usize> = (0..keys.len()).collect();
    for nth in 0.. {
        open.retain(|key| !found[*key] && nth < stored.places(buckets[*key]).len());
        if open.is_empty() {
            break;
        }
        for keys_of_chunk in open.chunks(MAX_BATCH_ROWS) {
            let places: Vec<Place> = keys_of_chunk.iter().map(|key| stored.places(buckets[*key])[nth]).collect();
            let there = keys_at(stored, &places)?;
            for (row, key) in keys_of_chunk.iter().enumerate() {
                found[*key] = there.get(row) == keys.get(*key);
            }
        }
    }
    Ok(found)
}

/// Encodes the keys of stored rows.
fn keys_at(stored: &Arrangement, places: &[Place]) -> Result<Keys, Error> {
    let columns = stored.columns(stored.by().columns().iter().copied(), places)?;
    stored.by().keys(&columns, places.len())
}
