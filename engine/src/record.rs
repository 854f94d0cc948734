//! What is recorded of a commit: in sled, which is the commit, and as synced JSON beside each view, so that a lost or damaged
//! sled loses nothing.
//!
//! A view's record is one sled value with a checksum. The records of views that are committed together are written by one atomic
//! sled batch. The JSON twin of a view holds all records of its commit, so that one twin alone restores a consistent set.

mod crashed;
mod database;
mod files;
mod letters;
mod recovery;
mod store;
mod stored;
mod tally;
mod twin;

use std::collections::BTreeMap;

use alluvium_connectors::Position;
use alluvium_connectors::sink::{CommitFacts, Size, Token};
use serde::{Deserialize, Serialize};

pub use crashed::{Crashed, payload_hash};
pub use letters::{DeadLetterOffset, column_key, dead_letter_key, lowered};
pub use recovery::{drop_view, newest_records, read_records};
pub use store::Store;
pub use tally::Tally;

/// Version of the format of records and state files. A record of another version means: rebuild.
pub const FORMAT: u32 = 1;

/// All that is recorded of one view at one commit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "stored::StoredRecord")]
pub struct Record {
    /// [`FORMAT`] when it was written.
    pub format: u32,
    /// The view.
    pub view: String,
    /// The commit; rises by at least one with each commit of the view, also across rebuilds.
    pub epoch: u64,
    /// Which run of the view's operators from the first event this is; names the folder of its state files.
    pub incarnation: String,
    /// The plan's fingerprint.
    pub fingerprint: String,
    /// Where each source of the pipeline stands.
    pub positions: BTreeMap<String, Position>,
    /// The state tables and their batches.
    pub state: Vec<TableRecord>,
    /// What the commit says of the view to its readers.
    #[serde(rename = "snapshot")]
    pub commit: CommitFacts,
    /// What the view's sink has to know of the commit again.
    pub sink: Token,
    /// The size of the view.
    pub size: Size,
    /// Dead-letter files staged by this commit, to be moved into place after it.
    pub dead_letters: Vec<String>,
    /// What the view has read of each source that it reads directly.
    #[serde(default)]
    pub tallies: BTreeMap<String, Tally>,
}

/// The live batches of one state table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableRecord {
    /// The table's name in its projection.
    pub table: String,
    /// Its files: names in the incarnation's folder.
    pub files: Vec<String>,
    /// The CRC-32 of each file.
    #[serde(default)]
    pub checksums: Vec<u32>,
    /// Its live batches in order: id, index into `files`, index of the batch in that file.
    pub batches: Vec<(u64, usize, usize)>,
}

/// The records written together by one commit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Commit {
    /// One for each view of the pipeline.
    pub records: Vec<Record>,
}

/// What one commit writes, atomically.
#[derive(Debug, Default)]
pub struct Write {
    /// Records of views.
    pub records: Vec<Record>,
    /// For each stream of dead letters, the sequence below which all are kept.
    pub dead_letter_offsets: BTreeMap<String, DeadLetterOffset>,
    /// For each version of a view on a source, the events that are kept from it.
    pub crashed: BTreeMap<String, Crashed>,
    /// Requests for a rebuild that are done with this commit.
    pub rebuilds_done: Vec<String>,
}
