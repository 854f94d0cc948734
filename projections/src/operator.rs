//! The operators of a view: a tree of nodes, one for each node of its plan.
//!
//! | module | class |
//! | --- | --- |
//! | `scan` | the changes of a relation |
//! | `linear` | filters, projections, unnests, unions |
//! | `merge` | aggregates over insert-only input |
//! | `weighted` | counts, exact sums and DISTINCT over input that retracts rows |
//! | `join` | inner joins |
//! | `outer` | left, right and full joins on equal keys |
//! | `semi` | semi, anti and mark joins with no condition but equal keys |
//! | `top` | top n over input that retracts rows |
//! | `ranks` | top n by key over insert-only input |
//! | `running` | window functions whose frame begins with the partition |
//! | `sessions` | session windows over insert-only input |
//! | `recursion` | recursions whose steps only add rows |
//! | `repeats` | the row before with the same key, over rows that only arrive in order |
//! | `keyed` | plans that split by a key: recompute of the touched keys |
//! | `watermark` | rows of windows that have ended, or have not expired |
//! | `full` | everything else: full recompute |
//! | `kit` | the building blocks of operators |
//!
//! A push takes two steps, so that a failing row leaves no trace. Staging runs everything that is pure: the operators below the first
//! stateful ones, and the expressions that these evaluate on their input. Absorbing then changes state. A flush asks each stateful
//! operator for the changes of its answer, from the leaves up.
//!
//! A stateful operator implements [`Stateful`](kit::stateful::Stateful). Only [`stateful`] knows which operator runs a node of the plan.
//!
//! # Why the nodes are nested boxes
//!
//! A plan is a tree: each node has exactly one reader, since what two views share is a view of its own. Ownership then guarantees what
//! an arena with indexes would have to check: a parent borrows its inputs one by one, evicts from them, and is dropped with them.
//! Exchange by key would not need an arena either. It would give each core one shard of the subtree below an exchange, and a box moves
//! there whole. An arena would pay off once one node feeds two parents.

mod full;
mod join;
mod keyed;
mod kit;
mod linear;
mod merge;
mod outer;
mod ranks;
mod recursion;
mod repeats;
mod running;
mod scan;
mod semi;
mod sessions;
mod top;
mod watermark;
mod weighted;

use alluvium_sql::{Node, Op};
use futures::FutureExt;
use futures::future::BoxFuture;

use self::full::Full;
use self::join::Join;
use self::keyed::Keyed;
use self::kit::expiry::Expiry;
use self::kit::staging::{Staging, StatefulNode};
use self::kit::stateful::{Flush, Stateful};
use self::kit::tree::Tree;
use self::linear::Linear;
use self::merge::Merge;
use self::outer::Outer;
use self::ranks::Ranks;
use self::recursion::Recursion;
use self::repeats::Repeats;
use self::running::Running;
pub(crate) use self::scan::Pushed;
use self::scan::Scan;
use self::semi::Semi;
use self::sessions::Sessions;
use self::top::Top;
use self::watermark::Watermark;
use self::weighted::Weighted;
use crate::delta::Delta;
use crate::error::Error;
use crate::left_out::OnFailure;
use crate::state::{TableCheckpoint, Tables};

/// A node of the plan, and the nodes that it reads.
#[derive(Debug)]
pub(crate) struct Operator {
    kind: Kind,
    inputs: Vec<Input>,
}

#[derive(Debug)]
struct Input {
    operator: Operator,
    expiry: Option<Expiry>,
}

#[derive(Debug)]
enum Kind {
    Scan(Box<Scan>),
    Linear(Box<Linear>),
    Stateful(Box<dyn StatefulNode>),
}

