//! Events that are kept from views, since the program panics on them: found in this run, or remembered with a commit.

use std::collections::{BTreeMap, BTreeSet};

use alluvium_connectors::Batch;

use crate::record::{Crashed, payload_hash};

/// The kind of their dead letters.
pub(crate) const CRASH: &str = "crash";

/// By source, sequence and view: the hash of the payload, where it has been remembered.
#[derive(Debug, Default)]
pub(super) struct Aside(BTreeMap<String, BTreeMap<u64, BTreeMap<String, Option<u64>>>>);

impl Aside {
    /// Keeps an event, which was found just now, from a view.
    pub(super) fn add(&mut self, source: &str, sequence: u64, view: &str) {
        self.insert(source, sequence, view, None);
    }

    /// Keeps from a view what is remembered of it.
    pub(super) fn remember(&mut self, source: &str, view: &str, crashed: &Crashed) {
        for (sequence, hash) in &crashed.events {
            self.insert(source, *sequence, view, Some(*hash));
        }
    }

    fn insert(&mut self, source: &str, sequence: u64, view: &str, hash: Option<u64>) {
        self.0.entry(source.to_owned()).or_default().entry(sequence).or_default().insert(view.to_owned(), hash);
    }

    /// Which events of a batch are kept from which views, in order, with the first row of each.
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
