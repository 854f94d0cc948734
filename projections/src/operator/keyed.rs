//! Keyed recompute, for a plan whose answer splits by a key. For the touched keys, it runs the plan twice, over the rows before and
//! after the epoch, and emits the difference.
//!
//! The earlier answer is not stored but computed again, bit for bit: the plan reads the rows of a key in an order that does not depend
//! on how they are stored, and its sorts are stable.

use std::sync::Arc;

use alluvium_sql::{KeyedInput, Node};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::common::tree_node::TreeNode;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::collect;
use datafusion::physical_plan::execution_plan::reset_plan_states;

use super::kit::bucketed::BucketedDelta;
use super::kit::evaluated::Evaluated;
use super::kit::expiry::Expired;
use super::kit::rows::{renamed, repeated};
use super::kit::stateful::{Flush, Pending, Stateful};
use crate::consolidate::net;
use crate::delta::Delta;
use crate::error::Error;
use crate::left_out::OnFailure;
use crate::physical::{self, Effort, Planned};
use crate::state::arrangement::{Arrangement, Removal};
use crate::state::buckets::Buckets;
use crate::state::keys::KeyEncoder;
use crate::state::{TableCheckpoint, Tables};

/// The approximate largest number of rows that one run of the plan reads.
const MAX_RUN_ROWS: usize = 1 << 20;

/// The largest number of rows in a batch that the plan reads.
const BATCH_ROWS: usize = 8192;

/// Runs a region by keyed recompute.
#[derive(Debug)]
pub(crate) struct Keyed {
    planned: Planned,
    evaluated: Evaluated,
    /// Selects the rows of the input that can still be part of an answer. With such a plan, only these are stored.
    keep: Option<Planned>,
    inputs: Vec<Arrangement>,
    /// Whether the order of a key's rows may change the answer, in the last digits of floats.
    in_order: bool,
    /// Compares answers.
    answers: KeyEncoder,
    schema: SchemaRef,
    retracts: bool,
}

impl Keyed {
    pub(crate) async fn new(
        node: &Node,
        plan: &LogicalPlan,
        keys: &[KeyedInput],
        keep: Option<&LogicalPlan>,
    ) -> Result<Self, Error> {
        let schemas: Vec<SchemaRef> = node.inputs.iter().map(|input| Arc::clone(&input.schema)).collect();
        let inputs = node.inputs.iter().zip(keys).enumerate().map(|(index, (input, key))| {
            let buckets = Buckets::new(&input.schema, &key.columns, key.nulls_match)?;
            let removal = Removal::of(input.retracts || keep.is_some(), node.expires(index));
            Arrangement::new(format!("n{}-input{index}", node.id), &input.schema, buckets, removal)
        });
        let planned = physical::plan(plan, &schemas, Effort::Stable).await?;
        Ok(Self {
            evaluated: Evaluated::of(&planned)?,
            planned,
            keep: match keep {
                Some(keep) => Some(physical::plan(keep, &schemas, Effort::Stable).await?),
                None => None,
            },
            inputs: inputs.collect::<Result<_, Error>>()?,
            in_order: plan.exists(|plan| Ok(matches!(plan, LogicalPlan::Window(_) | LogicalPlan::Aggregate(_))))?,
            answers: KeyEncoder::new(node.schema.fields())?,
            schema: Arc::clone(&node.schema),
            retracts: node.retracts,
        })
    }

    /// Returns the changes to the answer caused by this epoch.
    async fn changes(&mut self, pending: Pending<Delta>) -> Result<Vec<Delta>, Error> {
        if pending.iter().all(Vec::is_empty) {
            return Ok(Vec::new());
        }
        let mut changes = Vec::with_capacity(self.inputs.len());
        for (arrangement, deltas) in self.inputs.iter().zip(pending) {
            changes.push(BucketedDelta::new(arrangement, deltas)?);
        }
        let mut touched: Vec<u32> = changes.iter().flat_map(|change| change.buckets().iter().copied()).collect();
        touched.sort_unstable();
        touched.dedup();
        let before = self.answer(&touched).await?;
        if self.keep.is_some() {
            changes = self.kept(&touched, changes).await?;
        }
        for (arrangement, change) in self.inputs.iter_mut().zip(&changes) {
            change.apply(arrangement)?;
        }
        let after = self.answer(&touched).await?;
        self.inputs.iter_mut().try_for_each(Arrangement::end_epoch)?;
        let before = before.into_iter().map(Delta::retractions);
        let deltas: Vec<Delta> = before.chain(after.into_iter().map(Delta::insertions)).collect();
        let change = net(&self.schema, &self.answers, &deltas)?;
        if !self.retracts && change.weights.iter().any(|weight| *weight < 0) {
            return Err(Error::Bug("an insert-only operator retracts a row".to_owned()));
        }
        Ok(change.into_deltas())
    }

