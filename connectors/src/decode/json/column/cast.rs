//! A column that is built as another type and cast when it is finished. Used for dictionaries.

use arrow::array::{Array, ArrayRef};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;

use super::Column;
use crate::decode::fault::Fault;
use crate::decode::value::Value;

/// A column that is built as another type and cast to `data_type` in `finish`.
pub(in crate::decode::json) struct Cast {
    column: Box<dyn Column>,
    data_type: DataType,
}

impl Cast {
    /// Wraps a column whose finished array is cast to `data_type`.
    pub(in crate::decode::json) fn new(column: Box<dyn Column>, data_type: DataType) -> Cast {
        Cast { column, data_type }
    }
}

impl Column for Cast {
    fn append(&mut self, raw: &str) -> Result<(), Fault> {
        self.column.append(raw)
    }

    fn append_value(&mut self, value: &[Value<'_>]) -> Result<(), Fault> {
        self.column.append_value(value)
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
