//! The heads of the aggregates that this process has met last, so that an append needs no read before it.
//!
//! It is a hint: the server compares the sequence of each append. All is forgotten with the connection, since a server that comes back after a
//! power failure may have lost what it had acknowledged, and give the same sequences again. Memory is bounded by two generations; the older one
//! is dropped whole.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::aggregate::{AggregateId, Head};

/// How many heads a generation holds: some 10 MB.
const GENERATION: usize = 50_000;

/// The heads that are known.
#[derive(Debug, Default)]
pub(super) struct Heads {
    generations: Mutex<Generations>,
}

#[derive(Debug, Default)]
struct Generations {
    /// How many connections there had been when the heads were noted.
    connects: u64,
    new: HashMap<AggregateId, Head>,
    old: HashMap<AggregateId, Head>,
}

impl Heads {
    /// Returns the head of an aggregate, if it is known since the last of `connects` connections.
    pub(super) fn get(&self, aggregate: &AggregateId, connects: u64) -> Option<Head> {
        let mut generations = self.lock();
        if generations.connects != connects {
            *generations = Generations { connects, ..Generations::default() };
        }
        generations.new.get(aggregate).or_else(|| generations.old.get(aggregate)).copied()
    }

    /// Notes the head of an aggregate, unless a later one is known.
    pub(super) fn note(&self, aggregate: &AggregateId, head: Head) {
        let mut generations = self.lock();
        let later = |known: &&Head| known.sequence > head.sequence;
        if generations.new.get(aggregate).filter(later).is_some() {
            return;
        }
        if generations.new.len() >= GENERATION && !generations.new.contains_key(aggregate) {
            generations.old = std::mem::take(&mut generations.new);
        }
        generations.new.insert(aggregate.clone(), head);
    }

    /// Forgets what is known of an aggregate.
    pub(super) fn forget(&self, aggregate: &AggregateId) {
        let mut generations = self.lock();
        generations.new.remove(aggregate);
        generations.old.remove(aggregate);
    }

    fn lock(&self) -> MutexGuard<'_, Generations> {
        self.generations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_later_head_stays_and_memory_is_bounded() {
        let heads = Heads::default();
        let aggregate = |id: usize| AggregateId::new("a", id.to_string()).unwrap();
        let head = |version| Head { version, sequence: version };
        heads.note(&aggregate(0), head(5));
        heads.note(&aggregate(0), head(4));
        assert_eq!(heads.get(&aggregate(0), 0), Some(head(5)));
        for id in 1..3 * GENERATION {
            heads.note(&aggregate(id), head(1));
        }
        assert_eq!(heads.get(&aggregate(0), 0), None);
        assert!(heads.get(&aggregate(3 * GENERATION - 1), 0).is_some());
        heads.forget(&aggregate(3 * GENERATION - 1));
        assert_eq!(heads.get(&aggregate(3 * GENERATION - 1), 0), None);
        heads.note(&aggregate(0), head(1));
        assert_eq!(heads.get(&aggregate(0), 1), None, "the connection is another one");
    }
}
