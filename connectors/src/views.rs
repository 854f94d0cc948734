//! A view's Parquet files: parts, snapshots, `current/` and `manifest.json`.
//!
//! ```text
//! data/views/<view>/
//!   parts/<epoch>-<random>-<n>.parquet              immutable, never reused names; the only place where rows are written
//!   snapshots/<epoch>-<millis>-<digest>/*.parquet   hard links to the parts of one commit, and its own manifest.json
//!   current -> snapshots/<...>                      symbolic link, replaced by an atomic rename
//!   manifest.json                                   the snapshot's files, offsets, epoch and fingerprint; atomic rename too
//! ```
//!
//! | module | what it holds |
//! | --- | --- |
//! | `writer` | [`ViewWriter`]: row changes to parts |
//! | `hashed` | which parts a change touches, and how they are rewritten, split and merged |
//! | `cost` | how many parts are cheapest |
//! | `append` | merging small parts of a view whose rows only arrive |
//! | `part_file` | one Parquet file: its name, writing, reading |
//! | `row_groups` | the row groups of a large part, encoded side by side |
//! | `shape` | the types of a view's rows: what is stored, when two rows are equal, the hash of a row |
//! | `snapshots` | [`publish`], [`read_manifest`] |
//! | `sweep` | what is removed, and when |
//!
//! Nothing here decides what is committed: [`ViewWriter::write`] makes durable files that no one sees yet and gives their list;
//! the engine records the list; [`publish`] shows it, and can be repeated after a crash. Nothing here reads a clock.

use std::collections::BTreeMap;

use arrow::array::Int64Array;
use arrow::record_batch::RecordBatch;
use serde::{Deserialize, Serialize};

mod append;
mod cost;
mod hashed;
mod parallel;
mod part_file;
mod row_groups;
mod shape;
mod snapshots;
mod sweep;
#[cfg(test)]
mod tests;
mod writer;

pub use snapshots::{Manifest, publish, read_manifest, read_snapshot};
pub use sweep::{Retention, Swept, discard, sweep, sweep_orphans};
pub use writer::{PartRows, ViewWriter, read_parts};

/// How a view's rows are laid out in parts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Layout {
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

/// What one commit says of a view: recorded in the checkpoint, and in `manifest.json` as [`Manifest`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The view's name.
    pub view: String,
    /// The commit.
    pub epoch: u64,
    /// The parts that together are the view.
    pub parts: Vec<Part>,
    /// The offset (next sequence) of each source that the view's rows come from.
    pub offsets: BTreeMap<String, u64>,
    /// Which version of the view this is.
    pub fingerprint: String,
    /// When it was committed, milliseconds since the epoch.
    pub committed_ms: u64,
    /// The views of the same pipeline, this one among them: their manifests with the same epoch are one consistent state.
    #[serde(default)]
    pub committed_with: Vec<String>,
}

/// Row changes: rows with a weight each (+n in, -n out; none means all +1).
#[derive(Debug, Clone)]
pub struct Change {
    /// The rows; schema of the view.
    pub rows: RecordBatch,
    /// As long as `rows`.
    pub weights: Option<Int64Array>,
}
