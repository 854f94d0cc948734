//! Turns messages into rows. The source's format fills the columns of the payload; the others are filled from the message around it.
//! A message whose payload does not decode becomes a dead letter. A value that does not fit its column is NULL and marked; the rest of its
//! row is unaffected.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatchOptions, UInt32Array, UInt64Array, make_array};
use arrow::datatypes::{FieldRef, SchemaRef};
use arrow::record_batch::RecordBatch;

use self::copied_headers::CopiedHeaders;
use super::changes::KIND_COLUMN;
use super::contract::{Format, Member, RowBuilder};
use super::envelope::{self, Envelope, Part};
use super::fault::{Faults, MemberFault, Unfit};
use super::message::Message;
use super::odd_times::OddTimes;
use super::packing::{Ordinals, Packing};
use super::reading::{Reading, readings};
use super::registry;
use super::sql_type::SqlType;
use crate::Error;
use crate::dead_letters::DeadLetter;
use crate::source::{BatchLimits, SourceConfig, decoded_schema};

/// The number of messages passed to a format at once: few enough that they and their payloads' addresses stay in the L1 cache.
const CHUNK: usize = 128;
/// How many times smaller batches are whose messages may hold several events.
const PACKED: usize = 16;

/// The result of decoding a batch of messages.
#[derive(Debug)]
pub struct Decoded {
    /// The rows of the messages that decode, in order. Schema: [`decoded_schema`].
    pub rows: RecordBatch,
    /// The sequence of each row.
    pub sequences: UInt64Array,
    /// The place of each row in its message; none where each message is one event.
    pub ordinals: Option<Ordinals>,
    /// The values that do not fit, by row, then by column. `rows` holds NULL there, or an arbitrary value if the column is NOT NULL.
    pub unfit: Vec<Unfit>,
    /// The number of values that do not fit and became NULL because of option `on_bad_member`.
    pub nulled: u64,
    /// Columns that none of the rows had a member for; none where there is no such column, or no row.
    pub absent: Option<Arc<Absent>>,
    /// The events that do not decode, in order.
    pub dead_letters: Vec<DeadLetter>,
    /// The number of events, whether they decode or not.
    pub events: u64,
    /// The total size of their payloads in bytes.
    pub bytes: u64,
}

/// Columns that no payload of a batch had a member for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Absent {
    /// Indexes into the declared columns, rising. Not those of which the source's options say that they may be absent.
    pub columns: Vec<usize>,
    /// Names that payloads have had and that are no column's.
    pub unknown: Vec<String>,
}

/// Decodes the messages of one source. Shared between threads.
#[derive(Debug)]
pub struct Decoder {
    /// The source's name, for dead letters.
    source: String,
    format: Arc<dyn Format>,
    /// How messages hold events; none where each body is one.
    packing: Option<Packing>,
    /// The schema of the rows.
    schema: SchemaRef,
    /// All declared columns.
    declared: Vec<FieldRef>,
    /// One for each declared column.
    readings: Vec<Reading>,
    odd_times: OddTimes,
    /// The indexes into `declared` of the columns to decode.
    columns: Vec<usize>,
}

impl Decoder {
    /// Creates the decoder. Checks the declared columns, option `format` and the options for columns.
    ///
    /// # Errors
    /// [`Error::Config`] for an unknown format, a column whose type the format cannot read, or an option that does not apply to its column.
    pub fn new(config: &SourceConfig) -> Result<Decoder, Error> {
        let format = registry::open(config)?;
        for field in config.declared.fields() {
            let checked = match Part::of(field.name()) {
                Some(part) => envelope::check(part, field),
                None => format.check(field),
            };
            checked.map_err(|reason| Error::Config {
                message: format!(
                    "source {}: column {} of type {}: {reason}",
                    config.name,
                    field.name(),
                    SqlType(field.data_type())
                ),
                help: Some("declare another type; a column of type VARCHAR takes any JSON value as text".into()),
            })?;
        }
        if !config.columns.is_sorted_by(|one, next| one < next) {
            return Err(Error::Bug(format!("source {}: columns {:?} do not rise", config.name, config.columns)));
        }
        Ok(Decoder {
            source: config.name.clone(),
            format,
            packing: Packing::of(config)?,
            schema: decoded_schema(config),
            declared: config.declared.fields().iter().cloned().collect(),
            readings: readings(config)?,
            odd_times: OddTimes::new(),
            columns: config.columns.clone(),
        })
    }

