//! Inner joins: the changes of one side meet the rows of the other, both stored by key.
//!
//! The sides take turns, so that a pair of changes is counted once: the left changes meet the right rows as they were, the right
//! changes meet the left rows as they are. Buckets only narrow down who meets; the condition, keys included, decides.

use std::future::ready;
use std::sync::Arc;

use alluvium_sql::{KeyedInput, Node, session_state};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, UInt32Array};
use arrow::compute::{filter, filter_record_batch, take};
use arrow::datatypes::{Int64Type, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::common::NullEquality;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlan, Operator};
use datafusion::physical_expr::PhysicalExpr;
use rayon::prelude::*;

use super::expiry::Expired;
use super::keyed::Change;
use super::linear::{holds, renamed};
use super::{Flush, Stateful};
use crate::delta::Delta;
use crate::error::Error;
use crate::state::arrangement::{Arrangement, Leave};
use crate::state::buckets::Buckets;
use crate::state::{MAX_BATCH_ROWS, Place, TableCheckpoint, Tables};

/// Runs an inner join.
#[derive(Debug)]
pub(crate) struct Join {
    sides: [Side; 2],
    /// Over the columns of the left side and then those of the right one.
    condition: Option<Arc<dyn PhysicalExpr>>,
    joined: SchemaRef,
    schema: SchemaRef,
    staged: Vec<(usize, Delta)>,
}

#[derive(Debug)]
struct Side {
    rows: Arrangement,
    /// The first so many columns go on; others are keys only.
    columns: usize,
    /// Key columns that have to be there for a row to meet any other.
    needed: Vec<usize>,
    /// Since the last flush.
    pending: Vec<Delta>,
}

impl Join {
    pub(crate) fn new(node: &Node, plan: &LogicalPlan, keys: &[KeyedInput]) -> Result<Self, Error> {
        let LogicalPlan::Join(join) = plan else {
            return Err(Error::Bug("a join is planned as something else".to_owned()));
        };
        let side = |index: usize, schema: &SchemaRef| -> Result<Side, Error> {
            let (input, key) = (&node.inputs[index], &keys[index]);
            // Rows that match nothing are not stored, so that no NULL comes to a bucket of its own.
            let buckets = Buckets::new(&input.schema, &key.columns, true)?;
            let rows = Arrangement::new(
                format!("n{}-input{index}", node.id),
                &input.schema,
                buckets,
                Leave::of(input.retracts, node.expires(index)),
            )?;
            let needed = if key.nulls_match { Vec::new() } else { key.columns.clone() };
            Ok(Side { rows, columns: schema.fields().len(), needed, pending: Vec::new() })
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
        Ok(Self { sides, condition, joined, schema, staged: Vec::new() })
    }

    /// What the epoch changes in the answer.
    fn changes(&mut self) -> Result<Vec<Delta>, Error> {
        let mut deltas = Vec::new();
        for index in 0..2 {
            let pending = std::mem::take(&mut self.sides[index].pending);
            if pending.is_empty() {
                continue;
            }
            let change = Change::new(&self.sides[index].rows, pending)?;
            deltas.extend(self.meet(index, &change)?);
            change.apply(&mut self.sides[index].rows)?;
            self.sides[index].rows.end_epoch()?;
        }
        Ok(deltas)
    }

    /// What the changes of one side give with the rows of the other.
    fn meet(&self, index: usize, change: &Change) -> Result<Vec<Delta>, Error> {
        let slices = change.buckets().par_chunks(MAX_BATCH_ROWS).enumerate();
        let deltas = slices.map(|(slice, buckets)| self.meet_rows(index, change, slice * MAX_BATCH_ROWS, buckets));
        Ok(deltas.collect::<Result<Vec<_>, Error>>()?.into_iter().flatten().collect())
    }

    /// What some of the rows of a change give, from `first` on.
    fn meet_rows(&self, index: usize, change: &Change, first: usize, buckets: &[u32]) -> Result<Vec<Delta>, Error> {
        let other = &self.sides[1 - index].rows;
        let mut deltas = Vec::new();
        let (mut rows, mut places) = (Vec::new(), Vec::new());
        for (row, bucket) in buckets.iter().enumerate() {
            for place in other.places(*bucket) {
                rows.push((first + row) as u32);
                places.push(*place);
                if rows.len() == MAX_BATCH_ROWS {
                    deltas.extend(self.give(index, change, &rows, &places)?);
                    rows.clear();
                    places.clear();
                }
            }
        }
        deltas.extend(self.give(index, change, &rows, &places)?);
        Ok(deltas)
    }

    /// The pairs that meet the condition.
    fn give(&self, index: usize, change: &Change, rows: &[u32], places: &[Place]) -> Result<Option<Delta>, Error> {
        if rows.is_empty() {
            return Ok(None);
        }
        let (own, other) = (&self.sides[index], &self.sides[1 - index]);
        let indices = UInt32Array::from(rows.to_vec());
        let own_columns = change.rows().columns()[..own.columns].iter().map(|column| Ok(take(column, &indices, None)?));
        let own_columns: Vec<ArrayRef> = own_columns.collect::<Result<_, Error>>()?;
        let other_columns = other.rows.columns(0..other.columns, places)?;
        let columns = if index == 0 { [own_columns, other_columns].concat() } else { [other_columns, own_columns].concat() };
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        let pairs = RecordBatch::try_new_with_options(Arc::clone(&self.joined), columns, &options)?;
        let weights: Int64Array =
            rows.iter().zip(places).map(|(row, place)| Some(change.weight(*row as usize) * other.rows.weight(*place))).collect();
        let (pairs, weights) = match &self.condition {
            Some(condition) => {
                let mask = holds(condition, &pairs)?;
                if mask.true_count() == mask.len() {
                    (pairs, weights)
                } else {
                    let weights = filter(&weights, &mask)?.as_primitive::<Int64Type>().clone();
                    (filter_record_batch(&pairs, &mask)?, weights)
                }
            }
            None => (pairs, weights),
        };
        if pairs.num_rows() == 0 {
            return Ok(None);
        }
        let weights = if weights.values().iter().all(|weight| *weight == 1) { None } else { Some(weights) };
        Ok(Some(Delta { rows: renamed(&pairs, &self.schema)?, weights }))
    }
}

impl Stateful for Join {
    fn stage(&mut self, input: usize, delta: Delta) -> Result<(), Error> {
        self.staged.push((input, delta));
        Ok(())
    }

    fn unstage(&mut self) {
        self.staged.clear();
    }

    fn absorb(&mut self) -> Result<(), Error> {
        for (input, delta) in std::mem::take(&mut self.staged) {
            let side = &mut self.sides[input];
            if let Some(delta) = with_keys(delta, &side.needed)? {
                side.pending.push(delta);
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Flush<'_> {
        Box::pin(ready(self.changes()))
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

/// The rows that have all of some columns.
pub(super) fn with_keys(delta: Delta, needed: &[usize]) -> Result<Option<Delta>, Error> {
    let columns = needed.iter().map(|column| delta.rows.column(*column)).filter(|column| column.null_count() > 0);
    let columns: Vec<&ArrayRef> = columns.collect();
    if columns.is_empty() {
        return Ok(Some(delta));
    }
    let mask: BooleanArray =
        (0..delta.rows.num_rows()).map(|row| Some(columns.iter().all(|column| column.is_valid(row)))).collect();
    if mask.true_count() == 0 {
        return Ok(None);
    }
    Ok(Some(delta.filtered(&mask)?))
}
