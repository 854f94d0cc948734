//! Session windows by key over insert-only input: rows that follow each other in time within a gap belong to one session.
//!
//! For each touched key, the sessions are computed from the times of the stored rows, and then of all rows. Only rows whose session
//! differs are emitted again. A late row may join two sessions into one. If late rows are dropped, a session is final once no more rows
//! can join it. It is evicted when its window has expired.

use std::future::ready;
use std::ops::Range;
use std::sync::Arc;

use alluvium_sql::{KeyedInput, Node};
use arrow::array::{ArrayRef, AsArray, Int64Array};
use arrow::datatypes::{Int64Type, SchemaRef};
use arrow::record_batch::RecordBatch;
use rayon::prelude::*;

use super::kit::expiry::Expired;
use super::kit::groups::{AnswerDiff, Groups};
use super::kit::stateful::{Flush, Pending, Stateful};
use crate::delta::Delta;
use crate::error::Error;
use crate::left_out::OnFailure;
use crate::state::arrangement::{Arrangement, Removal};
use crate::state::buckets::Buckets;
use crate::state::{Place, TableCheckpoint, Tables};

/// Finds sessions.
#[derive(Debug)]
pub(crate) struct Sessions {
    rows: Arrangement,
    time: usize,
    gap: i64,
    /// For each output column, the index of a column of the rows. The next two indexes stand for the first and last time of the session.
    columns: Vec<usize>,
    schema: SchemaRef,
}

/// The first and the last time of a session.
type Session = (i64, i64);

impl Sessions {
    pub(crate) fn new(node: &Node, key: &KeyedInput, time: usize, gap: i64, columns: &[usize]) -> Result<Self, Error> {
        let Some(input) = node.inputs.first() else {
            return Err(Error::Bug("sessions have no input".to_owned()));
        };
        let buckets = Buckets::new(&input.schema, &key.columns, key.nulls_match)?;
        let removal = Removal::of(false, node.expires(0));
        Ok(Self {
            rows: Arrangement::new(format!("n{}-rows", node.id), &input.schema, buckets, removal)?,
            time,
            gap,
            columns: columns.to_vec(),
            schema: Arc::clone(&node.schema),
        })
    }

    /// Returns the changes to the answer caused by this epoch.
    fn changes(&mut self, arrived: Vec<Delta>) -> Result<Vec<Delta>, Error> {
        let Some(mut groups) = Groups::touched(&self.rows, arrived)? else { return Ok(Vec::new()) };
        let times =
            groups.map_columns(&self.rows, &[self.time], |rows| Ok(rows.column(0).as_primitive::<Int64Type>().clone()))?;
        let times: Vec<i64> = times.iter().flat_map(|times| times.values()).copied().collect();
        groups.sort_keys(|row| (times[row as usize], row));
        let diff = groups.diff(|keys| self.compare(&groups, &times, keys));
        let deltas = self.deltas(&groups, &diff)?;
        self.rows.append(&groups.new, &groups.buckets)?;
        self.rows.end_epoch()?;
        Ok(deltas)
    }

    /// Compares the answer for some keys without and with the new rows.
    fn compare(&self, groups: &Groups, times: &[i64], keys: &[Range<u32>]) -> AnswerDiff<Session> {
        let mut diff = AnswerDiff::default();
        let (mut before, mut now) = (Vec::new(), Vec::new());
        for key in keys {
            let of_key = &groups.rows[key.start as usize..key.end as usize];
            let time = |row: &u32| times[*row as usize];
            self.sessions(of_key.iter().filter(|row| groups.is_stored(**row)).map(time), &mut before);
            self.sessions(of_key.iter().map(time), &mut now);
            let mut before = before.iter();
            for (row, now) in of_key.iter().zip(&now) {
                if groups.is_stored(*row) {
                    match before.next() {
                        Some(before) if before != now => {
                            diff.retracted.push((*row, *before));
                        }
                        _ => continue,
                    }
                }
                diff.emitted.push((*row, *now));
            }
        }
        diff
    }

