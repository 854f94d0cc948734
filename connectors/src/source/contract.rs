//! The traits that a source implements, and what it promises to the engine.

use std::fmt;
use std::time::Instant;

use futures::future::BoxFuture;

use super::batch::Batch;
use super::declaration::SourceConfig;
use super::position::Position;
use crate::Error;

/// A declared source. [`open`](super::open) creates one from its declaration, without I/O.
///
/// # Contract
/// - Reading from a position returns the events from its offsets on, and the same ones each time (checked by `reading` in the tests of
///   streams, and by the tests of files).
/// - A position of another source, or one whose following events are gone, is refused with [`Error::StreamChanged`] before anything is read
///   (checked by `changes` in the tests of streams, and by the tests of files).
/// - Two identities of one source are [`same_source`](super::Identity::same_source) (checked for records of the first release in
///   `source::position`).
/// - [`Source::holds`] returns [`Held::All`] only if every event that was read can be read again, or was overwritten by one that can, in a
///   source of which only the newest event of a key counts (checked by `held` and `gaps` in the tests of streams).
/// - [`Source::promises`] never changes (unchecked).
/// - [`Source::contact`] does not block (by its type), and reports a server that has gone away as lost (checked by `contact` in the tests
///   of streams).
pub trait Source: fmt::Debug + Send + Sync {
    /// Returns the declaration.
    fn config(&self) -> &SourceConfig;

    /// Returns what a reader may rely on.
    fn promises(&self) -> Promises;

    /// Returns the current extent of a partition. Connects if necessary.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the source does not answer (retrying can help), [`Error::Config`] if it refuses us.
    fn extent(&self, partition: u32) -> BoxFuture<'_, Result<Extent, Error>>;

    /// Checks whether the source still holds the events that were read. The default opens a reader, which suffices for a source that
    /// renumbers its events when one is removed.
    ///
    /// # Errors
    /// [`Error::StreamChanged`] if it is not the source that was read, and those of [`Source::extent`].
    fn holds<'a>(&'a self, past: &'a Past) -> BoxFuture<'a, Result<Held, Error>> {
        Box::pin(async move { self.read(Start::At(past.position.clone())).await.map(|_| Held::All) })
    }

    /// Returns the number of selected events that the source holds from an offset of partition 0 on.
    ///
    /// # Errors
    /// Those of [`Source::extent`].
    fn events_from(&self, offset: u64) -> BoxFuture<'_, Result<u64, Error>> {
        Box::pin(async move {
            let extent = self.extent(0).await?;
            Ok(extent.end.saturating_sub(offset.max(extent.first)))
        })
    }

    /// Returns the position at another offset of the source that a reader was opened on, or `None` if the source can only read on from
    /// where a reader stopped. The source must still hold the events from `offset` on.
    fn position_at(&self, opened: &Position, offset: u64) -> Option<Position> {
        let _ = (opened, offset);
        None
    }

    /// Returns the state of the connection without asking the source. A source without a connection is always connected.
    fn contact(&self) -> Contact {
        Contact { connected: true, answered: Some(Instant::now()), reason: None }
    }

    /// Returns what audits of the source's filter have found so far; `None` if there was none.
    fn audited(&self) -> Option<Audited> {
        None
    }

    /// Opens a reader.
    ///
    /// # Errors
    /// [`Error::StreamChanged`] if `start` is a position of another source or the events after it are gone, and those of
    /// [`Source::extent`].
    fn read(&self, start: Start) -> BoxFuture<'_, Result<Box<dyn Reader>, Error>>;
}

/// Reads one source from a position. Dropping it ends the reading.
///
/// # Contract
/// - Each batch starts where the previous one of its partition ended, and the first one at the reader's position (asserted in
///   `source::decoding`, and checked by the tests of each source).
/// - After a batch, [`Reader::position`] is the batch's (checked by the tests of each source).
/// - [`Read::CaughtUp`] is returned once each time the end is reached, and again after at most a second without events (checked by
///   `reading` in the tests of streams). A commit may follow it, whatever the last batch says of its end (checked by `atomic` in the
///   tests of streams).
/// - Sequences that the source no longer held when they were to be read are an error, or are in [`Batch::gaps`] (checked by `gaps` in the
///   tests of streams).
/// - Dropping a future of [`Reader::next`] loses no event (checked in `source::decoding`).
/// - After an error, nothing that was read after it is returned (checked in `source::decoding`).
pub trait Reader: fmt::Debug + Send {
    /// Waits for the next batch.
    ///
    /// # Errors
    /// [`Error::StreamChanged`] if events are missing; [`Error::Unavailable`] only after the reader's own retries. The reader logs and
    /// retries forever while a server is unavailable.
    fn next(&mut self) -> BoxFuture<'_, Result<Read, Error>>;

