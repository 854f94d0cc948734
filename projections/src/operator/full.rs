//! Any plan, run again over all of its stored input whenever that has changed; the difference to its last answer goes on.

use std::sync::Arc;

use alluvium_sql::Node;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::collect;
use datafusion::physical_plan::execution_plan::reset_plan_states;

use super::linear::renamed;
use super::{Flush, Stateful};
use crate::delta::Delta;
use crate::error::Error;
use crate::physical::{self, Effort, Planned};
use crate::state::TableCheckpoint;
use crate::state::Tables;
use crate::state::log::{RowLog, bare};
use crate::state::multiset::Multiset;

/// Runs a region by full recompute.
#[derive(Debug)]
pub(crate) struct Full {
    id: usize,
    planned: Planned,
    inputs: Vec<Store>,
    output: Multiset,
    schema: SchemaRef,
    staged: Vec<(usize, Delta)>,
    /// Whether the last answer is one to what the inputs hold now.
    answered: bool,
}

#[derive(Debug)]
// There is one for each input of a view: a box would save nothing.
#[allow(clippy::large_enum_variant)]
enum Store {
    /// Of an input that takes nothing back: its rows in the order of their arrival.
    Arrivals(RowLog),
    /// Of one that does, with the changes of this epoch.
    Bag(Multiset, Vec<Delta>),
}

impl Full {
    pub(crate) async fn new(node: &Node, plan: &LogicalPlan) -> Result<Self, Error> {
        let schemas: Vec<SchemaRef> = node.inputs.iter().map(|input| Arc::clone(&input.schema)).collect();
        let inputs = node.inputs.iter().enumerate().map(|(index, input)| {
            let name = format!("n{}-input{index}", node.id);
            Ok(if input.retracts {
                Store::Bag(Multiset::new(name, &input.schema)?, Vec::new())
            } else {
                Store::Arrivals(RowLog::new(name, bare(&input.schema)))
            })
        });
        Ok(Self {
            id: node.id,
            planned: physical::plan(plan, &schemas, Effort::Optimized).await?,
            inputs: inputs.collect::<Result<_, Error>>()?,
            output: Multiset::new(format!("n{}-output", node.id), &node.schema)?,
            schema: Arc::clone(&node.schema),
            staged: Vec::new(),
            answered: false,
        })
    }

    /// What the epoch changes in the answer.
    async fn changes(&mut self) -> Result<Vec<Delta>, Error> {
        if self.answered {
            return Ok(Vec::new());
        }
        for (index, store) in self.inputs.iter_mut().enumerate() {
            let batches = match store {
                Store::Arrivals(log) => {
                    log.end_epoch()?;
                    log.batches()
                }
                Store::Bag(bag, changes) => {
                    bag.apply(&std::mem::take(changes))?;
                    bag.end_epoch()?;
                    bag.batches()?
                }
            };
            let slot = &self.planned.slots[index];
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
        Ok(vec![Delta { rows: renamed(&change.rows, &self.schema)?, weights: change.weights }])
    }
}

impl Stateful for Full {
    fn stage(&mut self, input: usize, delta: Delta) -> Result<(), Error> {
        self.staged.push((input, delta));
        Ok(())
    }

    fn unstage(&mut self) {
        self.staged.clear();
    }

    fn absorb(&mut self) -> Result<(), Error> {
        for (index, delta) in std::mem::take(&mut self.staged) {
            self.answered = false;
            match &mut self.inputs[index] {
                Store::Arrivals(log) => {
                    for rows in repeated(delta)? {
                        log.append(&renamed(&rows, &Arc::clone(log.schema()))?)?;
                    }
                }
                Store::Bag(bag, changes) => {
                    changes.push(Delta { rows: renamed(&delta.rows, &bag.schema())?, weights: delta.weights });
                }
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Flush<'_> {
        Box::pin(self.changes())
    }

    fn checkpoint(&mut self, tables: &mut Vec<TableCheckpoint>) {
        for store in &mut self.inputs {
            tables.push(match store {
                Store::Arrivals(log) => log.checkpoint(),
                Store::Bag(bag, _) => bag.checkpoint(),
            });
        }
        tables.push(self.output.checkpoint());
    }

    fn restore(&mut self, tables: &mut Tables) -> Result<(), Error> {
        for (index, store) in self.inputs.iter_mut().enumerate() {
            let batches = tables.take(&format!("n{}-input{index}", self.id))?;
            match store {
                Store::Arrivals(log) => log.restore(batches)?,
                Store::Bag(bag, _) => bag.restore(batches)?,
            }
        }
        self.output.restore(tables.take(&format!("n{}-output", self.id))?)?;
        self.answered = true;
        Ok(())
    }

    fn size(&self) -> (u64, u64) {
        self.inputs.iter().fold(self.output.size(), |(rows, bytes), store| {
            let (more_rows, more_bytes) = match store {
                Store::Arrivals(log) => log.size(),
                Store::Bag(bag, _) => bag.size(),
            };
            (rows + more_rows, bytes + more_bytes)
        })
    }
}

/// The rows of changes that take nothing back, each as many times as it comes.
pub(crate) fn repeated(delta: Delta) -> Result<Vec<RecordBatch>, Error> {
    let Some(weights) = &delta.weights else { return Ok(vec![delta.rows]) };
    if weights.values().iter().any(|weight| *weight < 0) {
        return Err(Error::Bug("a row is taken back from an input that takes nothing back".to_owned()));
    }
    let most = weights.values().iter().copied().max().unwrap_or(0);
    let mut batches = Vec::new();
    for copy in 0..most {
        let mask = arrow::array::BooleanArray::from_iter(weights.values().iter().map(|weight| Some(*weight > copy)));
        batches.push(arrow::compute::filter_record_batch(&delta.rows, &mask)?);
    }
    Ok(batches)
}
