//! Runs the operators of one view.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use alluvium_sql::{RelationKind, ViewPlan};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;

use crate::consolidate::net;
use crate::delta::Delta;
use crate::error::Error;
use crate::left_out::{Failures, LeftOut, OnFailure};
use crate::operator::{Operator, Pushed};
use crate::state::keys::KeyEncoder;
use crate::state::{BatchId, TableCheckpoint, Tables};

/// A row of the input on which an expression of the view failed. The view leaves it out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Its index among the pushed rows.
    pub row: usize,
    /// Why the expression failed.
    pub error: String,
}

/// Runs one view's incremental plan.
///
/// # Contract
/// - After any sequence of pushes and a [`Projection::flush`], the sum of all deltas flushed so far equals the view's SQL over all
///   rows pushed so far, without the rejected ones. A row on which an expression fails is left out at the operator where it fails
///   (checked by the sqllogictest files and the property tests).
/// - [`Projection::checkpoint`] is called only directly after a flush (asserted).
#[derive(Debug)]
pub struct Projection {
    root: Operator,
    sources: HashSet<String>,
    /// Consolidates the changes of the view. None if no epoch can both emit and retract a row.
    consolidate: Option<KeyEncoder>,
    schema: SchemaRef,
    /// Changes that reached the root since the last flush.
    pending: Vec<Delta>,
    flushed: bool,
    failures: Failures,
}

impl Projection {
    /// Plans every operator once.
    ///
    /// # Errors
    /// [`Error::Plan`] if DataFusion has no physical plan for one.
    pub async fn new(plan: &ViewPlan) -> Result<Projection, Error> {
        let sources = plan.reads.iter().filter(|(kind, _)| *kind == RelationKind::Source).map(|(_, name)| name.clone());
        Ok(Projection {
            root: Operator::new(&plan.root).await?,
            sources: sources.collect(),
            consolidate: plan.root.needs_consolidation().then(|| KeyEncoder::new(plan.root.schema.fields())).transpose()?,
            schema: Arc::clone(&plan.root.schema),
            pending: Vec::new(),
            flushed: false,
            failures: Failures::default(),
        })
    }

    /// Applies changes of a relation that the plan scans, and returns the rejected rows. `columns` says which columns the rows have:
    /// ascending indexes into the relation's full schema, including all columns that the plan's scans need. Changes of a source must
    /// not have weights.
    ///
    /// # Errors
    /// As in [`Error`]. A row on which an expression fails is not an error. If the relation is a source, such rows are returned, and
    /// the others are applied. If it is a view, they are left out where they fail ([`Projection::take_left_out`]).
    pub async fn push(&mut self, relation: &str, columns: &[usize], delta: &Delta) -> Result<Vec<Rejected>, Error> {
        if delta.rows.num_rows() == 0 {
            return Ok(Vec::new());
        }
        self.flushed = false;
        let pushed = Pushed { relation, columns, delta };
        let is_source = self.sources.contains(relation);
        if is_source && delta.weights.is_some() {
            return Err(Error::Bug(format!("the source {relation} retracts rows")));
        }
        let failing = if is_source { OnFailure::Refuse } else { OnFailure::LeaveOut(&self.failures) };
        let rejected = match self.root.stage(pushed, failing) {
            Ok(deltas) => {
                self.pending.extend(deltas);
                Vec::new()
            }
            Err(Error::Row(_)) if is_source => {
                self.root.unstage();
                self.stage_good(pushed)?
            }
            Err(error) => {
                self.root.unstage();
                return Err(error);
            }
        };
        self.root.absorb()?;
        Ok(rejected)
    }

    /// Returns the rows of a source that [`Projection::push`] would reject. Applies nothing.
    ///
    /// # Errors
    /// As [`Projection::push`].
    pub fn rejected(&mut self, source: &str, columns: &[usize], rows: &RecordBatch) -> Result<Vec<Rejected>, Error> {
        let delta = Delta::insertions(rows.clone());
        if rows.num_rows() == 0 {
            return Ok(Vec::new());
        }
        Ok(self.tried(Pushed { relation: source, columns, delta: &delta })?.1)
    }

