//! Checkpoints and restores an arrangement.

use std::collections::HashMap;

use arrow::record_batch::RecordBatch;

use super::Arrangement;
use crate::error::Error;
use crate::state::{BatchId, TableCheckpoint, Tables};

impl Arrangement {
    /// Adds what must become durable.
    pub(crate) fn checkpoint(&mut self, tables: &mut Vec<TableCheckpoint>) {
        tables.push(self.segments.checkpoint());
        tables.extend(self.removed.as_mut().map(|removed| removed.checkpoint()));
    }

    /// Restores the arrangement's tables from a checkpoint. The arrangement must be empty.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if a batch has another schema, or if a removed row does not exist.
    pub(crate) fn restore(&mut self, tables: &mut Tables) -> Result<(), Error> {
        let mut slots: HashMap<BatchId, usize> = HashMap::new();
        for (id, batch) in tables.take(self.segments.name())? {
            let batch = self.segments.adopt(id, batch)?;
            let rows = self.without_weights(&batch)?;
            let buckets = self.by.of(&rows)?;
            let of_rows = match &self.content {
                Some(content) => content.rows.encode(rows.columns(), rows.num_rows())?.hashes(),
                None => Vec::new(),
            };
            let hashes = self.hashes(&batch, buckets, of_rows);
            let bytes = hashes.bytes();
            slots.insert(id, self.segments.restore(id, batch, hashes, bytes)?);
        }
        self.restore_removed(&slots, tables)?;
        for slot in self.segments.order().to_vec() {
            self.index(slot);
        }
        Ok(())
    }

    fn without_weights(&self, batch: &RecordBatch) -> Result<RecordBatch, Error> {
        let columns: Vec<usize> = (0..self.rows.fields().len()).collect();
        Ok(batch.project(&columns)?)
    }

    /// Marks rows that were removed before the checkpoint as dead.
    fn restore_removed(&mut self, slots: &HashMap<BatchId, usize>, tables: &mut Tables) -> Result<(), Error> {
        let Some(removed) = &mut self.removed else { return Ok(()) };
        for (id, row) in removed.restore(tables)? {
            // Removals from segments that have been merged since stay recorded for a while.
            let Some(slot) = slots.get(&id) else { continue };
            let segment = self.segments.get_mut(*slot);
            if row as usize >= segment.len() || !segment.is_live(row as usize) {
                return Err(self
                    .segments
                    .corrupt(format!("row {row} of batch {} is recorded as removed, but is not there", id.0)));
            }
            segment.remove(row as usize);
        }
        Ok(())
    }
}
