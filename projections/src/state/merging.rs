//! Which segments are merged, and when.
//!
//! Segments are sorted into tiers by how many of their rows are alive, each tier holding four times as many as the one before.
//! Four segments of a tier become one. A segment that is half dead is written again without its dead rows. So a row is written
//! again a few times in its life, and what is dead never exceeds what is alive by much. A tombstone counts as dead once the rows that
//! it guards against are gone.
//!
//! The work of one epoch is bounded by what the epoch wrote, except that one merge is always allowed: it writes one segment.

use arrow::array::BooleanArray;
use arrow::record_batch::RecordBatch;

use super::keys::{Keys, hash, spread};
use super::segment::{Place, Segment};
use super::table::StateTable;
use super::{MAX_BATCH_BYTES, MAX_BATCH_ROWS};
use crate::error::Error;

/// Segments of one tier that are merged.
const FAN_IN: usize = 4;

/// Rows merged in one epoch for each row written in it, at most (the first merge is free).
const WORK_PER_ROW: usize = 4;

impl StateTable {
    /// Drops segments without living rows and merges others. While the epoch lasts, only its own segments are touched: older
    /// ones hold the rows as they were when it began.
    pub(super) fn tidy(&mut self, in_epoch: bool) -> Result<(), Error> {
        let empty: Vec<usize> = self.candidates(in_epoch).filter(|slot| self.segment(*slot).live == 0).collect();
        for slot in empty {
            self.forget_versions(slot);
            self.remove(slot);
        }
        let mut work = 0;
        while let Some(slots) = self.pick(in_epoch) {
            let rows: usize = slots.iter().map(|slot| self.segment(*slot).live).sum();
            if work > 0 && work + rows > WORK_PER_ROW * self.written {
                break;
            }
            work += rows.max(1);
            self.merge(&slots)?;
        }
        Ok(())
    }