    /// Writes the session of each time to `sessions`. The times must be in ascending order.
    fn sessions(&self, times: impl Iterator<Item = i64>, sessions: &mut Vec<Session>) {
        sessions.clear();
        let mut first = 0;
        for time in times {
            let joins = sessions.last().is_some_and(|(_, last)| time.saturating_sub(*last) <= self.gap);
            if !joins {
                end(&mut sessions[first..]);
                first = sessions.len();
            }
            let opened = if joins { sessions[first].0 } else { time };
            sessions.push((opened, time));
        }
        end(&mut sessions[first..]);
    }

    /// Returns the rows of expired sessions, which no row can join any more.
    fn ended(&self, expired: &Expired) -> Result<Vec<Place>, Error> {
        let (rows, expired) = (&self.rows, expired.over(&[self.time])?);
        let places = rows.all_places();
        let keys = rows.by().keys(&rows.columns(rows.by().columns().iter().copied(), &places)?, places.len())?;
        let times = rows.columns([self.time], &places)?;
        let has_ended = expired.of(&RecordBatch::try_from_iter([("time", Arc::clone(&times[0]))])?)?;
        let times = times[0].as_primitive::<Int64Type>().values();
        let mut order: Vec<usize> = (0..places.len()).collect();
        order.par_sort_unstable_by(|one, other| (keys.get(*one), times[*one]).cmp(&(keys.get(*other), times[*other])));
        let follows =
            |one: &usize, next: &usize| keys.get(*one) == keys.get(*next) && times[*next].saturating_sub(times[*one]) <= self.gap;
        let sessions = order.chunk_by(follows);
        let ended = sessions.filter(|session| session.last().is_some_and(|last| has_ended.value(*last)));
        Ok(ended.flatten().map(|row| places[*row]).collect())
    }

    /// Turns the difference into deltas of rows with their sessions.
    fn deltas(&self, groups: &Groups, diff: &AnswerDiff<Session>) -> Result<Vec<Delta>, Error> {
        groups.deltas(&self.rows, &self.schema, diff, |gathered, of_rows| {
            let first: ArrayRef = Arc::new(Int64Array::from_iter_values(of_rows.iter().map(|(_, session)| session.0)));
            let last: ArrayRef = Arc::new(Int64Array::from_iter_values(of_rows.iter().map(|(_, session)| session.1)));
            let width = gathered.num_columns();
            let column = |column: &usize| match *column {
                column if column < width => Arc::clone(gathered.column(column)),
                column if column == width => Arc::clone(&first),
                _ => Arc::clone(&last),
            };
            self.columns.iter().map(column).collect()
        })
    }
}

impl Stateful for Sessions {
    type Prepared = Delta;

    fn prepare(&self, _input: usize, delta: Delta) -> Result<Delta, Error> {
        Ok(delta)
    }

    fn flush<'a>(&'a mut self, pending: Pending<Delta>, _failing: OnFailure<'a>) -> Flush<'a> {
        Box::pin(ready(self.changes(pending.into_iter().flatten().collect())))
    }

    fn evict(&mut self, _input: usize, expired: &Expired) -> Result<(), Error> {
        let ended = self.ended(expired)?;
        self.rows.remove(&ended)?;
        self.rows.end_epoch()
    }

    fn checkpoint(&mut self, tables: &mut Vec<TableCheckpoint>) {
        self.rows.checkpoint(tables);
    }

    fn restore(&mut self, tables: &mut Tables) -> Result<(), Error> {
        self.rows.restore(tables)
    }

    fn size(&self) -> (u64, u64) {
        self.rows.size()
    }
}

/// Sets the last time of a session in each of its rows.
fn end(session: &mut [Session]) {
    let Some((_, last)) = session.last().copied() else { return };
    session.iter_mut().for_each(|row| row.1 = last);
}
