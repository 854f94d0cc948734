//! The columns that are filled from the message itself: `_sequence _ordinal _subject _timestamp _headers
//! _payload`.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, TimestampNanosecondArray, UInt32Array, UInt64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, TimeUnit};
use arrow::error::ArrowError;

use super::bytes::{self, Bytes};
use super::fault::Fault;
use super::header_map::HeaderMap;
use super::message::{Message, headers_json, joined};
use super::sql_type::SqlType;

/// The part of the message that a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Sequence,
    /// The place of the event in its message, from 1.
    Ordinal,
    Subject,
    Timestamp,
    Headers,
    Payload,
}

impl Part {
    /// Returns the part that a column of this name holds; `None` for other names.
    pub(super) fn of(column: &str) -> Option<Part> {
        match column {
            "_sequence" => Some(Part::Sequence),
            "_ordinal" => Some(Part::Ordinal),
            "_subject" => Some(Part::Subject),
            "_timestamp" => Some(Part::Timestamp),
            "_headers" => Some(Part::Headers),
            "_payload" => Some(Part::Payload),
            _ => None,
        }
    }
}

/// Checks the type declared for a part. The error says what is wrong with it.
pub(super) fn check(part: Part, field: &Field) -> Result<(), String> {
    let of_type = field.data_type();
    match part {
        Part::Sequence | Part::Ordinal if of_type.is_integer() => Ok(()),
        Part::Ordinal => Err("it must be an integer, such as INT".into()),
        Part::Sequence => Err("it must be an integer, such as BIGINT UNSIGNED".into()),
        Part::Subject if of_type.is_string() => Ok(()),
        Part::Subject => Err("it must be VARCHAR".into()),
        Part::Timestamp if matches!(of_type, DataType::Timestamp(..)) => Ok(()),
        Part::Timestamp => Err("it must be TIMESTAMP".into()),
        Part::Headers => match of_type {
            DataType::Map(entries, _) => match entries.data_type() {
                DataType::Struct(fields) if fields.iter().all(|field| field.data_type().is_string()) => {
                    HeaderMap::new(of_type, 0).map(|_| ())
                }
                _ => Err("it must be MAP(VARCHAR, VARCHAR) or VARCHAR".into()),
            },
            _ if of_type.is_string() => Ok(()),
            _ => Err("it must be MAP(VARCHAR, VARCHAR) or VARCHAR".into()),
        },
        Part::Payload if of_type.is_string() || is_binary(of_type) => Ok(()),
        Part::Payload => Err("it must be VARCHAR or BINARY".into()),
    }
}

fn is_binary(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Binary | DataType::LargeBinary | DataType::BinaryView)
}

/// A column filled from the message.
pub(super) struct Envelope {
    name: String,
    nullable: bool,
    data_type: DataType,
    is_text: bool,
    values: Values,
}

enum Values {
    /// The batch keeps the sequences. They are only checked against `largest`, the largest that the column can hold.
    Sequence {
        largest: u64,
    },
    /// The batch keeps the ordinals.
    Ordinal,
    Subject(Box<dyn Bytes>),
    Timestamp(Vec<Option<i64>>),
    Headers(Box<dyn Bytes>),
    HeaderMap(HeaderMap),
    Payload(Box<dyn Bytes>),
}

impl Envelope {
    pub(super) fn new(part: Part, field: &Field, capacity: usize) -> Result<Envelope, String> {
        check(part, field)?;
        let data_type = field.data_type().clone();
        let bytes = || bytes::make(&data_type, capacity).ok_or_else(|| "not a text or binary type".to_owned());
        let values = match part {
            Part::Sequence => Values::Sequence { largest: largest(&data_type) },
            Part::Ordinal => Values::Ordinal,
            Part::Subject => Values::Subject(bytes()?),
            Part::Timestamp => Values::Timestamp(Vec::with_capacity(capacity)),
            Part::Headers if matches!(data_type, DataType::Map(..)) => Values::HeaderMap(HeaderMap::new(&data_type, capacity)?),
            Part::Headers => Values::Headers(bytes()?),
            Part::Payload => Values::Payload(bytes()?),
        };
        let (name, nullable, is_text) = (field.name().clone(), field.is_nullable(), data_type.is_string());
        Ok(Envelope { name, nullable, data_type, is_text, values })
    }

    /// Appends the value of the message that becomes row `row`. If it does not fit, appends NULL and returns the fault.
    pub(super) fn append(&mut self, message: &Message<'_>, row: usize) -> Result<(), Fault> {
        self.try_append(message).inspect_err(|_| self.append_null(row))
    }