    /// Returns the schema of the rows.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Returns the limits of a batch of messages: fewer bytes where a few of them can hold an event.
    pub(crate) fn limits(&self, limits: BatchLimits) -> BatchLimits {
        match self.packing {
            None => limits,
            Some(_) => BatchLimits { max_bytes: limits.max_bytes / PACKED, ..limits },
        }
    }

    /// Returns the source's name.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether messages are changes of rows: then one without a body may say that a row is gone.
    #[must_use]
    pub fn reads_changes(&self) -> bool {
        self.declared.iter().any(|field| field.name() == KIND_COLUMN)
    }

    /// Decodes about `capacity` messages. Each becomes a row or a dead letter.
    ///
    /// # Errors
    /// [`Error::Bug`], and those of [`Format::prepare`].
    pub fn decode<'a>(&self, capacity: usize, messages: impl IntoIterator<Item = Message<'a>>) -> Result<Decoded, Error> {
        let mut messages = messages.into_iter();
        let mut batch = Rows::new(self, capacity)?;
        if let Some(packing) = self.packing {
            return batch.unpack(packing, messages);
        }
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
            self.format.prepare(&payloads)?;
            batch.append(&chunk, &payloads, &[]);
        }
    }
}

/// The origin of a column of the result.
#[derive(Debug, Clone, Copy)]
enum Filling {
    /// The next column of the format.
    Payload,
    /// The envelope column at this index.
    Envelope(usize),
}

