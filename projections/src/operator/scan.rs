//! Reads columns of a relation. Drops the rows of a source that are too late.

use std::sync::Arc;

use alluvium_sql::{Lateness, Node};
use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};

use super::kit::rows::renamed;
use crate::delta::Delta;
use crate::error::Error;
use crate::state::log::RowLog;
use crate::state::{TableCheckpoint, Tables};

/// Changes of a relation. `columns` are the indexes of the delta's columns in the relation's full schema.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pushed<'a> {
    pub(crate) relation: &'a str,
    pub(crate) columns: &'a [usize],
    pub(crate) delta: &'a Delta,
}

/// Reads a relation.
#[derive(Debug)]
pub(crate) struct Scan {
    relation: String,
    columns: Vec<usize>,
    schema: SchemaRef,
    in_time: Option<InTime>,
}

/// Tells which rows are not too late.
#[derive(Debug)]
struct InTime {
    lateness: Lateness,
    latest: Option<i64>,
    /// The latest time, including the staged rows.
    staged: Option<i64>,
    /// Makes the latest time durable. Has one row, or none.
    table: RowLog,
}

impl Scan {
    pub(crate) fn new(node: &Node, relation: &str, columns: &[usize], lateness: Option<Lateness>) -> Scan {
        let in_time = lateness.map(|lateness| {
            let name = format!("n{}-latest", node.id);
            let schema = Arc::new(Schema::new(vec![Field::new("latest", DataType::Int64, false)]));
            InTime { lateness, latest: None, staged: None, table: RowLog::new(name, schema) }
        });
        Scan { relation: relation.to_owned(), columns: columns.to_vec(), schema: Arc::clone(&node.schema), in_time }
    }

    pub(crate) fn stage(&mut self, pushed: Pushed<'_>) -> Result<Vec<Delta>, Error> {
        if self.relation != pushed.relation {
            return Ok(Vec::new());
        }
        let position = |column: &usize| {
            let found = pushed.columns.iter().position(|given| given == column);
            found.ok_or_else(|| Error::Bug(format!("column {column} of {} is needed, but was not pushed", self.relation)))
        };
        let picked: Vec<usize> = self.columns.iter().map(position).collect::<Result<_, _>>()?;
        let rows = renamed(&pushed.delta.rows.project(&picked)?, &self.schema)?;
        let Some(in_time) = &mut self.in_time else {
            return Ok(vec![Delta { rows, weights: pushed.delta.weights.clone() }]);
        };
        let time = position(&in_time.lateness.column)?;
        let mask = in_time.stage(pushed.delta.rows.column(time))?;
        Ok(if mask.true_count() == 0 { Vec::new() } else { vec![Delta::insertions(rows).filtered(&mask)?] })
    }

    pub(crate) fn unstage(&mut self) {
        if let Some(in_time) = &mut self.in_time {
            in_time.staged = None;
        }
    }

    pub(crate) fn absorb(&mut self) {
        if let Some(in_time) = &mut self.in_time {
            in_time.latest = in_time.latest.max(in_time.staged.take());
        }
    }

    pub(crate) fn flush(&mut self) -> Result<(), Error> {
        match &mut self.in_time {
            Some(in_time) => in_time.write(),
            None => Ok(()),
        }
    }

    pub(crate) fn checkpoint(&mut self, tables: &mut Vec<TableCheckpoint>) {
        tables.extend(self.in_time.iter_mut().map(|in_time| in_time.table.checkpoint()));
    }

    pub(crate) fn restore(&mut self, tables: &mut Tables) -> Result<(), Error> {
        match &mut self.in_time {
            Some(in_time) => in_time.restore(tables),
            None => Ok(()),
        }
    }
}

impl InTime {
    /// Returns a mask of the rows that are not too late, given their times in the order of their arrival.
    fn stage(&mut self, times: &ArrayRef) -> Result<BooleanArray, Error> {
        let times = cast(times, &DataType::Int64)?;
        let mut latest = self.latest.max(self.staged);
        let comes_in_time = times.as_primitive::<Int64Type>().iter().map(|time| {
            latest = latest.max(time);
            let (Some(time), Some(latest)) = (time, latest) else { return Some(true) };
            Some(time > latest.saturating_sub(self.lateness.most))
        });
        let mask = comes_in_time.collect();
        self.staged = latest;
        Ok(mask)
    }

    fn written(&self) -> Result<Option<i64>, Error> {
        let batches = self.table.batches()?;
        let last = batches.iter().rev().find(|batch| batch.num_rows() > 0);
        Ok(last.map(|last| last.column(0).as_primitive::<Int64Type>().value(last.num_rows() - 1)))
    }

    fn write(&mut self) -> Result<(), Error> {
        if self.latest == self.written()? {
            return Ok(());
        }
        let Some(latest) = self.latest else { return Ok(()) };
        let column: ArrayRef = Arc::new(Int64Array::from(vec![latest]));
        let row = arrow::record_batch::RecordBatch::try_new(Arc::clone(self.table.schema()), vec![column])?;
        self.table.replace(&row)?;
        self.table.end_epoch()
    }

    fn restore(&mut self, tables: &mut Tables) -> Result<(), Error> {
        self.table.restore(tables.take(self.table.name())?)?;
        self.latest = self.written()?;
        Ok(())
    }
}
