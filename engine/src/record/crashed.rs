//! Events that are kept from a view since the program panics on them: remembered with the commit that keeps their letters, so that
//! neither a restart nor a rebuild meets them again.

use std::collections::BTreeMap;

use alluvium_connectors::dead_letters::DeadLetter;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

/// Those of one version of a view in one source.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Crashed {
    /// By sequence, the hash of the payload: another event of a sequence that is used again is not left out.
    pub events: BTreeMap<u64, u64>,
}

impl Crashed {
    /// Remembers the event of a letter.
    pub fn add(&mut self, letter: &DeadLetter) {
        self.events.insert(letter.sequence, payload_hash(letter));
    }
}

/// By what the event of a letter is known again.
#[must_use]
pub fn payload_hash(letter: &DeadLetter) -> u64 {
    xxh3_64(&letter.payload)
}
