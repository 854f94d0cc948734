//! The records of commits. The write to sled is the commit; synced JSON twins beside the views keep the same records, so that a lost or
//! damaged sled loses nothing.
//!
//! A view's record is a sled value with a checksum. The records of views that are committed together are written in one atomic
//! sled batch. The JSON twin of a view holds all records of its commit, so that one twin alone restores a consistent set.
//!
//! A record lists all live files of its view. A commit changes few of them, so both places hold a whole record of some commit and a
//! [`delta::Delta`] for each commit after it. When the deltas have become as large as the whole record, it is written whole again.
//! `entries` and `twin` expand what they read: whoever reads a record sees it whole.

mod chain;
mod crashed;
mod database;
mod definition;
mod delta;
mod entries;
mod examine;
mod files;
mod flush;
mod group;
mod letters;
mod opening;
mod recovery;
mod store;
mod stored;
mod tally;
#[cfg(test)]
mod tests;
mod twin;
mod value;

use std::collections::BTreeMap;

use alluvium_connectors::Position;
use alluvium_connectors::sink::{CommitFacts, Size, Token};
use serde::{Deserialize, Serialize};

pub use crashed::{Crashed, payload_hash};
pub use definition::Definition;
pub use examine::{copy_folder, records_beside, records_in_database};
pub use letters::{DeadLetterOffset, column_key, dead_letter_key, lowered};
pub use recovery::{drop_view, may_be_dropped, newest_records, read_records};
pub use store::Store;
pub use tally::Tally;
pub use twin::write as write_beside;

/// The version of the format of records and state files, rising. A view whose record has one that this program does not read is rebuilt.
/// Since 2, a record may be stored as the changes of commits: a program that does not know of them must not go on from an old whole record.
pub const FORMAT: u32 = 2;
/// The oldest version that this program reads.
const OLDEST_FORMAT: u32 = 1;

/// The record of one view at one commit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "stored::StoredRecord")]
pub struct Record {
    /// [`FORMAT`] when it was written.
    pub format: u32,
    /// The view.
    pub view: String,
    /// The epoch of the commit. It rises with each commit of the view, also across rebuilds.
    pub epoch: u64,
    /// Identifies the run of the view's operators from the first event. It names the folder of the state files.
    pub incarnation: String,
    /// The plan's fingerprint.
    pub fingerprint: String,
    /// The position of each source of the pipeline.
    pub positions: BTreeMap<String, Position>,
    /// The state tables and their batches.
    pub state: Vec<TableRecord>,
    /// The facts about the commit that readers of the view see.
    #[serde(rename = "snapshot")]
    pub commit: CommitFacts,
    /// The sink's token, from which it publishes the commit again.
    pub sink: Token,
    /// The size of the view.
    pub size: Size,
    /// Dead-letter files that this commit staged, and that are published after it.
    pub dead_letters: Vec<String>,
    /// By source that the view reads directly: counts of the events it has read.
    #[serde(default)]
    pub tallies: BTreeMap<String, Tally>,
    /// The SQL under which the view goes on; none where a release wrote the record that did not keep it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub definition: Option<Definition>,
}

impl Record {
    /// Whether this program reads the record's format.
    #[must_use]
    pub fn is_readable(&self) -> bool {
        (OLDEST_FORMAT..=FORMAT).contains(&self.format)
    }
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

/// What one commit writes atomically.
#[derive(Debug, Default)]
pub struct Write {
    /// Records of views.
    pub records: Vec<Record>,
    /// By dead-letter key: the sequence below which all letters are kept.
    pub dead_letter_offsets: BTreeMap<String, DeadLetterOffset>,
    /// By dead-letter key of a view's version on a source: the events that are kept from it.
    pub crashed: BTreeMap<String, Crashed>,
    /// Views whose requested rebuild is done with this commit.
    pub rebuilds_done: Vec<String>,
}
