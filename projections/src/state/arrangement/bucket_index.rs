//! Finds the rows of a bucket.

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use crate::state::keys::spread;
use crate::state::place::Place;

/// The places of the rows of each bucket, in the order of the segments.
#[derive(Debug, Default)]
pub(super) struct BucketIndex(HashTable<Bucket>);

#[derive(Debug)]
struct Bucket {
    hash: u32,
    places: Places,
}

#[derive(Debug)]
enum Places {
    One(Place),
    /// The vector is boxed to keep buckets small: most buckets of a large arrangement hold one row.
    #[allow(clippy::box_collection)]
    Many(Box<Vec<Place>>),
}

impl Places {
    fn as_slice(&self) -> &[Place] {
        match self {
            Places::One(place) => std::slice::from_ref(place),
            Places::Many(places) => places,
        }
    }
}

impl BucketIndex {
    /// Returns the places of a bucket's rows.
    pub(super) fn places(&self, bucket: u32) -> &[Place] {
        self.0.find(spread(bucket), |entry| entry.hash == bucket).map_or(&[], |entry| entry.places.as_slice())
    }

    /// Adds a place at the end of a bucket.
    pub(super) fn insert(&mut self, bucket: u32, place: Place) {
        match self.0.entry(spread(bucket), |entry| entry.hash == bucket, |entry| spread(entry.hash)) {
            Entry::Occupied(mut entry) => match &mut entry.get_mut().places {
                Places::Many(places) => places.push(place),
                places @ Places::One(_) => *places = Places::Many(Box::new(vec![places.as_slice()[0], place])),
            },
            Entry::Vacant(entry) => {
                entry.insert(Bucket { hash: bucket, places: Places::One(place) });
            }
        }
    }

    /// Removes the `dead` places of a bucket that are not live. Looks for them from the end on.
    pub(super) fn remove(&mut self, bucket: u32, dead: usize, is_live: impl Fn(&Place) -> bool) {
        let Ok(mut entry) = self.0.find_entry(spread(bucket), |entry| entry.hash == bucket) else { return };
        let is_empty = match &mut entry.get_mut().places {
            Places::One(place) => !is_live(place),
            Places::Many(places) => {
                let rows = places.iter().enumerate().rev().filter(|(_, place)| !is_live(place));
                let first = rows.take(dead).last().map_or(places.len(), |(row, _)| row);
                let mut tail = places.split_off(first);
                tail.retain(is_live);
                places.append(&mut tail);
                places.is_empty()
            }
        };
        if is_empty {
            entry.remove();
        }
    }

    /// Moves `count` places of a bucket to where `moved` says. It returns None for other places. Looks for them from the end on. Returns
    /// whether all were there.
    pub(super) fn relocate(&mut self, bucket: u32, count: usize, moved: impl Fn(Place) -> Option<Place>) -> bool {
        let places = match self.0.find_mut(spread(bucket), |entry| entry.hash == bucket).map(|entry| &mut entry.places) {
            Some(Places::One(place)) => std::slice::from_mut(place),
            Some(Places::Many(places)) => places.as_mut_slice(),
            None => return false,
        };
        let found = places.iter_mut().rev().filter_map(|place| moved(*place).map(|new| *place = new)).take(count);
        found.count() == count
    }

    /// Returns the number of bytes held, without those of the vectors.
    pub(super) fn bytes(&self) -> usize {
        self.0.capacity() * (size_of::<Bucket>() + 1)
    }
}
