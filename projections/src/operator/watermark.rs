//! Rows bounded by the watermark: those of windows that are over, or of windows that are not too old, or both.
//!
//! The watermark is the latest time that its sources have had, less a delay, and only grows. What it decides is a filter on the end of a
//! row's window, so a row is held only while the filter can still change: until its window is over or, where windows are retained for
//! a time, until that is over. In memory the held rows stand in the order of their windows, so that a step of the watermark touches only
//! those that it passes.

use std::collections::BTreeMap;
use std::future::ready;
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;

use alluvium_sql::Node;
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array};
use arrow::compute::{cast, filter_record_batch, max};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::arrow::row::{RowConverter, SortField};

use super::linear::{batch, renamed};
use super::{Flush, Stateful};
use crate::delta::Delta;
use crate::error::Error;
use crate::state::multiset::Multiset;
use crate::state::table::StateTable;
use crate::state::{Place, TableCheckpoint, Tables};

/// What the watermark decides.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Whether a window is shown only when it is over.
    pub(crate) emits_final: bool,
    /// How far past its end a window goes, in units of the end's type.
    pub(crate) retain: Option<i64>,
}

/// What expires is dropped when the watermark has gone on by this part of the time for which windows are retained: then each row is
/// looked at a few times in all, and there is little more of them than are retained.
const STEPS: i64 = 8;

/// The end of a row's window, and the row by its encoding.
type HeldRow = (i64, Box<[u8]>);

/// Keeps the rows that the watermark lets stand. Input 0 has the rows, the others one column of times each.
#[derive(Debug)]
pub(crate) struct Watermark {
    window_end: usize,
    delays: Vec<i64>,
    bounds: Bounds,
    /// The latest time of each source.
    latest: Vec<Option<i64>>,
    /// The same, durable: the number of the source, and the time.
    times: StateTable,
    /// The watermark of the last flush.
    reached: Option<i64>,
    stored: Multiset,
    rows: RowConverter,
    /// The stored rows in the order of their windows, each with how many times it is there.
    held: BTreeMap<HeldRow, i64>,
    bytes: usize,
    schema: SchemaRef,
    staged: Staged,
    pending: Vec<Delta>,
}

#[derive(Debug, Default)]
struct Staged {
    rows: Vec<Delta>,
    /// By source.
    latest: Vec<Option<i64>>,
}

impl Watermark {
    pub(crate) fn new(node: &Node, window_end: usize, delays: &[i64], bounds: Bounds) -> Result<Self, Error> {
        let stored = Multiset::new(format!("n{}-rows", node.id), &node.schema)?;
        let rows = stored.schema().fields().iter().map(|field| SortField::new(field.data_type().clone())).collect();
        let fields = ["source", "latest"].map(|name| Field::new(name, DataType::Int64, false));
        Ok(Self {
            window_end,
            delays: delays.to_vec(),
            bounds,
            latest: vec![None; delays.len()],
            times: StateTable::new(format!("n{}-times", node.id), Arc::new(Schema::new(fields.to_vec())), 1, None)?,
            reached: None,
            stored,
            rows: RowConverter::new(rows)?,
            held: BTreeMap::new(),
            bytes: 0,
            schema: Arc::clone(&node.schema),
            staged: Staged::default(),
            pending: Vec::new(),
        })
    }

    /// What the epoch changes in the answer.
    fn changes(&mut self) -> Result<Vec<Delta>, Error> {
        let before = self.reached;
        self.reached = self.watermark();
        self.remember_times()?;
        let gone = self.gone(self.reached);
        let mut deltas = Vec::new();
        if !self.pending.is_empty() {
            deltas.extend(self.take_rows(before, gone)?);
        }
        if self.reached != before {
            let mut given = Vec::new();
            if self.bounds.emits_final {
                // What goes at once is never shown.
                let shown = before.max(gone);
                given.extend(self.between(shown, self.reached).map(|(row, weight)| (row.clone(), weight)));
            }
            let leaving = if self.bounds.retain.is_some() { gone } else { self.reached };
            if self.bounds.retain.is_some() {
                let shown = if self.bounds.emits_final { before } else { gone };
                given.extend(
                    self.between(None, gone)
                        .filter(|((end, _), _)| Some(*end) <= shown)
                        .map(|(row, weight)| (row.clone(), -weight)),
                );
            }
            deltas.extend(self.delta(&given)?);
            self.let_go(leaving)?;
        }
        self.stored.end_epoch()?;
        Ok(deltas)
    }

