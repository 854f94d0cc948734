//! One batch of messages on its way to rows: columns side by side, taken back together where a body fails half way.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatchOptions, UInt64Array};
use arrow::record_batch::RecordBatch;
use bytes::Bytes;

use super::column;
use super::envelope::{Envelope, Part, headers_json};
use super::fault::Fault;
use super::fields::{Fields, Slot};
use super::{Decoded, Decoder, Message};
use crate::Error;
use crate::dead_letters::DeadLetter;

/// Where a column of the result comes from.
enum Origin {
    Member(usize),
    Envelope(usize),
}

/// Makes one batch: [`BatchBuilder::append`] each message, then [`BatchBuilder::finish`].
pub struct BatchBuilder {
    decoder: Arc<Decoder>,
    fields: Fields,
    envelopes: Vec<Envelope>,
    origins: Vec<Origin>,
    sequences: Vec<u64>,
    dead_letters: Vec<DeadLetter>,
    events: u64,
    bytes: u64,
}

impl std::fmt::Debug for BatchBuilder {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("BatchBuilder").field("events", &self.events).field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

impl BatchBuilder {
    pub(super) fn new(decoder: Arc<Decoder>, capacity: usize) -> Result<BatchBuilder, Error> {
        let mut slots = Vec::new();
        let mut envelopes = Vec::new();
        let mut origins: Vec<Option<Origin>> = decoder.columns.iter().map(|_| None).collect();
        // Every declared column has a name to match, so that what a member means does not hang on the columns decoded.
        let mut names = Vec::new();
        for (index, field) in decoder.declared.iter().enumerate() {
            let place = decoder.columns.iter().position(|column| *column == index);
            let needed = place.is_some() || !field.is_nullable();
            let bug = |reason: String| Error::Bug(format!("column {}: {reason}", field.name()));
            let origin = if let Some(part) = Part::of(field.name()) {
                if !needed {
                    continue;
                }
                envelopes.push(Envelope::new(part, field, capacity).map_err(bug)?);
                Origin::Envelope(envelopes.len() - 1)
            } else {
                names.push((field.name().clone(), needed.then_some(slots.len())));
                if !needed {
                    continue;
                }
                let column = place.map(|_| column::make(field.data_type(), capacity)).transpose().map_err(bug)?;
                slots.push(Slot::new(field.name().clone(), field.is_nullable(), column));
                Origin::Member(slots.len() - 1)
            };
            if let Some(place) = place {
                origins[place] = Some(origin);
            }
        }
        let origins = origins.into_iter().collect::<Option<Vec<_>>>();
        Ok(BatchBuilder {
            fields: Fields::new(names, slots),
            envelopes,
            origins: origins.ok_or_else(|| Error::Bug("a column to decode is not declared".into()))?,
            sequences: Vec::with_capacity(capacity),
            dead_letters: Vec::new(),
            events: 0,
            bytes: 0,
            decoder,
        })
    }

    /// Messages appended, good and bad.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.events
    }

    /// Bytes of their bodies.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds one message: a row, or a dead letter.
    #[inline]
    pub fn append(&mut self, message: &Message<'_>) {
        self.events += 1;
        self.bytes += message.payload.len() as u64;
        match self.row(message) {
            Ok(()) => self.sequences.push(message.sequence),
            Err(fault) => self.refuse(message, &fault),
        }
    }

    /// Adds a message that is not to be decoded, as a dead letter.
    pub fn append_dead_letter(&mut self, message: &Message<'_>, kind: &'static str, error: String) {
        self.events += 1;
        self.bytes += message.payload.len() as u64;
        self.refuse(message, &Fault::of_body(kind, error));
    }

    /// The rows and the dead letters.
    ///
    /// # Errors
    /// [`Error::Bug`] only.
    pub fn finish(mut self) -> Result<Decoded, Error> {
        let bug = |error: arrow::error::ArrowError| Error::Bug(format!("rows decoded from JSON: {error}"));
        let rows = self.sequences.len();
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(self.origins.len());
        let sequences = UInt64Array::from(self.sequences);
        for origin in &self.origins {
            arrays.push(match origin {
                Origin::Member(slot) => match self.fields.column(*slot) {
                    Some(column) => column.finish().map_err(bug)?,
                    None => return Err(Error::Bug("a column to decode was not built".into())),
                },
                Origin::Envelope(index) => self.envelopes[*index].finish(&sequences).map_err(bug)?,
            });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(Decoded {
            rows: RecordBatch::try_new_with_options(Arc::clone(&self.decoder.schema), arrays, &options).map_err(bug)?,
            sequences,
            dead_letters: self.dead_letters,
            events: self.events,
            bytes: self.bytes,
        })
    }

    /// Appends to all columns, or to some and fails.
    fn row(&mut self, message: &Message<'_>) -> Result<(), Fault> {
        let payload = message.payload;
        let text = simdutf8::basic::from_utf8(payload).map_err(|_| not_utf8(payload))?;
        self.fields.append(text, self.sequences.len(), true)?;
        for envelope in &mut self.envelopes {
            envelope.append(message)?;
        }
        Ok(())
    }

    #[cold]
    fn refuse(&mut self, message: &Message<'_>, fault: &Fault) {
        let rows = self.sequences.len();
        self.fields.truncate(rows);
        for envelope in &mut self.envelopes {
            envelope.truncate(rows);
        }
        self.dead_letters.push(DeadLetter {
            source: self.decoder.source.clone(),
            sequence: message.sequence,
            view: None,
            subject: message.subject.to_owned(),
            timestamp_ns: message.timestamp_ns,
            headers: message.headers.map(headers_json),
            payload: Bytes::copy_from_slice(message.payload),
            kind: fault.kind,
            error: fault.describe(message.payload),
        });
    }
}

#[cold]
fn not_utf8(payload: &[u8]) -> Fault {
    let valid = std::str::from_utf8(payload).map_or_else(|error| error.valid_up_to(), str::len);
    Fault::of_body("not_json", "not UTF-8".into()).at(payload.as_ptr().addr() + valid)
}
