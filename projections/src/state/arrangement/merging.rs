//! Merges segments of an arrangement by the merge policy.

use std::ops::Range;

use super::Arrangement;
use super::hashes::Hashes;
use crate::error::Error;
use crate::state::BatchId;
use crate::state::merging::{Budget, Size, garbage_and_neighbours, tail};
use crate::state::place::Place;

impl Arrangement {
    /// Merges what has piled up.
    pub(crate) fn end_epoch(&mut self) -> Result<(), Error> {
        if self.changed == 0 {
            return Ok(());
        }
        while let Some(positions) = tail(self.segments.order().len(), |position| self.size_at(position)) {
            self.merge(positions)?;
        }
        let mut budget = Budget::new(self.changed);
        while let Some(positions) = garbage_and_neighbours(self.segments.order().len(), |position| self.size_at(position)) {
            if !budget.spend(positions.clone().map(|position| self.size_at(position).rows).sum()) {
                break;
            }
            self.merge(positions)?;
        }
        self.changed = 0;
        self.segments.keep_ids()?;
        self.forget_merged_removals()
    }

    fn size_at(&self, position: usize) -> Size {
        self.segments.at(position).size()
    }

    /// Drops the records of removed rows that are no longer stored, once they are most of the records.
    fn forget_merged_removals(&mut self) -> Result<(), Error> {
        let Some(removed) = &mut self.removed else { return Ok(()) };
        let dead: usize = self.segments.iter().map(|segment| segment.dead()).sum();
        if removed.is_stale(dead) {
            let mut places: Vec<(BatchId, u32)> = Vec::with_capacity(dead);
            for segment in self.segments.iter().filter(|segment| segment.dead() > 0) {
                places.extend(segment.dead_rows().map(|row| (segment.id(), row as u32)));
            }
            removed.replace(&places)?;
        }
        removed.end_epoch()
    }

    /// Merges the live rows of neighbouring segments into a new one.
    fn merge(&mut self, positions: Range<usize>) -> Result<(), Error> {
        let slots: Vec<usize> = self.segments.order()[positions.clone()].to_vec();
        let places = self.segments.live_places(&slots);
        if !places.is_empty() {
            let rows = self.segments.copy(&places)?;
            let (mut buckets, mut of_rows) = (Vec::with_capacity(places.len()), Vec::new());
            for segment in slots.iter().map(|slot| self.segments.get(*slot)) {
                let Hashes { buckets: all, rows: all_rows, .. } = &segment.index;
                buckets.extend(segment.live_rows().map(|row| all[row]));
                if self.content.is_some() {
                    of_rows.extend(segment.live_rows().filter_map(|row| all_rows.get(row)));
                }
            }
            let hashes = self.hashes(&rows, buckets.clone(), of_rows.clone());
            let bytes = hashes.bytes();
            let merged = self.segments.insert(rows, hashes, bytes, Some(positions.end))?;
            self.relocate(merged, buckets, &places);
            if let Some(content) = &mut self.content {
                for (row, (hash, old)) in of_rows.iter().zip(&places).enumerate() {
                    content.repoint(*hash, *old, Place::new(merged, row));
                }
            }
        }
        self.segments.remove(&slots);
        Ok(())
    }

    /// Points buckets to a merged segment. `places` are the old places of its rows.
    fn relocate(&mut self, merged: usize, mut buckets: Vec<u32>, places: &[Place]) {
        buckets.sort_unstable();
        // `becomes` has the new row of each old row. `starts` says where in it the rows of a slot begin.
        let mut becomes: Vec<u32> = Vec::new();
        let mut starts: Vec<usize> = Vec::new();
        let mut of_slot = usize::MAX;
        for (new, place) in places.iter().enumerate() {
            if place.slot() != of_slot {
                of_slot = place.slot();
                starts.resize(starts.len().max(of_slot + 1), usize::MAX);
                starts[of_slot] = becomes.len();
                becomes.resize(becomes.len() + self.segments.get(of_slot).len(), u32::MAX);
            }
            becomes[starts[of_slot] + place.row()] = new as u32;
        }
        let moved = |place: Place| {
            let start = starts.get(place.slot()).filter(|start| **start != usize::MAX)?;
            let row = becomes[start + place.row()];
            assert!(row != u32::MAX, "dead rows are in no bucket");
            Some(Place::new(merged, row as usize))
        };
        for of_bucket in buckets.chunk_by(|one, next| one == next) {
            assert!(self.buckets.relocate(of_bucket[0], of_bucket.len(), moved), "a live row is in a bucket");
        }
    }
}
