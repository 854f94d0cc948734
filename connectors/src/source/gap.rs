//! Events that a source no longer held when they were to be read, and without which reading goes on.

use serde::{Deserialize, Serialize};

/// A range of sequences that a source no longer held when they were to be read. Not all of them need to have been events of the source:
/// those that a filter leaves out are gone too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// The first sequence that is missing.
    pub first: u64,
    /// The last one.
    pub last: u64,
    /// When this was noticed, in milliseconds since the Unix epoch.
    pub found_ms: u64,
    /// What was expected and what was found.
    pub reason: String,
}

impl Gap {
    /// Returns the number of sequences.
    #[must_use]
    pub fn sequences(&self) -> u64 {
        (self.last + 1).saturating_sub(self.first)
    }

    /// Returns the part from `offset` on, if there is one.
    #[must_use]
    pub fn since(&self, offset: u64) -> Option<Gap> {
        (self.last >= offset).then(|| Gap { first: self.first.max(offset), ..self.clone() })
    }

    /// Returns the part before `offset`, if there is one.
    #[must_use]
    pub fn until(&self, offset: u64) -> Option<Gap> {
        (self.first < offset).then(|| Gap { last: self.last.min(offset.saturating_sub(1)), ..self.clone() })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_gap_is_cut_at_an_offset() {
        let gap = Gap { first: 5, last: 9, found_ms: 0, reason: String::new() };
        assert_eq!(gap.sequences(), 5);
        let range = |gap: Gap| (gap.first, gap.last);
        assert_eq!(gap.since(5).map(range), Some((5, 9)));
        assert_eq!(gap.since(7).map(range), Some((7, 9)));
        assert_eq!(gap.since(10), None);
        assert_eq!(gap.until(10).map(range), Some((5, 9)));
        assert_eq!(gap.until(7).map(range), Some((5, 6)));
        assert_eq!(gap.until(5), None);
    }
}
