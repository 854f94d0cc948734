//! Descriptions of a view's files: parts, their layout, and the snapshot of a commit.

use serde::{Deserialize, Serialize};

use crate::sink::contract::CommitFacts;

/// How a view's rows are laid out in parts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum PartLayout {
    /// For insert-only views. Each commit appends a part; small parts are merged.
    Append,
    /// For views whose rows change. Rows are split by the hash of these columns (all columns if empty). Only parts with changed rows are
    /// rewritten.
    Hashed {
        /// The indexes of the columns whose hash decides the part.
        columns: Vec<usize>,
    },
}

/// One immutable Parquet file of a view.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The file's name in `parts/`.
    pub file: String,
    /// The number of rows.
    pub rows: u64,
    /// The size in bytes.
    pub bytes: u64,
    /// The slice of the hash space: the part holds the rows whose hash begins with the bits of `prefix`. Zero for `Append`.
    pub prefix: u32,
    /// The length of the prefix in bits. Zero for `Append`.
    pub bits: u8,
    /// The CRC-32 of each 256 KiB of it, the last one shorter; empty where a release wrote it that took none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub crc32: Vec<u32>,
}

impl Part {
    /// Whether a row with this hash may be in the part. See [`super::hash_of_key`].
    #[must_use]
    pub fn may_hold(&self, hash: u64) -> bool {
        self.bits == 0 || hash >> (64 - u32::from(self.bits)) == u64::from(self.prefix)
    }
}

/// The content of a view at one commit.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Snapshot {
    /// The commit.
    pub(super) commit: CommitFacts,
    /// How rows are laid out in the parts.
    pub(super) layout: PartLayout,
    /// The parts that together make up the view.
    pub(super) parts: Vec<Part>,
}
