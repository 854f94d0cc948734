//! What operators remember: log-structured Arrow tables.
//!
//! | module | what it holds |
//! | --- | --- |
//! | `table` | rows by key: the newest version of each, found by a hash index |
//! | `multiset` | rows with weights, in a table whose key is the whole row |
//! | `arrangement` | rows, with weights where they can be retracted, by the bucket of their key |
//! | `log` | rows in the order of their arrival |
//! | `segments` | what these are made of: immutable batches, their slots, ids and checkpoint, and where their rows are |
//! | `merging` | which segments are merged, and when |
//! | `place` | where a row is |
//! | `weights` | what multisets and arrangements share |
//! | `keys` | row-encoded keys and their hashes |
//! | `buckets` | which bucket a row is in |
//! | `compact` | arrays without memory that they do not use |
//!
//! Nothing here writes a file: a checkpoint gives [`TableCheckpoint`]s, and a restore takes their batches.

pub(crate) mod arrangement;
pub(crate) mod buckets;
pub(crate) mod compact;
pub(crate) mod keys;
pub(crate) mod log;
mod merging;
pub(crate) mod multiset;
mod place;
mod segments;
pub(crate) mod table;
#[cfg(test)]
mod tests;
mod weights;

use arrow::record_batch::RecordBatch;

pub(crate) use self::place::Place;

/// Names one immutable batch of a state table; rises, never reused within a table's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchId(pub u64);

/// What has to become durable of one state table, so that it can be restored as it is now.
#[derive(Debug, Clone)]
pub struct TableCheckpoint {
    /// The table's name, unique in its projection; letters, digits, `-` and `_` only.
    pub table: String,
    /// Batches made since the last checkpoint.
    pub added: Vec<(BatchId, RecordBatch)>,
    /// All batches of the table now, in the order in which they must be given back; the added ones are among them.
    pub live: Vec<BatchId>,
}

/// Rows of one batch, at most.
pub(crate) const MAX_BATCH_ROWS: usize = 16 * 1024;

/// Bytes of one batch at most, about (a single row may have more).
pub(crate) const MAX_BATCH_BYTES: usize = 512 * 1024;

/// The batches of a checkpoint by table. Each operator takes its own.
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
