//! A column that is cast to its type as a whole: dictionaries.

use arrow::array::{Array, ArrayRef};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;

use super::Column;
use crate::decode::fault::Fault;

/// A column of another type until it is finished.
pub(in crate::decode::json) struct Cast {
    column: Box<dyn Column>,
    data_type: DataType,
}

impl Cast {
    /// Of a column whose array is cast to `data_type` in the end.
    pub(in crate::decode::json) fn new(column: Box<dyn Column>, data_type: DataType) -> Cast {
        Cast { column, data_type }
    }
}

impl Column for Cast {
    fn append(&mut self, raw: &str) -> Result<(), Fault> {
        self.column.append(raw)
    }

    fn append_null(&mut self) {
        self.column.append_null();
    }

    fn truncate(&mut self, length: usize) {
        self.column.truncate(length);
    }

    fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        let values = self.column.finish()?;
        cast(&values as &dyn Array, &self.data_type)
    }
}
