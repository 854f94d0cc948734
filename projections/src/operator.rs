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
//!
//! A change takes two steps, so that a row that fails leaves no trace. Staging runs all that is pure: expressions, up to the next
//! operators that have state, and their arguments. Absorbing then changes state. What operators with state have to say is
//! asked for at a flush, from the leaves up.

mod full;
mod groups;
mod join;
mod keyed;
mod linear;
mod merge;
mod ranks;
mod semi;
mod sessions;
mod top;
mod watermark;
mod weighted;

use alluvium_sql::{Expiry, Node, Op};
use arrow::datatypes::SchemaRef;
use futures::FutureExt;
use futures::future::BoxFuture;

use self::full::Full;
use self::join::Join;
use self::keyed::Keyed;
use self::linear::Linear;
use self::merge::Merge;
use self::ranks::Ranks;
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
    inputs: Vec<Operator>,
}

#[derive(Debug)]
enum Kind {
    Scan { relation: String, columns: Vec<usize>, schema: SchemaRef },
    Linear(Box<Linear>),
    Merge(Box<Merge>),
    Weighted(Box<Weighted>),
    Join(Box<Join>),
    Semi(Box<Semi>),
    Top(Box<Top>),
    Ranks(Box<Ranks>),
    Sessions(Box<Sessions>),
    Keyed(Box<Keyed>),
    Watermark(Box<Watermark>),
    Full(Box<Full>),
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
            for input in &node.inputs {
                inputs.push(Operator::new(input).await?);
            }
            let kind = match &node.op {
                Op::Scan { relation, projection, .. } => {
                    Kind::Scan { relation: relation.clone(), columns: projection.clone(), schema: node.schema.clone() }
                }
                Op::Linear { plan } => Kind::Linear(Box::new(Linear::new(node, plan).await?)),
                Op::Merge { plan } => Kind::Merge(Box::new(Merge::new(node, plan).await?)),
                Op::Weighted { plan } => Kind::Weighted(Box::new(Weighted::new(node, plan).await?)),
                Op::Join { plan, keys } => Kind::Join(Box::new(Join::new(node, plan, keys)?)),
                Op::Semi { plan, keys } => Kind::Semi(Box::new(Semi::new(node, plan, keys)?)),
                Op::Top { plan, skip, fetch } => Kind::Top(Box::new(Top::new(node, plan, *skip, *fetch).await?)),
                Op::Ranks { plan, key, function, bound } => {
                    Kind::Ranks(Box::new(Ranks::new(node, plan, key, *function, *bound)?))
                }
                Op::Sessions { key, time, gap, columns } => {
                    Kind::Sessions(Box::new(Sessions::new(node, key, *time, *gap, columns)?))
                }
                Op::Keyed { plan, keys, keep } => Kind::Keyed(Box::new(Keyed::new(node, plan, keys, keep.as_ref()).await?)),
                Op::Watermark { window_end, delays, emits_final, retain, expiry } => {
                    let bounds = watermark::Bounds { emits_final: *emits_final, retain: *retain, expiry: *expiry };
                    Kind::Watermark(Box::new(Watermark::new(node, *window_end, delays, bounds)?))
                }
                Op::Full { plan } => Kind::Full(Box::new(Full::new(node, plan).await?)),
            };
            Ok(Operator { kind, inputs })
        }
        .boxed()
    }

    /// Runs what is pure; gives what comes out here without passing an operator with state.
    pub(crate) fn stage(&mut self, pushed: Pushed<'_>) -> Result<Vec<Delta>, Error> {
        match &mut self.kind {
            Kind::Scan { relation, columns, schema } => {
                if relation != pushed.relation {
                    return Ok(Vec::new());
                }
                let picked = columns.iter().map(|column| {
                    pushed
                        .columns
                        .iter()
                        .position(|given| given == column)
                        .ok_or_else(|| Error::Bug(format!("column {column} of {relation} is needed and not given")))
                });
                let picked: Vec<usize> = picked.collect::<Result<_, _>>()?;
                let rows = linear::renamed(&pushed.delta.rows.project(&picked)?, schema)?;
                Ok(vec![Delta { rows, weights: pushed.delta.weights.clone() }])
            }
            Kind::Linear(linear) => {
                let inputs = self.inputs.iter_mut().map(|input| input.stage(pushed)).collect::<Result<Vec<_>, _>>()?;
                if inputs.iter().all(Vec::is_empty) { Ok(Vec::new()) } else { linear.run(&inputs) }
            }
            Kind::Merge(merge) => {
                for input in &mut self.inputs {
                    for delta in input.stage(pushed)? {
                        merge.stage(delta)?;
                    }
                }
                Ok(Vec::new())
            }
            Kind::Weighted(weighted) => {
                for input in &mut self.inputs {
                    for delta in input.stage(pushed)? {
                        weighted.stage(&delta)?;
                    }
                }
                Ok(Vec::new())
            }
            Kind::Join(join) => {
                for (index, input) in self.inputs.iter_mut().enumerate() {
                    input.stage(pushed)?.into_iter().for_each(|delta| join.stage(index, delta));
                }
                Ok(Vec::new())
            }
            Kind::Semi(semi) => {
                for (index, input) in self.inputs.iter_mut().enumerate() {
                    input.stage(pushed)?.into_iter().for_each(|delta| semi.stage(index, delta));
                }
                Ok(Vec::new())
            }
            Kind::Top(top) => {
                for input in &mut self.inputs {
                    input.stage(pushed)?.into_iter().for_each(|delta| top.stage(delta));
                }
                Ok(Vec::new())
            }
            Kind::Ranks(ranks) => {
                for input in &mut self.inputs {
                    input.stage(pushed)?.into_iter().try_for_each(|delta| ranks.stage(delta))?;
                }
                Ok(Vec::new())
            }
            Kind::Sessions(sessions) => {
                for input in &mut self.inputs {
                    input.stage(pushed)?.into_iter().for_each(|delta| sessions.stage(delta));
                }
                Ok(Vec::new())
            }
            Kind::Keyed(keyed) => {
                for (index, input) in self.inputs.iter_mut().enumerate() {
                    input.stage(pushed)?.into_iter().for_each(|delta| keyed.stage(index, delta));
                }
                Ok(Vec::new())
            }
            Kind::Watermark(watermark) => {
                for (index, input) in self.inputs.iter_mut().enumerate() {
                    for delta in input.stage(pushed)? {
                        watermark.stage(index, delta)?;
                    }
                }
                Ok(Vec::new())
            }
            Kind::Full(full) => {
                for (index, input) in self.inputs.iter_mut().enumerate() {
                    for delta in input.stage(pushed)? {
                        full.stage(index, delta);
                    }
                }
                Ok(Vec::new())
            }
        }
    }

    /// Forgets what is staged.
    pub(crate) fn unstage(&mut self) {
        match &mut self.kind {
            Kind::Scan { .. } | Kind::Linear(_) => {}
            Kind::Merge(merge) => merge.unstage(),
            Kind::Weighted(weighted) => weighted.unstage(),
            Kind::Join(join) => join.unstage(),
            Kind::Semi(semi) => semi.unstage(),
            Kind::Top(top) => top.unstage(),
            Kind::Ranks(ranks) => ranks.unstage(),
            Kind::Sessions(sessions) => sessions.unstage(),
            Kind::Keyed(keyed) => keyed.unstage(),
            Kind::Watermark(watermark) => watermark.unstage(),
            Kind::Full(full) => full.unstage(),
        }
        self.inputs.iter_mut().for_each(Operator::unstage);
    }

    /// Takes what is staged into the state.
    pub(crate) fn absorb(&mut self) -> Result<(), Error> {
        match &mut self.kind {
            Kind::Scan { .. } | Kind::Linear(_) => {}
            Kind::Merge(merge) => merge.absorb()?,
            Kind::Weighted(weighted) => weighted.absorb()?,
            Kind::Join(join) => join.absorb()?,
            Kind::Semi(semi) => semi.absorb(),
            Kind::Top(top) => top.absorb(),
            Kind::Ranks(ranks) => ranks.absorb(),
            Kind::Sessions(sessions) => sessions.absorb(),
            Kind::Keyed(keyed) => keyed.absorb(),
            Kind::Watermark(watermark) => watermark.absorb(),
            Kind::Full(full) => full.absorb()?,
        }
        self.inputs.iter_mut().try_for_each(Operator::absorb)
    }

    /// What operators with state change since the last flush, as it comes out here.
    pub(crate) fn flush(&mut self) -> BoxFuture<'_, Result<Vec<Delta>, Error>> {
        async move {
            let mut inputs = Vec::with_capacity(self.inputs.len());
            for input in &mut self.inputs {
                inputs.push(input.flush().await?);
            }
            match &mut self.kind {
                Kind::Scan { .. } => Ok(Vec::new()),
                Kind::Linear(linear) => linear.run(&inputs),
                Kind::Merge(merge) => {
                    for delta in inputs.into_iter().flatten() {
                        merge.stage(delta)?;
                        merge.absorb()?;
                    }
                    merge.flush()
                }
                Kind::Weighted(weighted) => {
                    for delta in inputs.into_iter().flatten() {
                        weighted.stage(&delta)?;
                        weighted.absorb()?;
                    }
                    weighted.flush()
                }
                Kind::Join(join) => {
                    for (index, deltas) in inputs.into_iter().enumerate() {
                        deltas.into_iter().for_each(|delta| join.stage(index, delta));
                    }
                    join.absorb()?;
                    join.flush()
                }
                Kind::Semi(semi) => {
                    for (index, deltas) in inputs.into_iter().enumerate() {
                        deltas.into_iter().for_each(|delta| semi.stage(index, delta));
                    }
                    semi.absorb();
                    semi.flush()
                }
                Kind::Top(top) => {
                    inputs.into_iter().flatten().for_each(|delta| top.stage(delta));
                    top.absorb();
                    top.flush()
                }
                Kind::Ranks(ranks) => {
                    inputs.into_iter().flatten().try_for_each(|delta| ranks.stage(delta))?;
                    ranks.absorb();
                    ranks.flush()
                }
                Kind::Sessions(sessions) => {
                    inputs.into_iter().flatten().for_each(|delta| sessions.stage(delta));
                    sessions.absorb();
                    sessions.flush()
                }
                Kind::Keyed(keyed) => {
                    for (index, deltas) in inputs.into_iter().enumerate() {
                        deltas.into_iter().for_each(|delta| keyed.stage(index, delta));
                    }
                    keyed.absorb();
                    keyed.flush().await
                }
                Kind::Watermark(watermark) => {
                    for (index, deltas) in inputs.into_iter().enumerate() {
                        deltas.into_iter().try_for_each(|delta| watermark.stage(index, delta))?;
                    }
                    watermark.absorb();
                    let (deltas, expired) = watermark.flush()?;
                    if let (Some(expired), Some(rows)) = (expired, self.inputs.first_mut()) {
                        rows.evict(expired.groups, expired.until)?;
                    }
                    Ok(deltas)
                }
                Kind::Full(full) => {
                    for (index, deltas) in inputs.into_iter().enumerate() {
                        deltas.into_iter().for_each(|delta| full.stage(index, delta));
                    }
                    full.absorb()?;
                    full.flush().await
                }
            }
        }
        .boxed()
    }

    /// Drops groups of an aggregate at or below this operator that nobody reads any more.
    fn evict(&mut self, groups: Expiry, until: i64) -> Result<(), Error> {
        match (&mut self.kind, self.inputs.first_mut()) {
            (Kind::Merge(merge), _) if groups.depth == 0 => merge.evict(groups.column, until),
            (_, Some(input)) if groups.depth > 0 => input.evict(Expiry { depth: groups.depth - 1, ..groups }, until),
            _ => Err(Error::Bug("groups expire where there are none".to_owned())),
        }
    }

    pub(crate) fn checkpoint(&mut self, tables: &mut Vec<TableCheckpoint>) {
        match &mut self.kind {
            Kind::Scan { .. } | Kind::Linear(_) => {}
            Kind::Merge(merge) => merge.checkpoint(tables),
            Kind::Weighted(weighted) => weighted.checkpoint(tables),
            Kind::Join(join) => join.checkpoint(tables),
            Kind::Semi(semi) => semi.checkpoint(tables),
            Kind::Top(top) => top.checkpoint(tables),
            Kind::Ranks(ranks) => ranks.checkpoint(tables),
            Kind::Sessions(sessions) => sessions.checkpoint(tables),
            Kind::Keyed(keyed) => keyed.checkpoint(tables),
            Kind::Watermark(watermark) => watermark.checkpoint(tables),
            Kind::Full(full) => full.checkpoint(tables),
        }
        self.inputs.iter_mut().for_each(|input| input.checkpoint(tables));
    }

    pub(crate) fn restore(&mut self, tables: &mut Tables) -> Result<(), Error> {
        match &mut self.kind {
            Kind::Scan { .. } | Kind::Linear(_) => {}
            Kind::Merge(merge) => merge.restore(tables)?,
            Kind::Weighted(weighted) => weighted.restore(tables)?,
            Kind::Join(join) => join.restore(tables)?,
            Kind::Semi(semi) => semi.restore(tables)?,
            Kind::Top(top) => top.restore(tables)?,
            Kind::Ranks(ranks) => ranks.restore(tables)?,
            Kind::Sessions(sessions) => sessions.restore(tables)?,
            Kind::Keyed(keyed) => keyed.restore(tables)?,
            Kind::Watermark(watermark) => watermark.restore(tables)?,
            Kind::Full(full) => full.restore(tables)?,
        }
        self.inputs.iter_mut().try_for_each(|input| input.restore(tables))
    }

    pub(crate) fn size(&self) -> (u64, u64) {
        let own = match &self.kind {
            Kind::Scan { .. } | Kind::Linear(_) => (0, 0),
            Kind::Merge(merge) => merge.size(),
            Kind::Weighted(weighted) => weighted.size(),
            Kind::Join(join) => join.size(),
            Kind::Semi(semi) => semi.size(),
            Kind::Top(top) => top.size(),
            Kind::Ranks(ranks) => ranks.size(),
            Kind::Sessions(sessions) => sessions.size(),
            Kind::Keyed(keyed) => keyed.size(),
            Kind::Watermark(watermark) => watermark.size(),
            Kind::Full(full) => full.size(),
        };
        self.inputs.iter().fold(own, |(rows, bytes), input| {
            let (more_rows, more_bytes) = input.size();
            (rows + more_rows, bytes + more_bytes)
        })
    }
}
