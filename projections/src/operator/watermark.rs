//! Filters rows by the watermark: keeps those of windows that have ended, or of windows that have not expired, or both.
//!
//! The watermark is the smallest of its sources' latest times, each minus a delay. It never falls. It filters rows by the end of their
//! window. A row is held only while the filter can still change for it: until its window ends or, if windows are retained, until it
//! expires. The held rows are in memory, in the order of their windows, so that the watermark touches only the rows that it passes.

mod held;

use std::future::ready;
use std::sync::Arc;

use alluvium_sql::Node;
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array};
use arrow::compute::{cast, filter_record_batch, max};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};

use self::held::{HeldRow, HeldRows};
use super::kit::rows::{renamed, renamed_delta, renamed_deltas};
use super::kit::stateful::{Flush, Pending, Stateful};
use crate::delta::Delta;
use crate::error::Error;
use crate::left_out::OnFailure;
use crate::state::multiset::Multiset;
use crate::state::table::StateTable;
use crate::state::{Place, TableCheckpoint, Tables};

/// How the watermark bounds the rows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Whether a window is emitted only once it has ended.
    pub(crate) emits_final: bool,
    /// How long after its end a window expires, in units of the end's type. None if windows never expire.
    pub(crate) retain: Option<i64>,
    /// Whether no row is emitted as long as there is no watermark.
    pub(crate) by_query: bool,
}

/// The number of evictions within one retention time. Few enough that each row is compared only a few times, and enough that few rows
/// are kept for much longer than they must be.
const STEPS: i64 = 8;

/// Keeps the rows for which the watermark's filter is true. Input 0 has the rows. Each other input has the times of one source, in one
/// column.
#[derive(Debug)]
pub(crate) struct Watermark {
    window_end: usize,
    delays: Vec<i64>,
    bounds: Bounds,
    /// The latest time of each source.
    latest: Vec<Option<i64>>,
    /// Makes these times durable: the number of the source, and its latest time.
    times: StateTable,
    /// The watermark at the last flush.
    reached: Option<i64>,
    stored: Multiset,
    /// The stored rows.
    held: HeldRows,
    schema: SchemaRef,
}

/// A change of an input.
#[derive(Debug)]
pub(crate) enum Arrived {
    /// Changes of the rows of input 0.
    Rows(Delta),
    /// The latest time of another input.
    Latest(Option<i64>),
}

impl Watermark {
    pub(crate) fn new(node: &Node, window_end: usize, delays: &[i64], bounds: Bounds) -> Result<Self, Error> {
        let stored = Multiset::new(format!("n{}-rows", node.id), &node.schema)?;
        let fields = ["source", "latest"].map(|name| Field::new(name, DataType::Int64, false));
        Ok(Self {
            window_end,
            delays: delays.to_vec(),
            bounds,
            latest: vec![None; delays.len()],
            times: StateTable::new(format!("n{}-times", node.id), Arc::new(Schema::new(fields.to_vec())), 1, None)?,
            reached: None,
            held: HeldRows::new(stored.schema(), window_end)?,
            stored,
            schema: Arc::clone(&node.schema),
        })
    }

    /// Returns the changes to the answer caused by this epoch.
    fn changes(&mut self, pending: Pending<Arrived>) -> Result<Vec<Delta>, Error> {
        let mut rows = Vec::new();
        for (input, arrived) in pending.into_iter().enumerate() {
            for arrived in arrived {
                match arrived {
                    Arrived::Rows(delta) => rows.push(delta),
                    Arrived::Latest(time) => self.latest[input - 1] = self.latest[input - 1].max(time),
                }
            }
        }
        let before = self.reached;
        self.reached = self.watermark();
        self.store_times()?;
        let expired = self.expired_at(self.reached);
        let mut deltas = Vec::new();
        if !rows.is_empty() {
            deltas.extend(self.take_rows(rows, before, expired)?);
        }
        if self.reached != before {
            let mut given: Vec<(HeldRow, i64)> = Vec::new();
            if self.bounds.emits_final {
                // Rows whose windows end and expire in the same epoch are never emitted.
                let shown = before.max(expired);
                given.extend(self.held.between(shown, self.reached).map(|(row, weight)| (row.clone(), weight)));
            } else if !self.emits_at(before) {
                given.extend(self.held.between(expired, Some(i64::MAX)).map(|(row, weight)| (row.clone(), weight)));
            }
            let leaving = if self.bounds.retain.is_some() { expired } else { self.reached };
            if self.bounds.retain.is_some() {
                let shown = if self.bounds.emits_final || !self.emits_at(before) { before } else { expired };
                given.extend(
                    self.held
                        .between(None, expired)
                        .filter(|((end, _), _)| Some(*end) <= shown)
                        .map(|(row, weight)| (row.clone(), -weight)),
                );
            }
            if let Some(given) = self.held.delta(&given)? {
                deltas.push(renamed_delta(given, &self.schema)?);
            }
            if let Some(removed) = self.held.remove(leaving)? {
                self.stored.apply(&[removed])?;
            }
        }
        self.stored.end_epoch()?;
        Ok(deltas)
    }

