//! Pairs the changed rows of one side of a join with the stored rows of the other. Both sides are stored by key.
//!
//! Buckets find candidate pairs. The condition, which includes the keys, decides. A pair on which it fails is left out.

use std::sync::Arc;

use alluvium_sql::{KeyedInput, Node, session_state};
use arrow::array::{ArrayRef, AsArray, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt32Type};
use datafusion::common::NullEquality;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{BinaryExpr, Expr, Join, Operator};
use datafusion::physical_expr::PhysicalExpr;
use rayon::prelude::*;

use super::bucketed::BucketedDelta;
use super::columns::holds;
use super::rows::{batch, renamed_delta};
use crate::delta::Delta;
use crate::error::Error;
use crate::left_out::OnFailure;
use crate::state::arrangement::{Arrangement, Removal};
use crate::state::buckets::Buckets;
use crate::state::{MAX_BATCH_ROWS, Place, TableCheckpoint, Tables};

/// The stored rows of both sides of a join, and its condition.
#[derive(Debug)]
pub(crate) struct Pairing {
    pub(crate) sides: [Side; 2],
    /// Reads the columns of the left side, followed by those of the right side.
    condition: Option<Arc<dyn PhysicalExpr>>,
    joined: SchemaRef,
    /// The same with a column for the number of each pair.
    numbered: SchemaRef,
    schema: SchemaRef,
}

/// One side of a join.
#[derive(Debug)]
pub(crate) struct Side {
    pub(crate) rows: Arrangement,
    /// How many leading columns are emitted. The others are only keys.
    pub(crate) columns: usize,
    /// Key columns: a row with a NULL in one of them joins no other.
    pub(crate) needed: Vec<usize>,
}

/// The pairs of some changes.
#[derive(Debug, Default)]
pub(crate) struct Paired {
    /// The rows of the pairs.
    pub(crate) deltas: Vec<Delta>,
    /// The number of the changed row and the place of the other row of each pair, if they are wanted.
    pub(crate) pairs: Vec<(u32, Place)>,
}

/// The changes of one side, and what is wanted of their pairs.
#[derive(Clone, Copy)]
struct Changes<'a> {
    index: usize,
    change: &'a BucketedDelta,
    wants_places: bool,
    failing: OnFailure<'a>,
}

impl Pairing {
    pub(crate) fn new(node: &Node, join: &Join, keys: &[KeyedInput]) -> Result<Self, Error> {
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
        let joined = Arc::clone(schema.inner());
        let number = Arc::new(Field::new("$pair", DataType::UInt32, false));
        let numbered = Arc::new(Schema::new(joined.fields().iter().cloned().chain([number]).collect::<Vec<_>>()));
        Ok(Self { sides, condition, joined, numbered, schema: Arc::clone(&node.schema) })
    }

    /// Pairs the changes of one side with the rows of the other. With `wants_places`, also returns which rows each pair has.
    /// `failing` says what to do with a pair on which the condition fails.
    pub(crate) fn pairs(
        &self,
        index: usize,
        change: &BucketedDelta,
        wants_places: bool,
        failing: OnFailure<'_>,
    ) -> Result<Paired, Error> {
        let changes = Changes { index, change, wants_places, failing };
        let slices = change.buckets().par_chunks(MAX_BATCH_ROWS).enumerate();
        let paired = slices.map(|(slice, buckets)| self.pairs_of(changes, slice * MAX_BATCH_ROWS, buckets));
        let mut all = Paired::default();
        for paired in paired.collect::<Result<Vec<_>, Error>>()? {
            all.deltas.extend(paired.deltas);
            all.pairs.extend(paired.pairs);
        }
        Ok(all)
    }

    /// Pairs a slice of the changes: the rows from `first` on, whose buckets are `buckets`.
    fn pairs_of(&self, changes: Changes<'_>, first: usize, buckets: &[u32]) -> Result<Paired, Error> {
        let other = &self.sides[1 - changes.index].rows;
        let mut paired = Paired::default();
        let (mut rows, mut places) = (Vec::new(), Vec::new());
        for (row, bucket) in buckets.iter().enumerate() {
            for place in other.places(*bucket) {
                rows.push((first + row) as u32);
                places.push(*place);
                if rows.len() == MAX_BATCH_ROWS {
                    self.add_pairs(changes, &rows, &places, &mut paired)?;
                    rows.clear();
                    places.clear();
                }
            }
        }
        self.add_pairs(changes, &rows, &places, &mut paired)?;
        Ok(paired)
    }

    /// Adds the pairs of `rows` and `places` for which the condition is true.
    fn add_pairs(&self, changes: Changes<'_>, rows: &[u32], places: &[Place], paired: &mut Paired) -> Result<(), Error> {
        if rows.is_empty() {
            return Ok(());
        }
        let Changes { index, change, wants_places, failing } = changes;
        let (own, other) = (&self.sides[index], &self.sides[1 - index]);
        let indices = UInt32Array::from(rows.to_vec());
        let own_columns = change.rows().columns()[..own.columns].iter().map(|column| Ok(take(column, &indices, None)?));
        let own_columns: Vec<ArrayRef> = own_columns.collect::<Result<_, Error>>()?;
        let other_columns = other.rows.columns(0..other.columns, places)?;
        let mut columns = if index == 0 { [own_columns, other_columns].concat() } else { [other_columns, own_columns].concat() };
        let emitted = columns.len();
        if wants_places {
            columns.push(Arc::new(UInt32Array::from_iter_values(0..rows.len() as u32)));
        }
        let candidates = batch(if wants_places { &self.numbered } else { &self.joined }, columns, rows.len())?;
        let weights = rows.iter().zip(places).map(|(row, place)| Some(change.weight(*row as usize) * other.rows.weight(*place)));
        let candidates = Delta { rows: candidates, weights: Some(weights.collect()) };
        let joined = failing.each(candidates, |pairs| match &self.condition {
            Some(condition) => {
                let mask = holds(condition, &pairs.rows)?;
                pairs.filtered(&mask)
            }
            None => Ok(pairs),
        })?;
        for mut pairs in joined.into_iter().filter(|pairs| pairs.rows.num_rows() > 0) {
            if wants_places {
                let numbers = pairs.rows.column(emitted).as_primitive::<UInt32Type>().values();
                paired.pairs.extend(numbers.iter().map(|number| (rows[*number as usize], places[*number as usize])));
                pairs.rows = batch(&self.joined, pairs.rows.columns()[..emitted].to_vec(), pairs.rows.num_rows())?;
            }
            paired.deltas.push(renamed_delta(pairs.plain(), &self.schema)?);
        }
        Ok(())
    }

    /// Applies the changes of one side.
    pub(crate) fn apply(&mut self, index: usize, change: &BucketedDelta) -> Result<(), Error> {
        change.apply(&mut self.sides[index].rows)
    }

    /// Adds what must become durable.
    pub(crate) fn checkpoint(&mut self, tables: &mut Vec<TableCheckpoint>) {
        self.sides.iter_mut().for_each(|side| side.rows.checkpoint(tables));
    }

    /// Takes the tables of both sides from a checkpoint.
    pub(crate) fn restore(&mut self, tables: &mut Tables) -> Result<(), Error> {
        self.sides.iter_mut().try_for_each(|side| side.rows.restore(tables))
    }

    /// Returns the number of rows and of bytes held.
    pub(crate) fn size(&self) -> (u64, u64) {
        let [left, right] = self.sides.each_ref().map(|side| side.rows.size());
        (left.0 + right.0, left.1 + right.1)
    }
}
