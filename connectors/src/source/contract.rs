//! What a source is to the engine: traits that say how it is opened and read, and facts that say what it promises.

use std::fmt;
use std::time::Instant;

use futures::future::BoxFuture;

use super::batch::Batch;
use super::declaration::SourceConfig;
use super::position::Position;
use crate::Error;

/// A declared source. [`open`](super::open) makes one of its declaration and touches nothing of the outside.
///
/// # Contract
/// - Reading from a position gives the events from its offsets on, and the same ones each time (checked by `reading` in the tests of
///   streams, and by the tests of files).
/// - A position whose identity is not the source's, or whose events are gone, is refused with [`Error::StreamChanged`] before anything
///   is read (checked by `changes` in the tests of streams, and by the tests of files).
/// - Two identities of one source are [`same_source`](super::Identity::same_source) (checked for records of the first release in
///   `source::position`).
/// - [`Source::promises`] never changes (unchecked).
/// - [`Source::contact`] waits for nothing (by its type), and says of a server that has gone that it is lost (checked by `contact` in the
///   tests of streams).
pub trait Source: fmt::Debug + Send + Sync {
    /// The declaration.
    fn config(&self) -> &SourceConfig;

    /// What a reader may rely on.
    fn promises(&self) -> Promises;

    /// What a partition holds now. Connects where that has not been done.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the source does not answer (trying again can help), [`Error::Config`] where it refuses.
    fn extent(&self, partition: u32) -> BoxFuture<'_, Result<Extent, Error>>;

    /// What is known of the way to it, without asking it. One that needs no connection is always there.
    fn contact(&self) -> Contact {
        Contact { connected: true, answered: Some(Instant::now()), reason: None }
    }

    /// A new reader.
    ///
    /// # Errors
    /// [`Error::StreamChanged`] when `start` is a position of another source or its events are gone, and those of
    /// [`Source::extent`].
    fn read(&self, start: Start) -> BoxFuture<'_, Result<Box<dyn Reader>, Error>>;
}

/// Reads one source from a position on. Dropping it ends it.
///
/// # Contract
/// - Each batch starts where the one before it in its partition ended, and the first one at the reader's position (asserted in
///   `source::decoding`, and checked by the tests of each source).
/// - After a batch, [`Reader::position`] is the batch's (checked by the tests of each source).
/// - [`Read::CaughtUp`] is given once each time the end is reached, then again after at most a second of quiet (checked by
///   `reading` in the tests of streams).
/// - A future of [`Reader::next`] that is dropped loses no event (checked in `source::decoding`).
/// - After an error nothing that was read behind it is given (checked in `source::decoding`).
pub trait Reader: fmt::Debug + Send {
    /// The next batch. Waits while there is nothing.
    ///
    /// # Errors
    /// [`Error::StreamChanged`] when events are missing; [`Error::Unavailable`] only after the reader's own retries (which
    /// never end for a server that is away: it logs and goes on).
    fn next(&mut self) -> BoxFuture<'_, Result<Read, Error>>;

    /// Where the reader stands: after the last batch that it gave.
    fn position(&self) -> &Position;

    /// How often this reader had to connect anew since it was opened.
    fn restarts(&self) -> u64 {
        0
    }
}

/// What is known of the way to a source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contact {
    /// It answered when it was last asked, and its connection has not been lost since. False also before it was asked at all.
    pub connected: bool,
    /// When it last answered; none where it never has.
    pub answered: Option<Instant>,
    /// Why it does not answer or cannot be read, in its own words where it gave some; none while it is connected.
    pub reason: Option<String>,
}

impl Contact {
    /// Whether it was asked and does not answer, or cannot be read.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        !self.connected && self.reason.is_some()
    }
}

/// What a source promises to those who read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Promises {
    /// The events of a partition come in one order, whoever reads them and however often.
    pub ordered: bool,
    /// A new reader may begin at any offset that the source still holds.
    pub replayable: bool,
    /// There can be only one reader in the life of a process, and a pause says nothing of the end (standard input).
    pub read_once: bool,
    /// [`Source::extent`] costs a request, not a pass over the events.
    pub knows_end: bool,
    /// Partitions, numbered from 0; at least 1.
    pub partitions: u32,
}

/// What a partition of a source holds now.
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
    /// Events, or a range of sequences without any that the source selects.
    Batch(Batch),
    /// Nothing new for now: all that the source holds has been read, up to the reader's position.
    CaughtUp {
        /// The reader's offset in partition 0.
        offset: u64,
    },
    /// There will never be more (standard input at its end).
    End,
}