    /// The smallest of the sources' watermarks; none before each has one.
    fn watermark(&self) -> Option<i64> {
        let reached =
            self.latest.iter().zip(&self.delays).map(|(latest, delay)| latest.map(|latest| latest.saturating_sub(*delay)));
        reached.min().flatten()
    }

    /// The end of the latest window that is gone at a watermark.
    fn gone(&self, reached: Option<i64>) -> Option<i64> {
        Some(reached?.saturating_sub(self.bounds.retain?))
    }

    /// Takes the changes of the input: rows of windows that are gone are passed over, those that can still come or go are held, and
    /// those that were shown before the watermark moves are given on.
    fn take_rows(&mut self, before: Option<i64>, gone: Option<i64>) -> Result<Option<Delta>, Error> {
        let schema = self.stored.schema();
        let changes = std::mem::take(&mut self.pending).into_iter();
        let changes = changes.map(|delta| Ok(Delta { rows: renamed(&delta.rows, &schema)?, weights: delta.weights }));
        let changes = self.stored.net(&changes.collect::<Result<Vec<_>, Error>>()?)?;
        let ends = cast(changes.rows.column(self.window_end), &DataType::Int64)?;
        let ends = ends.as_primitive::<Int64Type>();
        let end = |row: usize| ends.is_valid(row).then(|| ends.value(row));
        let Bounds { emits_final, retain, .. } = self.bounds;
        let rows = 0..changes.weights.len();
        let stays = |row: usize| end(row).is_none() || gone.is_none() || end(row) > gone;
        let held: BooleanArray = rows
            .clone()
            .map(|row| Some(end(row).is_some() && stays(row) && (retain.is_some() || before.is_none() || end(row) > before)))
            .collect();
        let given: BooleanArray = rows
            .clone()
            .map(|row| Some(stays(row) && if emits_final { end(row).is_some() && end(row) <= before } else { true }))
            .collect();
        let given_weights: Int64Array = rows.clone().filter(|row| given.value(*row)).map(|row| changes.weights[row]).collect();
        let given = filter_record_batch(&changes.rows, &given)?;
        let content = self.rows.convert_columns(changes.rows.columns())?;
        for row in rows.clone().filter(|row| held.value(*row)) {
            self.hold(ends.value(row), content.row(row).data(), changes.weights[row]);
        }
        let held_weights: Int64Array = rows.filter(|row| held.value(*row)).map(|row| changes.weights[row]).collect();
        let held = filter_record_batch(&changes.rows, &held)?;
        if held.num_rows() > 0 {
            self.stored.apply(&[Delta { rows: held, weights: Some(held_weights) }])?;
        }
        let given = Delta { rows: renamed(&given, &self.schema)?, weights: Some(given_weights) };
        Ok((given.rows.num_rows() > 0).then_some(given))
    }

    fn hold(&mut self, end: i64, content: &[u8], weight: i64) {
        let key = (end, Box::from(content));
        let held = self.held.entry(key).or_insert_with(|| {
            self.bytes += content.len();
            0
        });
        *held += weight;
        if *held == 0 {
            self.bytes -= content.len();
            self.held.remove(&(end, Box::from(content)));
        }
    }

    /// Held rows of windows that end after `from` (or at any time) and at or before `to` (or never).
    fn between(&self, from: Option<i64>, to: Option<i64>) -> impl Iterator<Item = (&HeldRow, i64)> {
        let first = from.map_or(Some(i64::MIN), |from| from.checked_add(1)).map(|from| (from, Box::from([])));
        let end = to.and_then(|to| to.checked_add(1)).map(|to| (to, Box::from([])));
        let range = match (first, to, end) {
            (Some(first), Some(_), end) if end.as_ref().is_none_or(|end| first <= *end) => {
                Some(self.held.range((std::ops::Bound::Included(first), end.map_or(Unbounded, Excluded))))
            }
            _ => None,
        };
        range.into_iter().flatten().map(|(row, weight)| (row, *weight))
    }

    /// Forgets the held rows of windows that end at or before `until`.
    fn let_go(&mut self, until: Option<i64>) -> Result<(), Error> {
        let leaving: Vec<_> = self.between(None, until).map(|(row, weight)| (row.clone(), -weight)).collect();
        let Some(delta) = self.delta(&leaving)? else { return Ok(()) };
        let rows = renamed(&delta.rows, &self.stored.schema())?;
        self.stored.apply(&[Delta { rows, weights: delta.weights }])?;
        for (row, _) in leaving {
            self.bytes -= row.1.len();
            self.held.remove(&row);
        }
        Ok(())
    }

