//! The parts of documents that become nodes. Each has its number before it is read, since schemas refer to themselves.

use std::collections::HashMap;

use super::documents::{Documents, Spot};
use super::schema::NodeId;

/// The parts that are known, and those of them that have not been read.
pub(super) struct Pending<'d> {
    pub(super) documents: &'d Documents,
    /// By document and pointer.
    known: HashMap<(usize, String), NodeId>,
    waiting: Vec<(NodeId, Spot)>,
}

impl<'d> Pending<'d> {
    /// Creates it without any.
    pub(super) fn new(documents: &'d Documents) -> Pending<'d> {
        Pending { documents, known: HashMap::new(), waiting: Vec::new() }
    }

    /// Returns the node of a spot, which is read later if it is new.
    pub(super) fn id_of(&mut self, spot: Spot) -> NodeId {
        let next = self.known.len();
        let id = *self.known.entry((spot.document, spot.pointer.clone())).or_insert(next);
        if id == next {
            self.waiting.push((id, spot));
        }
        id
    }

    /// Returns a part that has not been read.
    pub(super) fn next(&mut self) -> Option<(NodeId, Spot)> {
        self.waiting.pop()
    }

    /// Returns how many there are.
    pub(super) fn count(&self) -> usize {
        self.known.len()
    }
}
