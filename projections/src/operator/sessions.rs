//! Sessions by key over rows that only arrive: rows that follow each other in time within a gap belong together.
//!
//! For a key that new rows touch, the sessions among the stored rows and those among all are found from their times alone; only rows
//! whose session is another one are looked at. A late row may join two sessions into one.

use std::sync::Arc;

use alluvium_sql::{KeyedInput, Node};
use arrow::array::{ArrayRef, AsArray, Int64Array};
use arrow::compute::concat_batches;
use arrow::datatypes::{Int64Type, SchemaRef};

use super::groups::Groups;
use super::keyed::renamed_whole;
use super::linear::batch;
use crate::delta::Delta;
use crate::error::Error;
use crate::state::arrangement::{Arrangement, Leave};
use crate::state::buckets::Buckets;
use crate::state::keys::KeyEncoder;
use crate::state::{TableCheckpoint, Tables};

/// Finds sessions.
#[derive(Debug)]
pub(crate) struct Sessions {
    rows: Arrangement,
    /// Columns of the key, and what tells keys apart.
    key: Vec<usize>,
    keys: KeyEncoder,
    time: usize,
    gap: i64,
    /// What each output column is: a column of the rows or, counted on from these, the first and the last time of the session.
    columns: Vec<usize>,
    schema: SchemaRef,
    staged: Vec<Delta>,
    pending: Vec<Delta>,
}

/// The first and the last time of a session.
type Session = (i64, i64);

/// What is given, as numbers of rows with their sessions.
#[derive(Default)]
struct Changes {
    out: Vec<u32>,
    out_of: Vec<Session>,
    come: Vec<u32>,
    come_to: Vec<Session>,
}

impl Sessions {
    pub(crate) fn new(node: &Node, key: &KeyedInput, time: usize, gap: i64, columns: &[usize]) -> Result<Self, Error> {
        let Some(input) = node.inputs.first() else {
            return Err(Error::Bug("sessions have no input".to_owned()));
        };
        let buckets = Buckets::new(&input.schema, &key.columns, true)?;
        Ok(Self {
            rows: Arrangement::new(format!("n{}-rows", node.id), &input.schema, buckets, Leave::Never)?,
            keys: KeyEncoder::new(key.columns.iter().map(|column| &input.schema.fields()[*column]))?,
            key: key.columns.clone(),
            time,
            gap,
            columns: columns.to_vec(),
            schema: Arc::clone(&node.schema),
            staged: Vec::new(),
            pending: Vec::new(),
        })
    }

    pub(crate) fn stage(&mut self, delta: Delta) {
        self.staged.push(delta);
    }

    pub(crate) fn unstage(&mut self) {
        self.staged.clear();
    }

    pub(crate) fn absorb(&mut self) {
        self.pending.append(&mut self.staged);
    }

    pub(crate) fn flush(&mut self) -> Result<Vec<Delta>, Error> {
        if self.pending.is_empty() {
            return Ok(Vec::new());
        }
        let pending = std::mem::take(&mut self.pending);
        let schema = Arc::clone(self.rows.schema());
        let batches = pending.into_iter().map(|delta| renamed_whole(delta, &schema)).collect::<Result<Vec<_>, Error>>()?;
        let new = concat_batches(&schema, batches.iter().flatten())?;
        drop(batches);
        let mut groups = Groups::new(&self.rows, &self.key, &self.keys, new)?;
        let times = groups.columns(&self.rows, &[self.time])?;
        let times = times.column(0).as_primitive::<Int64Type>().values();
        let changes = self.compare(&mut groups, times);
        let mut deltas = Vec::new();
        self.give(&groups, &changes.out, &changes.out_of, -1, &mut deltas)?;
        self.give(&groups, &changes.come, &changes.come_to, 1, &mut deltas)?;
        self.rows.append(&groups.new, &groups.buckets)?;
        self.rows.end_epoch()?;
        Ok(deltas)
    }

    /// What new rows change, key by key.
    fn compare(&self, groups: &mut Groups, times: &[i64]) -> Changes {
        let mut changes = Changes::default();
        let mut rows = std::mem::take(&mut groups.rows);
        let (mut before, mut now) = (Vec::new(), Vec::new());
        for key in &groups.keys {
            let of_key = &mut rows[key.start as usize..key.end as usize];
            of_key.sort_unstable_by_key(|row| (times[*row as usize], *row));
            let time = |row: &u32| times[*row as usize];
            self.sessions(of_key.iter().filter(|row| groups.is_stored(**row)).map(time), &mut before);
            self.sessions(of_key.iter().map(time), &mut now);
            let mut before = before.iter();
            for (row, now) in of_key.iter().zip(&now) {
                if groups.is_stored(*row) {
                    match before.next() {
                        Some(before) if before != now => {
                            changes.out.push(*row);
                            changes.out_of.push(*before);
                        }
                        _ => continue,
                    }
                }
                changes.come.push(*row);
                changes.come_to.push(*now);
            }
        }
        groups.rows = rows;
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
    fn give(
        &self,
        groups: &Groups,
        rows: &[u32],
        sessions: &[Session],
        weight: i64,
        deltas: &mut Vec<Delta>,
    ) -> Result<(), Error> {
        let mut done = 0;
        for gathered in groups.batches(&self.rows, rows) {
            let (gathered, numbers) = gathered?;
            let of_rows = &sessions[done..done + numbers.len()];
            done += numbers.len();
            let width = gathered.num_columns();
            let first: ArrayRef = Arc::new(Int64Array::from_iter_values(of_rows.iter().map(|session| session.0)));
            let last: ArrayRef = Arc::new(Int64Array::from_iter_values(of_rows.iter().map(|session| session.1)));
            let columns = self.columns.iter().map(|column| match column {
                column if *column < width => Arc::clone(gathered.column(*column)),
                column if *column == width => Arc::clone(&first),
                _ => Arc::clone(&last),
            });
            let rows = batch(&self.schema, columns.collect(), numbers.len())?;
            let weights = (weight != 1).then(|| Int64Array::from_value(weight, numbers.len()));
            deltas.push(Delta { rows, weights });
        }
        Ok(())
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
