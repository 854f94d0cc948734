//! Durable records of the removed rows of an arrangement, by segment and row. A record means nothing once its segment is gone.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, UInt32Array, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, UInt32Type, UInt64Type};
use arrow::record_batch::RecordBatch;

use crate::error::Error;
use crate::state::log::RowLog;
use crate::state::{BatchId, TableCheckpoint, Tables};

/// Records whose segments are gone are dropped once there are about this many more of them than of others.
const SLACK: usize = 4096;

/// The removed rows.
#[derive(Debug)]
pub(super) struct Removed {
    log: RowLog,
    recorded: usize,
}

impl Removed {
    /// Creates the records of an arrangement. The table's name is part of the checkpoint format.
    pub(super) fn of(arrangement: &str) -> Self {
        let fields = vec![Field::new("batch", DataType::UInt64, false), Field::new("row", DataType::UInt32, false)];
        let log = RowLog::new(format!("{arrangement}-departures"), Arc::new(Schema::new(fields)));
        Self { log, recorded: 0 }
    }

    pub(super) fn record(&mut self, places: &[(BatchId, u32)]) -> Result<(), Error> {
        self.recorded += places.len();
        let rows = self.rows(places)?;
        self.log.append(&rows)
    }

    fn rows(&self, places: &[(BatchId, u32)]) -> Result<RecordBatch, Error> {
        let batches: ArrayRef = Arc::new(UInt64Array::from_iter_values(places.iter().map(|(batch, _)| batch.0)));
        let rows: ArrayRef = Arc::new(UInt32Array::from_iter_values(places.iter().map(|(_, row)| *row)));
        Ok(RecordBatch::try_new(Arc::clone(self.log.schema()), vec![batches, rows])?)
    }

    /// Checks whether the segments of most records are gone. `dead` is the number of dead rows in the segments that are left.
    pub(super) fn is_stale(&self, dead: usize) -> bool {
        self.recorded > 2 * dead + SLACK
    }

    /// Replaces all records with these.
    pub(super) fn replace(&mut self, places: &[(BatchId, u32)]) -> Result<(), Error> {
        self.recorded = places.len();
        let rows = self.rows(places)?;
        self.log.replace(&rows)
    }

    pub(super) fn end_epoch(&mut self) -> Result<(), Error> {
        self.log.end_epoch()
    }

    pub(super) fn checkpoint(&mut self) -> TableCheckpoint {
        self.log.checkpoint()
    }

    /// Takes its table from a checkpoint. Returns the recorded rows.
    pub(super) fn restore(&mut self, tables: &mut Tables) -> Result<Vec<(BatchId, u32)>, Error> {
        self.log.restore(tables.take(self.log.name())?)?;
        let mut places = Vec::new();
        for batch in self.log.batches()? {
            let batches = batch.column(0).as_primitive::<UInt64Type>().values();
            let rows = batch.column(1).as_primitive::<UInt32Type>().values();
            places.extend(batches.iter().zip(rows).map(|(batch, row)| (BatchId(*batch), *row)));
        }
        self.recorded = places.len();
        Ok(places)
    }
}