    fn candidates(&self, in_epoch: bool) -> impl Iterator<Item = usize> + '_ {
        self.order.values().copied().filter(move |slot| !in_epoch || self.segment(*slot).before.is_some())
    }

    fn pick(&self, in_epoch: bool) -> Option<Vec<usize>> {
        let mut tiers: [Vec<usize>; 8] = Default::default();
        let mut half_dead = None;
        for slot in self.candidates(in_epoch) {
            let segment = self.segment(slot);
            if segment.is_mostly_dead() {
                half_dead = half_dead.or(Some(slot));
            }
            if segment.len() > 0 && segment.live * 2 <= MAX_BATCH_ROWS && living_bytes(segment) * 2 <= MAX_BATCH_BYTES {
                tiers[(segment.live.max(1).ilog2() / 2) as usize].push(slot);
            }
        }
        // Within an epoch there is no need to be tidy, only to keep its dead rows from piling up.
        if !in_epoch && let Some(tier) = tiers.into_iter().find(|tier| tier.len() >= FAN_IN) {
            let (mut rows, mut bytes, mut chosen) = (0, 0, Vec::new());
            for slot in tier {
                let segment = self.segment(slot);
                rows += segment.live;
                bytes += living_bytes(segment);
                if rows > MAX_BATCH_ROWS || (bytes > MAX_BATCH_BYTES && chosen.len() >= 2) {
                    break;
                }
                chosen.push(slot);
            }
            return Some(chosen);
        }
        half_dead.map(|slot| vec![slot])
    }

    /// Makes one segment of the living rows of several.
    fn merge(&mut self, slots: &[usize]) -> Result<(), Error> {
        slots.iter().for_each(|slot| self.forget_versions(*slot));
        self.write_living(slots)
    }

    /// Takes out every row, in all its versions, that `goes` says of some of them, by their keys. Between epochs.
    pub(crate) fn evict(&mut self, goes: impl Fn(&RecordBatch) -> Result<BooleanArray, Error>) -> Result<(), Error> {
        let mut touched = Vec::new();
        for slot in self.order.values().copied() {
            let old: Vec<usize> = goes(&self.segment(slot).rows)?.values().set_indices().collect();
            if !old.is_empty() {
                touched.push((slot, old));
            }
        }
        touched.iter().for_each(|(slot, _)| self.forget_versions(*slot));
        for (slot, old) in &touched {
            for row in old.iter().copied().filter(|row| self.segment(*slot).is_alive(*row)).collect::<Vec<_>>() {
                let place = Place::new(*slot, row);
                let hash = hash(self.segment(*slot).keys.get(row));
                if let Ok(entry) = self.index.find_entry(spread(hash), |entry| entry.place == place) {
                    entry.remove();
                }
                self.segment_mut(*slot).bury(row);
            }
        }
        let first_unused = self.next_id();
        for (slot, _) in touched {
            self.write_living(&[slot])?;
        }
        self.keep_ids(first_unused)
    }

    /// Makes one segment of the living rows of several, whose dead rows are no older versions of anything any more.
    fn write_living(&mut self, slots: &[usize]) -> Result<(), Error> {
        let mut places = Vec::new();
        for slot in slots {
            let segment = self.segment(*slot);
            places.extend(segment.rows_where(true).map(|row| Place::new(*slot, row)));
        }
        if let Some(column) = self.weight {
            self.drop_tombstones(column, &mut places);
        }
        let in_epoch = slots.iter().all(|slot| self.segment(*slot).before.is_some());
        if places.is_empty() {
            slots.iter().for_each(|slot| drop(self.remove(*slot)));
            return Ok(());
        }
        let rows = self.gather_rows(&places)?;
        let keys = Keys::collect(places.iter().map(|place| self.segment(place.slot()).keys.get(place.row())));
        let mut merged = Segment::new(self.take_id(), rows, keys);
        if self.weight.is_some() {
            merged.older = places.iter().map(|place| self.segment(place.slot()).older[place.row()]).collect();
        }
        if in_epoch {
            let before = |place: &Place| self.segment(place.slot()).before.as_ref().map_or(Place::NONE, |all| all[place.row()]);
            merged.before = Some(places.iter().map(before).collect());
        }
        let slot = self.insert(merged)?;
        for (row, old) in places.iter().enumerate() {
            let hash = hash(self.segment(slot).keys.get(row));
            let entry = self.index.find_mut(spread(hash), |entry| entry.place == *old);
            assert!(entry.is_some(), "a living row is in the index");
            if let Some(entry) = entry {
                entry.place = Place::new(slot, row);
            }
        }
        slots.iter().for_each(|slot| drop(self.remove(*slot)));
        Ok(())
    }

    /// A segment is about to leave: its dead rows are no longer older versions of anything.
    fn forget_versions(&mut self, slot: usize) {
        let Some(column) = self.weight else { return };
        let segment = self.segment(slot);
        let newest: Vec<Place> = segment
            .rows_where(false)
            .map(|row| {
                let key = segment.keys.get(row);
                self.find_one(key, hash(key))
            })
            .collect();
        for place in newest {
            assert!(!place.is_none(), "a key with older versions is in the index");
            let segment = self.segment_mut(place.slot());
            let older = &mut segment.older[place.row()];
            if *older != u8::MAX {
                *older -= 1;
                segment.spent += usize::from(segment.is_spent(column, place.row()));
            }
        }
    }

    /// Takes out of the index, and of the places to be kept, the tombstones that guard against nothing any more.
    fn drop_tombstones(&mut self, column: usize, places: &mut Vec<Place>) {
        let mut kept = Vec::with_capacity(places.len());
        for place in places.drain(..) {
            let segment = self.segment(place.slot());
            if segment.weight(column, place.row()) != 0 || segment.older[place.row()] > 0 {
                kept.push(place);
                continue;
            }
            let hash = hash(segment.keys.get(place.row()));
            if let Ok(entry) = self.index.find_entry(spread(hash), |entry| entry.place == place) {
                entry.remove();
            }
        }
        *places = kept;
    }
}

fn living_bytes(segment: &Segment) -> usize {
    segment.bytes / segment.len().max(1) * segment.live
}
