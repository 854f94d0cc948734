//! Changes the rows of an arrangement: appends, removes and evicts them, or changes their weights.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array, UInt32Array};
use arrow::compute::take;
use arrow::record_batch::RecordBatch;

use super::Arrangement;
use super::hashes::Hashes;
use crate::consolidate::Net;
use crate::error::Error;
use crate::state::place::Place;
use crate::state::weights::{sums, weights_of};
use crate::state::{BatchId, MAX_BATCH_ROWS};

impl Arrangement {
    /// Adds rows at the end, with their buckets. They must not be removed by their content (asserted).
    pub(crate) fn append(&mut self, rows: &RecordBatch, buckets: &[u32]) -> Result<(), Error> {
        assert!(self.content.is_none(), "rows that are removed by their content have weights");
        self.add(rows.columns(), rows.num_rows(), buckets, &[])
    }

    /// Removes the rows at some distinct places.
    ///
    /// # Errors
    /// [`Error::Bug`] if rows are not removed by their place.
    pub(crate) fn remove(&mut self, places: &[Place]) -> Result<(), Error> {
        if self.removed.is_none() || self.content.is_some() {
            return Err(Error::Bug(format!("rows of {} are not removed by their place", self.segments.name())));
        }
        self.remove_rows(places.iter().map(|place| (self.bucket(*place), *place)).collect())
    }

    /// Evicts every row that `expired` names. Called between epochs.
    ///
    /// # Errors
    /// Those of `expired`. [`Error::Bug`] if rows are never removed.
    pub(crate) fn evict(&mut self, expired: impl Fn(&RecordBatch) -> Result<BooleanArray, Error>) -> Result<(), Error> {
        if self.removed.is_none() {
            return Err(Error::Bug(format!("rows of {} are never removed", self.segments.name())));
        }
        let mut evicted = Vec::new();
        for slot in self.segments.order() {
            let rows = expired(&self.segments.rows(*slot)?)?;
            let segment = self.segments.get(*slot);
            let rows = rows.values().set_indices().filter(|row| segment.is_live(*row));
            evicted.extend(rows.map(|row| (segment.index.buckets[row], Place::new(*slot, row))));
        }
        for (_, place) in &evicted {
            let hash = self.segments.get(place.slot()).index.rows.get(place.row()).copied();
            if let (Some(content), Some(hash)) = (&mut self.content, hash) {
                content.remove(hash, *place);
            }
        }
        self.remove_rows(evicted)?;
        self.end_epoch()
    }

    /// Changes the weights of rows, which must be removed by their content. `buckets` are those of the net rows.
    ///
    /// # Errors
    /// [`Error::Bug`] if a row would have a negative weight.
    pub(crate) fn apply(&mut self, net: &Net, buckets: &[u32]) -> Result<(), Error> {
        let found = self.find(net)?;
        let before = found.iter().map(|place| place.map_or(0, |place| self.weight(place)));
        let weights = sums(self.segments.name(), before, &net.weights)?;
        self.remove_found(net, buckets, &found)?;
        let stay: Vec<u32> = (0..weights.len() as u32).filter(|row| weights[*row as usize] != 0).collect();
        if stay.is_empty() {
            return Ok(());
        }
        let weights = Int64Array::from_iter_values(stay.iter().map(|row| weights[*row as usize]));
        let buckets: Vec<u32> = stay.iter().map(|row| buckets[*row as usize]).collect();
        let hashes: Vec<u32> = stay.iter().map(|row| net.hashes[*row as usize]).collect();
        let stay = UInt32Array::from(stay);
        let mut columns: Vec<ArrayRef> =
            net.rows.columns().iter().map(|column| Ok(take(column, &stay, None)?)).collect::<Result<_, Error>>()?;
        columns.push(Arc::new(weights));
        self.add(&columns, stay.len(), &buckets, &hashes)
    }

    /// Checks which rows of a net change are there.
    pub(crate) fn holds(&self, net: &Net) -> Result<Vec<bool>, Error> {
        Ok(self.find(net)?.iter().map(Option::is_some).collect())
    }

