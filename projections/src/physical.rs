//! Physical plans over slots: planned once, then run on whatever rows the slots hold.
//!
//! Each leaf of a node's logical plan becomes a bounded stream without statistics. So the plan does not depend on the rows of its
//! first run.

mod stable_sort;

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use alluvium_sql::{leaf_index, session_state};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::common::tree_node::Transformed;
use datafusion::datasource::provider_as_source;
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, SessionState, SessionStateBuilder, TaskContext};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::memory::MemoryStream;
use datafusion::physical_plan::streaming::PartitionStream;
use datafusion::physical_planner::{DefaultPhysicalPlanner, PhysicalPlanner};

pub(crate) use self::stable_sort::StableSort;
use crate::error::Error;

/// The rows that a leaf reads when its plan runs.
pub(crate) struct Slot {
    schema: SchemaRef,
    batches: Mutex<Vec<RecordBatch>>,
}

impl Slot {
    pub(crate) fn new(schema: SchemaRef) -> Arc<Slot> {
        Arc::new(Slot { schema, batches: Mutex::new(Vec::new()) })
    }

    /// Sets the rows that the next run reads.
    pub(crate) fn fill(&self, batches: Vec<RecordBatch>) {
        *self.batches.lock().unwrap_or_else(PoisonError::into_inner) = batches;
    }

    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Slot")
    }
}

impl PartitionStream for Slot {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _ctx: Arc<TaskContext>) -> SendableRecordBatchStream {
        let batches = self.batches.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match MemoryStream::try_new(batches, Arc::clone(&self.schema), None) {
            Ok(stream) => Box::pin(stream),
            Err(_) => Box::pin(datafusion::physical_plan::EmptyRecordBatchStream::new(Arc::clone(&self.schema))),
        }
    }
}

/// A node's physical plan and the slots that its leaves read.
#[derive(Debug)]
pub(crate) struct Planned {
    pub(crate) plan: Arc<dyn ExecutionPlan>,
    /// Indexed by the number of the leaf.
    pub(crate) slots: Vec<Arc<Slot>>,
    pub(crate) context: Arc<TaskContext>,
}

/// How much of DataFusion's planning is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effort {
    /// One physical operator for each logical one, without physical optimizer rules. Our own operators run it.
    AsWritten,
    /// All physical optimizer rules. DataFusion runs it.
    Optimized,
    /// As `Optimized`, but with stable sorts: the same rows give the same answer, bit for bit, whatever other rows are read with them.
    Stable,
}

/// Plans `logical` over slots, one for each of `inputs`.
///
/// # Errors
/// [`Error::Plan`] if DataFusion has no physical plan for it.
pub(crate) async fn plan(logical: &LogicalPlan, inputs: &[SchemaRef], effort: Effort) -> Result<Planned, Error> {
    let slots: Vec<Arc<Slot>> = inputs.iter().map(|schema| Slot::new(Arc::clone(schema))).collect();
    let over_slots = logical.clone().transform_down_with_subqueries(|plan| match plan {
        LogicalPlan::TableScan(mut scan) if leaf_index(&scan.table_name).is_some_and(|index| index < slots.len()) => {
            let index = leaf_index(&scan.table_name).unwrap_or_default();
            let stream = Arc::clone(&slots[index]) as Arc<dyn PartitionStream>;
            scan.source = provider_as_source(Arc::new(StreamingTable::try_new(Arc::clone(slots[index].schema()), vec![stream])?));
            Ok(Transformed::yes(LogicalPlan::TableScan(scan)))
        }
        other => Ok(Transformed::no(other)),
    })?;
    let state = session(effort)?;
    let planner = DefaultPhysicalPlanner::default();
    let plan = planner.create_physical_plan(&over_slots.data, &state).await.map_err(|error| match Error::from(error) {
        Error::Row(message) => Error::Plan(message),
        other => other,
    })?;
    let plan = if effort == Effort::Stable { stable_sort::stable_sorts(plan)? } else { plan };
    Ok(Planned { plan, slots, context: Arc::clone(CONTEXT.get_or_init(|| state.task_ctx())) })
}

/// What every plan of the process runs with. Sessions differ only in rules, which no plan needs any more, and each context lists all
/// functions: one a plan would be most of the memory of a small view.
static CONTEXT: OnceLock<Arc<TaskContext>> = OnceLock::new();

fn session(effort: Effort) -> Result<SessionState, DataFusionError> {
    let state = session_state()?;
    Ok(match effort {
        Effort::Optimized | Effort::Stable => state,
        Effort::AsWritten => SessionStateBuilder::new_from_existing(state).with_physical_optimizer_rules(Vec::new()).build(),
    })
}

/// Checks whether `stream` is `slot`.
pub(crate) fn is_slot(stream: &Arc<dyn PartitionStream>, slot: &Arc<Slot>) -> bool {
    std::ptr::addr_eq(Arc::as_ptr(stream), Arc::as_ptr(slot))
}
