//! JSON bodies to Arrow rows: one body, one row or one dead letter, in one pass and without an allocation for each row.
//!
//! What a body must be: exactly one JSON object (RFC 8259, UTF-8), nested at most [`MAX_DEPTH`] deep, in members that no
//! column reads as well. Anything else is a dead letter, and so is a body whose value does not fit its column.
//!
//! | column | takes |
//! | --- | --- |
//! | integers | numbers without a fraction (`5`, `5.0`, `5e2`), and text of one (`"5"`, as protobuf writes 64-bit integers) |
//! | DECIMAL | numbers and text, exactly as written, exponents too; what would have to be rounded is `out_of_range` |
//! | floating point | numbers, text of one, `"NaN"`, `"Infinity"`, `"-Infinity"`; an overflow is `out_of_range` |
//! | BOOLEAN | `true`, `false` |
//! | VARCHAR | text; of a number, a boolean, an object or an array its JSON text as written |
//! | BINARY | base64 text, either alphabet, with or without padding |
//! | TIMESTAMP | RFC 3339 text with `T` or a space, with or without an offset (without one: in the column's time zone, else UTC); integers, also as text, in the column's unit since the epoch; nothing is rounded |
//! | DATE, TIME | ISO 8601 text; integers in the column's unit |
//! | INTERVAL, duration | text such as `1 month 2 days`; durations: integers in the column's unit |
//! | STRUCT | an object, by the rules of the body |
//! | arrays | an array |
//! | MAP | an object; of members of one name the last wins |
//!
//! A missing member and `null` are NULL, or a dead letter of kind `missing` where the column is NOT NULL; that is checked for
//! columns that are not decoded too. Members that no column names are passed over. A member belongs to the column of just its
//! name, else to the first column whose name differs in the case of ASCII letters only; where a body has both, the exact one
//! wins, and of members of one name the last.
//!
//! The columns `_sequence`, `_subject`, `_timestamp`, `_headers` and `_payload` are filled from the message, never from the body.

mod batch;
mod column;
mod envelope;
mod fault;
mod fields;
mod members;
mod object;
mod plain;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::array::UInt64Array;
use arrow::datatypes::{FieldRef, SchemaRef};
use arrow::record_batch::RecordBatch;

pub use batch::BatchBuilder;
pub(crate) use envelope::headers_json;

use crate::Error;
use crate::dead_letters::DeadLetter;
use crate::source::{SourceConfig, decoded_schema};

/// How deep a body may be nested, itself counted: what serde_json reads back.
pub const MAX_DEPTH: usize = 127;

/// The formats that option `format` may name.
const FORMATS: &[&str] = &["json"];

/// One event as a source hands it over. Nothing of it is copied unless a column reads it or it does not decode.
#[derive(Clone, Copy)]
pub struct Message<'a> {
    /// Its sequence.
    pub sequence: u64,
    /// The message's subject, or the file's name.
    pub subject: &'a str,
    /// When the event was stored, nanoseconds since the epoch, where known.
    pub timestamp_ns: Option<i64>,
    /// The message's headers, where there are any: asked only when `_headers` is read or the body does not decode.
    pub headers: Option<&'a dyn Headers>,
    /// The body.
    pub payload: &'a [u8],
}

/// A message's headers. Becomes a JSON object of texts; the values of a name that occurs more than once are joined by `, `.
pub trait Headers {
    /// Calls `each` with the name and value of each header, values of one name in their order.
    fn visit(&self, each: &mut dyn FnMut(&str, &str));
}

/// What a batch of messages gave.
#[derive(Debug)]
pub struct Decoded {
    /// The good ones, in the order of appending; schema: [`decoded_schema`].
    pub rows: RecordBatch,
    /// The sequence of each row.
    pub sequences: UInt64Array,
    /// The bad ones, in the order of appending.
    pub dead_letters: Vec<DeadLetter>,
    /// Messages appended, good and bad.
    pub events: u64,
    /// Bytes of their bodies.
    pub bytes: u64,
}

/// How the bodies of one source become rows. Shared between threads; each batch has a builder of its own.
#[derive(Debug)]
pub struct Decoder {
    /// The source's name, for dead letters.
    source: String,
    /// Of the rows made.
    schema: SchemaRef,
    /// Every declared column.
    declared: Vec<FieldRef>,
    /// Indexes into `declared` of the columns to make.
    columns: Vec<usize>,
}

impl Decoder {
    /// Checks the declaration and option `format`.
    ///
    /// # Errors
    /// [`Error::Config`] for a format that is not known, or a column whose type cannot be read from JSON.
    pub fn new(config: &SourceConfig) -> Result<Decoder, Error> {
        if let Some(format) = config.options.get("format")
            && !FORMATS.iter().any(|known| known.eq_ignore_ascii_case(format))
        {
            return Err(Error::Config {
                message: format!("source {}: format '{format}' is not known", config.name),
                help: Some(format!("write one of: {}", FORMATS.join(", "))),
            });
        }
        let decoder = Decoder {
            source: config.name.clone(),
            schema: decoded_schema(config),
            declared: config.declared.fields().iter().cloned().collect(),
            columns: config.columns.clone(),
        };
        for field in &decoder.declared {
            let made = match envelope::Part::of(field.name()) {
                Some(part) => envelope::check(part, field),
                None => column::make(field.data_type(), 0).map(|_| ()),
            };
            made.map_err(|reason| Error::Config {
                message: format!("source {}: column {} of type {}: {reason}", config.name, field.name(), field.data_type()),
                help: Some("declare another type; a column of type VARCHAR takes any JSON value as text".into()),
            })?;
        }
        Ok(decoder)
    }

    /// The schema of the rows.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// A builder for a batch of about `capacity` messages.
    ///
    /// # Errors
    /// [`Error::Bug`] only.
    pub fn batch(self: &Arc<Self>, capacity: usize) -> Result<BatchBuilder, Error> {
        BatchBuilder::new(Arc::clone(self), capacity)
    }
}