/// Creates the stateful operator that runs a node. None if the node needs no state.
async fn stateful(node: &Node) -> Result<Option<Box<dyn StatefulNode>>, Error> {
    fn staging<O: Stateful + 'static>(operator: O, node: &Node) -> Box<dyn StatefulNode> {
        Box::new(Staging::new(operator, node.inputs.len()))
    }
    Ok(Some(match &node.op {
        Op::Scan { .. } | Op::Linear { .. } => return Ok(None),
        Op::Merge { plan } => staging(Merge::new(node, plan).await?, node),
        Op::Weighted { plan } => staging(Weighted::new(node, plan).await?, node),
        Op::Join { plan, keys } => staging(Join::new(node, plan, keys)?, node),
        Op::Outer { plan, keys, counted } => staging(Outer::new(node, plan, keys, *counted)?, node),
        Op::Semi { plan, keys } => staging(Semi::new(node, plan, keys)?, node),
        Op::Top { plan, skip, fetch } => staging(Top::new(node, plan, *skip, *fetch).await?, node),
        Op::Ranks { plan, key, function, bound } => staging(Ranks::new(node, plan, key, *function, *bound)?, node),
        Op::Running { plan, key } => staging(Running::new(node, plan, key)?, node),
        Op::Sessions { key, time, gap, columns } => staging(Sessions::new(node, key, *time, *gap, columns)?, node),
        Op::Repeats { key, at, within } => staging(Repeats::new(node, key, *at, *within)?, node),
        Op::Keyed { plan, keys, keep } => staging(Keyed::new(node, plan, keys, keep.as_ref()).await?, node),
        Op::Watermark { window_end, delays, emits_final, retain, by_query } => {
            let bounds = watermark::Bounds { emits_final: *emits_final, retain: *retain, by_query: *by_query };
            staging(Watermark::new(node, *window_end, delays, bounds)?, node)
        }
        Op::Recursion { step, work, distinct } => {
            let step = Box::new(Operator::new(step).await?);
            staging(Recursion::new(node, step, work, *distinct)?, node)
        }
        Op::Full { plan } => staging(Full::new(node, plan).await?, node),
    }))
}

impl Operator {
    pub(crate) fn new(node: &Node) -> BoxFuture<'_, Result<Operator, Error>> {
        async move {
            let mut inputs = Vec::with_capacity(node.inputs.len());
            for (index, input) in node.inputs.iter().enumerate() {
                inputs.push(Input { operator: Operator::new(input).await?, expiry: Expiry::of_input(node, index)? });
            }
            let kind = match (&node.op, stateful(node).await?) {
                (_, Some(operator)) => Kind::Stateful(operator),
                (Op::Scan { relation, projection, lateness, .. }, None) => {
                    Kind::Scan(Box::new(Scan::new(node, relation, projection, *lateness)))
                }
                (Op::Linear { plan }, None) => Kind::Linear(Box::new(Linear::new(node, plan).await?)),
                (op, None) => return Err(Error::Bug(format!("there is no operator for {op:?}"))),
            };
            Ok(Operator { kind, inputs })
        }
        .boxed()
    }

    /// Runs the pure part of a push. Returns the changes of this node's output that pass no stateful operator.
    pub(crate) fn stage(&mut self, pushed: Pushed<'_>, failing: OnFailure<'_>) -> Result<Vec<Delta>, Error> {
        if let Kind::Scan(scan) = &mut self.kind {
            return scan.stage(pushed);
        }
        let inputs = self.inputs.iter_mut().map(|input| input.stage(pushed, failing)).collect::<Result<Vec<_>, _>>()?;
        match &mut self.kind {
            Kind::Linear(linear) if inputs.iter().any(|deltas| !deltas.is_empty()) => linear.run(&inputs, failing),
            Kind::Scan(_) | Kind::Linear(_) => Ok(Vec::new()),
            Kind::Stateful(operator) => {
                for (index, deltas) in inputs.into_iter().enumerate() {
                    for delta in deltas {
                        failing.each(delta, |delta| operator.stage(index, delta))?;
                    }
                }
                Ok(Vec::new())
            }
        }
    }

    /// Drops the staged input.
    pub(crate) fn unstage(&mut self) {
        match &mut self.kind {
            Kind::Scan(scan) => scan.unstage(),
            Kind::Linear(_) => {}
            Kind::Stateful(operator) => operator.unstage(),
        }
        self.inputs.iter_mut().for_each(|input| input.operator.unstage());
    }

    /// Absorbs the staged input: it is now part of the epoch.
    pub(crate) fn absorb(&mut self) -> Result<(), Error> {
        match &mut self.kind {
            Kind::Scan(scan) => scan.absorb(),
            Kind::Linear(_) => {}
            Kind::Stateful(operator) => operator.absorb()?,
        }
        self.inputs.iter_mut().try_for_each(|input| input.operator.absorb())
    }

    /// Returns the changes of this node's output that stateful operators emit at the end of an epoch. `failing` says what to do with
    /// a row on which an expression fails.
    pub(crate) fn flush<'a>(&'a mut self, failing: OnFailure<'a>) -> Flush<'a> {
        async move {
            let mut inputs = Vec::with_capacity(self.inputs.len());
            for input in &mut self.inputs {
                inputs.push(input.flush(failing).await?);
            }
            match &mut self.kind {
                Kind::Scan(scan) => scan.flush().map(|()| Vec::new()),
                Kind::Linear(linear) => linear.run(&inputs, failing),
                Kind::Stateful(operator) => {
                    for (index, deltas) in inputs.into_iter().enumerate() {
                        for delta in deltas {
                            failing.each(delta, |delta| operator.stage(index, delta))?;
                            operator.absorb()?;
                        }
                    }
                    let before = operator.expires();
                    let deltas = operator.flush(failing).await?;
                    if let Some(until) = operator.expires().filter(|until| Some(*until) > before) {
                        self.inputs.iter_mut().try_for_each(|input| input.operator.expire(until, true))?;
                    }
                    Ok(deltas)
                }
            }
        }
        .boxed()
    }

    /// Lets the rows below whose time is at or before `until` expire: from now on, changes of them are dropped. With `evict`, also
    /// evicts the stored ones. Goes no further than an operator that itself decides what expires below it.
    fn expire(&mut self, until: i64, evict: bool) -> Result<(), Error> {
        for (index, input) in self.inputs.iter_mut().enumerate() {
            if let Some(expiry) = &mut input.expiry {
                let expired = expiry.advance(until);
                if let (Kind::Stateful(operator), true) = (&mut self.kind, evict) {
                    operator.evict(index, &expired)?;
                }
            }
            if matches!(&self.kind, Kind::Stateful(operator) if operator.decides_expiry()) {
                continue;
            }
            input.operator.expire(until, evict)?;
        }
        Ok(())
    }

    pub(crate) fn checkpoint(&mut self, tables: &mut Vec<TableCheckpoint>) {
        match &mut self.kind {
            Kind::Scan(scan) => scan.checkpoint(tables),
            Kind::Linear(_) => {}
            Kind::Stateful(operator) => operator.checkpoint(tables),
        }
        self.inputs.iter_mut().for_each(|input| input.operator.checkpoint(tables));
    }

    pub(crate) fn restore(&mut self, tables: &mut Tables) -> Result<(), Error> {
        self.inputs.iter_mut().try_for_each(|input| input.operator.restore(tables))?;
        match &mut self.kind {
            Kind::Scan(scan) => scan.restore(tables),
            Kind::Linear(_) => Ok(()),
            Kind::Stateful(operator) => {
                operator.restore(tables)?;
                // Expired rows were evicted before the checkpoint was taken.
                let Some(until) = operator.expires() else { return Ok(()) };
                self.inputs.iter_mut().try_for_each(|input| input.operator.expire(until, false))
            }
        }
    }

    pub(crate) fn size(&self) -> (u64, u64) {
        self.inputs.iter().fold(self.own_size(), |(rows, bytes), input| {
            let (more_rows, more_bytes) = input.operator.size();
            (rows + more_rows, bytes + more_bytes)
        })
    }

    /// Returns the bytes of the operator with the most state, here or below, and the way to it: at each node the index of the input.
    pub(crate) fn largest(&self) -> (u64, Vec<usize>) {
        let mut largest = (self.own_size().1, Vec::new());
        for (index, input) in self.inputs.iter().enumerate() {
            let (bytes, mut way) = input.operator.largest();
            if bytes > largest.0 {
                way.insert(0, index);
                largest = (bytes, way);
            }
        }
        largest
    }

    fn own_size(&self) -> (u64, u64) {
        match &self.kind {
            Kind::Scan(_) | Kind::Linear(_) => (0, 0),
            Kind::Stateful(operator) => operator.size(),
        }
    }
}

