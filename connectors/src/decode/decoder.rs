//! Messages to rows: the payload's columns by the source's format, the others from the message around it, and a dead letter for each
//! message that gives no row.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatchOptions, UInt64Array};
use arrow::datatypes::{FieldRef, SchemaRef};
use arrow::record_batch::RecordBatch;

use super::contract::{Format, Member, RowBuilder, Use};
use super::envelope::{self, Envelope, Part};
use super::fault::Fault;
use super::message::Message;
use super::registry;
use crate::Error;
use crate::dead_letters::DeadLetter;
use crate::source::{SourceConfig, decoded_schema};

/// Messages that a format is given at once: few enough to stay in the first cache with their payloads' addresses.
const CHUNK: usize = 128;

/// What a batch of messages gave.
#[derive(Debug)]
pub struct Decoded {
    /// The good ones, in their order; schema: [`decoded_schema`].
    pub rows: RecordBatch,
    /// The sequence of each row.
    pub sequences: UInt64Array,
    /// The bad ones, in their order.
    pub dead_letters: Vec<DeadLetter>,
    /// Messages, good and bad.
    pub events: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
}

/// How the messages of one source become rows. Shared between threads.
#[derive(Debug)]
pub struct Decoder {
    /// The source's name, for dead letters.
    source: String,
    format: Arc<dyn Format>,
    /// Of the rows made.
    schema: SchemaRef,
    /// Every declared column.
    declared: Vec<FieldRef>,
    /// Indexes into `declared` of the columns to make.
    columns: Vec<usize>,
}

impl Decoder {
    /// Checks the declared columns and option `format`.
    ///
    /// # Errors
    /// [`Error::Config`] for a format that is not known, or a column whose type it cannot read.
    pub fn new(config: &SourceConfig) -> Result<Decoder, Error> {
        let format = registry::open(config)?;
        for field in config.declared.fields() {
            let checked = match Part::of(field.name()) {
                Some(part) => envelope::check(part, field),
                None => format.check(field),
            };
            checked.map_err(|reason| Error::Config {
                message: format!("source {}: column {} of type {}: {reason}", config.name, field.name(), field.data_type()),
                help: Some("declare another type; a column of type VARCHAR takes any JSON value as text".into()),
            })?;
        }
        if !config.columns.is_sorted_by(|one, next| one < next) {
            return Err(Error::Bug(format!("source {}: columns {:?} do not rise", config.name, config.columns)));
        }
        Ok(Decoder {
            source: config.name.clone(),
            format,
            schema: decoded_schema(config),
            declared: config.declared.fields().iter().cloned().collect(),
            columns: config.columns.clone(),
        })
    }

    /// The schema of the rows.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The source's name.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Decodes about `capacity` messages: each gives a row or a dead letter.
    ///
    /// # Errors
    /// [`Error::Bug`] only.
    pub fn decode<'a>(&self, capacity: usize, messages: impl IntoIterator<Item = Message<'a>>) -> Result<Decoded, Error> {
        let mut messages = messages.into_iter();
        let mut batch = Rows::new(self, capacity)?;
        let mut chunk = Vec::with_capacity(CHUNK);
        let mut payloads = Vec::with_capacity(CHUNK);
        loop {
            chunk.clear();
            chunk.extend(messages.by_ref().take(CHUNK));
            if chunk.is_empty() {
                return batch.finish();
            }
            payloads.clear();
            payloads.extend(chunk.iter().map(|message| message.payload));
            batch.append(&chunk, &payloads);
        }
    }
}

/// What fills a column of the result.
enum Filling {
    /// The format: its next column.
    Payload,
    /// The message around the payload: the envelope of this index.
    Envelope(usize),
}

/// The rows of one batch: columns side by side, taken back together where a message fails.
struct Rows<'d> {
    decoder: &'d Decoder,
    payloads: Box<dyn RowBuilder>,
    envelopes: Vec<Envelope>,
    /// Of the columns to make, in their order.
    fillings: Vec<Filling>,
    sequences: Vec<u64>,
    dead_letters: Vec<DeadLetter>,
    events: u64,
    bytes: u64,
    /// Memory for the next chunk.
    faults: Vec<(usize, Fault)>,
}

