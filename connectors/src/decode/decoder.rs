//! Messages to rows: the payload's columns by the source's format, the others from the message around it. A message whose payload does not
//! decode gives a dead letter and no row; a value that does not fit its column is NULL and marked, and the rest of its row is as it is.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatchOptions, UInt64Array, make_array};
use arrow::datatypes::{FieldRef, SchemaRef};
use arrow::record_batch::RecordBatch;

use super::contract::{Format, Member, RowBuilder};
use super::envelope::{self, Envelope, Part};
use super::fault::{Fault, Faults, MemberFault, Unfit};
use super::message::Message;
use super::odd_times::OddTimes;
use super::reading::{Reading, readings};
use super::registry;
use crate::Error;
use crate::dead_letters::DeadLetter;
use crate::source::{SourceConfig, decoded_schema};

/// Messages that a format is given at once: few enough to stay in the first cache with their payloads' addresses.
const CHUNK: usize = 128;

/// What a batch of messages gave.
#[derive(Debug)]
pub struct Decoded {
    /// Those that decode, in their order; schema: [`decoded_schema`].
    pub rows: RecordBatch,
    /// The sequence of each row.
    pub sequences: UInt64Array,
    /// Values of the rows that do not fit, by row, then by column. NULL stands there, or anything where the column is NOT NULL.
    pub unfit: Vec<Unfit>,
    /// How many values do not fit and are NULL, as the source's options ask.
    pub nulled: u64,
    /// Those that do not decode, in their order.
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
    /// Of each declared column.
    readings: Vec<Reading>,
    odd_times: OddTimes,
    /// Indexes into `declared` of the columns to make.
    columns: Vec<usize>,
}

impl Decoder {
    /// Checks the declared columns, option `format` and those of the columns.
    ///
    /// # Errors
    /// [`Error::Config`] for a format that is not known, a column whose type it cannot read, or an option that does not go with it.
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
            readings: readings(config)?,
            odd_times: OddTimes::new(),
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
#[derive(Debug, Clone, Copy)]
enum Filling {
    /// The format: its next column.
    Payload,
    /// The message around the payload: the envelope of this index.
    Envelope(usize),
}

/// The rows of one batch: columns side by side.
struct Rows<'d> {
    decoder: &'d Decoder,
    payloads: Box<dyn RowBuilder>,
    /// Of each member that the format knows: its index in the declaration.
    members: Vec<usize>,
    /// Each with its column's index in the declaration.
    envelopes: Vec<(usize, Envelope)>,
    /// Of the columns to make, in their order.
    fillings: Vec<Filling>,
    sequences: Vec<u64>,
    unfit: Vec<Unfit>,
    nulled: u64,
    dead_letters: Vec<DeadLetter>,
    events: u64,
    bytes: u64,
    /// Memory for the next chunk.
    faults: Faults,
}

