//! Sources: what is declared of one, what reading it gives, and one face for all kinds of readers.

mod decoding;
pub mod file;
pub mod nats;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::UInt64Array;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::dead_letters::DeadLetter;

/// What `CREATE EXTERNAL TABLE` declares, with the columns narrowed to those that some view reads.
#[derive(Clone)]
pub struct SourceConfig {
    /// The table's name.
    pub name: String,
    /// `NATS` or `FILE`.
    pub stored_as: String,
    /// `nats://host:port/STREAM`, a path, a folder, a glob, or `-`.
    pub location: String,
    /// `OPTIONS (...)`, merged with `alluvium.toml` and the environment; keys in lower case. Values may be secret.
    pub options: BTreeMap<String, String>,
    /// Every declared column. Those named `_sequence _subject _timestamp _headers _payload` are filled from the message.
    pub declared: SchemaRef,
    /// Indexes into `declared`, rising: the columns to decode. NOT NULL columns that are not among them are checked all the same.
    pub columns: Vec<usize>,
    /// Bounds of a micro-batch.
    pub limits: BatchLimits,
}

/// The names of the options only: values may be secret.
impl fmt::Debug for SourceConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourceConfig")
            .field("name", &self.name)
            .field("stored_as", &self.stored_as)
            .field("options", &self.options.keys())
            .field("columns", &self.columns)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// Bounds of a micro-batch: a batch ends at whichever is reached first.
#[derive(Debug, Clone, Copy)]
pub struct BatchLimits {
    /// Events in a batch, at most.
    pub max_events: usize,
    /// Bytes of bodies in a batch, at most (one event may exceed it).
    pub max_bytes: usize,
    /// How long the first event of a batch waits for more to come. A source that is known to hold enough to fill the batch
    /// may take longer, up to a quarter of a second.
    pub max_wait: Duration,
}

impl Default for BatchLimits {
    fn default() -> Self {
        Self { max_events: 65_536, max_bytes: 64 << 20, max_wait: Duration::from_millis(5) }
    }
}

/// Where reading goes on: an offset, and what proves that the source is still the one that was read up to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The next sequence to read (exclusive end of what has been read). The first event of a source has sequence 1.
    pub offset: u64,
    /// Which source this is, and the last event that was read from it.
    pub identity: Identity,
}

/// What is kept in a checkpoint to know a source again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Identity {
    /// A JetStream stream.
    Nats {
        /// The stream's name.
        stream: String,
        /// The stream's creation time, RFC 3339 with nanoseconds.
        created: String,
        /// The last event that was read, if any.
        last: Option<LastEvent>,
    },
    /// A file or a list of files in name order.
    File {
        /// The file that reading is in, as given by the location; none before the first line.
        file: Option<String>,
        /// Bytes of that file that have been read.
        byte: u64,
        /// Lines that the files before this one held.
        lines_before: u64,
        /// The last line that was read, if any.
        last: Option<LastEvent>,
    },
}

/// The last event read: compared with what the source holds there now, to notice a source that was made anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastEvent {
    /// Its sequence.
    pub sequence: u64,
    /// Its time, nanoseconds since the epoch; 0 for files.
    pub timestamp_ns: i64,
    /// xxh3-64 of its body.
    pub payload_hash: u64,
}

/// Decoded events of one source: those with sequences in `start..end` that the source's subjects select.
#[derive(Debug, Clone)]
pub struct Batch {
    /// First sequence covered.
    pub start: u64,
    /// One past the last sequence covered; equals `position.offset`. `start == end` never occurs.
    pub end: u64,
    /// The good events in order of sequence; schema: [`decoded_schema`].
    pub rows: RecordBatch,
    /// The sequence of each row, strictly rising, as long as `rows`.
    pub sequences: UInt64Array,
    /// Events read, good and bad.
    pub events: u64,
    /// Bytes of their bodies.
    pub bytes: u64,
    /// The bad ones.
    pub dead_letters: Vec<DeadLetter>,
    /// When the newest event was stored, nanoseconds since the epoch, where the source says.
    pub newest_ns: Option<i64>,
    /// Where reading goes on after this batch.
    pub position: Position,
    /// The messages behind the rows, for those on which a view's expression fails.
    pub origin: Option<Arc<dyn Origin>>,
}

/// The messages that a batch was decoded from.
pub trait Origin: std::fmt::Debug + Send + Sync {
    /// The message of a sequence as a letter for the given view; none where the batch holds no such message.
    fn letter(&self, sequence: u64) -> Option<DeadLetter>;
}

impl Batch {
    /// The part of this batch at and after `offset`, for a reader that has already applied what comes before.
    /// Counts of events and bytes stay those of the whole.
    #[must_use]
    pub fn since(&self, offset: u64) -> Batch {
        if offset <= self.start {
            return self.clone();
        }
        let first = self.sequences.values().partition_point(|sequence| *sequence < offset);
        let length = self.sequences.len() - first;
        Batch {
            start: offset.min(self.end),
            rows: self.rows.slice(first, length),
            sequences: self.sequences.slice(first, length),
            dead_letters: self.dead_letters.iter().filter(|letter| letter.sequence >= offset).cloned().collect(),
            ..self.clone()
        }
    }

    /// The part of this batch before `offset`, for a reader that stops there. Its `position` stays that of the whole.
    #[must_use]
    pub fn until(&self, offset: u64) -> Batch {
        if offset >= self.end {
            return self.clone();
        }
        let length = self.sequences.values().partition_point(|sequence| *sequence < offset);
        Batch {
            end: offset.max(self.start),
            rows: self.rows.slice(0, length),
            sequences: self.sequences.slice(0, length),
            dead_letters: self.dead_letters.iter().filter(|letter| letter.sequence < offset).cloned().collect(),
            ..self.clone()
        }
    }
}

