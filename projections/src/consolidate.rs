//! Net changes: equal rows become one row, whose weight is the sum of theirs. A row whose weights sum to 0 is dropped.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::arrow::array::UInt32Array;
use hashbrown::HashTable;

use crate::delta::Delta;
use crate::error::Error;
use crate::state::compact::concat_rows;
use crate::state::keys::{KeyEncoder, Keys, spread};

/// Distinct rows, each with its total weight, which is never 0.
#[derive(Debug)]
pub(crate) struct Net {
    pub(crate) rows: RecordBatch,
    pub(crate) weights: Vec<i64>,
    pub(crate) keys: Keys,
    pub(crate) hashes: Vec<u32>,
}

/// Consolidates deltas. Rows keep the order of their first occurrence.
///
/// # Errors
/// [`Error::Plan`] if a column cannot be compared.
pub(crate) fn net(schema: &SchemaRef, encoder: &KeyEncoder, deltas: &[Delta]) -> Result<Net, Error> {
    let rows = concat_rows(schema, &deltas.iter().map(|delta| delta.rows.clone()).collect::<Vec<_>>())?;
    let weights: Vec<i64> = deltas.iter().flat_map(Delta::weights_iter).collect();
    let keys = encoder.encode(rows.columns(), rows.num_rows())?;
    let hashes = keys.hashes();
    let mut first_of: HashTable<u32> = HashTable::with_capacity(rows.num_rows());
    let mut sums = weights;
    for row in 0..rows.num_rows() {
        let same = |other: &u32| keys.get(*other as usize) == keys.get(row);
        match first_of.entry(spread(hashes[row]), same, |other| spread(hashes[*other as usize])) {
            hashbrown::hash_table::Entry::Occupied(first) => {
                sums[*first.get() as usize] += sums[row];
                sums[row] = 0;
            }
            hashbrown::hash_table::Entry::Vacant(vacant) => {
                vacant.insert(row as u32);
            }
        }
    }
    let kept: Vec<u32> = (0..rows.num_rows() as u32).filter(|row| sums[*row as usize] != 0).collect();
    if kept.len() == rows.num_rows() {
        return Ok(Net { rows, weights: sums, keys, hashes });
    }
    Ok(Net {
        weights: kept.iter().map(|row| sums[*row as usize]).collect(),
        keys: Keys::collect(kept.iter().map(|row| keys.get(*row as usize))),
        hashes: kept.iter().map(|row| hashes[*row as usize]).collect(),
        rows: taken(&rows, kept)?,
    })
}

/// Takes the rows at `indices`, even if they have no columns.
pub(crate) fn taken(rows: &RecordBatch, indices: Vec<u32>) -> Result<RecordBatch, Error> {
    if rows.num_columns() == 0 {
        return Ok(rows.slice(0, indices.len()));
    }
    Ok(take_record_batch(rows, &UInt32Array::from(indices))?)
}

impl Net {
    /// Converts the net change into a delta.
    pub(crate) fn into_delta(self) -> Delta {
        Delta::weighted(self.rows, Int64Array::from(self.weights))
    }

    /// Converts the net change into one delta, or none if nothing changes.
    pub(crate) fn into_deltas(self) -> Vec<Delta> {
        if self.weights.is_empty() { Vec::new() } else { vec![self.into_delta()] }
    }

    /// Returns the columns of the rows, followed by a column of `weights`.
    pub(crate) fn columns_with(&self, weights: Vec<i64>) -> Vec<ArrayRef> {
        let mut columns = self.rows.columns().to_vec();
        columns.push(Arc::new(Int64Array::from(weights)));
        columns
    }
}
