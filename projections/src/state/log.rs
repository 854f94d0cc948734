//! Rows in the order of their arrival.
//!
//! Small segments at the end are merged. So the order stays, and the rows, which are read again and again, are in few pieces.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use arrow::record_batch::RecordBatch;

use super::segments::Segments;
use super::{BatchId, TableCheckpoint, merging};
use crate::error::Error;

/// Rows in the order of their arrival. They can only be removed all at once.
#[derive(Debug)]
pub(crate) struct RowLog {
    segments: Segments<()>,
}

impl RowLog {
    pub(crate) fn new(name: String, schema: SchemaRef) -> Self {
        Self { segments: Segments::new(name, schema) }
    }

    /// Adds rows at the end.
    pub(crate) fn append(&mut self, rows: &RecordBatch) -> Result<(), Error> {
        for (_, piece) in self.segments.pieces(rows.columns(), rows.num_rows())? {
            self.segments.insert(piece, (), 0, None)?;
        }
        Ok(())
    }

    /// Replaces all rows with these.
    pub(crate) fn replace(&mut self, rows: &RecordBatch) -> Result<(), Error> {
        let slots = self.segments.order().to_vec();
        self.segments.remove(&slots);
        self.append(rows)?;
        self.segments.keep_ids()
    }

    /// Merges small segments at the end.
    pub(crate) fn end_epoch(&mut self) -> Result<(), Error> {
        while let Some(positions) = merging::tail(self.segments.order().len(), |position| self.segments.at(position).size()) {
            let slots = self.segments.order()[positions].to_vec();
            let merged = self.segments.copy(&self.segments.live_places(&slots))?;
            self.segments.remove(&slots);
            self.segments.insert(merged, (), 0, None)?;
        }
        Ok(())
    }

    /// Returns all rows, in order.
    pub(crate) fn batches(&self) -> Result<Vec<RecordBatch>, Error> {
        self.segments.order().iter().map(|slot| self.segments.rows(*slot)).collect()
    }

    /// Returns what must become durable.
    pub(crate) fn checkpoint(&mut self) -> TableCheckpoint {
        self.segments.checkpoint()
    }

    /// Restores the batches of a checkpoint, in its order. The log must be empty.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if a batch has another schema.
    pub(crate) fn restore(&mut self, batches: Vec<(BatchId, RecordBatch)>) -> Result<(), Error> {
        for (id, batch) in batches {
            let rows = self.segments.adopt(id, batch)?;
            self.segments.restore(id, rows, (), 0)?;
        }
        Ok(())
    }

    /// Returns the number of rows and of bytes held.
    pub(crate) fn size(&self) -> (u64, u64) {
        let sizes = self.segments.iter().map(|segment| (segment.len() as u64, segment.bytes() as u64));
        sizes.fold((0, 0), |(rows, bytes), (more_rows, more_bytes)| (rows + more_rows, bytes + more_bytes))
    }

    pub(crate) fn schema(&self) -> &SchemaRef {
        self.segments.schema()
    }

    pub(crate) fn name(&self) -> &str {
        self.segments.name()
    }
}

/// Returns the schema without metadata, as state stores it.
pub(crate) fn bare(schema: &SchemaRef) -> SchemaRef {
    let fields: Vec<_> = schema.fields().iter().map(|field| field.as_ref().clone().with_metadata(Default::default())).collect();
    Arc::new(Schema::new(fields))
}
