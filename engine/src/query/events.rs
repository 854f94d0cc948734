//! The events of a source as a table. A query that reads a column leaves out the events with a value that does not fit it, as a view does.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use alluvium_connectors::Batch;
use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DataFusionError, Result};
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;

/// Events in memory, with all columns of their source.
pub(super) struct EventsTable {
    schema: SchemaRef,
    batches: Vec<Batch>,
}

impl fmt::Debug for EventsTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventsTable").field("batches", &self.batches.len()).finish_non_exhaustive()
    }
}

impl EventsTable {
    /// Makes a table of batches with all columns of `schema`. Returns how many events do not decode or have a value that does not fit.
    pub(super) fn new(schema: SchemaRef, batches: Vec<Batch>) -> (EventsTable, u64) {
        let mut bad = BTreeSet::new();
        for batch in &batches {
            bad.extend(batch.dead_letters.iter().map(|letter| letter.sequence));
            bad.extend(batch.unfit.iter().map(|unfit| batch.sequences.value(unfit.row)));
        }
        (EventsTable { schema, batches }, bad.len() as u64)
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
        let rows = |batch: &Batch| -> Result<RecordBatch> {
            let fitting = batch.fitting(|column| columns.contains(&column));
            let fitting = fitting.map_err(|error| DataFusionError::Internal(error.to_string()))?;
            Ok(fitting.rows.project(&columns)?)
        };
        let rows = self.batches.iter().map(rows).collect::<Result<Vec<_>>>()?;
        let schema = Arc::new(self.schema.project(&columns)?);
        Ok(MemorySourceConfig::try_new_exec(&[rows], schema, None)?)
    }
}
