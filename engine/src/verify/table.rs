//! Spools as tables of DataFusion: the events of a source that a view has applied, and the rows of a view for the views that read it.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::{ArrayRef, AsArray, BooleanArray, new_null_array};
use datafusion::arrow::compute::filter_record_batch;
use datafusion::arrow::datatypes::{SchemaRef, UInt64Type};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use futures::StreamExt;
use futures::stream;

use super::spool::Spool;

/// Selects the events of a spool that a view has applied. The last columns of the spool hold the sequence and the number of each row.
#[derive(Debug)]
pub(super) struct Applied {
    /// The view has applied the events before this sequence,
    pub(super) end: u64,
    /// except those with these sequences, on which the program panics,
    pub(super) crashed: BTreeSet<u64>,
    /// and the rows with these numbers, which it has set aside.
    pub(super) rows: BTreeSet<u64>,
}

/// A table with the rows of a spool in one partition, in order.
#[derive(Debug, Clone)]
pub(super) struct SpoolTable {
    schema: SchemaRef,
    /// By column of `schema`: its index in the spool; `None` if the spool lacks it, because no view reads it.
    columns: Vec<Option<usize>>,
    spool: Arc<Spool>,
    applied: Option<Arc<Applied>>,
}

impl SpoolTable {
    /// A table of the rows of a view.
    pub(super) fn of_view(spool: Arc<Spool>) -> SpoolTable {
        let columns = (0..spool.schema().fields().len()).map(Some).collect();
        SpoolTable { schema: spool.schema().clone(), columns, spool, applied: None }
    }

    /// A table of the events of a source with this schema. The spool has the columns with the indices in `decoded`, then the sequence and the number of each row.
    pub(super) fn of_source(schema: SchemaRef, decoded: &[usize], spool: Arc<Spool>, applied: Applied) -> SpoolTable {
        let place = |column| decoded.iter().position(|one| *one == column);
        let columns = (0..schema.fields().len()).map(place).collect();
        SpoolTable { schema, columns, spool, applied: Some(Arc::new(applied)) }
    }

    /// Returns the applied rows of a batch of the spool, in the table's schema.
    fn rows(&self, batch: RecordBatch) -> std::result::Result<RecordBatch, ArrowError> {
        let batch = match &self.applied {
            Some(applied) => applied.of(&batch)?,
            None => batch,
        };
        let column = |(place, field): (&Option<usize>, &Arc<_>)| -> ArrayRef {
            match place {
                Some(place) => batch.column(*place).clone(),
                None => new_null_array(datafusion::arrow::datatypes::Field::data_type(field), batch.num_rows()),
            }
        };
        let columns = self.columns.iter().zip(self.schema.fields()).map(column).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)
    }
}

impl Applied {
    fn of(&self, batch: &RecordBatch) -> std::result::Result<RecordBatch, ArrowError> {
        let numbers = |behind: usize| batch.column(batch.num_columns() - behind).as_primitive::<UInt64Type>().values();
        let (sequences, rows) = (numbers(2), numbers(1));
        let has_none = |set: &BTreeSet<u64>, numbers: &[u64]| match numbers {
            [first, .., last] => set.range(*first..=*last).next().is_none(),
            [only] => !set.contains(only),
            [] => true,
        };
        let all = sequences.last().is_none_or(|last| *last < self.end)
            && has_none(&self.crashed, sequences)
            && has_none(&self.rows, rows);
        if all {
            return Ok(batch.clone());
        }
        let is_wanted = |(sequence, row): (&u64, &u64)| {
            Some(*sequence < self.end && !self.crashed.contains(sequence) && !self.rows.contains(row))
        };
        let wanted: BooleanArray = sequences.iter().zip(rows.iter()).map(is_wanted).collect();
        filter_record_batch(batch, &wanted)
    }
}

#[async_trait]
impl TableProvider for SpoolTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        _: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let mut projected = self.clone();
        if let Some(projection) = projection {
            projected.schema = Arc::new(self.schema.project(projection)?);
            projected.columns = projection.iter().map(|column| self.columns[*column]).collect();
        }
        let schema = projected.schema.clone();
        Ok(Arc::new(StreamingTableExec::try_new(schema, vec![Arc::new(projected)], None, [], false, None)?))
    }
}

impl PartitionStream for SpoolTable {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let table = self.clone();
        let batches = match self.spool.read() {
            Ok(batches) => stream::iter(batches.map(move |batch| Ok(table.rows(batch?)?))).boxed(),
            Err(error) => stream::iter([Err(error.into())]).boxed(),
        };
        Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), batches))
    }
}
