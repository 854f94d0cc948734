//! Events that are kept from a view because the program panics on them. They are recorded with the commit that keeps their letters, so
//! that neither a restart nor a rebuild meets them again.

use std::collections::BTreeMap;

use alluvium_connectors::dead_letters::DeadLetter;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

/// The events of one source that are kept from one version of a view.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Crashed {
    /// By sequence: the hash of the payload. If a stream uses the sequence again for another event, that event is not left out.
    pub events: BTreeMap<u64, u64>,
}

impl Crashed {
    /// Adds the event of a letter.
    pub fn add(&mut self, letter: &DeadLetter) {
        self.events.insert(letter.sequence, payload_hash(letter));
    }
}

/// Returns the hash of a letter's payload, by which its event is recognized.
#[must_use]
pub fn payload_hash(letter: &DeadLetter) -> u64 {
    xxh3_64(&letter.payload)
}
