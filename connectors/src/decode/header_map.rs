//! The column `_headers` as MAP(VARCHAR, VARCHAR).

use std::sync::Arc;

use arrow::array::{ArrayRef, MapArray, NullBufferBuilder, StructArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, FieldRef};
use arrow::error::ArrowError;

use super::bytes::{self, Bytes};
use super::fault::Refusal;

/// A column with one map of text to text per message.
pub(super) struct HeaderMap {
    entries: FieldRef,
    keys: Box<dyn Bytes>,
    values: Box<dyn Bytes>,
    offsets: Vec<i32>,
    nulls: NullBufferBuilder,
}

impl HeaderMap {
    /// Creates the column for a MAP type.
    ///
    /// # Errors
    /// Says what is wrong with the type.
    pub(super) fn new(data_type: &DataType, capacity: usize) -> Result<HeaderMap, String> {
        let wrong = || "it must be MAP(VARCHAR, VARCHAR) or VARCHAR".to_owned();
        let DataType::Map(entries, false) = data_type else { return Err(wrong()) };
        let DataType::Struct(fields) = entries.data_type() else { return Err(wrong()) };
        let [key, value] = fields.as_ref() else { return Err(wrong()) };
        let mut offsets = Vec::with_capacity(capacity + 1);
        offsets.push(0);
        Ok(HeaderMap {
            entries: Arc::clone(entries),
            keys: bytes::make(key.data_type(), capacity).ok_or_else(wrong)?,
            values: bytes::make(value.data_type(), capacity).ok_or_else(wrong)?,
            offsets,
            nulls: NullBufferBuilder::new(capacity),
        })
    }

    /// Appends a map. If this fails, the column may have grown and must be truncated.
    pub(super) fn append(&mut self, headers: &[(String, String)]) -> Result<(), Refusal> {
        for (name, value) in headers {
            self.keys.append(name.as_bytes())?;
            self.values.append(value.as_bytes())?;
        }
        let end = i64::from(self.entries()) + headers.len() as i64;
        let end = i32::try_from(end).map_err(|_| Refusal::OutOfRange("the column would hold too many values in a batch"))?;
        self.offsets.push(end);
        self.nulls.append_non_null();
        Ok(())
    }

    pub(super) fn append_null(&mut self) {
        self.offsets.push(self.entries());
        self.nulls.append_null();
    }

    /// Returns the number of entries of all maps.
    fn entries(&self) -> i32 {
        self.offsets.last().copied().unwrap_or_default()
    }

    pub(super) fn truncate(&mut self, length: usize) {
        self.offsets.truncate(length + 1);
        self.nulls.truncate(length);
        let entries = usize::try_from(self.entries()).unwrap_or_default();
        self.keys.truncate(entries);
        self.values.truncate(entries);
    }

    pub(super) fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        let DataType::Struct(fields) = self.entries.data_type() else {
            return Err(ArrowError::SchemaError("a map's entries are not a struct".into()));
        };
        let columns = vec![self.keys.finish()?, self.values.finish()?];
        let entries = StructArray::try_new(fields.clone(), columns, None)?;
        let offsets = OffsetBuffer::new(std::mem::take(&mut self.offsets).into());
        Ok(Arc::new(MapArray::try_new(Arc::clone(&self.entries), offsets, entries, self.nulls.finish(), false)?))
    }
}
