//! Buckets: rows by a hash of their key.
//!
//! Rows whose keys are equal by any of DataFusion's equalities (-0.0 equals 0.0, all NaNs are equal) are in the same bucket. Rows with
//! different keys may share a bucket, so users that need exact keys must compare them.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float16Array, Float32Array, Float64Array, PrimitiveArray};
use arrow::datatypes::{ArrowPrimitiveType, DataType, Float16Type, Float32Type, Float64Type, SchemaRef};
use arrow::record_batch::RecordBatch;

use super::keys::{KeyEncoder, Keys};
use crate::error::Error;

/// Finds the buckets of rows.
#[derive(Debug)]
pub(crate) struct Buckets {
    columns: Vec<usize>,
    keys: KeyEncoder,
    /// Encodes whole rows, if rows with a NULL in their key match no others. The bucket of such a row is the hash of the whole row.
    rows: Option<KeyEncoder>,
}

impl Buckets {
    /// Creates buckets for rows of a schema by some columns. `nulls_match` says whether NULL keys equal each other.
    ///
    /// # Errors
    /// [`Error::Plan`] if a key column cannot be compared.
    pub(crate) fn new(schema: &SchemaRef, columns: &[usize], nulls_match: bool) -> Result<Self, Error> {
        let keys = KeyEncoder::new(columns.iter().map(|column| &schema.fields()[*column]))?;
        // If whole rows cannot be encoded, rows with a NULL key share a bucket. That is right, but slower.
        let rows = if nulls_match { None } else { KeyEncoder::new(schema.fields()).ok() };
        Ok(Self { columns: columns.to_vec(), keys, rows })
    }

    /// Returns the bucket of each row.
    pub(crate) fn of(&self, rows: &RecordBatch) -> Result<Vec<u32>, Error> {
        let columns: Vec<ArrayRef> = self.columns.iter().map(|column| Arc::clone(rows.column(*column))).collect();
        let mut buckets = self.of_keys(&columns, rows.num_rows())?;
        if let Some(encoder) = &self.rows
            && columns.iter().any(|column| column.null_count() > 0)
        {
            let whole = encoder.encode(rows.columns(), rows.num_rows())?.hashes();
            for (row, bucket) in buckets.iter_mut().enumerate() {
                if columns.iter().any(|column| column.is_null(row)) {
                    *bucket = whole[row];
                }
            }
        }
        Ok(buckets)
    }

    /// Returns the bucket of each key. If NULLs do not match, this is right only for keys without a NULL.
    pub(crate) fn of_keys(&self, columns: &[ArrayRef], rows: usize) -> Result<Vec<u32>, Error> {
        Ok(self.keys(columns, rows)?.hashes())
    }

    /// Encodes keys.
    pub(crate) fn keys(&self, columns: &[ArrayRef], rows: usize) -> Result<Keys, Error> {
        let columns: Vec<ArrayRef> = columns.iter().map(settled).collect();
        self.keys.encode(&columns, rows)
    }

    /// Returns the columns of the key.
    pub(crate) fn columns(&self) -> &[usize] {
        &self.columns
    }
}

/// Gives equal floats the same bits.
fn settled(array: &ArrayRef) -> ArrayRef {
    match array.data_type() {
        DataType::Float64 => {
            let settle = |value: f64| {
                if value == 0.0 {
                    0.0
                } else if value.is_nan() {
                    f64::NAN
                } else {
                    value
                }
            };
            Arc::new(each::<Float64Type>(array, settle)) as Arc<Float64Array>
        }
        DataType::Float32 => {
            let settle = |value: f32| {
                if value == 0.0 {
                    0.0
                } else if value.is_nan() {
                    f32::NAN
                } else {
                    value
                }
            };
            Arc::new(each::<Float32Type>(array, settle)) as Arc<Float32Array>
        }
        DataType::Float16 => {
            // Goes through f32, which represents every f16 exactly.
            let settle = |value: <Float16Type as ArrowPrimitiveType>::Native| {
                let wide = f32::from(value);
                let settled = if wide == 0.0 {
                    0.0
                } else if wide.is_nan() {
                    f32::NAN
                } else {
                    wide
                };
                <Float16Type as ArrowPrimitiveType>::Native::from_f32(settled)
            };
            Arc::new(each::<Float16Type>(array, settle)) as Arc<Float16Array>
        }
        _ => Arc::clone(array),
    }
}

fn each<T: ArrowPrimitiveType>(array: &ArrayRef, settle: impl Fn(T::Native) -> T::Native) -> PrimitiveArray<T> {
    array.as_primitive::<T>().unary(settle)
}