    fn delta(&self, rows: &[(HeldRow, i64)]) -> Result<Option<Delta>, Error> {
        if rows.is_empty() {
            return Ok(None);
        }
        let parser = self.rows.parser();
        let columns = self.rows.convert_rows(rows.iter().map(|((_, row), _)| parser.parse(row)))?;
        let weights = Int64Array::from_iter_values(rows.iter().map(|(_, weight)| *weight));
        Ok(Some(Delta { rows: batch(&self.schema, columns, rows.len())?, weights: Some(weights) }))
    }

    /// Writes down the latest times that are not written yet.
    fn remember_times(&mut self) -> Result<(), Error> {
        let sources = (0..self.latest.len()).filter_map(|source| Some((source as i64, self.latest[source]?)));
        let (sources, latest): (Vec<i64>, Vec<i64>) = sources.unzip();
        let columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(sources)), Arc::new(Int64Array::from(latest))];
        let keys = self.times.encode(&columns[..1], columns[0].len())?;
        let hashes = keys.hashes();
        let found = self.times.find(&keys, &hashes);
        let known: Vec<Place> = found.iter().copied().filter(|place| !place.is_none()).collect();
        if known.len() == found.len() && self.times.gather(1, &known)?.as_ref() == columns[1].as_ref() {
            return Ok(());
        }
        self.times.upsert(&columns, &keys, &hashes, &found)?;
        self.times.end_epoch()
    }

    fn hold_all(&mut self, rows: &RecordBatch, weights: &[i64]) -> Result<(), Error> {
        let ends = cast(rows.column(self.window_end), &DataType::Int64)?;
        let content = self.rows.convert_columns(rows.columns())?;
        for (row, (end, weight)) in ends.as_primitive::<Int64Type>().values().iter().zip(weights).enumerate() {
            self.hold(*end, content.row(row).data(), *weight);
        }
        Ok(())
    }
}

impl Stateful for Watermark {
    fn stage(&mut self, input: usize, delta: Delta) -> Result<(), Error> {
        let Some(source) = input.checked_sub(1) else {
            self.staged.rows.push(delta);
            return Ok(());
        };
        let times = cast(delta.rows.column(0), &DataType::Int64)?;
        self.staged.latest.resize(self.delays.len(), None);
        let latest = &mut self.staged.latest[source];
        *latest = (*latest).max(max(times.as_primitive::<Int64Type>()));
        Ok(())
    }

    fn unstage(&mut self) {
        self.staged = Staged::default();
    }

    fn absorb(&mut self) -> Result<(), Error> {
        let staged = std::mem::take(&mut self.staged);
        self.pending.extend(staged.rows);
        for (latest, new) in self.latest.iter_mut().zip(staged.latest) {
            *latest = (*latest).max(new);
        }
        Ok(())
    }

    fn flush(&mut self) -> Flush<'_> {
        Box::pin(ready(self.changes()))
    }

    fn expires(&self) -> Option<i64> {
        let step = (self.bounds.retain? / STEPS).max(1);
        let gone = self.gone(self.reached)?;
        Some(gone.div_euclid(step).checked_mul(step).unwrap_or(gone))
    }

    fn checkpoint(&mut self, tables: &mut Vec<TableCheckpoint>) {
        tables.extend([self.times.checkpoint(), self.stored.checkpoint()]);
    }

    fn restore(&mut self, tables: &mut Tables) -> Result<(), Error> {
        self.times.restore(tables.take(self.times.name())?)?;
        let places = self.times.places();
        let (sources, latest) = (self.times.gather(0, &places)?, self.times.gather(1, &places)?);
        for (source, time) in sources.as_primitive::<Int64Type>().values().iter().zip(latest.as_primitive::<Int64Type>().values())
        {
            let found = usize::try_from(*source).ok().and_then(|source| self.latest.get_mut(source));
            let Some(found) = found else {
                return Err(Error::Corrupt {
                    table: self.times.name().to_owned(),
                    message: format!("there is no source {source}"),
                });
            };
            *found = Some(*time);
        }
        self.reached = self.watermark();
        self.stored.restore(tables.take(self.stored.name())?)?;
        for (rows, weights) in self.stored.weighted()? {
            self.hold_all(&rows, &weights)?;
        }
        Ok(())
    }

    fn size(&self) -> (u64, u64) {
        let (rows, bytes) = self.stored.size();
        (rows, bytes + (self.bytes + self.held.len() * size_of::<(HeldRow, i64)>()) as u64)
    }
}