impl Batch {
    /// The letter for row `row`, on which an expression of `view` failed.
    #[must_use]
    pub fn expression_letter(&self, source: &str, view: &str, row: usize, error: String) -> DeadLetter {
        let sequence = if row < self.sequences.len() { self.sequences.value(row) } else { self.start };
        let found = self.origin.as_ref().and_then(|origin| origin.letter(sequence));
        let letter = found.unwrap_or_else(|| DeadLetter {
            source: source.to_owned(),
            sequence,
            view: None,
            subject: String::new(),
            timestamp_ns: None,
            headers: None,
            payload: bytes::Bytes::new(),
            kind: "expression",
            error: String::new(),
        });
        DeadLetter { source: source.to_owned(), view: Some(view.to_owned()), kind: "expression", error, ..letter }
    }
}

/// The schema of [`Batch::rows`]: the declared columns named by `columns`, in that order.
#[must_use]
pub fn decoded_schema(config: &SourceConfig) -> SchemaRef {
    let fields: Vec<_> = config.columns.iter().map(|index| config.declared.field(*index).clone()).collect();
    Arc::new(arrow::datatypes::Schema::new(fields))
}

/// What a source holds now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// The first sequence that is still there (or would come next, when empty).
    pub first: u64,
    /// One past the last sequence: the offset at which a reader has caught up.
    pub end: u64,
}

/// Where to begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// The first event that the source still has.
    First,
    /// Where a checkpoint left off. The source must be the same and must hold everything from there on.
    At(Position),
}

/// What [`Reader::next`] gives.
#[derive(Debug)]
// Moved once for each batch of thousands of events: a box would save nothing.
#[allow(clippy::large_enum_variant)]
pub enum Read {
    /// Events, or a range of sequences without any that the subjects select.
    Batch(Batch),
    /// Nothing new for now: everything below this offset has been read. The offset never exceeds what batches covered.
    CaughtUp {
        /// The reader's offset.
        offset: u64,
    },
    /// There will never be more (standard input at its end).
    End,
}

/// A declared source, connected and checked; cheap to clone.
#[derive(Debug, Clone)]
pub enum Source {
    /// A JetStream stream.
    Nats(nats::NatsSource),
    /// Files of JSON lines.
    File(file::FileSource),
}

impl Source {
    /// Checks the declaration (options, types) without touching the outside.
    ///
    /// # Errors
    /// [`Error::Config`] with the option or column concerned.
    pub fn new(config: SourceConfig) -> Result<Source, Error> {
        match config.stored_as.to_ascii_uppercase().as_str() {
            "NATS" => Ok(Source::Nats(nats::NatsSource::new(config)?)),
            "FILE" => Ok(Source::File(file::FileSource::new(config)?)),
            other => Err(Error::Config {
                message: format!("source {}: STORED AS {other} is not known", config.name),
                help: Some("write STORED AS NATS or STORED AS FILE".into()),
            }),
        }
    }

    /// The declaration.
    #[must_use]
    pub fn config(&self) -> &SourceConfig {
        match self {
            Source::Nats(source) => source.config(),
            Source::File(source) => source.config(),
        }
    }

    /// Whether there can be only one reader of it in the life of a process: standard input.
    #[must_use]
    pub fn is_read_once(&self) -> bool {
        match self {
            Source::Nats(_) => false,
            Source::File(source) => source.is_read_once(),
        }
    }

    /// What the source holds now. Connects where that has not been done.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the source does not answer (trying again can help), [`Error::Config`] where it refuses.
    pub async fn extent(&self) -> Result<Extent, Error> {
        match self {
            Source::Nats(source) => source.extent().await,
            Source::File(source) => source.extent().await,
        }
    }

    /// A new reader.
    ///
    /// # Errors
    /// [`Error::StreamChanged`] when `start` is a position of another stream or its events are gone, and those of
    /// [`Source::extent`].
    pub async fn read(&self, start: Start) -> Result<Reader, Error> {
        match self {
            Source::Nats(source) => Ok(Reader::Nats(Box::new(source.read(start).await?))),
            Source::File(source) => Ok(Reader::File(Box::new(source.read(start).await?))),
        }
    }
}

/// Reads one source from a position on. Dropping it ends it.
#[derive(Debug)]
pub enum Reader {
    /// Of a stream.
    Nats(Box<nats::NatsReader>),
    /// Of files.
    File(Box<file::FileReader>),
}

impl Reader {
    /// The next batch, in order, without gaps: each batch starts where the one before ended. Waits while there is nothing,
    /// and reports `CaughtUp` once each time the end is reached, then again after at most a second of quiet.
    /// Dropping the future loses no event.
    ///
    /// # Errors
    /// [`Error::StreamChanged`] when events are missing; [`Error::Unavailable`] only after the reader's own retries (which
    /// never end for a server that is away: it logs and goes on).
    pub async fn next(&mut self) -> Result<Read, Error> {
        match self {
            Reader::Nats(reader) => reader.next().await,
            Reader::File(reader) => reader.next().await,
        }
    }

    /// Where the reader stands: after the last batch that it gave.
    #[must_use]
    pub fn position(&self) -> &Position {
        match self {
            Reader::Nats(reader) => reader.position(),
            Reader::File(reader) => reader.position(),
        }
    }

    /// How often this reader had to be made anew since it was opened.
    #[must_use]
    pub fn restarts(&self) -> u64 {
        match self {
            Reader::Nats(reader) => reader.restarts(),
            Reader::File(_) => 0,
        }
    }
}
