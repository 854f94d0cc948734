//! Sessions by key over rows that only arrive: rows that follow each other in time within a gap belong together.
//!
//! For a key that new rows touch, the sessions among the stored rows and those among all are found from their times alone; only rows
//! whose session is another one are looked at. A late row may join two sessions into one.

use std::ops::Range;
use std::sync::Arc;

use alluvium_sql::{KeyedInput, Node};
use arrow::array::{ArrayRef, AsArray, Int64Array};
use arrow::datatypes::{Int64Type, SchemaRef};

use super::groups::{Arrivals, Changes, Groups};
use crate::delta::Delta;
use crate::error::Error;
use crate::state::arrangement::Leave;
use crate::state::{TableCheckpoint, Tables};

/// Finds sessions.
#[derive(Debug)]
pub(crate) struct Sessions {
    rows: Arrivals,
    time: usize,
    gap: i64,
    /// What each output column is: a column of the rows or, counted on from these, the first and the last time of the session.
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
        Ok(Self {
            rows: Arrivals::new(format!("n{}-rows", node.id), &input.schema, key, Leave::Never)?,
            time,
            gap,
            columns: columns.to_vec(),
            schema: Arc::clone(&node.schema),
        })
    }

    pub(crate) fn stage(&mut self, delta: Delta) {
        self.rows.stage(delta);
    }

    pub(crate) fn unstage(&mut self) {
        self.rows.unstage();
    }

    pub(crate) fn absorb(&mut self) {
        self.rows.absorb();
    }

    pub(crate) fn flush(&mut self) -> Result<Vec<Delta>, Error> {
        let Some(mut groups) = self.rows.take()? else { return Ok(Vec::new()) };
        let times =
            groups.map_columns(&self.rows.rows, &[self.time], |rows| Ok(rows.column(0).as_primitive::<Int64Type>().clone()))?;
        let times: Vec<i64> = times.iter().flat_map(|times| times.values()).copied().collect();
        groups.sort_keys(|row| (times[row as usize], row));
        let changes = groups.changes(|keys| self.compare(&groups, &times, keys));
        let deltas = self.give(&groups, &changes)?;
        self.rows.rows.append(&groups.new, &groups.buckets)?;
        self.rows.rows.end_epoch()?;
        Ok(deltas)
    }

    /// What new rows change of some keys.
    fn compare(&self, groups: &Groups, times: &[i64], keys: &[Range<u32>]) -> Changes<Session> {
        let mut changes = Changes::default();
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
                            changes.out.push((*row, *before));
                        }
                        _ => continue,
                    }
                }
                changes.come.push((*row, *now));
            }
        }
        changes
    }

    /// The session of each of some times that rise.
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

    /// Rows with their sessions as deltas.
    fn give(&self, groups: &Groups, changes: &Changes<Session>) -> Result<Vec<Delta>, Error> {
        groups.deltas(&self.rows.rows, &self.schema, changes, |gathered, of_rows| {
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

    pub(crate) fn checkpoint(&mut self, tables: &mut Vec<TableCheckpoint>) {
        self.rows.checkpoint(tables);
    }

    pub(crate) fn restore(&mut self, tables: &mut Tables) -> Result<(), Error> {
        self.rows.restore(tables)
    }

    pub(crate) fn size(&self) -> (u64, u64) {
        self.rows.size()
    }
}

/// Tells each row of a session when it ends: as its last row does.
fn end(session: &mut [Session]) {
    let Some((_, last)) = session.last().copied() else { return };
    session.iter_mut().for_each(|row| row.1 = last);
}