/// Builds the rows of one batch.
struct Rows<'d> {
    decoder: &'d Decoder,
    payloads: Box<dyn RowBuilder>,
    /// The index in the declaration of each member passed to the format.
    members: Vec<usize>,
    /// The envelope columns, each with its index in the declaration.
    envelopes: Vec<(usize, Envelope)>,
    /// The origins of the columns to decode, in order.
    fillings: Vec<Filling>,
    sequences: Vec<u64>,
    /// The place of each row in its message. Empty if each message is one event.
    ordinals: Vec<u32>,
    unfit: Vec<Unfit>,
    nulled: u64,
    dead_letters: Vec<DeadLetter>,
    headers: CopiedHeaders,
    events: u64,
    bytes: u64,
    /// The faults of the current chunk. Its memory is reused for the next one.
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
            ordinals: Vec::new(),
            unfit: Vec::new(),
            nulled: 0,
            dead_letters: Vec::new(),
            headers: CopiedHeaders::default(),
            events: 0,
            bytes: 0,
            faults: Faults::default(),
            decoder,
        })
    }

    /// Appends events, whose bodies are those of `messages` and whose texts are `payloads`. `ordinals` are their places in their messages;
    /// empty if each message is one event.
    fn append(&mut self, messages: &[Message<'_>], payloads: &[&[u8]], ordinals: &[u32]) {
        self.events += messages.len() as u64;
        self.bytes += payloads.iter().map(|payload| payload.len() as u64).sum::<u64>();
        self.faults.clear();
        self.payloads.append(payloads, &mut self.faults);
        self.append_envelopes(messages);
        let first = self.sequences.len();
        let mut counts = self.faults.row_counts();
        for (index, message) in messages.iter().enumerate() {
            match counts.of(index) {
                Ok(1) => self.sequences.push(message.sequence),
                Ok(rows) => self.sequences.extend(std::iter::repeat_n(message.sequence, rows)),
                Err(fault) => {
                    let ordinal = ordinals.get(index).copied().unwrap_or_default();
                    self.dead_letters.push(self.headers.letter(&self.decoder.source, message, fault, ordinal));
                }
            }
        }
        if !ordinals.is_empty() {
            let mut counts = self.faults.row_counts();
            for (index, ordinal) in ordinals.iter().enumerate() {
                let rows = counts.of(index).unwrap_or_default();
                self.ordinals.extend(std::iter::repeat_n(*ordinal, rows));
            }
        }
        if !self.faults.members.is_empty() {
            self.mark_members(messages, first);
        }
    }

    /// Fills the envelope columns for the messages whose payloads decode.
    fn append_envelopes(&mut self, messages: &[Message<'_>]) {
        for (column, envelope) in &mut self.envelopes {
            let mut counts = self.faults.row_counts();
            let mut row = self.sequences.len();
            for (index, message) in messages.iter().enumerate() {
                for _ in 0..counts.of(index).unwrap_or_default() {
                    match envelope.append(message, row) {
                        Err(_) if self.decoder.readings[*column].bad_is_null => self.nulled += 1,
                        Err(fault) => self.unfit.push(fault.mark(row, *column, message.payload)),
                        Ok(()) => {}
                    }
                    row += 1;
                }
            }
        }
    }

    /// Marks the members that did not fit. `first` is the first row of the chunk.
    #[cold]
    fn mark_members(&mut self, messages: &[Message<'_>], first: usize) {
        let mut counts = self.faults.row_counts();
        let mut next = first;
        let rows: Vec<_> = (0..messages.len())
            .map(|payload| {
                let start = next;
                next += counts.of(payload).unwrap_or_default();
                start..next
            })
            .collect();
        for MemberFault { payload, member, fault } in &self.faults.members {
            let column = self.members[*member];
            if self.decoder.readings[column].bad_is_null {
                self.nulled += 1;
                continue;
            }
            self.unfit.extend(rows[*payload].clone().map(|row| fault.mark(row, column, messages[*payload].payload)));
        }
    }

    fn absent(&self) -> Option<Arc<Absent>> {
        let (members, unknown) = self.payloads.absent();
        let columns = members.into_iter().map(|member| self.members[member]);
        let columns: Vec<usize> = columns.filter(|column| !self.decoder.readings[*column].may_be_absent).collect();
        (!columns.is_empty()).then(|| Arc::new(Absent { columns, unknown }))
    }

    fn finish(mut self) -> Result<Decoded, Error> {
        let bug = |error: arrow::error::ArrowError| Error::Bug(format!("decoded rows: {error}"));
        let rows = self.sequences.len();
        self.unfit.sort_unstable_by_key(|unfit| (unfit.row, unfit.column));
        let absent = if rows > 0 { self.absent() } else { None };
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(self.fillings.len());
        let sequences = UInt64Array::from(self.sequences);
        let ordinals = self.decoder.packing.map(|packing| (UInt32Array::from(self.ordinals), packing));
        let mut payloads = self.payloads.finish().map_err(bug)?.into_iter();
        for (filling, column) in self.fillings.iter().zip(&self.decoder.columns) {
            let array = match filling {
                Filling::Payload => payloads.next().ok_or_else(|| Error::Bug("a column to decode was not built".into()))?,
                Filling::Envelope(index) => {
                    self.envelopes[*index].1.finish(&sequences, ordinals.as_ref().map(|(ordinals, _)| ordinals)).map_err(bug)?
                }
            };
            let filled = !self.decoder.declared[*column].is_nullable() && array.null_count() > 0;
            arrays.push(if filled { without_nulls(&array).map_err(bug)? } else { array });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let rows = RecordBatch::try_new_with_options(Arc::clone(&self.decoder.schema), arrays, &options).map_err(bug)?;
        self.decoder.odd_times.look(&self.decoder.source, &rows);
        Ok(Decoded {
            rows,
            sequences,
            ordinals: ordinals.map(|(of_rows, packing)| Ordinals::new(of_rows, packing)),
            unfit: self.unfit,
            nulled: self.nulled,
            absent,
            dead_letters: self.dead_letters,
            events: self.events,
            bytes: self.bytes,
        })
    }
}

/// Removes the null mask, for a column that is NOT NULL. The NULLs become arbitrary values, which nobody reads.
fn without_nulls(array: &ArrayRef) -> Result<ArrayRef, arrow::error::ArrowError> {
    Ok(make_array(array.to_data().into_builder().nulls(None).build()?))
}

mod copied_headers;
#[cfg(test)]
mod tests;
mod unpacked;
