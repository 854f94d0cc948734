//! Recursions: the rows with which one begins, and those that its step adds to them, until it adds no more.
//!
//! The step is a tree of operators of its own, which reads the rows of the recursion as a relation. So a change of an input costs what it
//! changes: the step gives the derivations that come and go, and the rows that come and go with them are pushed into it in turn.
//!
//! Retractions come first. With UNION, a row that loses a derivation is taken out together with all that was derived from it, even if it has
//! others: they may lead back to the row itself. Then the rows that still have a derivation are put back, and what arrives is added
//! (delete and rederive: Gupta, Mumick and Subrahmanian, 1993). With UNION ALL each derivation is a row of its own, and none is put back. There, the
//! order matters too: what arrives could let a row that leaves derive itself.

use std::collections::HashSet;
use std::sync::Arc;

use alluvium_sql::{Node, RecursionBound, leaf_name};
use arrow::array::UInt32Array;
use arrow::compute::take_record_batch;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;

use super::kit::rows::{renamed_deltas, repeated};
use super::kit::stateful::{Flush, Pending, Stateful};
use super::kit::tree::Tree;
use crate::consolidate::{Net, net};
use crate::delta::Delta;
use crate::error::Error;
use crate::left_out::{Failures, OnFailure};
use crate::state::keys::KeyEncoder;
use crate::state::multiset::Multiset;
use crate::state::{TableCheckpoint, Tables};

/// Runs a recursion.
#[derive(Debug)]
pub(crate) struct Recursion {
    /// The name of the recursion, and of its rows in the step.
    name: String,
    step: Box<dyn Tree>,
    inputs: Vec<Input>,
    /// The number of derivations of each row, if equal rows are one.
    derivations: Option<Multiset>,
    schema: SchemaRef,
    /// Whether emitted rows can be retracted.
    retracts: bool,
}

#[derive(Debug)]
struct Input {
    schema: SchemaRef,
    /// Compares its rows. `None` if it only inserts.
    encoder: Option<KeyEncoder>,
}

/// Changes of the inputs, all in the same direction.
type Changes = Vec<Vec<Delta>>;

impl Recursion {
    pub(crate) fn new(node: &Node, step: Box<dyn Tree>, name: &str, distinct: bool) -> Result<Self, Error> {
        let inputs = node.inputs.iter().map(|input| {
            let encoder = input.retracts.then(|| KeyEncoder::new(input.schema.fields())).transpose()?;
            Ok(Input { schema: Arc::clone(&input.schema), encoder })
        });
        Ok(Self {
            name: name.to_owned(),
            step,
            inputs: inputs.collect::<Result<_, Error>>()?,
            derivations: distinct.then(|| Multiset::new(format!("n{}-derivations", node.id), &node.schema)).transpose()?,
            schema: Arc::clone(&node.schema),
            retracts: node.retracts,
        })
    }

    /// Returns the changes to the answer caused by this epoch.
    async fn changes(&mut self, pending: Pending<Delta>, failing: OnFailure<'_>) -> Result<Vec<Delta>, Error> {
        if pending.iter().all(Vec::is_empty) {
            return Ok(Vec::new());
        }
        let (leaving, arriving) = self.by_direction(pending)?;
        let mut changes = Vec::new();
        match self.derivations.take() {
            Some(mut derivations) => {
                let taken = self.take_out(leaving, &mut derivations, failing).await?;
                let put = self.put_in(arriving, &taken, &mut derivations, failing).await?;
                changes.extend(taken.rows.into_iter().map(Delta::retractions));
                changes.extend(put.into_iter().map(Delta::insertions));
                if self.retracts {
                    changes = derivations.net(&changes)?.into_deltas();
                }
                self.derivations = Some(derivations);
            }
            None => {
                changes.extend(self.follow(leaving, failing).await?);
                changes.extend(self.follow(arriving, failing).await?);
            }
        }
        let changes = renamed_deltas(changes, &self.schema)?;
        if self.retracts {
            return Ok(changes);
        }
        // Insert-only output has no weights: equal rows are emitted one by one.
        Ok(changes
            .into_iter()
            .map(repeated)
            .collect::<Result<Vec<_>, _>>()?
            .into_iter()
            .flatten()
            .map(Delta::insertions)
            .collect())
    }