    /// Extends the changes so that only rows that can still be part of an answer are stored afterwards.
    async fn kept(&self, touched: &[u32], changes: Vec<BucketedDelta>) -> Result<Vec<BucketedDelta>, Error> {
        let Some(keep) = &self.keep else { return Ok(changes) };
        let mut kept = Vec::with_capacity(changes.len());
        for (index, (arrangement, change)) in self.inputs.iter().zip(&changes).enumerate() {
            let BucketedDelta::Net(new, _) = change else {
                return Err(Error::Bug("changes of rows that can be removed are not consolidated".to_owned()));
            };
            let places: Vec<_> = touched.iter().flat_map(|bucket| arrangement.places(*bucket)).copied().collect();
            let old = arrangement.repeated(&places, true)?;
            let slot = &keep.slots[index];
            let new = repeated(Delta { rows: new.rows.clone(), weights: Some(new.weights.clone().into()) })?;
            let all = std::iter::once(&old).chain(&new).filter(|rows| rows.num_rows() > 0);
            slot.fill(all.map(|rows| renamed(rows, slot.schema())).collect::<Result<_, _>>()?);
            let plan = reset_plan_states(Arc::clone(&keep.plan))?;
            let stay = collect(plan, Arc::clone(&keep.context)).await;
            slot.fill(Vec::new());
            let mut deltas = vec![Delta::retractions(old)];
            deltas.extend(stay?.into_iter().map(Delta::insertions));
            kept.push(BucketedDelta::new(arrangement, deltas)?);
        }
        Ok(kept)
    }

    /// Returns the plan's answer over the stored rows of some buckets.
    async fn answer(&self, buckets: &[u32]) -> Result<Vec<RecordBatch>, Error> {
        let mut answers = Vec::new();
        let mut rest = buckets;
        while !rest.is_empty() {
            let mut rows = 0;
            let count = rest.iter().take_while(|bucket| {
                let fits = rows < MAX_RUN_ROWS;
                rows += self.inputs.iter().map(|input| input.count(**bucket)).sum::<usize>();
                fits
            });
            let (now, later) = rest.split_at(count.count());
            rest = later;
            answers.extend(self.run(now).await?);
        }
        Ok(answers)
    }

    async fn run(&self, buckets: &[u32]) -> Result<Vec<RecordBatch>, Error> {
        let mut is_empty = true;
        for (arrangement, slot) in self.inputs.iter().zip(&self.planned.slots) {
            let places: Vec<_> = buckets.iter().flat_map(|bucket| arrangement.places(*bucket)).copied().collect();
            is_empty &= places.is_empty();
            let rows = renamed(&arrangement.repeated(&places, self.in_order)?, slot.schema())?;
            let pieces = (0..rows.num_rows()).step_by(BATCH_ROWS);
            slot.fill(pieces.map(|start| rows.slice(start, BATCH_ROWS.min(rows.num_rows() - start))).collect());
        }
        // Without rows there is no key, and so no answer.
        let answer = if is_empty {
            Ok(Vec::new())
        } else {
            let plan = reset_plan_states(Arc::clone(&self.planned.plan))?;
            collect(plan, Arc::clone(&self.planned.context)).await
        };
        self.planned.slots.iter().for_each(|slot| slot.fill(Vec::new()));
        answer?.iter().filter(|rows| rows.num_rows() > 0).map(|rows| renamed(rows, &self.schema)).collect()
    }
}

impl Stateful for Keyed {
    type Prepared = Delta;

    fn prepare(&self, input: usize, delta: Delta) -> Result<Delta, Error> {
        self.evaluated.check(input, &delta.rows)?;
        Ok(delta)
    }

    fn flush<'a>(&'a mut self, pending: Pending<Delta>, _failing: OnFailure<'a>) -> Flush<'a> {
        Box::pin(self.changes(pending))
    }

    fn evict(&mut self, input: usize, expired: &Expired) -> Result<(), Error> {
        self.inputs[input].evict(|rows| expired.of(rows))
    }

    fn checkpoint(&mut self, tables: &mut Vec<TableCheckpoint>) {
        self.inputs.iter_mut().for_each(|input| input.checkpoint(tables));
    }

    fn restore(&mut self, tables: &mut Tables) -> Result<(), Error> {
        self.inputs.iter_mut().try_for_each(|input| input.restore(tables))
    }

    fn size(&self) -> (u64, u64) {
        self.inputs
            .iter()
            .map(Arrangement::size)
            .fold((0, 0), |(rows, bytes), (more_rows, more_bytes)| (rows + more_rows, bytes + more_bytes))
    }
}
