//! Which segments of an arrangement are merged, and when.
//!
//! Only neighbours are merged, so that the order of arrival stays. At the end of the list small segments become larger ones, each
//! row being written again a few times until its segment is full; further up, segments that are half dead are written again
//! together with their small neighbours. The work of one epoch is bounded by what the epoch changed, but for one merge at the
//! end and one further up.

use std::ops::Range;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;

use super::segment::Segment;
use super::{Arrangement, Places};
use crate::error::Error;
use crate::state::keys::spread;
use crate::state::segment::Place;
use crate::state::{BatchId, MAX_BATCH_BYTES, MAX_BATCH_ROWS, compact};

/// Rows merged in one epoch for each row that changed in it, at most (the first merge is free).
const WORK_PER_ROW: usize = 4;

impl Arrangement {
    /// Merges what has piled up.
    pub(crate) fn end_epoch(&mut self) -> Result<(), Error> {
        if self.changed == 0 {
            return Ok(());
        }
        while let Some(positions) = self.small_at_the_end() {
            self.merge(positions)?;
        }
        let mut work = 0;
        while let Some(positions) = self.half_dead() {
            let rows = positions.clone().map(|position| self.at(position).live).sum::<usize>();
            if work > 0 && work + rows > WORK_PER_ROW * self.changed {
                break;
            }
            work += rows.max(1);
            self.merge(positions)?;
        }
        self.changed = 0;
        // The newest segment keeps the ids of those that left without a successor from being given again after a restart.
        let newest = self.order.iter().map(|slot| self.segment(*slot).id.0 + 1).max().unwrap_or(0);
        if newest < self.next_id {
            let id = self.take_id();
            let empty = RecordBatch::new_empty(Arc::clone(&self.stored));
            self.insert(Segment::new(id, empty, Vec::new(), Vec::new()), None)?;
        }
        let dead: usize = self.segments.iter().flatten().map(Segment::dead).sum();
        if let Some(departures) = &mut self.departures {
            if departures.is_stale(dead) {
                let mut places: Vec<(BatchId, u32)> = Vec::with_capacity(dead);
                for segment in self.segments.iter().flatten().filter(|segment| segment.dead() > 0) {
                    places.extend((0..segment.len()).filter(|row| !segment.is_alive(*row)).map(|row| (segment.id, row as u32)));
                }
                departures.replace(&places)?;
            }
            departures.end_epoch()?;
        }
        Ok(())
    }

    fn at(&self, position: usize) -> &Segment {
        self.segment(self.order[position])
    }

    /// Positions at the end that are merged: each segment before must be larger than those after it together.
    fn small_at_the_end(&self) -> Option<Range<usize>> {
        let mut first = self.order.len();
        let (mut rows, mut bytes) = (0, 0);
        while let Some(before) = first.checked_sub(1) {
            let segment = self.at(before);
            let (all_rows, all_bytes) = (rows + segment.live, bytes + segment.living_bytes());
            let grows = first < self.order.len() && segment.live > 2 * rows;
            if grows || all_rows > MAX_BATCH_ROWS || all_bytes > MAX_BATCH_BYTES {
                break;
            }
            (rows, bytes, first) = (all_rows, all_bytes, before);
        }
        (self.order.len() - first >= 2).then_some(first..self.order.len())
    }

    /// Positions of a segment that is half dead and of its neighbours that fit in with it.
    fn half_dead(&self) -> Option<Range<usize>> {
        let position = (0..self.order.len()).find(|position| self.at(*position).dead() > self.at(*position).live)?;
        let (mut rows, mut bytes) = (self.at(position).live, self.at(position).living_bytes());
        let mut fits = |position: usize| {
            let segment = self.at(position);
            rows += segment.live;
            bytes += segment.living_bytes();
            rows <= MAX_BATCH_ROWS / 2 && bytes <= MAX_BATCH_BYTES / 2
        };
        let mut end = position + 1;
        while end < self.order.len() && fits(end) {
            end += 1;
        }
        Some(position..end)
    }

    /// Makes one segment of the living rows of neighbours.
    fn merge(&mut self, positions: Range<usize>) -> Result<(), Error> {
        let slots: Vec<usize> = self.order[positions.clone()].to_vec();
        let mut places = Vec::new();
        // For each slot, the row that each of its rows becomes.
        let mut becomes: Vec<Vec<u32>> = vec![Vec::new(); self.segments.len()];
        for slot in &slots {
            let segment = self.segment(*slot);
            becomes[*slot] = vec![u32::MAX; segment.len()];
            for row in (0..segment.len()).filter(|row| segment.is_alive(*row)) {
                becomes[*slot][row] = places.len() as u32;
                places.push(Place::new(*slot, row));
            }
        }
        if !places.is_empty() {
            let columns = self.columns(0..self.stored.fields().len(), &places)?.iter().map(compact::shed).collect();
            let options = arrow::record_batch::RecordBatchOptions::new().with_row_count(Some(places.len()));
            let rows = RecordBatch::try_new_with_options(Arc::clone(&self.stored), columns, &options)?;
            let buckets: Vec<u32> = places.iter().map(|place| self.segment(place.slot()).buckets[place.row()]).collect();
            let hashes: Vec<u32> =
                places.iter().filter_map(|place| self.segment(place.slot()).hashes.get(place.row()).copied()).collect();
            let id = self.take_id();
            let merged = self.insert(Segment::new(id, rows, buckets.clone(), hashes.clone()), Some(positions.end))?;
            self.relocate(merged, buckets, &becomes);
            if let Some(content) = &mut self.content {
                for (row, (hash, old)) in hashes.iter().zip(&places).enumerate() {
                    let entry = content.rows.find_mut(spread(*hash), |entry| entry.place == *old);
                    assert!(entry.is_some(), "a living row is in the index");
                    if let Some(entry) = entry {
                        entry.place = Place::new(merged, row);
                    }
                }
            }
        }
        for slot in slots {
            self.segments[slot] = None;
            self.free.push(slot);
        }
        self.order.drain(positions);
        Ok(())
    }

    /// Points buckets to a merged segment.
    fn relocate(&mut self, merged: usize, mut buckets: Vec<u32>, becomes: &[Vec<u32>]) {
        buckets.sort_unstable();
        buckets.dedup();
        let moved = |place: &mut Place| {
            if let Some(row) = becomes.get(place.slot()).and_then(|rows| rows.get(place.row())) {
                assert!(*row != u32::MAX, "dead rows are in no bucket");
                *place = Place::new(merged, *row as usize);
            }
        };
        for bucket in buckets {
            match self.buckets.find_mut(spread(bucket), |entry| entry.hash == bucket).map(|entry| &mut entry.places) {
                Some(Places::One(place)) => moved(place),
                Some(Places::Many(places)) => places.iter_mut().for_each(moved),
                None => assert!(self.segment(merged).len() == 0, "a living row is in a bucket"),
            }
        }
    }
}
