//! Semi, anti and mark joins on equal keys alone: which keys the other side has is all that counts, and how many rows of each key it
//! has says when a key comes and when it goes.
//!
//! `NOT IN` by its NULL rule: over an empty set everything is not in it; where the set holds a NULL, nothing is known not to be in it,
//! and a NULL is never known not to be in a set that is not empty. So its answer turns over as a whole when the set gets its first
//! row or its first NULL, or loses its last, and goes by the keys otherwise.

use std::future::ready;
use std::sync::Arc;

use alluvium_sql::{KeyedInput, Node};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, new_null_array};
use arrow::compute::{filter, filter_record_batch};
use arrow::datatypes::{Int64Type, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::common::{JoinType, NullEquality};
use datafusion::logical_expr::LogicalPlan;

use super::expiry::Expired;
use super::join::with_keys;
use super::keyed::Change;
use super::linear::batch;
use super::{Flush, Stateful};
use crate::delta::Delta;
use crate::error::Error;
use crate::state::arrangement::{Arrangement, Leave};
use crate::state::buckets::Buckets;
use crate::state::multiset::Multiset;
use crate::state::{MAX_BATCH_ROWS, Place, TableCheckpoint, Tables};

/// Runs a semi, anti or mark join.
#[derive(Debug)]
pub(crate) struct Semi {
    gives: Gives,
    /// Whether it is a `NOT IN` by its NULL rule.
    null_aware: bool,
    /// Whether NULL keys match each other.
    nulls_match: bool,
    /// The input whose rows come out: 0 or 1.
    outer: usize,
    rows: Arrangement,
    outer_key: Vec<usize>,
    /// The first so many columns come out; others are keys only.
    columns: usize,
    /// The keys of the other input, each with how many rows have it.
    keys: Multiset,
    inner_key: Vec<usize>,
    schema: SchemaRef,
    staged: Vec<(usize, Delta)>,
    /// By input, since the last flush.
    pending: [Vec<Delta>; 2],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gives {
    /// Rows whose key is there.
    Matching,
    /// Rows whose key is not there.
    Others,
    /// All rows, with a column that says whether the key is there.
    Marked,
}

/// What there is to match in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Set {
    Empty,
    WithNull,
    Known,
}

impl Semi {
    pub(crate) fn new(node: &Node, plan: &LogicalPlan, keys: &[KeyedInput]) -> Result<Self, Error> {
        let LogicalPlan::Join(join) = plan else {
            return Err(Error::Bug("a join is planned as something else".to_owned()));
        };
        let (gives, outer) = match join.join_type {
            JoinType::LeftSemi => (Gives::Matching, 0),
            JoinType::RightSemi => (Gives::Matching, 1),
            JoinType::LeftAnti => (Gives::Others, 0),
            JoinType::RightAnti => (Gives::Others, 1),
            JoinType::LeftMark => (Gives::Marked, 0),
            JoinType::RightMark => (Gives::Marked, 1),
            other => return Err(Error::Bug(format!("a {other} join is no semi join"))),
        };
        let (null_aware, nulls_match) = (join.null_aware, join.null_equality == NullEquality::NullEqualsNull);
        let input = &node.inputs[outer];
        let buckets = Buckets::new(&input.schema, &keys[outer].columns, nulls_match || null_aware)?;
        let inner = &node.inputs[1 - outer];
        let inner_key = keys[1 - outer].columns.clone();
        let fields: Vec<_> = inner_key.iter().map(|column| Arc::clone(&inner.schema.fields()[*column])).collect();
        Ok(Self {
            gives,
            null_aware,
            nulls_match,
            outer,
            rows: Arrangement::new(
                format!("n{}-input{outer}", node.id),
                &input.schema,
                buckets,
                Leave::of(input.retracts, node.expires(outer)),
            )?,
            outer_key: keys[outer].columns.clone(),
            columns: if outer == 0 { join.left.schema() } else { join.right.schema() }.fields().len(),
            keys: Multiset::new(format!("n{}-keys", node.id), &Arc::new(Schema::new(fields)))?,
            inner_key,
            schema: Arc::clone(&node.schema),
            staged: Vec::new(),
            pending: [Vec::new(), Vec::new()],
        })
    }

    /// What the epoch changes in the answer.
    fn changes(&mut self) -> Result<Vec<Delta>, Error> {
        let mut deltas = Vec::new();
        let inner = std::mem::take(&mut self.pending[1 - self.outer]);
        if !inner.is_empty() {
            self.change_keys(inner, &mut deltas)?;
            self.keys.end_epoch()?;
        }
        let outer = std::mem::take(&mut self.pending[self.outer]);
        if !outer.is_empty() {
            let change = Change::new(&self.rows, outer)?;
            let weights: Int64Array = (0..change.rows().num_rows()).map(|row| Some(change.weight(row))).collect();
            let set = self.set()?;
            let present = self.present(change.rows())?;
            self.give(change.rows(), &weights, &present, set, &mut deltas)?;
            change.apply(&mut self.rows)?;
            self.rows.end_epoch()?;
        }
        Ok(deltas)
    }

    /// Takes what comes to the other side and leaves it; gives the rows whose keys come or go with it.
    fn change_keys(&mut self, inner: Vec<Delta>, deltas: &mut Vec<Delta>) -> Result<(), Error> {
        let schema = self.keys.schema();
        let mut changes = Vec::with_capacity(inner.len());
        for delta in inner {
            let columns = self.inner_key.iter().map(|column| Arc::clone(delta.rows.column(*column))).collect();
            let rows = batch(&schema, columns, delta.rows.num_rows())?;
            let all: Vec<usize> = (0..self.inner_key.len()).collect();
            let needed = if self.nulls_match || self.null_aware { &[] } else { all.as_slice() };
            changes.extend(with_keys(Delta { rows, weights: delta.weights }, needed)?);
        }
        let net = self.keys.net(&changes)?;
        if net.weights.is_empty() {
            return Ok(());
        }
        let before = self.keys.weights(&net.keys, &net.hashes);
        let set = self.set()?;
        // Which rows are touched, and for each whether its key was there.
        let mut touched: Vec<(Place, bool)> = Vec::new();
        let flipped: Vec<usize> =
            (0..before.len()).filter(|row| (before[*row] > 0) != (before[*row] + net.weights[*row] > 0)).collect();
        let buckets = self.rows.by().of_keys(net.rows.columns(), net.rows.num_rows())?;
        let (mut places, mut of_key) = (Vec::new(), Vec::new());
        for row in flipped {
            for place in self.rows.places(buckets[row]) {
                places.push(*place);
                of_key.push(row);
            }
        }
        for (places, of_key) in places.chunks(MAX_BATCH_ROWS).zip(of_key.chunks(MAX_BATCH_ROWS)) {
            let keys = self.rows.columns(self.outer_key.iter().copied(), places)?;
            let keys = self.keys.encode(&keys, places.len())?;
            let same = (0..places.len()).filter(|row| keys.get(*row) == net.keys.get(of_key[*row]));
            touched.extend(same.map(|row| (places[row], before[of_key[row]] > 0)));
        }
        self.keys.apply(&changes)?;
        let now = self.set()?;
        if self.null_aware && set != now {
            return self.turn_over(set, now, &touched, deltas);
        }
        for touched in touched.chunks(MAX_BATCH_ROWS) {
            let places: Vec<Place> = touched.iter().map(|(place, _)| *place).collect();
            let was: Vec<bool> = touched.iter().map(|(_, was)| *was).collect();
            self.replace(&places, (&was, set), (&was.iter().map(|was| !was).collect::<Vec<_>>(), now), deltas)?;
        }
        Ok(())
    }

    /// The set has become another one as a whole: every row is looked at.
    fn turn_over(&self, set: Set, now: Set, touched: &[(Place, bool)], deltas: &mut Vec<Delta>) -> Result<(), Error> {
        let mut flipped: Vec<u32> = touched.iter().map(|(place, _)| place.index()).collect();
        flipped.sort_unstable();
        for places in self.rows.all_places().chunks(MAX_BATCH_ROWS) {
            let is = self.present(&self.rows.gather(places)?)?;
            let was = places.iter().zip(&is).map(|(place, is)| *is != flipped.binary_search(&place.index()).is_ok());
            self.replace(places, (&was.collect::<Vec<_>>(), set), (&is, now), deltas)?;
        }
        Ok(())
    }

    /// Takes out what some rows gave, and gives what they give now.
    fn replace(&self, places: &[Place], was: (&[bool], Set), is: (&[bool], Set), deltas: &mut Vec<Delta>) -> Result<(), Error> {
        if places.is_empty() {
            return Ok(());
        }
        let rows = self.rows.gather(places)?;
        let weights = |sign: i64| -> Int64Array { places.iter().map(|place| Some(sign * self.rows.weight(*place))).collect() };
        self.give(&rows, &weights(-1), was.0, was.1, deltas)?;
        self.give(&rows, &weights(1), is.0, is.1, deltas)
    }

    /// What rows give, whose keys are there or not.
    fn give(
        &self,
        rows: &RecordBatch,
        weights: &Int64Array,
        present: &[bool],
        set: Set,
        deltas: &mut Vec<Delta>,
    ) -> Result<(), Error> {
        let mut columns: Vec<ArrayRef> = rows.columns()[..self.columns].to_vec();
        let mask: BooleanArray = match self.gives {
            Gives::Matching => present.iter().copied().map(Some).collect(),
            Gives::Marked => {
                columns.push(Arc::new(BooleanArray::from(present.to_vec())));
                BooleanArray::from(vec![true; present.len()])
            }
            Gives::Others if self.null_aware => {
                let key = self.outer_key.iter().map(|column| rows.column(*column)).collect::<Vec<_>>();
                let given = present.iter().enumerate().map(|(row, present)| match set {
                    Set::Empty => true,
                    Set::WithNull => false,
                    Set::Known => !present && key.iter().all(|key| key.is_valid(row)),
                });
                given.map(Some).collect()
            }
            Gives::Others => present.iter().map(|present| Some(!present)).collect(),
        };
        if mask.true_count() == 0 {
            return Ok(());
        }
        let rows = filter_record_batch(&batch(&self.schema, columns, rows.num_rows())?, &mask)?;
        let weights = filter(weights, &mask)?.as_primitive::<Int64Type>().clone();
        let weights = if weights.values().iter().all(|weight| *weight == 1) { None } else { Some(weights) };
        deltas.push(Delta { rows, weights });
        Ok(())
    }

    /// Whether the keys of rows are there.
    fn present(&self, rows: &RecordBatch) -> Result<Vec<bool>, Error> {
        let columns: Vec<ArrayRef> = self.outer_key.iter().map(|column| Arc::clone(rows.column(*column))).collect();
        let keys = self.keys.encode(&columns, rows.num_rows())?;
        let weights = self.keys.weights(&keys, &keys.hashes());
        let matches = |row: usize| self.nulls_match || columns.iter().all(|column| column.is_valid(row));
        Ok(weights.iter().enumerate().map(|(row, weight)| *weight > 0 && matches(row)).collect())
    }

    fn set(&self) -> Result<Set, Error> {
        if !self.null_aware {
            return Ok(Set::Known);
        }
        if self.keys.is_empty() {
            return Ok(Set::Empty);
        }
        let null: Vec<ArrayRef> = self.keys.schema().fields().iter().map(|field| new_null_array(field.data_type(), 1)).collect();
        let null = self.keys.encode(&null, 1)?;
        let has_null = self.keys.weights(&null, &null.hashes()).iter().any(|weight| *weight > 0);
        Ok(if has_null { Set::WithNull } else { Set::Known })
    }
}

impl Stateful for Semi {
    fn stage(&mut self, input: usize, delta: Delta) -> Result<(), Error> {
        self.staged.push((input, delta));
        Ok(())
    }

    fn unstage(&mut self) {
        self.staged.clear();
    }

    fn absorb(&mut self) -> Result<(), Error> {
        for (input, delta) in std::mem::take(&mut self.staged) {
            self.pending[input].push(delta);
        }
        Ok(())
    }

    fn flush(&mut self) -> Flush<'_> {
        Box::pin(ready(self.changes()))
    }

    fn evict(&mut self, input: usize, expired: &Expired) -> Result<(), Error> {
        if input == self.outer {
            return self.rows.evict(|rows| expired.of(rows));
        }
        let of_keys = expired.over(&self.inner_key)?;
        self.keys.evict(|keys| of_keys.of(keys))
    }

    fn checkpoint(&mut self, tables: &mut Vec<TableCheckpoint>) {
        self.rows.checkpoint(tables);
        tables.push(self.keys.checkpoint());
    }

    fn restore(&mut self, tables: &mut Tables) -> Result<(), Error> {
        self.rows.restore(tables)?;
        let keys = tables.take(self.keys.name())?;
        self.keys.restore(keys)
    }

    fn size(&self) -> (u64, u64) {
        let (rows, keys) = (self.rows.size(), self.keys.size());
        (rows.0 + keys.0, rows.1 + keys.1)
    }
}
