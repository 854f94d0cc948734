//! Operator state: log-structured Arrow tables.
//!
//! | module | what it holds |
//! | --- | --- |
//! | `table` | rows by key: a hash index finds the newest version |
//! | `multiset` | rows with weights, in a table |
//! | `arrangement` | rows by the bucket of their key, with weights if they can be retracted |
//! | `log` | rows in the order of their arrival |
//! | `segments` | the storage of all these: immutable batches with their slots, ids and checkpoints |
//! | `merging` | which segments are merged, and when |
//! | `place` | where a row is |
//! | `weights` | weights of stored rows, for multisets and arrangements |
//! | `keys` | row-encoded keys and their hashes |
//! | `buckets` | which bucket a row is in |
//! | `compact` | arrays without memory that they do not use |
//!
//! Nothing here writes a file. A checkpoint returns [`TableCheckpoint`]s, and a restore takes their batches.

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

/// Identifies one immutable batch of a state table. Ids rise, and a table never reuses one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchId(pub u64);

/// What must become durable for one state table, so that a restore brings back its present rows.
#[derive(Debug, Clone)]
pub struct TableCheckpoint {
    /// The table's name, unique in its projection; letters, digits, `-` and `_` only.
    pub table: String,
    /// The batches added since the last checkpoint.
    pub added: Vec<(BatchId, RecordBatch)>,
    /// All batches of the table, with the added ones, in the order that a restore needs.
    pub live: Vec<BatchId>,
}

/// The largest number of rows in a batch.
pub(crate) const MAX_BATCH_ROWS: usize = 16 * 1024;

/// The approximate largest number of bytes in a batch. A single row may have more.
pub(crate) const MAX_BATCH_BYTES: usize = 512 * 1024;

/// The batches of a checkpoint by table. Each operator takes its own.
#[derive(Debug)]
pub(crate) struct Tables(pub(crate) std::collections::HashMap<String, Vec<(BatchId, RecordBatch)>>);

impl Tables {
    /// Takes the batches of a table.
    ///
    /// # Errors
    /// [`Error::Corrupt`](crate::Error::Corrupt) if the table is missing.
    pub(crate) fn take(&mut self, table: &str) -> Result<Vec<(BatchId, RecordBatch)>, crate::Error> {
        self.0.remove(table).ok_or_else(|| crate::Error::Corrupt {
            table: table.to_owned(),
            message: "it is missing from the checkpoint".to_owned(),
        })
    }
}
