//! Rows with weights, for multisets and arrangements: how such rows are compared and stored.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, Int64Type, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};

use super::keys::{KeyEncoder, Keys};
use crate::consolidate::{Net, net};
use crate::delta::Delta;
use crate::error::Error;

/// Compares rows of a schema by the encoding of all their columns: rows are equal if they are equal bit for bit.
#[derive(Debug)]
pub(crate) struct WeightedRows {
    schema: SchemaRef,
    encoder: KeyEncoder,
}

impl WeightedRows {
    /// Compares rows of `schema`.
    ///
    /// # Errors
    /// [`Error::Plan`] if a column cannot be compared.
    pub(crate) fn new(schema: SchemaRef) -> Result<Self, Error> {
        Ok(Self { encoder: KeyEncoder::new(schema.fields())?, schema })
    }

    /// Returns the schema of the rows, without their weights.
    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Encodes whole rows.
    pub(crate) fn encode(&self, columns: &[ArrayRef], rows: usize) -> Result<Keys, Error> {
        self.encoder.encode(columns, rows)
    }

    /// Consolidates deltas.
    pub(crate) fn net(&self, deltas: &[Delta]) -> Result<Net, Error> {
        net(&self.schema, &self.encoder, deltas)
    }
}

/// Returns the field of the weights, which are stored after the rows' own columns.
pub(crate) fn weight_field() -> Arc<Field> {
    Arc::new(Field::new("__weight", DataType::Int64, false))
}

/// Returns the values of a stored column of weights.
pub(crate) fn weights_of(rows: &RecordBatch, column: usize) -> Int64Array {
    rows.column(column).as_primitive::<Int64Type>().clone()
}

/// Adds changes to weights.
///
/// # Errors
/// [`Error::Bug`] if a sum is negative.
pub(crate) fn sums(table: &str, before: impl Iterator<Item = i64>, changes: &[i64]) -> Result<Vec<i64>, Error> {
    let sums: Vec<i64> = before.zip(changes).map(|(before, change)| before + change).collect();
    if sums.iter().any(|weight| *weight < 0) {
        return Err(Error::Bug(format!("a row is retracted from {table}, but is not in it")));
    }
    Ok(sums)
}

/// Returns rows in another order, each repeated by its weight.
pub(crate) fn repeated(
    rows: &RecordBatch,
    order: impl Iterator<Item = u32>,
    weight: impl Fn(u32) -> i64,
) -> Result<RecordBatch, Error> {
    let indices = order.flat_map(|row| std::iter::repeat_n(row, weight(row).max(0) as usize));
    let indices = UInt32Array::from_iter_values(indices);
    let columns = rows.columns().iter().map(|column| Ok(take(column, &indices, None)?));
    let options = RecordBatchOptions::new().with_row_count(Some(indices.len()));
    let columns = columns.collect::<Result<_, Error>>()?;
    Ok(RecordBatch::try_new_with_options(rows.schema(), columns, &options)?)
}