    /// Makes row `row` NULL, and drops what a failed append left of it.
    #[cold]
    fn append_null(&mut self, row: usize) {
        self.truncate(row);
        match &mut self.values {
            Values::Sequence { .. } | Values::Ordinal => {}
            Values::Subject(column) | Values::Payload(column) | Values::Headers(column) => column.append_null(),
            Values::Timestamp(values) => values.push(None),
            Values::HeaderMap(column) => column.append_null(),
        }
    }

    fn try_append(&mut self, message: &Message<'_>) -> Result<(), Fault> {
        let present = match &mut self.values {
            Values::Sequence { largest } => {
                if message.sequence > *largest {
                    let text = format!("sequence {} does not fit type {}", message.sequence, self.data_type);
                    return Err(Fault::of_payload("out_of_range", text).in_member(&self.name));
                }
                true
            }
            // A column that cannot hold it has NULL.
            Values::Ordinal => true,
            Values::Subject(column) => {
                column.append(message.subject.as_bytes()).map_err(|refusal| {
                    Fault::of_value(refusal, &SqlType(&self.data_type), message.subject).in_member(&self.name)
                })?;
                true
            }
            Values::Timestamp(values) => {
                values.push(message.timestamp_ns);
                message.timestamp_ns.is_some()
            }
            Values::Headers(column) => match message.headers {
                Some(headers) => {
                    let json = headers_json(headers);
                    column
                        .append(json.as_bytes())
                        .map_err(|refusal| Fault::of_value(refusal, &SqlType(&self.data_type), &json).in_member(&self.name))?;
                    true
                }
                None => {
                    column.append_null();
                    false
                }
            },
            Values::HeaderMap(column) => match message.headers {
                Some(headers) => {
                    column.append(&joined(headers)).map_err(|refusal| {
                        Fault::of_value(refusal, &SqlType(&self.data_type), "the headers").in_member(&self.name)
                    })?;
                    true
                }
                None => {
                    column.append_null();
                    false
                }
            },
            Values::Payload(column) => {
                if self.is_text && simdutf8::basic::from_utf8(message.payload).is_err() {
                    return Err(Fault::of_payload("wrong_type", "the payload is not UTF-8".into()).in_member(&self.name));
                }
                column.append(message.payload).map_err(|refusal| {
                    Fault::of_value(refusal, &SqlType(&self.data_type), "the payload").in_member(&self.name)
                })?;
                true
            }
        };
        if present || self.nullable { Ok(()) } else { Err(Fault::missing().in_member(&self.name)) }
    }

    fn truncate(&mut self, length: usize) {
        match &mut self.values {
            Values::Sequence { .. } | Values::Ordinal => {}
            Values::Subject(column) | Values::Payload(column) => column.truncate(length),
            Values::Timestamp(values) => values.truncate(length),
            Values::Headers(column) => column.truncate(length),
            Values::HeaderMap(column) => column.truncate(length),
        }
    }

    /// Returns the column. `ordinals` are those of the rows, if messages may hold several events.
    pub(super) fn finish(&mut self, sequences: &UInt64Array, ordinals: Option<&UInt32Array>) -> Result<ArrayRef, ArrowError> {
        match &mut self.values {
            // The cast makes a sequence that the type cannot hold NULL.
            Values::Sequence { .. } => cast(sequences, &self.data_type),
            Values::Ordinal => {
                let of = |row| ordinals.map_or(1, |ordinals| ordinals.value(row).max(1));
                cast(&UInt32Array::from_iter_values((0..sequences.len()).map(of)), &self.data_type)
            }
            Values::Subject(column) | Values::Payload(column) => column.finish(),
            Values::Headers(column) => column.finish(),
            Values::HeaderMap(column) => column.finish(),
            Values::Timestamp(values) => {
                let zone = match &self.data_type {
                    DataType::Timestamp(_, zone) => zone.clone(),
                    _ => None,
                };
                // The zone is set first, so that the cast changes only the unit and never the instant.
                let nanoseconds = TimestampNanosecondArray::from(std::mem::take(values)).with_timezone_opt(zone);
                match &self.data_type {
                    DataType::Timestamp(TimeUnit::Nanosecond, _) => Ok(Arc::new(nanoseconds) as ArrayRef),
                    other => cast(&nanoseconds as &dyn Array, other),
                }
            }
        }
    }
}

fn largest(data_type: &DataType) -> u64 {
    match data_type {
        DataType::Int8 => i8::MAX as u64,
        DataType::Int16 => i16::MAX as u64,
        DataType::Int32 => i32::MAX as u64,
        DataType::Int64 => i64::MAX as u64,
        DataType::UInt8 => u64::from(u8::MAX),
        DataType::UInt16 => u64::from(u16::MAX),
        DataType::UInt32 => u64::from(u32::MAX),
        _ => u64::MAX,
    }
}
