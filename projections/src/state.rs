//! Log-structured Arrow tables: what operators remember.

use arrow::record_batch::RecordBatch;

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
