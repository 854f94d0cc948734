//! Text and binary columns.

use arrow::array::{ArrayRef, OffsetSizeTrait};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::{Column, append_written, text};
use crate::decode::bytes::{Bytes, Stored, Values};
use crate::decode::fault::{Fault, Refusal};
use crate::decode::sql_type::SqlType;
use crate::decode::value::Value;

/// Creates a column for a text or binary type; returns `None` for other types.
pub(in crate::decode::json) fn make(data_type: &DataType, capacity: usize) -> Option<Box<dyn Column>> {
    let stored = Stored::of(data_type)?;
    let data_type = data_type.clone();
    Some(match Stored::is_large(&data_type) {
        false => Box::new(Texts::<i32> { values: Values::new(stored, capacity), data_type }),
        true => Box::new(Texts::<i64> { values: Values::new(stored, capacity), data_type }),
    })
}

/// Both base64 alphabets are accepted, since writers differ. No text means different bytes in the two.
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);
const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);

/// A text or binary column. Binary values are base64 text.
struct Texts<O> {
    data_type: DataType,
    values: Values<O>,
}

impl<O: OffsetSizeTrait> Texts<O> {
    #[inline]
    fn push(&mut self, raw: &str) -> Result<(), Refusal> {
        match self.values.stored() {
            Stored::Text | Stored::TextView => match text(raw)? {
                Some(value) => self.values.push(value.as_bytes()),
                None => self.values.push(raw.as_bytes()),
            },
            Stored::Binary | Stored::BinaryView | Stored::FixedSize(_) => {
                let value = text(raw)?.ok_or(Refusal::WrongType)?;
                let decoded = STANDARD.decode(&*value).or_else(|_| URL_SAFE.decode(&*value));
                let decoded = decoded.map_err(|_| Refusal::WrongType)?;
                if let Stored::FixedSize(size) = self.values.stored()
                    && usize::try_from(size) != Ok(decoded.len())
                {
                    return Err(Refusal::OutOfRange("it does not have the length of the type"));
                }
                self.values.push(&decoded)
            }
        }
    }
}

impl<O: OffsetSizeTrait> Column for Texts<O> {
    fn append(&mut self, raw: &str) -> Result<(), Fault> {
        self.push(raw).map_err(|refusal| {
            let expected = match self.values.stored() {
                Stored::Text | Stored::TextView => SqlType(&self.data_type).to_string(),
                _ => format!("{} as base64 text", SqlType(&self.data_type)),
            };
            Fault::of_value(refusal, &expected, raw)
        })
    }

    #[inline]
    fn append_value(&mut self, value: &[Value<'_>]) -> Result<(), Fault> {
        let pushed = match (value, self.values.stored()) {
            ([Value::Text(text)], Stored::Text | Stored::TextView) => self.values.push(text.as_bytes()),
            ([Value::Bytes(bytes)], Stored::Binary | Stored::BinaryView) => self.values.push(bytes),
            ([Value::Bytes(bytes)], Stored::FixedSize(size)) if usize::try_from(size) == Ok(bytes.len()) => {
                self.values.push(bytes)
            }
            _ => return append_written(self, value),
        };
        pushed.map_err(|refusal| Fault::of_value(refusal, &SqlType(&self.data_type), "a long value"))
    }

    fn append_null(&mut self) {
        self.values.append_null();
    }

    fn truncate(&mut self, length: usize) {
        self.values.truncate(length);
    }

    fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        self.values.finish()
    }
}
