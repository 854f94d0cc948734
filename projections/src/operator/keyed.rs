//! A plan whose answer splits by a key, run again over the rows of the keys that changes touch: as they were and as they are. The
//! difference goes on.
//!
//! What was answered before is not kept but computed again. It comes out bit for bit as it did then: the rows of a key are given to
//! the plan in an order that does not depend on how they were stored, and sorts leave equal rows in that order.

use std::sync::Arc;

use alluvium_sql::{KeyedInput, Node};
use arrow::array::Int64Array;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::common::tree_node::TreeNode;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::collect;
use datafusion::physical_plan::execution_plan::reset_plan_states;

use super::expiry::Expired;
use super::full::repeated;
use super::linear::renamed;
use super::{Flush, Stateful};
use crate::consolidate::{Net, net};
use crate::delta::Delta;
use crate::error::Error;
use crate::physical::{self, Effort, Planned};
use crate::state::arrangement::{Arrangement, Leave};
use crate::state::buckets::Buckets;
use crate::state::compact::concat_rows;
use crate::state::keys::KeyEncoder;
use crate::state::{TableCheckpoint, Tables};

/// Rows that are given to one run of the plan, about, at most.
const MAX_RUN_ROWS: usize = 1 << 20;

/// Rows of one batch that is given to the plan.
const BATCH_ROWS: usize = 8192;

/// Runs a region by keyed recompute.
#[derive(Debug)]
pub(crate) struct Keyed {
    planned: Planned,
    /// Which rows of the input can still come into an answer, where others never return.
    keep: Option<Planned>,
    inputs: Vec<Arrangement>,
    /// Whether the answer may depend on the order of the rows of a key, in the last digits of floats.
    in_order: bool,
    /// Compares answers.
    answers: KeyEncoder,
    schema: SchemaRef,
    retracts: bool,
    staged: Vec<(usize, Delta)>,
    /// By input, since the last flush.
    pending: Vec<Vec<Delta>>,
}

/// What comes into one input in an epoch, and the bucket of each row.
#[derive(Debug)]
pub(crate) enum Change {
    /// Where rows only arrive.
    Arrivals(RecordBatch, Vec<u32>),
    /// Where they can leave.
    Net(Net, Vec<u32>),
}

impl Change {
    /// The net change of deltas for an arrangement.
    pub(crate) fn new(arrangement: &Arrangement, deltas: Vec<Delta>) -> Result<Self, Error> {
        let schema = Arc::clone(arrangement.schema());
        if arrangement.rows_leave() {
            let deltas =
                deltas.into_iter().map(|delta| Ok(Delta { rows: renamed(&delta.rows, &schema)?, weights: delta.weights }));
            let net = arrangement.net(&deltas.collect::<Result<Vec<_>, Error>>()?)?;
            let buckets = arrangement.by().of(&net.rows)?;
            return Ok(Change::Net(net, buckets));
        }
        let batches = deltas.into_iter().map(|delta| renamed_whole(delta, &schema)).collect::<Result<Vec<_>, Error>>()?;
        let rows = concat_rows(&schema, &batches.concat())?;
        let buckets = arrangement.by().of(&rows)?;
        Ok(Change::Arrivals(rows, buckets))
    }

    /// The bucket of each row.
    pub(crate) fn buckets(&self) -> &[u32] {
        match self {
            Change::Arrivals(_, buckets) | Change::Net(_, buckets) => buckets,
        }
    }

    /// The rows, which differ from each other where they can leave.
    pub(crate) fn rows(&self) -> &RecordBatch {
        match self {
            Change::Arrivals(rows, _) => rows,
            Change::Net(net, _) => &net.rows,
        }
    }

    /// How many times a row comes, or leaves.
    pub(crate) fn weight(&self, row: usize) -> i64 {
        match self {
            Change::Arrivals(..) => 1,
            Change::Net(net, _) => net.weights[row],
        }
    }

    /// Takes the change into the arrangement.
    pub(crate) fn apply(&self, arrangement: &mut Arrangement) -> Result<(), Error> {
        match self {
            Change::Arrivals(rows, buckets) => arrangement.append(rows, buckets),
            Change::Net(net, buckets) => arrangement.apply(net, buckets),
        }
    }
}

