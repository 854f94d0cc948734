//! Columns being built: from the text of JSON values to Arrow arrays, cut back to a length where a row fails.
//!
//! Arrow's own builders cannot be cut back, so these keep plain vectors, which become Arrow buffers without a copy.

mod bytes;
mod nested;
mod number;
mod scalar;
mod temporal;

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, NullArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field};
use arrow::error::ArrowError;

use super::fault::{Fault, Refusal};
pub(super) use bytes::Bytes;
pub(super) use bytes::make as make_bytes;

/// One column being built.
pub(super) trait Column: Send {
    /// Appends a value, given as the text of a JSON value other than `null`, without white space around it. On a fault the
    /// column may have grown, in parts, and has to be truncated.
    fn append(&mut self, raw: &str) -> Result<(), Fault>;
    /// Appends NULL.
    fn append_null(&mut self);
    /// Cuts the column back to `length`; a shorter one stays as it is.
    fn truncate(&mut self, length: usize);
    /// The array; the column is not used afterwards.
    fn finish(&mut self) -> Result<ArrayRef, ArrowError>;
}

/// An empty column for about `capacity` values.
///
/// # Errors
/// What is wrong with a type that cannot be read from JSON.
pub(super) fn make(data_type: &DataType, capacity: usize) -> Result<Box<dyn Column>, String> {
    if let Some(column) = bytes::make(data_type, capacity) {
        return Ok(column.into_column());
    }
    if let Some(column) = scalar::make(data_type, capacity).or_else(|| temporal::make_plain(data_type, capacity)) {
        return Ok(column);
    }
    match data_type {
        DataType::Null => Ok(Box::new(Nulls { length: 0 })),
        DataType::Timestamp(unit, zone) => temporal::make_timestamp(*unit, zone.clone(), capacity),
        DataType::Struct(fields) => Ok(Box::new(nested::Struct::new(fields.clone(), capacity)?)),
        DataType::List(item) => Ok(Box::new(nested::List::<i32>::new(Arc::clone(item), capacity)?)),
        DataType::LargeList(item) => Ok(Box::new(nested::List::<i64>::new(Arc::clone(item), capacity)?)),
        DataType::FixedSizeList(item, size) => Ok(Box::new(nested::FixedSizeList::new(Arc::clone(item), *size, capacity)?)),
        DataType::Map(entries, sorted) => Ok(Box::new(nested::Map::new(Arc::clone(entries), *sorted, capacity)?)),
        DataType::Dictionary(_, values) => Ok(Box::new(Cast { column: make(values, capacity)?, data_type: data_type.clone() })),
        _ => Err("values of this type cannot be read from JSON".into()),
    }
}

/// Of a nested field: its column, with the field's name in what is wrong with it.
fn make_field(field: &Field, capacity: usize) -> Result<Box<dyn Column>, String> {
    make(field.data_type(), capacity).map_err(|reason| format!("{}: {reason}", field.name()))
}

/// The content of a JSON text; none for values of other kinds.
fn text(raw: &str) -> Result<Option<Cow<'_, str>>, Refusal> {
    let Some(inner) = raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else { return Ok(None) };
    if memchr::memchr(b'\\', inner.as_bytes()).is_none() {
        return Ok(Some(Cow::Borrowed(inner)));
    }
    // JSON's grammar allows half of a surrogate pair; no text can hold it.
    match serde_json::from_str(raw) {
        Ok(unescaped) => Ok(Some(Cow::Owned(unescaped))),
        Err(_) => Err(Refusal::OutOfRange("an escape in it is not a character")),
    }
}

/// A column that is always NULL.
struct Nulls {
    length: usize,
}

impl Column for Nulls {
    fn append(&mut self, raw: &str) -> Result<(), Fault> {
        Err(Fault::of_value(Refusal::WrongType, &DataType::Null, raw))
    }

    fn append_null(&mut self) {
        self.length += 1;
    }

    fn truncate(&mut self, length: usize) {
        self.length = self.length.min(length);
    }

    fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        Ok(Arc::new(NullArray::new(self.length)))
    }
}

/// A column of another type until it is finished.
struct Cast {
    column: Box<dyn Column>,
    data_type: DataType,
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
