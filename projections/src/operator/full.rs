//! Full recompute: runs any plan again over all of its stored input whenever that has changed. Emits the difference from the last
//! answer.

use std::sync::Arc;

use alluvium_sql::Node;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::collect;
use datafusion::physical_plan::execution_plan::reset_plan_states;

use super::kit::evaluated::Evaluated;
use super::kit::rows::{renamed, renamed_delta, renamed_deltas, repeated};
use super::kit::stateful::{Flush, Pending, Stateful};
use crate::delta::Delta;
use crate::error::Error;
use crate::left_out::OnFailure;
use crate::physical::{self, Effort, Planned};
use crate::state::log::{RowLog, bare};
use crate::state::multiset::Multiset;
use crate::state::{BatchId, TableCheckpoint, Tables};

/// Runs a region by full recompute.
#[derive(Debug)]
pub(crate) struct Full {
    id: usize,
    planned: Planned,
    evaluated: Evaluated,
    inputs: Vec<Store>,
    output: Multiset,
    schema: SchemaRef,
    /// Whether emitted rows can be retracted.
    retracts: bool,
    /// Whether there is an answer, even if only over no rows.
    answered: bool,
}

#[derive(Debug)]
// There is one for each input of a view: a box would save nothing.
#[allow(clippy::large_enum_variant)]
enum Store {
    /// The rows of an insert-only input, in the order of their arrival.
    Arrivals(RowLog),
    /// The rows of an input that retracts rows.
    Bag(Multiset),
}

impl Store {
    /// Applies changes. Returns all rows.
    fn take(&mut self, deltas: Vec<Delta>) -> Result<Vec<RecordBatch>, Error> {
        match self {
            Store::Arrivals(log) => {
                let schema = Arc::clone(log.schema());
                for rows in deltas.into_iter().map(repeated) {
                    for rows in rows? {
                        log.append(&renamed(&rows, &schema)?)?;
                    }
                }
                log.end_epoch()?;
                log.batches()
            }
            Store::Bag(bag) => {
                bag.apply(&renamed_deltas(deltas, &bag.schema())?)?;
                bag.end_epoch()?;
                bag.batches()
            }
        }
    }

    fn checkpoint(&mut self) -> TableCheckpoint {
        match self {
            Store::Arrivals(log) => log.checkpoint(),
            Store::Bag(bag) => bag.checkpoint(),
        }
    }

    fn restore(&mut self, batches: Vec<(BatchId, RecordBatch)>) -> Result<(), Error> {
        match self {
            Store::Arrivals(log) => log.restore(batches),
            Store::Bag(bag) => bag.restore(batches),
        }
    }

    fn size(&self) -> (u64, u64) {
        match self {
            Store::Arrivals(log) => log.size(),
            Store::Bag(bag) => bag.size(),
        }
    }
}

impl Full {
    pub(crate) async fn new(node: &Node, plan: &LogicalPlan) -> Result<Self, Error> {
        let schemas: Vec<SchemaRef> = node.inputs.iter().map(|input| Arc::clone(&input.schema)).collect();
        let inputs = node.inputs.iter().enumerate().map(|(index, input)| {
            let name = format!("n{}-input{index}", node.id);
            Ok(if input.retracts {
                Store::Bag(Multiset::new(name, &input.schema)?)
            } else {
                Store::Arrivals(RowLog::new(name, bare(&input.schema)))
            })
        });
        let planned = physical::plan(plan, &schemas, Effort::Optimized).await?;
        Ok(Self {
            id: node.id,
            evaluated: Evaluated::of(&planned)?,
            planned,
            inputs: inputs.collect::<Result<_, Error>>()?,
            output: Multiset::new(format!("n{}-output", node.id), &node.schema)?,
            schema: Arc::clone(&node.schema),
            retracts: node.retracts,
            answered: false,
        })
    }

    /// Returns the changes to the answer caused by this epoch.
    async fn changes(&mut self, pending: Pending<Delta>) -> Result<Vec<Delta>, Error> {
        if self.answered && pending.iter().all(Vec::is_empty) {
            return Ok(Vec::new());
        }
        for ((store, deltas), slot) in self.inputs.iter_mut().zip(pending).zip(&self.planned.slots) {
            let batches = store.take(deltas)?;
            slot.fill(batches.iter().map(|rows| renamed(rows, slot.schema())).collect::<Result<_, _>>()?);
        }
        let plan = reset_plan_states(Arc::clone(&self.planned.plan))?;
        let answer = collect(plan, Arc::clone(&self.planned.context)).await;
        self.planned.slots.iter().for_each(|slot| slot.fill(Vec::new()));
        let rows = self.output.schema();
        let answer = answer?.iter().map(|batch| renamed(batch, &rows)).collect::<Result<Vec<_>, _>>()?;
        let change = self.output.replace(&answer)?;
        self.output.end_epoch()?;
        self.answered = true;
        if change.rows.num_rows() == 0 {
            return Ok(Vec::new());
        }
        let change = renamed_delta(change, &self.schema)?;
        if self.retracts {
            return Ok(vec![change]);
        }
        // Insert-only output has no weights: equal rows are emitted one by one.
        Ok(repeated(change)?.into_iter().map(Delta::insertions).collect())
    }
}

impl Stateful for Full {
    type Prepared = Delta;

    fn prepare(&self, input: usize, delta: Delta) -> Result<Delta, Error> {
        self.evaluated.check(input, &delta.rows)?;
        Ok(delta)
    }

    fn flush<'a>(&'a mut self, pending: Pending<Delta>, _failing: OnFailure<'a>) -> Flush<'a> {
        Box::pin(self.changes(pending))
    }

    fn checkpoint(&mut self, tables: &mut Vec<TableCheckpoint>) {
        tables.extend(self.inputs.iter_mut().map(Store::checkpoint));
        tables.push(self.output.checkpoint());
    }

    fn restore(&mut self, tables: &mut Tables) -> Result<(), Error> {
        for (index, store) in self.inputs.iter_mut().enumerate() {
            store.restore(tables.take(&format!("n{}-input{index}", self.id))?)?;
        }
        self.output.restore(tables.take(&format!("n{}-output", self.id))?)?;
        self.answered = true;
        Ok(())
    }

    fn size(&self) -> (u64, u64) {
        self.inputs
            .iter()
            .map(Store::size)
            .fold(self.output.size(), |(rows, bytes), (more_rows, more_bytes)| (rows + more_rows, bytes + more_bytes))
    }
}