    /// Finds the place of each row of a net change, if it is there.
    fn find(&self, net: &Net) -> Result<Vec<Option<Place>>, Error> {
        let content = self.content()?;
        // Rows with the same hash are compared by their content, many at once.
        let (mut candidates, mut of_row) = (Vec::new(), Vec::new());
        for (row, hash) in net.hashes.iter().enumerate() {
            for candidate in content.candidates(*hash) {
                candidates.push(candidate);
                of_row.push(row);
            }
        }
        let mut found = vec![None; net.hashes.len()];
        for (places, rows) in candidates.chunks(MAX_BATCH_ROWS).zip(of_row.chunks(MAX_BATCH_ROWS)) {
            let stored = self.gather(places)?;
            let keys = content.rows.encode(stored.columns(), stored.num_rows())?;
            for (number, (place, row)) in places.iter().zip(rows).enumerate() {
                if keys.get(number) == net.keys.get(*row) {
                    found[*row] = Some(*place);
                }
            }
        }
        Ok(found)
    }

    /// Removes the rows that were found. The caller adds their new versions, if any.
    fn remove_found(&mut self, net: &Net, buckets: &[u32], found: &[Option<Place>]) -> Result<(), Error> {
        let mut removed: Vec<(u32, Place)> = Vec::new();
        for (row, place) in found.iter().enumerate() {
            let Some(place) = *place else { continue };
            removed.push((buckets[row], place));
            if let Some(content) = &mut self.content {
                content.remove(net.hashes[row], place);
            }
        }
        self.remove_rows(removed)
    }

    /// Removes the rows at some places, each with its bucket, from everything but the content index.
    fn remove_rows(&mut self, mut rows: Vec<(u32, Place)>) -> Result<(), Error> {
        if rows.is_empty() {
            return Ok(());
        }
        for (_, place) in &rows {
            self.segments.get_mut(place.slot()).remove(place.row());
        }
        let places: Vec<(BatchId, u32)> =
            rows.iter().map(|(_, place)| (self.segments.get(place.slot()).id(), place.row() as u32)).collect();
        rows.sort_unstable_by_key(|(bucket, _)| *bucket);
        let segments = &self.segments;
        for of_bucket in rows.chunk_by(|one, next| one.0 == next.0) {
            self.buckets.remove(of_bucket[0].0, of_bucket.len(), |place| segments.get(place.slot()).is_live(place.row()));
        }
        self.changed += rows.len();
        match &mut self.removed {
            Some(removed) => removed.record(&places),
            None => Ok(()),
        }
    }

    fn bucket(&self, place: Place) -> u32 {
        self.segments.get(place.slot()).index.buckets[place.row()]
    }

    /// Adds rows as new segments at the end.
    fn add(&mut self, columns: &[ArrayRef], rows: usize, buckets: &[u32], hashes: &[u32]) -> Result<(), Error> {
        for (range, piece) in self.segments.pieces(columns, rows)? {
            let hashes = if hashes.is_empty() { Vec::new() } else { hashes[range.clone()].to_vec() };
            let hashes = self.hashes(&piece, buckets[range].to_vec(), hashes);
            let bytes = hashes.bytes();
            let slot = self.segments.insert(piece, hashes, bytes, None)?;
            self.index(slot);
        }
        self.changed += rows;
        Ok(())
    }

    /// Makes the index of a new segment.
    pub(super) fn hashes(&self, rows: &RecordBatch, buckets: Vec<u32>, of_rows: Vec<u32>) -> Hashes {
        let weights = self.content.is_some().then(|| weights_of(rows, self.rows.fields().len()));
        Hashes { buckets, rows: of_rows, weights }
    }

    /// Adds the live rows of a segment at the end of their buckets, and to the content index.
    pub(super) fn index(&mut self, slot: usize) {
        let segment = self.segments.get(slot);
        for row in segment.live_rows() {
            let place = Place::new(slot, row);
            self.buckets.insert(segment.index.buckets[row], place);
            if let (Some(content), Some(hash)) = (&mut self.content, segment.index.rows.get(row)) {
                content.insert(*hash, place);
            }
        }
    }
}
