//! What is said of a view's files: parts, how rows are laid out in them, and what one commit shows.

use serde::{Deserialize, Serialize};

use crate::sink::contract::CommitFacts;

/// How a view's rows are laid out in parts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum PartLayout {
    /// Rows only ever arrive: each commit appends a part, and small parts are merged as they pile up.
    Append,
    /// Rows change: split by the hash of these columns (all columns when empty); only parts with changed rows are rewritten.
    Hashed {
        /// Indexes of the columns that decide the part.
        columns: Vec<usize>,
    },
}

/// One immutable Parquet file of a view.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Its name in `parts/`.
    pub file: String,
    /// Rows in it.
    pub rows: u64,
    /// Its size in bytes.
    pub bytes: u64,
    /// Which slice of the hash space it holds: rows whose hash begins with the `bits` upper bits `prefix`. Zero for `Append`.
    pub prefix: u32,
    /// Length of the prefix in bits.
    pub bits: u8,
}

/// What one commit shows of a view.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Snapshot {
    /// The commit.
    pub(super) commit: CommitFacts,
    /// The parts that together are the view.
    pub(super) parts: Vec<Part>,
}
