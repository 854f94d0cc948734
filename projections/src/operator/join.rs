//! Inner joins: the changes of each side are joined with the rows of the other, and both sides are stored by key.
//!
//! Left changes are joined with the right rows before this epoch, right changes with the left rows after it, so that a pair of changes
//! is counted once. Buckets find candidate pairs. The condition, which includes the keys, decides. A pair on which it fails is left out.

use std::future::ready;
use std::sync::Arc;

use alluvium_sql::{KeyedInput, Node, session_state};
use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::SchemaRef;
use datafusion::common::NullEquality;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlan, Operator};
use datafusion::physical_expr::PhysicalExpr;
use rayon::prelude::*;

use super::kit::bucketed::BucketedDelta;
use super::kit::columns::holds;
use super::kit::expiry::Expired;
use super::kit::rows::{batch, renamed_delta, without_nulls};
use super::kit::stateful::{Flush, Pending, Stateful};
use crate::delta::Delta;
use crate::error::Error;
use crate::left_out::OnFailure;
use crate::state::arrangement::{Arrangement, Removal};
use crate::state::buckets::Buckets;
use crate::state::{MAX_BATCH_ROWS, Place, TableCheckpoint, Tables};

/// Runs an inner join.
#[derive(Debug)]
pub(crate) struct Join {
    sides: [Side; 2],
    /// Reads the columns of the left side, followed by those of the right side.
    condition: Option<Arc<dyn PhysicalExpr>>,
    joined: SchemaRef,
    schema: SchemaRef,
}

#[derive(Debug)]
struct Side {
    rows: Arrangement,
    /// How many leading columns are emitted. The others are only keys.
    columns: usize,
    /// Key columns: a row with a NULL in one of them joins no other.
    needed: Vec<usize>,
}

impl Join {
    pub(crate) fn new(node: &Node, plan: &LogicalPlan, keys: &[KeyedInput]) -> Result<Self, Error> {
        let LogicalPlan::Join(join) = plan else {
            return Err(Error::Bug("the plan of a join is not a join".to_owned()));
        };
        let side = |index: usize, schema: &SchemaRef| -> Result<Side, Error> {
            let (input, key) = (&node.inputs[index], &keys[index]);
            // `true` in any case: a row with a NULL key that matches nothing is not stored.
            let buckets = Buckets::new(&input.schema, &key.columns, true)?;
            let rows = Arrangement::new(
                format!("n{}-input{index}", node.id),
                &input.schema,
                buckets,
                Removal::of(input.retracts, node.expires(index)),
            )?;
            let needed = if key.nulls_match { Vec::new() } else { key.columns.clone() };
            Ok(Side { rows, columns: schema.fields().len(), needed })
        };
        let sides = [side(0, join.left.schema().inner())?, side(1, join.right.schema().inner())?];
        let schema = join.left.schema().join(join.right.schema())?;
        let equal = match join.null_equality {
            NullEquality::NullEqualsNothing => Operator::Eq,
            NullEquality::NullEqualsNull => Operator::IsNotDistinctFrom,
        };
        let pairs = join
            .on
            .iter()
            .map(|(left, right)| Expr::BinaryExpr(BinaryExpr::new(Box::new(left.clone()), equal, Box::new(right.clone()))));
        let condition = conjunction(pairs.chain(join.filter.clone()));
        let condition = condition.map(|condition| session_state()?.create_physical_expr(condition, &schema)).transpose()?;
        let (joined, schema) = (Arc::clone(schema.inner()), Arc::clone(&node.schema));
        Ok(Self { sides, condition, joined, schema })
    }

    /// Returns the changes to the answer caused by this epoch.
    fn changes(&mut self, pending: Pending<Delta>, failing: OnFailure<'_>) -> Result<Vec<Delta>, Error> {
        let mut deltas = Vec::new();
        for (index, pending) in pending.into_iter().enumerate() {
            if pending.is_empty() {
                continue;
            }
            let change = BucketedDelta::new(&self.sides[index].rows, pending)?;
            deltas.extend(self.join(index, &change, failing)?);
            change.apply(&mut self.sides[index].rows)?;
            self.sides[index].rows.end_epoch()?;
        }
        Ok(deltas)
    }

