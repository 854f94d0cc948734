//! Counts of the events that a view has read from a source since its first one. They are part of the view's record, so that they are
//! the same while the engine runs, after it has ended, and for `verify`.

use std::collections::BTreeMap;

use alluvium_connectors::source::Gap;
use serde::{Deserialize, Serialize};

/// The maximum number of gaps that a record keeps for a view and a source.
const GAPS_KEPT: usize = 50;

/// The counts of one view and one source that it reads directly.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// The offset at which the view began to read; `None` if a release that did not count began it.
    #[serde(default)]
    pub began: Option<u64>,
    /// Events read since then, good and bad.
    pub events: u64,
    /// How many of them were set aside, and are not in the view.
    pub set_aside: u64,
    /// How many of those were set aside because an expression of the view failed on them.
    #[serde(default)]
    pub refused: u64,
    /// Columns that the view reads and that no event has had a member for, with a member's name that is like the column's and no column's;
    /// none where that was not looked at from the first event on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unseen: Option<BTreeMap<String, Option<String>>>,
    /// That the source selects no event is nothing to be told.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub may_be_silent: bool,
    /// What the source no longer held when the view was to read it: the last [`GAPS_KEPT`] of its gaps, ascending.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<Gap>,
    /// How many sequences all of its gaps have.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub missing: u64,
    /// The sequences of those on which the program panicked, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub crashed: Vec<u64>,
}

impl Tally {
    /// Notes a gap. One that continues the last one is added to it.
    pub(crate) fn miss(&mut self, gap: &Gap) {
        self.missing += gap.sequences();
        match self.gaps.last_mut() {
            Some(last) if last.last + 1 == gap.first => {
                (last.last, last.reason) = (gap.last, gap.reason.clone());
            }
            _ => self.gaps.push(gap.clone()),
        }
        if self.gaps.len() > GAPS_KEPT {
            self.gaps.remove(0);
        }
    }
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gap(first: u64, last: u64) -> Gap {
        Gap { first, last, found_ms: 5, reason: "it was purged".into() }
    }

    #[test]
    fn gaps_that_touch_are_one_and_their_number_is_bounded() {
        let mut tally = Tally { began: Some(1), ..Tally::default() };
        tally.miss(&gap(1, 4));
        tally.miss(&gap(5, 9));
        assert_eq!((tally.gaps.as_slice(), tally.missing), (&[gap(1, 9)][..], 9));
        (10..10 + 2 * GAPS_KEPT as u64).for_each(|at| tally.miss(&gap(2 * at, 2 * at)));
        assert_eq!((tally.gaps.len(), tally.missing), (GAPS_KEPT, 9 + 2 * GAPS_KEPT as u64));
    }
}
