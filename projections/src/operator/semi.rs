//! Semi, anti and mark joins with no condition but equal keys. Only the keys of the inner side matter, so only they are stored, each
//! with its number of rows.
//!
//! `NOT IN` follows SQL's NULL rule. Every row is outside an empty set. No row is known to be outside a set that holds a NULL. A NULL
//! is never known to be outside a set that has rows. So the whole answer changes when the set gains its first row or its first NULL, or
//! loses its last one. At all other times, only the changed keys matter.

use std::future::ready;
use std::sync::Arc;

use alluvium_sql::{KeyedInput, Node};
use arrow::array::{Array, ArrayRef, BooleanArray, Int64Array, new_null_array};
use arrow::datatypes::{Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::common::{JoinType, NullEquality};
use datafusion::logical_expr::LogicalPlan;

use super::kit::bucketed::BucketedDelta;
use super::kit::expiry::Expired;
use super::kit::rows::{batch, without_nulls};
use super::kit::stateful::{Flush, Pending, Stateful};
use crate::delta::Delta;
use crate::error::Error;
use crate::left_out::OnFailure;
use crate::state::arrangement::{Arrangement, Removal};
use crate::state::buckets::Buckets;
use crate::state::multiset::Multiset;
use crate::state::{MAX_BATCH_ROWS, Place, TableCheckpoint, Tables};

/// Runs a semi, anti or mark join.
#[derive(Debug)]
pub(crate) struct Semi {
    gives: Gives,
    /// Whether this is a `NOT IN` with its NULL rule.
    null_aware: bool,
    /// Whether NULL keys match each other.
    nulls_match: bool,
    /// The input whose rows are emitted: 0 or 1.
    outer: usize,
    rows: Arrangement,
    outer_key: Vec<usize>,
    /// How many leading columns are emitted. The others are only keys.
    columns: usize,
    /// The keys of the inner input, each with its number of rows.
    keys: Multiset,
    inner_key: Vec<usize>,
    schema: SchemaRef,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gives {
    /// Rows whose key is in the inner input.
    Matching,
    /// Rows whose key is not in the inner input.
    Others,
    /// All rows, with a column that says whether their key is in the inner input.
    Marked,
}

/// What `NOT IN` must know about the inner input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Set {
    Empty,
    WithNull,
    Known,
}

impl Semi {
    pub(crate) fn new(node: &Node, plan: &LogicalPlan, keys: &[KeyedInput]) -> Result<Self, Error> {
        let LogicalPlan::Join(join) = plan else {
            return Err(Error::Bug("the plan of a join is not a join".to_owned()));
        };
        let (gives, outer) = match join.join_type {
            JoinType::LeftSemi => (Gives::Matching, 0),
            JoinType::RightSemi => (Gives::Matching, 1),
            JoinType::LeftAnti => (Gives::Others, 0),
            JoinType::RightAnti => (Gives::Others, 1),
            JoinType::LeftMark => (Gives::Marked, 0),
            JoinType::RightMark => (Gives::Marked, 1),
            other => return Err(Error::Bug(format!("a {other} join is not a semi, anti or mark join"))),
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
                Removal::of(input.retracts, node.expires(outer)),
            )?,
            outer_key: keys[outer].columns.clone(),
            columns: if outer == 0 { join.left.schema() } else { join.right.schema() }.fields().len(),
            keys: Multiset::new(format!("n{}-keys", node.id), &Arc::new(Schema::new(fields)))?,
            inner_key,
            schema: Arc::clone(&node.schema),
        })
    }

    /// Returns the changes to the answer caused by this epoch.
    fn changes(&mut self, mut pending: Pending<Delta>) -> Result<Vec<Delta>, Error> {
        let mut deltas = Vec::new();
        let inner = std::mem::take(&mut pending[1 - self.outer]);
        if !inner.is_empty() {
            self.change_keys(inner, &mut deltas)?;
            self.keys.end_epoch()?;
        }
        let outer = std::mem::take(&mut pending[self.outer]);
        if !outer.is_empty() {
            let change = BucketedDelta::new(&self.rows, outer)?;
            let weights: Int64Array = (0..change.rows().num_rows()).map(|row| Some(change.weight(row))).collect();
            let set = self.set()?;
            let present = self.present(change.rows())?;
            self.emit(change.rows(), &weights, &present, set, &mut deltas)?;
            change.apply(&mut self.rows)?;
            self.rows.end_epoch()?;
        }
        Ok(deltas)
    }

    /// Applies changes of the inner input. Emits the changes for the rows whose key it gains or loses.
    fn change_keys(&mut self, inner: Vec<Delta>, deltas: &mut Vec<Delta>) -> Result<(), Error> {
        let schema = self.keys.schema();
        let mut changes = Vec::with_capacity(inner.len());
        for delta in inner {
            let columns = self.inner_key.iter().map(|column| Arc::clone(delta.rows.column(*column))).collect();
            let rows = batch(&schema, columns, delta.rows.num_rows())?;
            let all: Vec<usize> = (0..self.inner_key.len()).collect();
            let needed = if self.nulls_match || self.null_aware { &[] } else { all.as_slice() };
            changes.extend(without_nulls(Delta { rows, weights: delta.weights }, needed)?);
        }
        let net = self.keys.net(&changes)?;
        if net.weights.is_empty() {
            return Ok(());
        }
        let before = self.keys.weights(&net.keys, &net.hashes);
        let set = self.set()?;
        // The outer rows whose key is gained or lost, each with whether the key was there.
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
            return self.replace_all(set, now, &touched, deltas);
        }
        for touched in touched.chunks(MAX_BATCH_ROWS) {
            let places: Vec<Place> = touched.iter().map(|(place, _)| *place).collect();
            let was: Vec<bool> = touched.iter().map(|(_, was)| *was).collect();
            self.replace(&places, (&was, set), (&was.iter().map(|was| !was).collect::<Vec<_>>(), now), deltas)?;
        }
        Ok(())
    }

    /// Replaces the answer for every row, because the set has changed as a whole.
    fn replace_all(&self, set: Set, now: Set, touched: &[(Place, bool)], deltas: &mut Vec<Delta>) -> Result<(), Error> {
        let mut flipped: Vec<u32> = touched.iter().map(|(place, _)| place.index()).collect();
        flipped.sort_unstable();
        for places in self.rows.all_places().chunks(MAX_BATCH_ROWS) {
            let is = self.present(&self.rows.gather(places)?)?;
            let was = places.iter().zip(&is).map(|(place, is)| *is != flipped.binary_search(&place.index()).is_ok());
            self.replace(places, (&was.collect::<Vec<_>>(), set), (&is, now), deltas)?;
        }
        Ok(())
    }

    /// Retracts the old answers for some rows and emits the new ones.
    fn replace(&self, places: &[Place], was: (&[bool], Set), is: (&[bool], Set), deltas: &mut Vec<Delta>) -> Result<(), Error> {
        if places.is_empty() {
            return Ok(());
        }
        let rows = self.rows.gather(places)?;
        let weights = |sign: i64| -> Int64Array { places.iter().map(|place| Some(sign * self.rows.weight(*place))).collect() };
        self.emit(&rows, &weights(-1), was.0, was.1, deltas)?;
        self.emit(&rows, &weights(1), is.0, is.1, deltas)
    }

    /// Emits the answers for rows. `present` says for each whether its key is in the inner input.
    fn emit(
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
        let rows = batch(&self.schema, columns, rows.num_rows())?;
        deltas.push(Delta { rows, weights: Some(weights.clone()) }.filtered(&mask)?.plain());
        Ok(())
    }

    /// Checks for each row whether its key is in the inner input.
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
    type Prepared = Delta;

    fn prepare(&self, _input: usize, delta: Delta) -> Result<Delta, Error> {
        Ok(delta)
    }

    fn flush<'a>(&'a mut self, pending: Pending<Delta>, _failing: OnFailure<'a>) -> Flush<'a> {
        Box::pin(ready(self.changes(pending)))
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
