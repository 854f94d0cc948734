//! Record batches under another schema, and rows repeated by their weights.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray};
use arrow::compute::{filter_record_batch, not};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};

use crate::delta::Delta;
use crate::error::Error;
use crate::state::compact::concat_rows;

/// Creates a batch of `rows` rows, even without columns.
pub(crate) fn batch(schema: &SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch, Error> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}

/// Gives rows another schema of the same types.
pub(crate) fn renamed(rows: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, Error> {
    batch(schema, rows.columns().to_vec(), rows.num_rows())
}

/// Gives the rows of a delta another schema of the same types.
pub(crate) fn renamed_delta(delta: Delta, schema: &SchemaRef) -> Result<Delta, Error> {
    Ok(Delta { rows: renamed(&delta.rows, schema)?, weights: delta.weights })
}

/// Gives the rows of all deltas another schema of the same types.
pub(crate) fn renamed_deltas(deltas: Vec<Delta>, schema: &SchemaRef) -> Result<Vec<Delta>, Error> {
    deltas.into_iter().map(|delta| renamed_delta(delta, schema)).collect()
}

/// Returns the rows of an insert-only delta, each as many times as its weight says.
///
/// # Errors
/// [`Error::Bug`] if a weight is negative.
pub(crate) fn repeated(delta: Delta) -> Result<Vec<RecordBatch>, Error> {
    let Some(weights) = &delta.weights else { return Ok(vec![delta.rows]) };
    if weights.values().iter().any(|weight| *weight < 0) {
        return Err(Error::Bug("an insert-only input retracts a row".to_owned()));
    }
    let most = weights.values().iter().copied().max().unwrap_or(0);
    let mut batches = Vec::new();
    for copy in 0..most {
        let mask = BooleanArray::from_iter(weights.values().iter().map(|weight| Some(*weight > copy)));
        batches.push(filter_record_batch(&delta.rows, &mask)?);
    }
    Ok(batches)
}

/// Returns the rows of insert-only deltas as one batch, in the order of their arrival, under another schema of the same types.
///
/// # Errors
/// As [`repeated`].
pub(crate) fn arrivals(deltas: Vec<Delta>, schema: &SchemaRef) -> Result<RecordBatch, Error> {
    let mut batches = Vec::with_capacity(deltas.len());
    for delta in deltas {
        for rows in repeated(delta)? {
            batches.push(renamed(&rows, schema)?);
        }
    }
    concat_rows(schema, &batches)
}

/// Keeps the rows that have no NULL in `columns`. None if there are none.
pub(crate) fn without_nulls(delta: Delta, columns: &[usize]) -> Result<Option<Delta>, Error> {
    let Some(mask) = complete(&delta, columns) else { return Ok(Some(delta)) };
    some_filtered(delta, &mask)
}

/// Splits rows into those that have no NULL in `columns`, and the others.
pub(crate) fn split_nulls(delta: Delta, columns: &[usize]) -> Result<(Option<Delta>, Option<Delta>), Error> {
    let Some(mask) = complete(&delta, columns) else { return Ok((Some(delta), None)) };
    Ok((some_filtered(delta.clone(), &mask)?, some_filtered(delta, &not(&mask)?)?))
}

/// Returns a mask of the rows that have no NULL in `columns`. None if none has one.
fn complete(delta: &Delta, columns: &[usize]) -> Option<BooleanArray> {
    let columns = columns.iter().map(|column| delta.rows.column(*column)).filter(|column| column.null_count() > 0);
    let columns: Vec<&ArrayRef> = columns.collect();
    if columns.is_empty() {
        return None;
    }
    Some((0..delta.rows.num_rows()).map(|row| Some(columns.iter().all(|column| column.is_valid(row)))).collect())
}

fn some_filtered(delta: Delta, mask: &BooleanArray) -> Result<Option<Delta>, Error> {
    if mask.true_count() == 0 {
        return Ok(None);
    }
    Ok(Some(delta.filtered(mask)?))
}