    /// Splits the changes of the inputs into retractions and insertions.
    fn by_direction(&self, pending: Pending<Delta>) -> Result<(Changes, Changes), Error> {
        let (mut leaving, mut arriving) = (Vec::new(), Vec::new());
        for (input, deltas) in self.inputs.iter().zip(pending) {
            let Some(encoder) = input.encoder.as_ref().filter(|_| deltas.iter().any(|delta| delta.weights.is_some())) else {
                leaving.push(Vec::new());
                arriving.push(deltas);
                continue;
            };
            let net = net(&input.schema, encoder, &renamed_deltas(deltas, &input.schema)?)?;
            let (leave, arrive): (Vec<u32>, Vec<u32>) =
                (0..net.weights.len() as u32).partition(|row| net.weights[*row as usize] < 0);
            let of_rows = |rows: Vec<u32>| -> Result<Vec<Delta>, Error> {
                let weights = rows.iter().map(|row| Some(net.weights[*row as usize])).collect();
                Ok(if rows.is_empty() { Vec::new() } else { vec![Delta::weighted(taken_rows(&net.rows, rows)?, weights)] })
            };
            leaving.push(of_rows(leave)?);
            arriving.push(of_rows(arrive)?);
        }
        Ok((leaving, arriving))
    }

    /// Returns the derivations that come and go with changes of the inputs.
    async fn derived(&mut self, mut changes: Changes, failing: OnFailure<'_>) -> Result<Vec<Delta>, Error> {
        let mut derived = std::mem::take(&mut changes[0]);
        let mut pushed = false;
        for (index, deltas) in changes.iter().enumerate().skip(1) {
            for delta in deltas {
                derived.extend(self.step.push(&leaf_name(index), delta, failing)?);
                pushed = true;
            }
        }
        if pushed {
            derived.extend(self.step.flush(failing).await?);
        }
        Ok(derived)
    }

    /// Returns the derivations that come and go with rows of the recursion.
    async fn stepped(&mut self, rows: &[Delta], bound: &RecursionBound, failing: OnFailure<'_>) -> Result<Vec<Delta>, Error> {
        bound.step()?;
        let mut derived = Vec::new();
        for delta in rows {
            bound.add(delta.weights_iter().map(|weight| weight.unsigned_abs() as usize).sum())?;
            derived.extend(self.step.push(&self.name, delta, failing)?);
        }
        derived.extend(self.step.flush(failing).await?);
        Ok(derived)
    }

    /// Follows changes to all that is derived from them, each derivation as a row of its own. Returns all of these rows.
    async fn follow(&mut self, changes: Changes, failing: OnFailure<'_>) -> Result<Vec<Delta>, Error> {
        let bound = RecursionBound::new(&self.name);
        let mut all = Vec::new();
        let mut rows = self.derived(changes, failing).await?;
        loop {
            rows.retain(|delta| delta.rows.num_rows() > 0);
            if rows.is_empty() {
                return Ok(all);
            }
            let next = self.stepped(&rows, &bound, failing).await?;
            all.append(&mut rows);
            rows = next;
        }
    }

    /// Takes out the rows that lose a derivation, and all that was derived from them.
    async fn take_out(&mut self, leaving: Changes, derivations: &mut Multiset, failing: OnFailure<'_>) -> Result<Taken, Error> {
        let mut taken = Taken::default();
        if leaving.iter().all(Vec::is_empty) {
            return Ok(taken);
        }
        let bound = RecursionBound::new(&self.name);
        let mut lost = self.derived(leaving, failing).await?;
        loop {
            let (net, there) = counted(derivations, lost)?;
            let rows = (0..there.len()).filter(|row| there[*row] > 0 && taken.keys.insert(net.keys.get(*row).into()));
            let rows: Vec<u32> = rows.map(|row| row as u32).collect();
            if rows.is_empty() {
                return Ok(taken);
            }
            let rows = taken_rows(&net.rows, rows)?;
            lost = self.stepped(&[Delta::retractions(rows.clone())], &bound, failing).await?;
            taken.rows.push(rows);
        }
    }

