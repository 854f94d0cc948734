//! Full recompute: runs any plan again over all of its stored input whenever that has changed. Emits the difference from the last
//! answer.

use std::sync::Arc;

use alluvium_sql::{Node, left_out_of_steps};
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
    /// How many rows the last run left out within the steps of recursions, if that is known.
    left_out: Option<u64>,
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
    /// Applies changes.
    fn take(&mut self, deltas: Vec<Delta>) -> Result<(), Error> {
        match self {
            Store::Arrivals(log) => {
                let schema = Arc::clone(log.schema());
                for rows in deltas.into_iter().map(repeated) {
                    for rows in rows? {
                        log.append(&renamed(&rows, &schema)?)?;
                    }
                }
                log.end_epoch()
            }
            Store::Bag(bag) => {
                bag.apply(&renamed_deltas(deltas, &bag.schema())?)?;
                bag.end_epoch()
            }
        }
    }

    /// Returns all rows.
    fn rows(&self) -> Result<Vec<RecordBatch>, Error> {
        match self {
            Store::Arrivals(log) => log.batches(),
            Store::Bag(bag) => bag.batches(),
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
            left_out: Some(0),
        })
    }

    /// Returns the changes to the answer caused by this epoch.
    async fn changes(&mut self, pending: Pending<Delta>, failing: OnFailure<'_>) -> Result<Vec<Delta>, Error> {
        if self.answered && pending.iter().all(Vec::is_empty) {
            return Ok(Vec::new());
        }
        if self.left_out.is_none() && left_out_of_steps(&self.planned.plan).is_some() {
            self.run().await?;
            self.left_out = left_out_of_steps(&self.planned.plan).map(|(rows, _)| rows);
        }
        for (store, deltas) in self.inputs.iter_mut().zip(pending) {
            store.take(deltas)?;
        }
        let answer = self.run().await?;
        // Each run comes upon all rows that fail. Those of the run before have been counted.
        if let Some((rows, error)) = left_out_of_steps(&self.planned.plan) {
            failing.count(rows.saturating_sub(self.left_out.unwrap_or_default()), error);
            self.left_out = Some(rows);
        }
        let rows = self.output.schema();
        let answer = answer.iter().map(|batch| renamed(batch, &rows)).collect::<Result<Vec<_>, _>>()?;
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

    /// Runs the plan over all stored rows.
    async fn run(&self) -> Result<Vec<RecordBatch>, Error> {
        for (store, slot) in self.inputs.iter().zip(&self.planned.slots) {
            slot.fill(store.rows()?.iter().map(|rows| renamed(rows, slot.schema())).collect::<Result<_, _>>()?);
        }
        let plan = reset_plan_states(Arc::clone(&self.planned.plan))?;
        let answer = collect(plan, Arc::clone(&self.planned.context)).await;
        self.planned.slots.iter().for_each(|slot| slot.fill(Vec::new()));
        Ok(answer?)
    }
}

impl Stateful for Full {
    type Prepared = Delta;

    fn prepare(&self, input: usize, delta: Delta) -> Result<Delta, Error> {
        self.evaluated.check(input, &delta.rows)?;
        Ok(delta)
    }

    fn flush<'a>(&'a mut self, pending: Pending<Delta>, failing: OnFailure<'a>) -> Flush<'a> {
        Box::pin(self.changes(pending, failing))
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
        self.left_out = None;
        Ok(())
    }

    fn size(&self) -> (u64, u64) {
        self.inputs
            .iter()
            .map(Store::size)
            .fold(self.output.size(), |(rows, bytes), (more_rows, more_bytes)| (rows + more_rows, bytes + more_bytes))
    }
}
