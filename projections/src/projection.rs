//! One view's operators.

use std::collections::HashMap;

use alluvium_sql::ViewPlan;
use arrow::record_batch::RecordBatch;

use crate::delta::Delta;
use crate::error::Error;
use crate::state::{BatchId, TableCheckpoint};

/// A row of the input on which an expression of the view failed: it is left out of the view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Its index in the rows that were pushed.
    pub row: usize,
    /// Why.
    pub error: String,
}

/// Runs one view's incremental plan.
///
/// # Contract
/// - After any sequence of pushes and a [`Projection::flush`], the sum of all deltas flushed so far is the view's SQL over all
///   rows pushed so far less the rejected ones (checked by the sqllogictest files and the property tests).
/// - [`Projection::checkpoint`] is called only directly after a flush (asserted).
pub struct Projection {}

impl Projection {
    /// Plans every operator once.
    ///
    /// # Errors
    /// [`Error::Plan`] where DataFusion has no physical plan for it.
    pub async fn new(plan: &ViewPlan) -> Result<Projection, Error> {
        let _ = plan;
        Ok(Projection {})
    }

    /// Applies changes of a relation that the plan scans. The rows have the relation's columns named in `columns` (indexes into
    /// its full schema, rising), which include all that the plan's scans need. No weights are allowed where the relation is a source.
    ///
    /// # Errors
    /// As in [`Error`]; rows whose expressions fail are not an error: they come back and the others are applied. For a relation
    /// that is a view, a failing row is an error ([`Error::Row`]).
    pub async fn push(&mut self, relation: &str, columns: &[usize], delta: &Delta) -> Result<Vec<Rejected>, Error> {
        let _ = (relation, columns, delta);
        Ok(Vec::new())
    }

    /// Ends an epoch: the net changes of the view since the last flush, consolidated (no row comes both in and out). The first
    /// flush of a new projection gives what the view holds with no event at all (one row for a global aggregate).
    ///
    /// # Errors
    /// As in [`Error`]; after one, the projection must be dropped and restored from the last checkpoint.
    pub async fn flush(&mut self) -> Result<Vec<Delta>, Error> {
        Ok(Vec::new())
    }

    /// What has to become durable, for each state table.
    pub fn checkpoint(&mut self) -> Vec<TableCheckpoint> {
        Vec::new()
    }

    /// Gives a new projection the state of a checkpoint: for each table, its live batches in order.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when a table is missing or has another shape.
    pub fn restore(&mut self, tables: HashMap<String, Vec<(BatchId, RecordBatch)>>) -> Result<(), Error> {
        let _ = tables;
        Ok(())
    }

    /// Rows and bytes held in memory as state.
    #[must_use]
    pub fn state_size(&self) -> (u64, u64) {
        (0, 0)
    }
}
