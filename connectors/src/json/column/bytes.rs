//! Columns of text and of bytes.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryViewArray, FixedSizeBinaryArray, GenericBinaryArray, GenericStringArray, NullBufferBuilder, OffsetSizeTrait,
    StringViewArray, make_view,
};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::{Column, text};
use crate::json::fault::{Fault, Refusal};

/// A column that also takes bytes as they are.
pub(in crate::json) trait Bytes: Column {
    /// Appends a value as it is to be stored; UTF-8 where the column is text.
    fn append_bytes(&mut self, value: &[u8]) -> Result<(), Refusal>;
    /// The same, known by the general trait only.
    fn into_column(self: Box<Self>) -> Box<dyn Column>;
}

/// How the finished array holds its values.
#[derive(Debug, Clone, Copy)]
enum Layout {
    Text,
    Binary,
    TextView,
    BinaryView,
    FixedSize(i32),
}

/// Columns of text and of bytes; none for other types.
pub(in crate::json) fn make(data_type: &DataType, capacity: usize) -> Option<Box<dyn Bytes>> {
    Some(match data_type {
        DataType::Utf8 => Box::new(Values::<i32>::new(data_type, Layout::Text, capacity)),
        DataType::LargeUtf8 => Box::new(Values::<i64>::new(data_type, Layout::Text, capacity)),
        DataType::Utf8View => Box::new(Values::<i32>::new(data_type, Layout::TextView, capacity)),
        DataType::Binary => Box::new(Values::<i32>::new(data_type, Layout::Binary, capacity)),
        DataType::LargeBinary => Box::new(Values::<i64>::new(data_type, Layout::Binary, capacity)),
        DataType::BinaryView => Box::new(Values::<i32>::new(data_type, Layout::BinaryView, capacity)),
        DataType::FixedSizeBinary(size) => Box::new(Values::<i64>::new(data_type, Layout::FixedSize(*size), capacity)),
        _ => return None,
    })
}

/// base64 in the standard alphabet and in the one for URLs: writers differ, and the two cannot be confused.
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);
const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);

/// Values end to end, and where each ends.
struct Values<O> {
    data_type: DataType,
    layout: Layout,
    data: Vec<u8>,
    offsets: Vec<O>,
    nulls: NullBufferBuilder,
}

impl<O: OffsetSizeTrait> Values<O> {
    fn new(data_type: &DataType, layout: Layout, capacity: usize) -> Values<O> {
        let mut offsets = Vec::with_capacity(capacity + 1);
        offsets.push(O::default());
        Values {
            data_type: data_type.clone(),
            layout,
            data: Vec::with_capacity(capacity * 8),
            offsets,
            nulls: NullBufferBuilder::new(capacity),
        }
    }

    #[inline]
    fn push(&mut self, value: &[u8]) -> Result<(), Refusal> {
        let end = O::from_usize(self.data.len() + value.len());
        let end = end.ok_or(Refusal::OutOfRange("the column would hold more than 2 GiB in a batch"))?;
        self.data.extend_from_slice(value);
        self.offsets.push(end);
        self.nulls.append_non_null();
        Ok(())
    }

    #[inline]
    fn push_raw(&mut self, raw: &str) -> Result<(), Refusal> {
        match self.layout {
            Layout::Text | Layout::TextView => match text(raw)? {
                Some(value) => self.push(value.as_bytes()),
                None => self.push(raw.as_bytes()),
            },
            Layout::Binary | Layout::BinaryView | Layout::FixedSize(_) => {
                let value = text(raw)?.ok_or(Refusal::WrongType)?;
                let decoded = STANDARD.decode(&*value).or_else(|_| URL_SAFE.decode(&*value));
                let decoded = decoded.map_err(|_| Refusal::WrongType)?;
                if let Layout::FixedSize(size) = self.layout
                    && usize::try_from(size) != Ok(decoded.len())
                {
                    return Err(Refusal::OutOfRange("it does not have the length of the type"));
                }
                self.push(&decoded)
            }
        }
    }

    /// Views of all values, and the buffer of the long ones. Values of up to twelve bytes live in their view.
    fn views(&self, data: Vec<u8>) -> (ScalarBuffer<u128>, Vec<Buffer>) {
        let mut long = false;
        let views: Vec<u128> = self
            .offsets
            .windows(2)
            .map(|bounds| {
                let (start, end) = (bounds[0].as_usize(), bounds[1].as_usize());
                long |= end - start > 12;
                // Offsets are of 32 bits in this layout.
                make_view(&data[start..end], 0, start as u32)
            })
            .collect();
        (views.into(), if long { vec![Buffer::from_vec(data)] } else { Vec::new() })
    }
}

impl<O: OffsetSizeTrait> Column for Values<O> {
    fn append(&mut self, raw: &str) -> Result<(), Fault> {
        self.push_raw(raw).map_err(|refusal| {
            let expected = match self.layout {
                Layout::Text | Layout::TextView => self.data_type.to_string(),
                _ => format!("{} as base64 text", self.data_type),
            };
            Fault::of_value(refusal, &expected, raw)
        })
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
        Ok(match self.layout {
            Layout::TextView => {
                let (views, buffers) = self.views(data);
                Arc::new(StringViewArray::try_new(views, buffers, nulls)?)
            }
            Layout::BinaryView => {
                let (views, buffers) = self.views(data);
                Arc::new(BinaryViewArray::try_new(views, buffers, nulls)?)
            }
            Layout::FixedSize(size) => self.fixed_size(size, &data, nulls)?,
            Layout::Text | Layout::Binary => self.contiguous(data, nulls)?,
        })
    }
}

impl<O: OffsetSizeTrait> Values<O> {
    fn contiguous(&mut self, data: Vec<u8>, nulls: Option<NullBuffer>) -> Result<ArrayRef, ArrowError> {
        let offsets = OffsetBuffer::new(std::mem::take(&mut self.offsets).into());
        let data = Buffer::from_vec(data);
        Ok(match self.layout {
            Layout::Text => Arc::new(GenericStringArray::<O>::try_new(offsets, data, nulls)?),
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

impl<O: OffsetSizeTrait> Bytes for Values<O> {
    fn append_bytes(&mut self, value: &[u8]) -> Result<(), Refusal> {
        self.push(value)
    }

    fn into_column(self: Box<Self>) -> Box<dyn Column> {
        self
    }
}
