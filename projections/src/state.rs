//! Log-structured Arrow tables: what operators remember.
//!
//! | module | what it holds |
//! | --- | --- |
//! | `table` | rows by key: the newest version of each, found by a hash index |
//! | `segment` | one immutable batch of a table, with the keys of its rows and which of them are still the newest |
//! | `merging` | which segments are merged, and when |
//! | `keys` | row-encoded keys and their hashes |
//! | `multiset` | rows with weights, on top of a table whose key is the whole row |
//! | `log` | rows in the order of their arrival |
//! | `compact` | arrays without memory that they do not use |
//!
//! Nothing here writes a file: state leaves as [`TableCheckpoint`]s and comes back as their batches.

pub(crate) mod compact;
pub(crate) mod keys;
pub(crate) mod log;
mod merging;
pub(crate) mod multiset;
mod segment;
pub(crate) mod table;
#[cfg(test)]
mod tests;

use arrow::record_batch::RecordBatch;

pub(crate) use self::segment::Place;

/// Names one immutable batch of a state table; rises, never reused within a table's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchId(pub u64);

/// What has to become durable of one state table so that it can be restored as it is now.
#[derive(Debug, Clone)]
pub struct TableCheckpoint {
    /// The table's name, unique in its projection; letters, digits, `-` and `_` only.
    pub table: String,
    /// Batches made since the last checkpoint.
    pub added: Vec<(BatchId, RecordBatch)>,
    /// All batches that are alive now, in the order in which they must be given back: added ones among them.
    pub live: Vec<BatchId>,
}

/// Rows of one batch, at most.
pub(crate) const MAX_BATCH_ROWS: usize = 16 * 1024;

/// Bytes of one batch, about, at most (one row may exceed it).
pub(crate) const MAX_BATCH_BYTES: usize = 512 * 1024;

/// The batches of a checkpoint by table, to be taken by the operators whose state they are.
#[derive(Debug)]
pub(crate) struct Tables(pub(crate) std::collections::HashMap<String, Vec<(BatchId, RecordBatch)>>);

impl Tables {
    /// # Errors
    /// [`Error::Corrupt`](crate::Error::Corrupt) where the table is not there.
    pub(crate) fn take(&mut self, table: &str) -> Result<Vec<(BatchId, RecordBatch)>, crate::Error> {
        self.0.remove(table).ok_or_else(|| crate::Error::Corrupt {
            table: table.to_owned(),
            message: "it is missing from the checkpoint".to_owned(),
        })
    }
}