impl Tree for Operator {
    fn push(&mut self, relation: &str, delta: &Delta, failing: OnFailure<'_>) -> Result<Vec<Delta>, Error> {
        let columns: Vec<usize> = (0..delta.rows.num_columns()).collect();
        let deltas = self.stage(Pushed { relation, columns: &columns, delta }, failing)?;
        self.absorb()?;
        Ok(deltas)
    }

    fn flush<'a>(&'a mut self, failing: OnFailure<'a>) -> Flush<'a> {
        Operator::flush(self, failing)
    }

    fn checkpoint(&mut self, tables: &mut Vec<TableCheckpoint>) {
        Operator::checkpoint(self, tables);
    }

    fn restore(&mut self, tables: &mut Tables) -> Result<(), Error> {
        Operator::restore(self, tables)
    }

    fn size(&self) -> (u64, u64) {
        Operator::size(self)
    }
}

impl Input {
    fn stage(&mut self, pushed: Pushed<'_>, failing: OnFailure<'_>) -> Result<Vec<Delta>, Error> {
        let deltas = self.operator.stage(pushed, failing);
        self.without_expired(deltas)
    }

    fn without_expired(&self, deltas: Result<Vec<Delta>, Error>) -> Result<Vec<Delta>, Error> {
        match &self.expiry {
            Some(expiry) => expiry.without_expired(deltas?),
            None => deltas,
        }
    }

    async fn flush(&mut self, failing: OnFailure<'_>) -> Result<Vec<Delta>, Error> {
        let deltas = self.operator.flush(failing).await;
        self.without_expired(deltas)
    }
}
