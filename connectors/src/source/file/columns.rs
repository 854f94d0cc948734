//! Converts the rows of Arrow and Parquet files to lines.

use std::io::{self, Read};

use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;

use crate::decode::written_rows::write_lines;

/// Rows that are made to lines at once.
const AT_ONCE: usize = 4096;

/// Reads batches of rows as lines with one JSON object each.
pub(super) struct Rows<I> {
    batches: I,
    /// Rows that are not made to lines yet.
    rest: Option<RecordBatch>,
    /// The converted batch. The first `given` bytes have been returned.
    output: Vec<u8>,
    given: usize,
}

impl<I: Iterator<Item = Result<RecordBatch, ArrowError>>> Rows<I> {
    pub(super) fn new(batches: I) -> Rows<I> {
        Rows { batches, rest: None, output: Vec::new(), given: 0 }
    }
}

impl<I: Iterator<Item = Result<RecordBatch, ArrowError>>> Read for Rows<I> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.given == self.output.len() {
            let Some(batch) = self.rest.take().map(Ok).or_else(|| self.batches.next()) else { return Ok(0) };
            let batch = batch.map_err(io::Error::other)?;
            self.output.clear();
            self.given = 0;
            let rows = batch.num_rows().min(AT_ONCE);
            write_lines(&batch.slice(0, rows), &mut self.output).map_err(io::Error::other)?;
            self.rest = (rows < batch.num_rows()).then(|| batch.slice(rows, batch.num_rows() - rows));
        }
        let count = buffer.len().min(self.output.len() - self.given);
        buffer[..count].copy_from_slice(&self.output[self.given..self.given + count]);
        self.given += count;
        Ok(count)
    }
}
