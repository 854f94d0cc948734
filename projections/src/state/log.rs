//! Rows in the order of their arrival.
//!
//! Small batches are merged with their neighbours, so that the order stays and what is read again and again is in few pieces.

use std::sync::Arc;

use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;

use super::table::adopt;
use super::{BatchId, MAX_BATCH_BYTES, MAX_BATCH_ROWS, TableCheckpoint, compact};
use crate::error::Error;

/// Rows in the order of their arrival; nothing leaves.
#[derive(Debug)]
pub(crate) struct RowLog {
    name: String,
    schema: SchemaRef,
    pieces: Vec<Piece>,
    next_id: u64,
}

#[derive(Debug)]
struct Piece {
    id: BatchId,
    rows: RecordBatch,
    bytes: usize,
    persisted: bool,
}

impl RowLog {
    pub(crate) fn new(name: String, schema: SchemaRef) -> Self {
        Self { name, schema, pieces: Vec::new(), next_id: 0 }
    }

    /// Adds rows at the end.
    pub(crate) fn append(&mut self, rows: &RecordBatch) -> Result<(), Error> {
        let bytes_per_row = compact::bytes(rows) / rows.num_rows().max(1) + 1;
        let step = (MAX_BATCH_BYTES / bytes_per_row).clamp(1, MAX_BATCH_ROWS);
        let mut start = 0;
        while start < rows.num_rows() {
            let count = step.min(rows.num_rows() - start);
            let piece = compact::copy_batch(&rows.slice(start, count))?;
            self.push(piece, false);
            start += count;
        }
        Ok(())
    }

    fn push(&mut self, rows: RecordBatch, persisted: bool) {
        let id = BatchId(self.next_id);
        self.next_id += 1;
        let bytes = compact::bytes(&rows);
        self.pieces.push(Piece { id, rows, bytes, persisted });
    }

    /// Merges small pieces at the end: of three neighbours, the one before must be larger than those after it together.
    pub(crate) fn end_epoch(&mut self) -> Result<(), Error> {
        loop {
            let mut first = self.pieces.len();
            let (mut rows, mut bytes) = (0, 0);
            while let Some(piece) = first.checked_sub(1).map(|before| &self.pieces[before]) {
                let (all_rows, all_bytes) = (rows + piece.rows.num_rows(), bytes + piece.bytes);
                let grows = first < self.pieces.len() && piece.rows.num_rows() > 2 * rows;
                if grows || all_rows > MAX_BATCH_ROWS || all_bytes > MAX_BATCH_BYTES {
                    break;
                }
                (rows, bytes, first) = (all_rows, all_bytes, first - 1);
            }
            if self.pieces.len() - first < 2 {
                return Ok(());
            }
            let merged: Vec<RecordBatch> = self.pieces.drain(first..).map(|piece| piece.rows).collect();
            let merged = compact::copy_batch(&concat_batches(&self.schema, &merged)?)?;
            self.push(merged, false);
        }
    }

    /// All rows, in order.
    pub(crate) fn batches(&self) -> Vec<RecordBatch> {
        self.pieces.iter().map(|piece| piece.rows.clone()).collect()
    }

    /// What has to become durable.
    pub(crate) fn checkpoint(&mut self) -> TableCheckpoint {
        let live = self.pieces.iter().map(|piece| piece.id).collect();
        let mut added = Vec::new();
        for piece in self.pieces.iter_mut().filter(|piece| !piece.persisted) {
            piece.persisted = true;
            added.push((piece.id, piece.rows.clone()));
        }
        TableCheckpoint { table: self.name.clone(), added, live }
    }

    /// Takes the batches of a checkpoint, in its order. The log is empty.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where a batch has another schema.
    pub(crate) fn restore(&mut self, batches: Vec<(BatchId, RecordBatch)>) -> Result<(), Error> {
        for (id, batch) in batches {
            let rows = adopt(&self.name, &self.schema, batch)?;
            self.next_id = self.next_id.max(id.0);
            self.push(rows, true);
            if let Some(piece) = self.pieces.last_mut() {
                piece.id = id;
            }
        }
        Ok(())
    }

    /// Rows and bytes held.
    pub(crate) fn size(&self) -> (u64, u64) {
        self.pieces.iter().fold((0, 0), |(rows, bytes), piece| (rows + piece.rows.num_rows() as u64, bytes + piece.bytes as u64))
    }

    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }
}

/// `schema` without metadata at any level of its own, as state keeps it.
pub(crate) fn bare(schema: &SchemaRef) -> SchemaRef {
    let fields: Vec<_> = schema.fields().iter().map(|field| field.as_ref().clone().with_metadata(Default::default())).collect();
    Arc::new(arrow::datatypes::Schema::new(fields))
}
