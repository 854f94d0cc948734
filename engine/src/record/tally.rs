//! Counts of the events that a view has read from a source since its first one. They are part of the view's record, so that they are
//! the same while the engine runs, after it has ended, and for `verify`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

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
    /// The sequences of those on which the program panicked, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub crashed: Vec<u64>,
}
