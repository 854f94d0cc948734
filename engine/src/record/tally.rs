//! What a view has read of a source since its first event, counted. It is part of the view's record, so that it says the same while the
//! engine runs, after it has ended, and to whoever computes the view again.

use serde::{Deserialize, Serialize};

/// Of one view and one source that it reads directly.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// The offset at which the view began to read; none where a release that did not count began it.
    #[serde(default)]
    pub began: Option<u64>,
    /// Events read since, good and bad.
    pub events: u64,
    /// Those of them that are not in the view.
    pub set_aside: u64,
    /// Those of `set_aside` on which an expression of the view failed.
    #[serde(default)]
    pub refused: u64,
    /// The sequences of those on which the program panicked, rising.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub crashed: Vec<u64>,
}
