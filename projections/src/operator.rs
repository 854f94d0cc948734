//! Operators: what a plan's nodes do.
//!
//! | module | class |
//! | --- | --- |
//! | `linear` | filters, projections, unnests, unions |
//! | `merge` | aggregates over input that takes nothing back |
//! | `weighted` | counts, exact sums and DISTINCT over input that takes rows back |
//! | `join` | inner joins |
//! | `semi` | semi, anti and mark joins on equal keys alone |
//! | `top` | the first rows of an order over input that takes rows back |
//! | `ranks` | the first rows by key, over rows that only arrive |
//! | `sessions` | sessions, over rows that only arrive |
//! | `keyed` | what splits by a key, by recompute of the keys that are touched |
//! | `watermark` | rows of windows that are over, or not too old |
//! | `full` | everything else, by full recompute |
//! | `scan` | where rows come in |
//! | `expiry` | what need not be remembered |
//!
//! A change takes two steps, so that a row that fails leaves no trace. Staging runs all that is pure: expressions, up to the next
//! operators that have state, and their arguments. Absorbing then changes state. What operators with state have to say is
//! asked for at a flush, from the leaves up.
//!
//! An operator with state is a [`Stateful`]; which one a node of the plan is, is said in [`stateful`] and nowhere else.

mod expiry;
mod full;
mod groups;
mod join;
mod keyed;
mod linear;
mod merge;
mod ranks;
mod scan;
mod semi;
mod sessions;
mod top;
mod watermark;
mod weighted;

use alluvium_sql::{Node, Op};
use futures::FutureExt;
use futures::future::BoxFuture;

use self::expiry::{Expired, Expiry};
use self::full::Full;
use self::join::Join;
use self::keyed::Keyed;
use self::linear::Linear;
use self::merge::Merge;
use self::ranks::Ranks;
use self::scan::Scan;
use self::semi::Semi;
use self::sessions::Sessions;
use self::top::Top;
use self::watermark::Watermark;
use self::weighted::Weighted;
use crate::delta::Delta;
use crate::error::Error;
use crate::state::{TableCheckpoint, Tables};

/// A node of the plan and those that it reads.
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
    Stateful(Box<dyn Stateful>),
}

/// What comes of a flush.
type Flush<'a> = BoxFuture<'a, Result<Vec<Delta>, Error>>;

/// An operator that remembers.
trait Stateful: std::fmt::Debug + Send {
    /// Takes changes of an input for the time being; runs what can fail on a row, and changes nothing that lasts.
    fn stage(&mut self, input: usize, delta: Delta) -> Result<(), Error>;

    /// Forgets what is staged.
    fn unstage(&mut self);

    /// Takes in what is staged.
    fn absorb(&mut self) -> Result<(), Error>;

    /// What was taken in since the last flush changes of the answer.
    fn flush(&mut self) -> Flush<'_>;

    /// Drops rows that are stored of an input and not read any more. Directly after a flush.
    ///
    /// # Errors
    /// [`Error::Bug`] where the plan has no such rows.
    fn evict(&mut self, input: usize, expired: &Expired) -> Result<(), Error> {
        Err(Error::Bug(format!("{expired:?} of input {input} expires where nothing does")))
    }

    /// The time up to which rows of the operators below have expired, where this one decides it.
    fn expires(&self) -> Option<i64> {
        None
    }

    /// What has to become durable, for each table.
    fn checkpoint(&mut self, tables: &mut Vec<TableCheckpoint>);

    /// Takes its tables of a checkpoint. Nothing is stored yet.
    fn restore(&mut self, tables: &mut Tables) -> Result<(), Error>;

    /// Rows and bytes held.
    fn size(&self) -> (u64, u64);
}

/// The operator of a node; none for one that remembers nothing.
async fn stateful(node: &Node) -> Result<Option<Box<dyn Stateful>>, Error> {
    Ok(Some(match &node.op {
        Op::Scan { .. } | Op::Linear { .. } => return Ok(None),
        Op::Merge { plan } => Box::new(Merge::new(node, plan).await?),
        Op::Weighted { plan } => Box::new(Weighted::new(node, plan).await?),
        Op::Join { plan, keys } => Box::new(Join::new(node, plan, keys)?),
        Op::Semi { plan, keys } => Box::new(Semi::new(node, plan, keys)?),
        Op::Top { plan, skip, fetch } => Box::new(Top::new(node, plan, *skip, *fetch).await?),
        Op::Ranks { plan, key, function, bound } => Box::new(Ranks::new(node, plan, key, *function, *bound)?),
        Op::Sessions { key, time, gap, columns } => Box::new(Sessions::new(node, key, *time, *gap, columns)?),
        Op::Keyed { plan, keys, keep } => Box::new(Keyed::new(node, plan, keys, keep.as_ref()).await?),
        Op::Watermark { window_end, delays, emits_final, retain } => {
            let bounds = watermark::Bounds { emits_final: *emits_final, retain: *retain };
            Box::new(Watermark::new(node, *window_end, delays, bounds)?)
        }
        Op::Full { plan } => Box::new(Full::new(node, plan).await?),
    }))
}