impl Rows<'_> {
    fn new(decoder: &Decoder, capacity: usize) -> Result<Rows<'_>, Error> {
        let mut declared = Vec::new();
        let mut members = Vec::new();
        let mut envelopes = Vec::new();
        let mut fillings = Vec::with_capacity(decoder.columns.len());
        for (index, field) in decoder.declared.iter().enumerate() {
            let decoded = decoder.columns.contains(&index);
            match Part::of(field.name()) {
                None => {
                    let reading = decoder.readings[index].clone();
                    declared.push(Member { field: Arc::clone(field), decoded, reading });
                    members.push(index);
                    fillings.extend(decoded.then_some(Filling::Payload));
                }
                Some(part) if decoded => {
                    fillings.push(Filling::Envelope(envelopes.len()));
                    envelopes.push((index, Envelope::new(part, field, capacity).map_err(Error::Bug)?));
                }
                Some(_) => {}
            }
        }
        Ok(Rows {
            payloads: decoder.format.rows(&declared, capacity).map_err(Error::Bug)?,
            members,
            envelopes,
            fillings,
            sequences: Vec::with_capacity(capacity),
            unfit: Vec::new(),
            nulled: 0,
            dead_letters: Vec::new(),
            events: 0,
            bytes: 0,
            faults: Faults::default(),
            decoder,
        })
    }

    fn append(&mut self, messages: &[Message<'_>], payloads: &[&[u8]]) {
        self.events += messages.len() as u64;
        self.bytes += payloads.iter().map(|payload| payload.len() as u64).sum::<u64>();
        self.faults.clear();
        self.payloads.append(payloads, &mut self.faults);
        self.append_envelopes(messages);
        let first = self.sequences.len();
        let mut faults = self.faults.payloads.iter().peekable();
        for (index, message) in messages.iter().enumerate() {
            match faults.next_if(|(at, _)| *at == index) {
                None => self.sequences.push(message.sequence),
                Some((_, fault)) => self.dead_letters.push(self.decoder.letter(message, fault)),
            }
        }
        if !self.faults.members.is_empty() {
            self.mark_members(messages, first);
        }
    }

    /// Fills the envelopes' columns for the messages whose payloads did not fail.
    fn append_envelopes(&mut self, messages: &[Message<'_>]) {
        for (column, envelope) in &mut self.envelopes {
            let mut faults = self.faults.payloads.iter().peekable();
            let mut row = self.sequences.len();
            for (index, message) in messages.iter().enumerate() {
                if faults.next_if(|(at, _)| *at == index).is_some() {
                    continue;
                }
                match envelope.append(message, row) {
                    Err(_) if self.decoder.readings[*column].bad_is_null => self.nulled += 1,
                    Err(fault) => self.unfit.push(fault.mark(row, *column, message.payload)),
                    Ok(()) => {}
                }
                row += 1;
            }
        }
    }

    /// Marks what did not fit of the chunk whose first row is `first`.
    #[cold]
    fn mark_members(&mut self, messages: &[Message<'_>], first: usize) {
        for MemberFault { payload, member, fault } in &self.faults.members {
            let column = self.members[*member];
            if self.decoder.readings[column].bad_is_null {
                self.nulled += 1;
                continue;
            }
            let failed_before = self.faults.payloads.partition_point(|(at, _)| at < payload);
            self.unfit.push(fault.mark(first + payload - failed_before, column, messages[*payload].payload));
        }
    }

    fn finish(mut self) -> Result<Decoded, Error> {
        let bug = |error: arrow::error::ArrowError| Error::Bug(format!("decoded rows: {error}"));
        let rows = self.sequences.len();
        self.unfit.sort_unstable_by_key(|unfit| (unfit.row, unfit.column));
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(self.fillings.len());
        let sequences = UInt64Array::from(self.sequences);
        let mut payloads = self.payloads.finish().map_err(bug)?.into_iter();
        for (filling, column) in self.fillings.iter().zip(&self.decoder.columns) {
            let array = match filling {
                Filling::Payload => payloads.next().ok_or_else(|| Error::Bug("a column to decode was not built".into()))?,
                Filling::Envelope(index) => self.envelopes[*index].1.finish(&sequences).map_err(bug)?,
            };
            let filled = !self.decoder.declared[*column].is_nullable() && self.unfit.iter().any(|unfit| unfit.column == *column);
            arrays.push(if filled { without_nulls(&array).map_err(bug)? } else { array });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let rows = RecordBatch::try_new_with_options(Arc::clone(&self.decoder.schema), arrays, &options).map_err(bug)?;
        self.decoder.odd_times.look(&self.decoder.source, &rows);
        Ok(Decoded {
            rows,
            sequences,
            unfit: self.unfit,
            nulled: self.nulled,
            dead_letters: self.dead_letters,
            events: self.events,
            bytes: self.bytes,
        })
    }
}

/// The same values with what stands behind each NULL, for a column that is NOT NULL: nobody reads those rows.
fn without_nulls(array: &ArrayRef) -> Result<ArrayRef, arrow::error::ArrowError> {
    Ok(make_array(array.to_data().into_builder().nulls(None).build()?))
}

impl Decoder {
    #[cold]
    fn letter(&self, message: &Message<'_>, fault: &Fault) -> DeadLetter {
        message.letter(&self.source, fault.kind, fault.describe(message.payload))
    }
}

#[cfg(test)]
mod tests;