/// Rows that arrive, each as many times as its weight says, under another schema of the same types.
pub(super) fn renamed_whole(delta: Delta, schema: &SchemaRef) -> Result<Vec<RecordBatch>, Error> {
    repeated(delta)?.iter().map(|rows| renamed(rows, schema)).collect()
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
            let leave = Leave::of(input.retracts || keep.is_some(), node.expires(index));
            Arrangement::new(format!("n{}-input{index}", node.id), &input.schema, buckets, leave)
        });
        Ok(Self {
            planned: physical::plan(plan, &schemas, Effort::Stable).await?,
            keep: match keep {
                Some(keep) => Some(physical::plan(keep, &schemas, Effort::Stable).await?),
                None => None,
            },
            inputs: inputs.collect::<Result<_, Error>>()?,
            in_order: plan.exists(|plan| Ok(matches!(plan, LogicalPlan::Window(_) | LogicalPlan::Aggregate(_))))?,
            answers: KeyEncoder::new(node.schema.fields())?,
            schema: Arc::clone(&node.schema),
            retracts: node.retracts,
            staged: Vec::new(),
            pending: vec![Vec::new(); schemas.len()],
        })
    }

    /// What the epoch changes in the answer.
    async fn changes(&mut self) -> Result<Vec<Delta>, Error> {
        if self.pending.iter().all(Vec::is_empty) {
            return Ok(Vec::new());
        }
        let mut changes = Vec::with_capacity(self.inputs.len());
        for (arrangement, deltas) in self.inputs.iter().zip(&mut self.pending) {
            changes.push(Change::new(arrangement, std::mem::take(deltas))?);
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
        let deltas = before.into_iter().map(|rows| {
            let taken_out = Int64Array::from_value(-1, rows.num_rows());
            Delta { rows, weights: Some(taken_out) }
        });
        let deltas: Vec<Delta> = deltas.chain(after.into_iter().map(Delta::insertions)).collect();
        let change = net(&self.schema, &self.answers, &deltas)?;
        if !self.retracts && change.weights.iter().any(|weight| *weight < 0) {
            return Err(Error::Bug("a row is taken back by an operator that takes nothing back".to_owned()));
        }
        Ok(if change.weights.is_empty() { Vec::new() } else { vec![change.into_delta()] })
    }

    /// The changes that leave stored only those rows that can still come into an answer.
    async fn kept(&self, touched: &[u32], changes: Vec<Change>) -> Result<Vec<Change>, Error> {
        let Some(keep) = &self.keep else { return Ok(changes) };
        let mut kept = Vec::with_capacity(changes.len());
        for (index, (arrangement, change)) in self.inputs.iter().zip(&changes).enumerate() {
            let Change::Net(new, _) = change else { return Err(Error::Bug("rows that can leave are not net".to_owned())) };
            let places: Vec<_> = touched.iter().flat_map(|bucket| arrangement.places(*bucket)).copied().collect();
            let old = arrangement.repeated(&places, true)?;
            let slot = &keep.slots[index];
            let new = repeated(Delta { rows: new.rows.clone(), weights: Some(new.weights.clone().into()) })?;
            let all = std::iter::once(&old).chain(&new).filter(|rows| rows.num_rows() > 0);
            slot.fill(all.map(|rows| renamed(rows, slot.schema())).collect::<Result<_, _>>()?);
            let plan = reset_plan_states(Arc::clone(&keep.plan))?;
            let stay = collect(plan, Arc::clone(&keep.context)).await;
            slot.fill(Vec::new());
            let taken_out = Int64Array::from_value(-1, old.num_rows());
            let mut deltas = vec![Delta { rows: old, weights: Some(taken_out) }];
            deltas.extend(stay?.into_iter().map(Delta::insertions));
            kept.push(Change::new(arrangement, deltas)?);
        }
        Ok(kept)
    }

    /// What the plan answers for the rows of some buckets as they are now.
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
        // What splits by a key has no rows where there is no key.
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
    fn stage(&mut self, input: usize, delta: Delta) -> Result<(), Error> {
        self.staged.push((input, delta));
        Ok(())
    }

    fn unstage(&mut self) {
        self.staged.clear();
    }

    fn absorb(&mut self) -> Result<(), Error> {
        for (input, delta) in std::mem::take(&mut self.staged) {
            self.pending[input].push(delta);
        }
        Ok(())
    }

    fn flush(&mut self) -> Flush<'_> {
        Box::pin(self.changes())
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