/// Changes of a relation: `columns` are the indexes of the delta's columns in the relation's full schema.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pushed<'a> {
    pub(crate) relation: &'a str,
    pub(crate) columns: &'a [usize],
    pub(crate) delta: &'a Delta,
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

    /// Runs what is pure; gives what comes out here without passing an operator with state.
    pub(crate) fn stage(&mut self, pushed: Pushed<'_>) -> Result<Vec<Delta>, Error> {
        if let Kind::Scan(scan) = &mut self.kind {
            return scan.stage(pushed);
        }
        let inputs = self.inputs.iter_mut().map(|input| input.stage(pushed)).collect::<Result<Vec<_>, _>>()?;
        match &mut self.kind {
            Kind::Linear(linear) if inputs.iter().any(|deltas| !deltas.is_empty()) => linear.run(&inputs),
            Kind::Scan(_) | Kind::Linear(_) => Ok(Vec::new()),
            Kind::Stateful(operator) => {
                for (index, deltas) in inputs.into_iter().enumerate() {
                    deltas.into_iter().try_for_each(|delta| operator.stage(index, delta))?;
                }
                Ok(Vec::new())
            }
        }
    }

    /// Forgets what is staged.
    pub(crate) fn unstage(&mut self) {
        match &mut self.kind {
            Kind::Scan(scan) => scan.unstage(),
            Kind::Linear(_) => {}
            Kind::Stateful(operator) => operator.unstage(),
        }
        self.inputs.iter_mut().for_each(|input| input.operator.unstage());
    }

    /// Takes what is staged into the state.
    pub(crate) fn absorb(&mut self) -> Result<(), Error> {
        match &mut self.kind {
            Kind::Scan(scan) => scan.absorb(),
            Kind::Linear(_) => {}
            Kind::Stateful(operator) => operator.absorb()?,
        }
        self.inputs.iter_mut().try_for_each(|input| input.operator.absorb())
    }

    /// What operators with state change since the last flush, as it comes out here.
    pub(crate) fn flush(&mut self) -> Flush<'_> {
        async move {
            let mut inputs = Vec::with_capacity(self.inputs.len());
            for input in &mut self.inputs {
                inputs.push(input.flush().await?);
            }
            match &mut self.kind {
                Kind::Scan(scan) => scan.flush().map(|()| Vec::new()),
                Kind::Linear(linear) => linear.run(&inputs),
                Kind::Stateful(operator) => {
                    for (index, deltas) in inputs.into_iter().enumerate() {
                        for delta in deltas {
                            operator.stage(index, delta)?;
                            operator.absorb()?;
                        }
                    }
                    let before = operator.expires();
                    let deltas = operator.flush().await?;
                    if let Some(until) = operator.expires().filter(|until| Some(*until) > before) {
                        self.inputs.iter_mut().try_for_each(|input| input.operator.expire(until, true))?;
                    }
                    Ok(deltas)
                }
            }
        }
        .boxed()
    }

    /// The rows below that are no later than a time have expired: none of them is taken in any more and, with `evict`, what is stored of
    /// them is dropped.
    fn expire(&mut self, until: i64, evict: bool) -> Result<(), Error> {
        for (index, input) in self.inputs.iter_mut().enumerate() {
            if let Some(expiry) = &mut input.expiry {
                let expired = expiry.pass(until);
                if let (Kind::Stateful(operator), true) = (&mut self.kind, evict) {
                    operator.evict(index, &expired)?;
                }
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
                // What has expired was dropped before the checkpoint was taken.
                let Some(until) = operator.expires() else { return Ok(()) };
                self.inputs.iter_mut().try_for_each(|input| input.operator.expire(until, false))
            }
        }
    }

    pub(crate) fn size(&self) -> (u64, u64) {
        let own = match &self.kind {
            Kind::Scan(_) | Kind::Linear(_) => (0, 0),
            Kind::Stateful(operator) => operator.size(),
        };
        self.inputs.iter().fold(own, |(rows, bytes), input| {
            let (more_rows, more_bytes) = input.operator.size();
            (rows + more_rows, bytes + more_bytes)
        })
    }
}

impl Input {
    fn stage(&mut self, pushed: Pushed<'_>) -> Result<Vec<Delta>, Error> {
        let deltas = self.operator.stage(pushed);
        self.taken(deltas)
    }

    fn taken(&self, deltas: Result<Vec<Delta>, Error>) -> Result<Vec<Delta>, Error> {
        match &self.expiry {
            Some(expiry) => expiry.take(deltas?),
            None => deltas,
        }
    }

    async fn flush(&mut self) -> Result<Vec<Delta>, Error> {
        let deltas = self.operator.flush().await;
        self.taken(deltas)
    }
}