    /// Stages the rows on which no expression fails, in order. Returns the others.
    fn stage_good(&mut self, pushed: Pushed<'_>) -> Result<Vec<Rejected>, Error> {
        let (good, rejected) = self.tried(pushed)?;
        for range in good {
            let rows = slice(pushed.delta, &range);
            let deltas = self.root.stage(Pushed { delta: &rows, ..pushed }, OnFailure::Refuse)?;
            self.pending.extend(deltas);
        }
        Ok(rejected)
    }

    /// Bisects the rows into ranges on which no expression fails, and single rows on which one does. Both are in order.
    fn tried(&mut self, pushed: Pushed<'_>) -> Result<(Vec<Range<usize>>, Vec<Rejected>), Error> {
        let mut rejected = Vec::new();
        let mut good: Vec<Range<usize>> = Vec::new();
        // Ranges still to try, the first one on top.
        let mut untried: Vec<Range<usize>> = std::iter::once(0..pushed.delta.rows.num_rows()).collect();
        while let Some(range) = untried.pop() {
            let rows = slice(pushed.delta, &range);
            let tried = self.root.stage(Pushed { delta: &rows, ..pushed }, OnFailure::Refuse);
            self.root.unstage();
            match tried {
                Ok(_) => good.push(range),
                Err(Error::Row(error)) if range.len() == 1 => rejected.push(Rejected { row: range.start, error }),
                Err(Error::Row(_)) => {
                    let middle = range.start + range.len() / 2;
                    untried.push(middle..range.end);
                    untried.push(range.start..middle);
                }
                Err(error) => return Err(error),
            }
        }
        Ok((good, rejected))
    }

    /// Ends an epoch. Returns the consolidated changes of the view since the last flush: no row is both emitted and retracted. The
    /// first flush of a new projection also returns the rows that the view has without any event, such as the one row of a global
    /// aggregate.
    ///
    /// # Errors
    /// As in [`Error`]. After an error, the projection must be dropped and restored from the last checkpoint.
    pub async fn flush(&mut self) -> Result<Vec<Delta>, Error> {
        let mut deltas = std::mem::take(&mut self.pending);
        deltas.extend(self.root.flush(OnFailure::LeaveOut(&self.failures)).await?);
        self.flushed = true;
        let Some(encoder) = &self.consolidate else { return Ok(deltas) };
        if deltas.iter().all(|delta| delta.weights.is_none()) {
            return Ok(deltas);
        }
        let net = net(&self.schema, encoder, &deltas)?;
        Ok(if net.weights.is_empty() { Vec::new() } else { vec![net.into_delta()] })
    }

    /// Returns what flushes, and pushes of other views' rows, have left out since the last call. None if nothing was left out.
    pub fn take_left_out(&mut self) -> Option<LeftOut> {
        Some(self.failures.take()).filter(|left_out| left_out.rows > 0)
    }

    /// Returns what must become durable, for each state table.
    pub fn checkpoint(&mut self) -> Vec<TableCheckpoint> {
        assert!(self.flushed, "a checkpoint is taken directly after a flush");
        let mut tables = Vec::new();
        self.root.checkpoint(&mut tables);
        tables
    }

    /// Restores a new projection from a checkpoint: for each table, its live batches in order.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if a table is missing, has another shape or is not in the plan.
    pub fn restore(&mut self, tables: HashMap<String, Vec<(BatchId, RecordBatch)>>) -> Result<(), Error> {
        let mut tables = Tables(tables);
        self.root.restore(&mut tables)?;
        match tables.0.into_keys().next() {
            Some(table) => Err(Error::Corrupt { table, message: "the plan has no such table".to_owned() }),
            None => Ok(()),
        }
    }

    /// Returns the number of rows and of bytes that state holds in memory.
    #[must_use]
    pub fn state_size(&self) -> (u64, u64) {
        self.root.size()
    }

    /// Returns how many bytes the operator with the most state holds in memory, and the way to its node from the root of the plan: at
    /// each node the index of the input. Of two with the same bytes, the upper one.
    #[must_use]
    pub fn largest_operator(&self) -> (u64, Vec<usize>) {
        self.root.largest()
    }
}

fn slice(delta: &Delta, range: &Range<usize>) -> Delta {
    Delta::insertions(delta.rows.slice(range.start, range.len()))
}
