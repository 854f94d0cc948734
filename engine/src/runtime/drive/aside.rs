//! Events that are kept from views because the program panics on them: found in this run, or recorded by an earlier commit.

use std::collections::{BTreeMap, BTreeSet};

use alluvium_connectors::Batch;

use crate::record::{Crashed, payload_hash};

/// The kind of their dead letters.
pub(crate) const CRASH: &str = "crash";

/// By source, sequence and view: the hash of the payload, if a commit recorded it.
#[derive(Debug, Default)]
pub(super) struct Aside(BTreeMap<String, BTreeMap<u64, BTreeMap<String, Option<u64>>>>);

impl Aside {
    /// Keeps an event that this run has found from a view.
    pub(super) fn add(&mut self, source: &str, sequence: u64, view: &str) {
        self.insert(source, sequence, view, None);
    }

    /// Keeps from a view the events that a commit recorded for it.
    pub(super) fn remember(&mut self, source: &str, view: &str, crashed: &Crashed) {
        for (sequence, hash) in &crashed.events {
            self.insert(source, *sequence, view, Some(*hash));
        }
    }

    fn insert(&mut self, source: &str, sequence: u64, view: &str, hash: Option<u64>) {
        self.0.entry(source.to_owned()).or_default().entry(sequence).or_default().insert(view.to_owned(), hash);
    }

    /// Returns the events of a batch that are kept from views, in order: the sequence, its first row and the views. A recorded event counts
    /// only if its payload has the recorded hash.
    pub(super) fn within(&self, source: &str, batch: &Batch) -> Vec<(u64, usize, BTreeSet<String>)> {
        let Some(events) = self.0.get(source) else { return Vec::new() };
        let mut found = Vec::new();
        for (sequence, views) in events.range(batch.start..batch.end) {
            let row = batch.sequences.values().partition_point(|other| other < sequence);
            if batch.sequences.values().get(row) != Some(sequence) {
                continue;
            }
            let letter = batch.origin.as_ref().and_then(|origin| origin.letter(*sequence));
            let is_same = |hash: &Option<u64>| hash.is_none() || hash == &letter.as_ref().map(payload_hash);
            let views: BTreeSet<String> = views.iter().filter(|(_, hash)| is_same(hash)).map(|(view, _)| view.clone()).collect();
            if !views.is_empty() {
                found.push((*sequence, row, views));
            }
        }
        found
    }
}
