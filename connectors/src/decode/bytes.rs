//! Builders for text and binary columns. They can be truncated when a row fails. Formats and the envelope both use them.
//!
//! Arrow's own builders cannot be truncated. These keep plain vectors, which become Arrow buffers without a copy.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryViewArray, FixedSizeBinaryArray, GenericBinaryArray, GenericStringArray, NullBufferBuilder, OffsetSizeTrait,
    StringViewArray, make_view,
};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;

use super::fault::Refusal;

/// A builder of a text or binary column, with offsets of either width.
///
/// # Contract
/// - [`Bytes::truncate`] restores the state that the column had at that length (checked by `bodies` in the tests of JSON).
pub(crate) trait Bytes: Send {
    /// Appends a value as it is stored. A text column requires UTF-8.
    fn append(&mut self, value: &[u8]) -> Result<(), Refusal>;
    /// Appends NULL.
    fn append_null(&mut self);
    /// Truncates the column to `length`. Does nothing if it is shorter.
    fn truncate(&mut self, length: usize);
    /// Returns the array. The column must not be used afterwards.
    fn finish(&mut self) -> Result<ArrayRef, ArrowError>;
}

/// The layout of the finished array.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Stored {
    Text,
    Binary,
    TextView,
    BinaryView,
    FixedSize(i32),
}

impl Stored {
    /// Returns the layout of a text or binary type; `None` for other types.
    pub(crate) fn of(data_type: &DataType) -> Option<Stored> {
        Some(match data_type {
            DataType::Utf8 | DataType::LargeUtf8 => Stored::Text,
            DataType::Utf8View => Stored::TextView,
            DataType::Binary | DataType::LargeBinary => Stored::Binary,
            DataType::BinaryView => Stored::BinaryView,
            DataType::FixedSizeBinary(size) => Stored::FixedSize(*size),
            _ => return None,
        })
    }

    /// Checks whether a type needs 64-bit offsets.
    pub(crate) fn is_large(data_type: &DataType) -> bool {
        matches!(data_type, DataType::LargeUtf8 | DataType::LargeBinary | DataType::FixedSizeBinary(_))
    }
}

/// Creates a column for a text or binary type; returns `None` for other types.
pub(crate) fn make(data_type: &DataType, capacity: usize) -> Option<Box<dyn Bytes>> {
    let stored = Stored::of(data_type)?;
    Some(match Stored::is_large(data_type) {
        false => Box::new(Values::<i32>::new(stored, capacity)),
        true => Box::new(Values::<i64>::new(stored, capacity)),
    })
}

/// The concatenated values, and the offset at which each ends.
pub(crate) struct Values<O> {
    stored: Stored,
    data: Vec<u8>,
    offsets: Vec<O>,
    nulls: NullBufferBuilder,
}

impl<O: OffsetSizeTrait> Values<O> {
    /// Creates an empty column for about `capacity` values.
    pub(crate) fn new(stored: Stored, capacity: usize) -> Values<O> {
        let mut offsets = Vec::with_capacity(capacity + 1);
        offsets.push(O::default());
        Values { stored, data: Vec::with_capacity(capacity * 8), offsets, nulls: NullBufferBuilder::new(capacity) }
    }

    /// Returns the layout of the finished array.
    #[inline]
    pub(crate) fn stored(&self) -> Stored {
        self.stored
    }

    /// Appends a value.
    #[inline]
    pub(crate) fn push(&mut self, value: &[u8]) -> Result<(), Refusal> {
        let end = O::from_usize(self.data.len() + value.len());
        let end = end.ok_or(Refusal::OutOfRange("the column would hold more than 2 GiB in a batch"))?;
        self.data.extend_from_slice(value);
        self.offsets.push(end);
        self.nulls.append_non_null();
        Ok(())
    }

    /// Returns the views of all values and the buffer of the long ones. A value of up to twelve bytes is stored in its view.
    fn views(&self, data: Vec<u8>) -> (ScalarBuffer<u128>, Vec<Buffer>) {
        let mut long = false;
        let views: Vec<u128> = self
            .offsets
            .windows(2)
            .map(|bounds| {
                let (start, end) = (bounds[0].as_usize(), bounds[1].as_usize());
                long |= end - start > 12;
                // This layout has 32-bit offsets.
                make_view(&data[start..end], 0, start as u32)
            })
            .collect();
        (views.into(), if long { vec![Buffer::from_vec(data)] } else { Vec::new() })
    }
}

impl<O: OffsetSizeTrait> Bytes for Values<O> {
    fn append(&mut self, value: &[u8]) -> Result<(), Refusal> {
        self.push(value)
    }

    fn append_null(&mut self) {
        self.offsets.push(self.offsets.last().copied().unwrap_or_default());
        self.nulls.append_null();
    }

    fn truncate(&mut self, length: usize) {
        if length + 1 < self.offsets.len() {
            self.data.truncate(self.offsets[length].as_usize());
            self.offsets.truncate(length + 1);
            self.nulls.truncate(length);
        }
    }

    fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        let nulls = self.nulls.finish();
        let data = std::mem::take(&mut self.data);
        Ok(match self.stored {
            Stored::TextView => {
                let (views, buffers) = self.views(data);
                Arc::new(StringViewArray::try_new(views, buffers, nulls)?)
            }
            Stored::BinaryView => {
                let (views, buffers) = self.views(data);
                Arc::new(BinaryViewArray::try_new(views, buffers, nulls)?)
            }
            Stored::FixedSize(size) => self.fixed_size(size, &data, nulls)?,
            Stored::Text | Stored::Binary => self.contiguous(data, nulls)?,
        })
    }
}

impl<O: OffsetSizeTrait> Values<O> {
    fn contiguous(&mut self, data: Vec<u8>, nulls: Option<NullBuffer>) -> Result<ArrayRef, ArrowError> {
        let offsets = OffsetBuffer::new(std::mem::take(&mut self.offsets).into());
        let data = Buffer::from_vec(data);
        Ok(match self.stored {
            Stored::Text => Arc::new(GenericStringArray::<O>::try_new(offsets, data, nulls)?),
            _ => Arc::new(GenericBinaryArray::<O>::try_new(offsets, data, nulls)?),
        })
    }

    fn fixed_size(&self, size: i32, data: &[u8], nulls: Option<NullBuffer>) -> Result<ArrayRef, ArrowError> {
        let size_bytes = usize::try_from(size).unwrap_or_default();
        let mut values = Vec::with_capacity(size_bytes * (self.offsets.len() - 1));
        for bounds in self.offsets.windows(2) {
            let value = &data[bounds[0].as_usize()..bounds[1].as_usize()];
            values.extend_from_slice(value);
            values.resize(values.len() + size_bytes - value.len(), 0);
        }
        Ok(Arc::new(FixedSizeBinaryArray::try_new(size, Buffer::from_vec(values), nulls)?))
    }
}
