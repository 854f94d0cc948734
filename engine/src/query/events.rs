//! The events of a source as a table. They are read once the query is planned, and so with only the columns that it reads: an event with a value
//! that does not fit one of these is left out of all scans, as it is of a view.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, OnceLock};

use alluvium_connectors::Batch;
use async_trait::async_trait;
use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DataFusionError, Result};
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;

/// Events in memory, once they are read.
#[derive(Default)]
pub(super) struct Contents {
    read: OnceLock<Events>,
}

struct Events {
    /// The columns of the rows, as indexes into those of the source.
    columns: Vec<usize>,
    rows: Vec<RecordBatch>,
}

impl Contents {
    /// Fills the table with the events of batches that have these columns. Returns how many do not decode or have a value that does not fit:
    /// these are left out.
    ///
    /// # Errors
    /// Only a bug.
    pub(super) fn fill(&self, columns: Vec<usize>, batches: Vec<Batch>) -> Result<u64, alluvium_connectors::Error> {
        let mut bad = BTreeSet::new();
        let mut rows = Vec::with_capacity(batches.len());
        for batch in batches {
            bad.extend(batch.dead_letters.iter().map(|letter| (letter.sequence, letter.ordinal.unwrap_or_default())));
            bad.extend(batch.unfit.iter().map(|unfit| batch.event(unfit.row)));
            rows.push(batch.fitting(|_| true)?.rows.clone());
        }
        // A second filling would be of the same query.
        let _ = self.read.set(Events { columns, rows });
        Ok(bad.len() as u64)
    }
}

/// A table over [`Contents`]. Without them, it has no rows.
pub(super) struct EventsTable {
    schema: SchemaRef,
    contents: Arc<Contents>,
}

impl fmt::Debug for EventsTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventsTable").field("schema", &self.schema).finish_non_exhaustive()
    }
}

impl EventsTable {
    /// A table with the columns of a source as they are declared.
    pub(super) fn declared(schema: SchemaRef, contents: &Arc<Contents>) -> EventsTable {
        EventsTable { schema, contents: Arc::clone(contents) }
    }

    /// A table whose columns may all be NULL, so that the optimizer keeps a test for NULL, and the column counts as read.
    pub(super) fn nullable(schema: &Schema, contents: &Arc<Contents>) -> EventsTable {
        let fields: Vec<Field> = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect();
        EventsTable::declared(Arc::new(Schema::new(fields)), contents)
    }

    /// Returns the rows with some columns, as indexes into those of the source.
    fn rows(&self, columns: &[usize], schema: &SchemaRef) -> Result<Vec<RecordBatch>> {
        let Some(events) = self.contents.read.get() else { return Ok(Vec::new()) };
        let place = |column: &usize| {
            let place = events.columns.iter().position(|read| read == column);
            place.ok_or_else(|| DataFusionError::Internal(format!("column {column} of a source is scanned and was not read")))
        };
        let places = columns.iter().map(place).collect::<Result<Vec<usize>>>()?;
        let projected = |rows: &RecordBatch| {
            let arrays: Vec<ArrayRef> = places.iter().map(|place| Arc::clone(rows.column(*place))).collect();
            let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
            Ok(RecordBatch::try_new_with_options(Arc::clone(schema), arrays, &options)?)
        };
        events.rows.iter().map(projected).collect()
    }
}

#[async_trait]
impl TableProvider for EventsTable {
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
        let columns = projection.cloned().unwrap_or_else(|| (0..self.schema.fields().len()).collect());
        let schema = Arc::new(self.schema.project(&columns)?);
        let rows = self.rows(&columns, &schema)?;
        Ok(MemorySourceConfig::try_new_exec(&[rows], schema, None)?)
    }
}