    /// Returns the smallest of the sources' watermarks. None until each has one.
    fn watermark(&self) -> Option<i64> {
        let reached =
            self.latest.iter().zip(&self.delays).map(|(latest, delay)| latest.map(|latest| latest.saturating_sub(*delay)));
        reached.min().flatten()
    }

    /// Checks whether rows of windows that have not ended are emitted at a watermark.
    fn emits_at(&self, reached: Option<i64>) -> bool {
        !self.bounds.emits_final && (reached.is_some() || !self.bounds.by_query)
    }

    /// Returns the latest window end that has expired at a watermark.
    fn expired_at(&self, reached: Option<i64>) -> Option<i64> {
        Some(reached?.saturating_sub(self.bounds.retain?))
    }

    /// Applies changes of rows: drops rows of expired windows, holds rows for which the filter can still change, and returns rows for
    /// which it was true at the last flush.
    fn take_rows(&mut self, rows: Vec<Delta>, before: Option<i64>, expired: Option<i64>) -> Result<Option<Delta>, Error> {
        let changes = self.stored.net(&renamed_deltas(rows, &self.stored.schema())?)?;
        let ends = cast(changes.rows.column(self.window_end), &DataType::Int64)?;
        let ends = ends.as_primitive::<Int64Type>();
        let end = |row: usize| ends.is_valid(row).then(|| ends.value(row));
        let (retain, emits_all) = (self.bounds.retain, self.emits_at(before));
        let rows = 0..changes.weights.len();
        let stays = |row: usize| end(row).is_none() || expired.is_none() || end(row) > expired;
        let held: BooleanArray = rows
            .clone()
            .map(|row| Some(end(row).is_some() && stays(row) && (retain.is_some() || before.is_none() || end(row) > before)))
            .collect();
        let given: BooleanArray =
            rows.clone().map(|row| Some(stays(row) && (emits_all || (end(row).is_some() && end(row) <= before)))).collect();
        let given_weights: Int64Array = rows.clone().filter(|row| given.value(*row)).map(|row| changes.weights[row]).collect();
        let given = filter_record_batch(&changes.rows, &given)?;
        let held_weights: Vec<i64> = rows.filter(|row| held.value(*row)).map(|row| changes.weights[row]).collect();
        let held = filter_record_batch(&changes.rows, &held)?;
        if held.num_rows() > 0 {
            self.held.add(&held, &held_weights)?;
            self.stored.apply(&[Delta { rows: held, weights: Some(held_weights.into()) }])?;
        }
        let given = Delta { rows: renamed(&given, &self.schema)?, weights: Some(given_weights) };
        Ok((given.rows.num_rows() > 0).then_some(given))
    }

    /// Stores the latest times if they have changed.
    fn store_times(&mut self) -> Result<(), Error> {
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
}

impl Stateful for Watermark {
    type Prepared = Arrived;

    fn prepare(&self, input: usize, delta: Delta) -> Result<Arrived, Error> {
        if input == 0 {
            return Ok(Arrived::Rows(delta));
        }
        let times = cast(delta.rows.column(0), &DataType::Int64)?;
        Ok(Arrived::Latest(max(times.as_primitive::<Int64Type>())))
    }

    fn flush<'a>(&'a mut self, pending: Pending<Arrived>, _failing: OnFailure<'a>) -> Flush<'a> {
        Box::pin(ready(self.changes(pending)))
    }

    fn expires(&self) -> Option<i64> {
        let step = (self.bounds.retain? / STEPS).max(1);
        let expired = self.expired_at(self.reached)?;
        Some(expired.div_euclid(step).checked_mul(step).unwrap_or(expired))
    }

    fn decides_expiry(&self) -> bool {
        true
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
                    message: format!("it has a time of source {source}, which the plan does not have"),
                });
            };
            *found = Some(*time);
        }
        self.reached = self.watermark();
        self.stored.restore(tables.take(self.stored.name())?)?;
        for (rows, weights) in self.stored.weighted()? {
            self.held.add(&rows, &weights)?;
        }
        Ok(())
    }

    fn size(&self) -> (u64, u64) {
        let (rows, bytes) = self.stored.size();
        (rows, bytes + self.held.bytes() as u64)
    }
}