impl Rows<'_> {
    fn new(decoder: &Decoder, capacity: usize) -> Result<Rows<'_>, Error> {
        let mut members = Vec::new();
        let mut envelopes = Vec::new();
        let mut fillings = Vec::with_capacity(decoder.columns.len());
        for (index, field) in decoder.declared.iter().enumerate() {
            let decoded = decoder.columns.contains(&index);
            let used = match (decoded, field.is_nullable()) {
                (true, _) => Use::Decoded,
                (false, false) => Use::Checked,
                (false, true) => Use::Named,
            };
            let Some(part) = Part::of(field.name()) else {
                members.push(Member { field: Arc::clone(field), used });
                fillings.extend(decoded.then_some(Filling::Payload));
                continue;
            };
            if used != Use::Named {
                envelopes.push(Envelope::new(part, field, capacity).map_err(Error::Bug)?);
                fillings.extend(decoded.then_some(Filling::Envelope(envelopes.len() - 1)));
            }
        }
        Ok(Rows {
            payloads: decoder.format.rows(&members, capacity).map_err(Error::Bug)?,
            envelopes,
            fillings,
            sequences: Vec::with_capacity(capacity),
            dead_letters: Vec::new(),
            events: 0,
            bytes: 0,
            faults: Vec::new(),
            decoder,
        })
    }

    fn append(&mut self, messages: &[Message<'_>], payloads: &[&[u8]]) {
        self.events += messages.len() as u64;
        self.bytes += payloads.iter().map(|payload| payload.len() as u64).sum::<u64>();
        self.faults.clear();
        self.payloads.append(payloads, &mut self.faults);
        if self.append_envelopes(messages).is_err() {
            // Rare. Rows behind the one that failed are there already, so all of the chunk is taken back.
            self.truncate();
            for message in messages {
                self.append_alone(message);
            }
            return;
        }
        let mut faults = self.faults.drain(..).peekable();
        for (index, message) in messages.iter().enumerate() {
            match faults.next_if(|(at, _)| *at == index) {
                None => self.sequences.push(message.sequence),
                Some((_, fault)) => self.dead_letters.push(self.decoder.letter(message, &fault)),
            }
        }
    }

    /// Fills the envelopes' columns for the messages whose payloads did not fail.
    fn append_envelopes(&mut self, messages: &[Message<'_>]) -> Result<(), Fault> {
        for envelope in &mut self.envelopes {
            let mut faults = self.faults.iter().peekable();
            for (index, message) in messages.iter().enumerate() {
                if faults.next_if(|(at, _)| *at == index).is_none() {
                    envelope.append(message)?;
                }
            }
        }
        Ok(())
    }

    /// One message of a chunk in which one fails for what is around its payload.
    #[cold]
    fn append_alone(&mut self, message: &Message<'_>) {
        self.faults.clear();
        self.payloads.append(&[message.payload], &mut self.faults);
        let fault = self.faults.pop().map(|(_, fault)| fault);
        let failed = fault.or_else(|| self.envelopes.iter_mut().find_map(|envelope| envelope.append(message).err()));
        match failed {
            None => self.sequences.push(message.sequence),
            Some(fault) => {
                self.truncate();
                self.dead_letters.push(self.decoder.letter(message, &fault));
            }
        }
    }

    /// Takes back what no sequence stands for.
    fn truncate(&mut self) {
        let rows = self.sequences.len();
        self.payloads.truncate(rows);
        for envelope in &mut self.envelopes {
            envelope.truncate(rows);
        }
    }

    fn finish(mut self) -> Result<Decoded, Error> {
        let bug = |error: arrow::error::ArrowError| Error::Bug(format!("decoded rows: {error}"));
        let rows = self.sequences.len();
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(self.fillings.len());
        let sequences = UInt64Array::from(self.sequences);
        let mut payloads = self.payloads.finish().map_err(bug)?.into_iter();
        for filling in &self.fillings {
            arrays.push(match filling {
                Filling::Payload => payloads.next().ok_or_else(|| Error::Bug("a column to decode was not built".into()))?,
                Filling::Envelope(index) => self.envelopes[*index].finish(&sequences).map_err(bug)?,
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
}

impl Decoder {
    #[cold]
    fn letter(&self, message: &Message<'_>, fault: &Fault) -> DeadLetter {
        message.letter(&self.source, fault.kind, fault.describe(message.payload))
    }
}

#[cfg(test)]
mod tests;