    /// Puts back the rows that still have a derivation, and adds what arrives, with all that is derived from both. Returns these rows.
    async fn put_in(
        &mut self,
        arriving: Changes,
        taken: &Taken,
        derivations: &mut Multiset,
        failing: OnFailure<'_>,
    ) -> Result<Vec<RecordBatch>, Error> {
        let bound = RecursionBound::new(&self.name);
        let mut all: Vec<RecordBatch> = Vec::new();
        for batch in &taken.rows {
            let keys = derivations.encode(batch.columns(), batch.num_rows())?;
            let weights = derivations.weights(&keys, &keys.hashes());
            let kept: Vec<u32> = (0..weights.len()).filter(|row| weights[*row] > 0).map(|row| row as u32).collect();
            if !kept.is_empty() {
                all.push(taken_rows(batch, kept)?);
            }
        }
        let mut gained = Vec::new();
        if !all.is_empty() {
            let back: Vec<Delta> = all.iter().cloned().map(Delta::insertions).collect();
            // What fails on these rows was counted when they came first.
            gained = self.stepped(&back, &bound, OnFailure::LeaveOut(&Failures::default())).await?;
        }
        gained.extend(self.derived(arriving, failing).await?);
        loop {
            let (net, there) = counted(derivations, gained)?;
            let new: Vec<u32> = (0..there.len()).filter(|row| there[*row] == 0).map(|row| row as u32).collect();
            if new.is_empty() {
                return Ok(all);
            }
            let rows = taken_rows(&net.rows, new)?;
            gained = self.stepped(&[Delta::insertions(rows.clone())], &bound, failing).await?;
            all.push(rows);
        }
    }
}

/// Rows that were taken out.
#[derive(Default)]
struct Taken {
    rows: Vec<RecordBatch>,
    keys: HashSet<Box<[u8]>>,
}

/// Counts derivations that come or go. Returns their net change, and how many each row had before.
fn counted(derivations: &mut Multiset, deltas: Vec<Delta>) -> Result<(Net, Vec<i64>), Error> {
    let net = derivations.net(&renamed_deltas(deltas, &derivations.schema())?)?;
    let there = derivations.weights(&net.keys, &net.hashes);
    if !there.is_empty() {
        derivations.apply_net(&net)?;
        derivations.end_epoch()?;
    }
    Ok((net, there))
}

fn taken_rows(rows: &RecordBatch, indices: Vec<u32>) -> Result<RecordBatch, Error> {
    Ok(take_record_batch(rows, &UInt32Array::from(indices))?)
}

impl Stateful for Recursion {
    type Prepared = Delta;

    fn prepare(&self, _input: usize, delta: Delta) -> Result<Delta, Error> {
        Ok(delta)
    }

    fn flush<'a>(&'a mut self, pending: Pending<Delta>, failing: OnFailure<'a>) -> Flush<'a> {
        Box::pin(self.changes(pending, failing))
    }

    fn checkpoint(&mut self, tables: &mut Vec<TableCheckpoint>) {
        self.step.checkpoint(tables);
        tables.extend(self.derivations.iter_mut().map(Multiset::checkpoint));
    }

    fn restore(&mut self, tables: &mut Tables) -> Result<(), Error> {
        self.step.restore(tables)?;
        match &mut self.derivations {
            Some(derivations) => {
                let rows = tables.take(derivations.name())?;
                derivations.restore(rows)
            }
            None => Ok(()),
        }
    }

    fn size(&self) -> (u64, u64) {
        let (rows, bytes) = self.step.size();
        let (more_rows, more_bytes) = self.derivations.as_ref().map_or((0, 0), Multiset::size);
        (rows + more_rows, bytes + more_bytes)
    }
}
