//! Merges segments of a table by the merge policy.
//!
//! During an epoch, only its own segments are merged: older ones hold the rows as they were when it began. A tombstone counts as garbage
//! once the versions that it hides are gone.

use super::StateTable;
use super::versions::Versions;
use crate::error::Error;
use crate::state::keys::{Keys, hash};
use crate::state::merging::{Budget, Size, mostly_garbage, tier};
use crate::state::place::Place;

impl StateTable {
    /// Keeps the dead rows of this epoch from piling up.
    pub(super) fn merge_in_epoch(&mut self) -> Result<(), Error> {
        self.merge(|table| mostly_garbage(table.sizes(true)).map(|slot| vec![slot]), true)
    }

    /// Merges what has piled up.
    pub(super) fn merge_between_epochs(&mut self) -> Result<(), Error> {
        let pick = |table: &Self| tier(table.sizes(false)).or_else(|| mostly_garbage(table.sizes(false)).map(|slot| vec![slot]));
        self.merge(pick, false)
    }

    /// Removes segments without live rows, and merges those that `pick` chooses.
    fn merge(&mut self, pick: impl Fn(&Self) -> Option<Vec<usize>>, in_epoch: bool) -> Result<(), Error> {
        let empty: Vec<usize> = self.sizes(in_epoch).filter(|(_, size)| size.rows == 0).map(|(slot, _)| slot).collect();
        empty.iter().for_each(|slot| self.discount_versions(*slot));
        self.segments.remove(&empty);
        let mut budget = Budget::new(self.written);
        while let Some(slots) = pick(self) {
            if !budget.spend(slots.iter().map(|slot| self.segments.get(*slot).live()).sum()) {
                break;
            }
            slots.iter().for_each(|slot| self.discount_versions(*slot));
            self.write_live(&slots)?;
        }
        Ok(())
    }

    /// Returns the segments that may be merged, by slot, in order.
    fn sizes(&self, in_epoch: bool) -> impl Iterator<Item = (usize, Size)> + '_ {
        let segments = self.segments.order().iter().map(|slot| (*slot, self.segments.get(*slot)));
        let segments = segments.filter(move |(_, segment)| !in_epoch || segment.index.before.is_some());
        segments.map(|(slot, segment)| {
            let size = segment.size();
            (slot, Size { garbage: size.garbage + segment.index.spent(), ..size })
        })
    }

    /// Merges the live rows of segments into a new one. Their dead rows must no longer be counted as older versions.
    pub(super) fn write_live(&mut self, slots: &[usize]) -> Result<(), Error> {
        let mut places = self.segments.live_places(slots);
        if self.weight.is_some() {
            self.drop_tombstones(&mut places);
        }
        if places.is_empty() {
            self.segments.remove(slots);
            return Ok(());
        }
        let rows = self.segments.copy(&places)?;
        let keys = Keys::collect(places.iter().map(|place| self.key(*place)));
        let mut merged = Versions::new(keys, &rows, self.weight);
        if self.weight.is_some() {
            for (row, place) in places.iter().enumerate() {
                merged.count_older(row, self.segments.get(place.slot()).index.older(place.row()));
            }
        }
        if slots.iter().all(|slot| self.segments.get(*slot).index.before.is_some()) {
            let before = |place: &Place| {
                let versions = &self.segments.get(place.slot()).index;
                versions.before.as_ref().map_or(Place::NONE, |before| before[place.row()])
            };
            merged.before = Some(places.iter().map(before).collect());
        }
        let bytes = merged.bytes();
        let slot = self.segments.insert(rows, merged, bytes, None)?;
        for (row, old) in places.iter().enumerate() {
            let new = Place::new(slot, row);
            self.repoint(hash(self.key(new)), *old, new);
        }
        self.segments.remove(slots);
        Ok(())
    }

    /// Stops counting the dead rows of a segment as older versions. Called before the segment is removed.
    pub(super) fn discount_versions(&mut self, slot: usize) {
        if self.weight.is_none() {
            return;
        }
        let newest: Vec<Place> = {
            let segment = self.segments.get(slot);
            let keys = segment.dead_rows().map(|row| segment.index.keys.get(row));
            keys.map(|key| self.find_one(key, hash(key))).collect()
        };
        for place in newest {
            assert!(!place.is_none(), "a key with older versions is in the index");
            self.segments.get_mut(place.slot()).index.discount_older(place.row());
        }
    }

    /// Removes tombstones that no longer hide anything from the index and from `places`.
    fn drop_tombstones(&mut self, places: &mut Vec<Place>) {
        places.retain(|place| {
            let versions = &self.segments.get(place.slot()).index;
            let kept = versions.weight(place.row()) != 0 || versions.older(place.row()) > 0;
            if !kept {
                self.unindex(*place);
            }
            kept
        });
    }
}