    /// Joins the changes of one side with the rows of the other.
    fn join(&self, index: usize, change: &BucketedDelta, failing: OnFailure<'_>) -> Result<Vec<Delta>, Error> {
        let slices = change.buckets().par_chunks(MAX_BATCH_ROWS).enumerate();
        let deltas = slices.map(|(slice, buckets)| self.join_rows(index, change, slice * MAX_BATCH_ROWS, buckets, failing));
        Ok(deltas.collect::<Result<Vec<_>, Error>>()?.into_iter().flatten().collect())
    }

    /// Joins a slice of the changes: the rows from `first` on, whose buckets are `buckets`.
    fn join_rows(
        &self,
        index: usize,
        change: &BucketedDelta,
        first: usize,
        buckets: &[u32],
        failing: OnFailure<'_>,
    ) -> Result<Vec<Delta>, Error> {
        let other = &self.sides[1 - index].rows;
        let mut deltas = Vec::new();
        let (mut rows, mut places) = (Vec::new(), Vec::new());
        for (row, bucket) in buckets.iter().enumerate() {
            for place in other.places(*bucket) {
                rows.push((first + row) as u32);
                places.push(*place);
                if rows.len() == MAX_BATCH_ROWS {
                    deltas.extend(self.pairs(index, change, &rows, &places, failing)?);
                    rows.clear();
                    places.clear();
                }
            }
        }
        deltas.extend(self.pairs(index, change, &rows, &places, failing)?);
        Ok(deltas)
    }

    /// Returns the pairs of `rows` and `places` for which the condition is true. `failing` says what to do with a pair on which it
    /// fails.
    fn pairs(
        &self,
        index: usize,
        change: &BucketedDelta,
        rows: &[u32],
        places: &[Place],
        failing: OnFailure<'_>,
    ) -> Result<Vec<Delta>, Error> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let (own, other) = (&self.sides[index], &self.sides[1 - index]);
        let indices = UInt32Array::from(rows.to_vec());
        let own_columns = change.rows().columns()[..own.columns].iter().map(|column| Ok(take(column, &indices, None)?));
        let own_columns: Vec<ArrayRef> = own_columns.collect::<Result<_, Error>>()?;
        let other_columns = other.rows.columns(0..other.columns, places)?;
        let columns = if index == 0 { [own_columns, other_columns].concat() } else { [other_columns, own_columns].concat() };
        let pairs = batch(&self.joined, columns, rows.len())?;
        let weights = rows.iter().zip(places).map(|(row, place)| Some(change.weight(*row as usize) * other.rows.weight(*place)));
        let pairs = Delta { rows: pairs, weights: Some(weights.collect()) };
        let joined = failing.each(pairs, |pairs| match &self.condition {
            Some(condition) => {
                let mask = holds(condition, &pairs.rows)?;
                pairs.filtered(&mask)
            }
            None => Ok(pairs),
        })?;
        let joined = joined.into_iter().filter(|pairs| pairs.rows.num_rows() > 0);
        joined.map(|pairs| renamed_delta(pairs.plain(), &self.schema)).collect()
    }
}

impl Stateful for Join {
    type Prepared = Option<Delta>;

    fn prepare(&self, input: usize, delta: Delta) -> Result<Option<Delta>, Error> {
        without_nulls(delta, &self.sides[input].needed)
    }

    fn flush<'a>(&'a mut self, pending: Pending<Option<Delta>>, failing: OnFailure<'a>) -> Flush<'a> {
        let pending = pending.into_iter().map(|deltas| deltas.into_iter().flatten().collect());
        Box::pin(ready(self.changes(pending.collect(), failing)))
    }

    fn evict(&mut self, input: usize, expired: &Expired) -> Result<(), Error> {
        self.sides[input].rows.evict(|rows| expired.of(rows))
    }

    fn checkpoint(&mut self, tables: &mut Vec<TableCheckpoint>) {
        self.sides.iter_mut().for_each(|side| side.rows.checkpoint(tables));
    }

    fn restore(&mut self, tables: &mut Tables) -> Result<(), Error> {
        self.sides.iter_mut().try_for_each(|side| side.rows.restore(tables))
    }

    fn size(&self) -> (u64, u64) {
        let [left, right] = self.sides.each_ref().map(|side| side.rows.size());
        (left.0 + right.0, left.1 + right.1)
    }
}