    /// Returns the position after the last batch returned.
    fn position(&self) -> &Position;

    /// Ends the reading and waits until the source holds nothing for this reader any more. Dropping the reader ends it in the background,
    /// which a program that exits may cut off.
    fn close(self: Box<Self>) -> BoxFuture<'static, ()> {
        drop(self);
        Box::pin(std::future::ready(()))
    }

    /// Returns how often this reader had to restart its connection or consumer since it was opened.
    fn restarts(&self) -> u64 {
        0
    }
}

/// The state of the connection to a source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contact {
    /// Whether the source answered when last asked, and the connection has not been lost since. False before the first request.
    pub connected: bool,
    /// When the source last answered; `None` if it never has.
    pub answered: Option<Instant>,
    /// Why the source does not answer or cannot be read, in its own words if it gave any. `None` while it is connected.
    pub reason: Option<String>,
}

impl Contact {
    /// Checks whether the source was asked and does not answer, or cannot be read.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        !self.connected && self.reason.is_some()
    }
}

/// What audits of a source's filter have found. An audit reads a sample of the source without the filter, and compares it with what the
/// filter let through.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Audited {
    /// The number of audits.
    pub audits: u64,
    /// The number of events in their samples that the filter selects.
    pub events: u64,
    /// How many of them the readers did not get.
    pub skipped: u64,
    /// The sequences of the first [`Audited::SHOWN`] of these.
    pub sequences: Vec<u64>,
}

impl Audited {
    /// The maximum number of sequences that are kept.
    pub const SHOWN: usize = 20;

    /// Adds what a later audit has found.
    pub fn add(&mut self, found: Audited) {
        self.audits += found.audits;
        self.events += found.events;
        self.skipped += found.skipped;
        let room = Audited::SHOWN.saturating_sub(self.sequences.len());
        self.sequences.extend(found.sequences.into_iter().take(room));
    }
}

/// What a source promises to its readers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Promises {
    /// Whether every reader gets the events of a partition in the same order, each time.
    pub ordered: bool,
    /// Whether a new reader can begin at any offset that the source still holds.
    pub replayable: bool,
    /// Whether there can be only one reader in the life of the process, and a pause does not mean the end (standard input).
    pub read_once: bool,
    /// Whether [`Source::extent`] costs only a request, not a pass over the events.
    pub knows_end: bool,
    /// The number of partitions, at least 1. They are numbered from 0.
    pub partitions: u32,
}

/// The range of sequences that a partition of a source holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// The first sequence that still exists, or the next one if the partition is empty.
    pub first: u64,
    /// One past the last sequence: the offset at which a reader has caught up.
    pub end: u64,
}

/// The events that were read from a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Past {
    /// The offset in partition 0 at which reading began, if known.
    pub began: Option<u64>,
    /// The number of events read since then, if known.
    pub events: Option<u64>,
    /// The position up to which the source was read.
    pub position: Position,
}

/// How much of a [`Past`] a source still holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// All of it.
    All,
    /// Not all of it.
    Part {
        /// The first sequence that the source still holds.
        first: u64,
        /// The number of events that were read and are gone, if it can be determined.
        gone: Option<u64>,
    },
}

/// Where to begin reading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// At the first event that the source still has.
    First,
    /// At the position of a checkpoint. The source must be the same and must hold everything from there on.
    At(Position),
}

/// The result of [`Reader::next`].
#[derive(Debug)]
// Moved once per batch of thousands of events, so boxing would save nothing.
#[allow(clippy::large_enum_variant)]
pub enum Read {
    /// Events, or a range of sequences without any selected event.
    Batch(Batch),
    /// Everything that the source holds has been read, up to the reader's position.
    CaughtUp {
        /// The reader's offset in partition 0.
        offset: u64,
    },
    /// There will never be more events (standard input at its end).
    End,
}
