//! Reads the events of a JetStream stream from any offset, in order, without acknowledgements.
//!
//! | module | what it holds |
//! | --- | --- |
//! | `options` | parses and checks `LOCATION` and `OPTIONS` |
//! | `connection` | the client, which is connected on first use |
//! | `stream_position` | the position in a stream, and the stream's identity |
//! | `stream` | queries to the stream's leader: identity, extent, deleted sequences |
//! | `consumer` | the ephemeral consumer, and the checks on each message |
//! | `pulls` | pull requests and their answers |
//! | `held` | checks whether the stream still holds the events that were read |
//! | `lost` | decides what it means that it does not hold those that were not read |
//! | `atomic` | finds messages that were stored as one atomic batch |
//! | `audit` | compares what the server delivered with the stream, without the filter |
//! | `gathered` | the messages of the next batch |
//! | `follower` | the task that reads |
//!
//! The server keeps no state for us. The reader creates a consumer at its offset and acknowledges nothing. As soon as it cannot trust the
//! consumer, it discards it and reads the unconfirmed messages again. It passes a batch on only after confirming that no earlier event is
//! missing:
//!
//! - The consumer's sequence must grow by one with each message, so nothing was dropped on the way.
//! - The leader of the stream must not have any sequence that was not delivered. Events that were deleted individually are legal, and the
//!   batch covers their sequences. Events that were purged or expired before they were read are [`Error::StreamChanged`], or a gap of the
//!   batch where `on_gap` is `continue`.
//! - With a subject filter, the server does not deliver other sequences. The reader then only checks that the stream still begins at or
//!   before the first missing sequence. At the end of the stream it asks the leader for the last event on each subject. Otherwise it
//!   trusts the server to filter correctly, and audits it at an interval.
//! - At start and after each loss of the connection or the consumer, the stream must match the position: its creation time, its first and
//!   last sequence, the time and hash of the last event read, and those of the last event that the filter skipped.
//!
//! A message without a body that marks a removal (`Nats-Marker-Reason`, or `KV-Operation` `DEL` or `PURGE`) is not an event. It is skipped,
//! and the batch covers its sequence. Any other empty body goes to the decoder. Messages of an atomic batch are ordinary events, between which
//! no commit may fall. In mirrors and streams with sources, servers leave out the headers that mark them.

mod atomic;
mod audit;
mod connection;
mod consumer;
mod follower;
mod gathered;
mod held;
mod lost;
mod options;
mod pulls;
mod stream;
mod stream_position;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::future::BoxFuture;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use self::connection::Connection;
use self::follower::{Follower, LOOK_AHEAD, NotOpen};
use self::options::NatsOptions;
use self::stream::{OpenStream, no_stream};
use self::stream_position::StreamPosition;
use crate::Error;
use crate::decode::Decoder;
use crate::source::contract::{Audited, Contact, Extent, Held, Past, Promises, Read, Reader, Source, Start};
use crate::source::declaration::SourceConfig;
use crate::source::decoding::Decoding;
use crate::source::position::Position;

/// A declared JetStream stream. Clones share one client, which is created on first use, in the Tokio runtime of that use.
#[derive(Clone)]
pub struct NatsSource {
    config: Arc<SourceConfig>,
    decoder: Arc<Decoder>,
    connection: Arc<Connection>,
}

impl fmt::Debug for NatsSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsSource")
            .field("name", &self.config.name)
            .field("options", self.connection.options())
            .finish_non_exhaustive()
    }
}

impl NatsSource {
    /// Creates the source and checks its declaration. Does not connect, and reads no file but that of a schema.
    ///
    /// # Errors
    /// [`Error::Config`] with the option or column concerned, but never with the value of a credential.
    pub fn new(config: SourceConfig) -> Result<NatsSource, Error> {
        let options = NatsOptions::parse(&config)?;
        let decoder = Arc::new(Decoder::new(&config)?);
        let connection = Arc::new(Connection::new(&config.name, options));
        Ok(NatsSource { config: Arc::new(config), decoder, connection })
    }

    /// Asks the leader for the stream's current extent. Tries once, for at most the sum of connect and request timeout.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the server does not answer; [`Error::Absent`] if it has no such stream; [`Error::Config`] if it refuses us
    /// or is too old, or if reading would delete events because of the stream's retention.
    pub async fn extent(&self) -> Result<Extent, Error> {
        match OpenStream::find(&self.connection).await {
            Ok(Some((_, facts))) => Ok(facts.extent),
            Ok(None) => Err(self.not_there()),
            Err(error) => {
                self.connection.lost(&error);
                Err(error)
            }
        }
    }

    /// Returns the state of the connection to the server, without asking it.
    pub fn contact(&self) -> Contact {
        self.connection.contact()
    }

    /// Opens a reader. Tries once, for at most a few request timeouts. The reader then retries forever while the server is unavailable.
    ///
    /// # Errors
    /// Those of [`NatsSource::extent`], and [`Error::StreamChanged`] if the stream is not that of the position or no longer holds all
    /// events after it.
    pub async fn read(&self, start: Start) -> Result<NatsReader, Error> {
        let at_head = start == Start::First;
        let options = self.connection.options();
        let position = match start {
            Start::At(position) => {
                StreamPosition::of(&options.stream, &position).map_err(|message| self.connection.changed(message))?
            }
            Start::First => {
                let found = OpenStream::find(&self.connection).await.inspect_err(|error| self.connection.lost(error));
                let (_, facts) = found?.ok_or_else(|| self.not_there())?;
                StreamPosition {
                    offset: facts.extent.first,
                    stream: options.stream.clone(),
                    created: facts.created,
                    last: None,
                    seen: None,
                }
            }
        };
        let record = position.to_record()?;
        // One more place, for the batch that is being gathered.
        let (sender, items) = mpsc::channel(LOOK_AHEAD + 1);
        let restarts = Arc::new(AtomicU64::new(0));
        let mut follower = Follower::new(
            Arc::clone(&self.connection),
            Arc::clone(&self.decoder),
            self.decoder.limits(self.config.limits),
            sender,
            Arc::clone(&restarts),
            position.clone(),
            at_head,
        );
        follower.open().await.map_err(|error| match error {
            NotOpen::NoStream if at_head => self.not_there(),
            NotOpen::NoStream => no_stream(&self.connection, &position),
            NotOpen::Error(error) => {
                self.connection.lost(&error);
                error
            }
        })?;
        let stop = CancellationToken::new();
        let task = tokio::spawn(follower.run(stop.clone()));
        Ok(NatsReader { decoding: Decoding::new(record, items), restarts, stop: stop.drop_guard(), task })
    }

    fn not_there(&self) -> Error {
        self.connection.connected();
        let options = self.connection.options();
        Error::Absent {
            message: format!("source {}: {} has no stream {}", self.config.name, options.servers_text(), options.stream),
            help: Some("create the stream, or name another in LOCATION 'nats://host:4222/STREAM'".into()),
        }
    }
}

impl Source for NatsSource {
    fn config(&self) -> &SourceConfig {
        &self.config
    }

    fn promises(&self) -> Promises {
        Promises { ordered: true, replayable: true, read_once: false, knows_end: true, partitions: 1 }
    }

    fn extent(&self, _partition: u32) -> BoxFuture<'_, Result<Extent, Error>> {
        Box::pin(self.extent())
    }

    fn holds<'a>(&'a self, past: &'a Past) -> BoxFuture<'a, Result<Held, Error>> {
        Box::pin(async move { held::held(&self.connection, past).await.inspect_err(|error| self.connection.lost(error)) })
    }

    fn events_from(&self, offset: u64) -> BoxFuture<'_, Result<u64, Error>> {
        Box::pin(async move {
            let found = OpenStream::find(&self.connection).await.inspect_err(|error| self.connection.lost(error))?;
            let (stream, _) = found.ok_or_else(|| self.not_there())?;
            held::pending(&self.connection, &stream, offset).await
        })
    }

    fn position_at(&self, opened: &Position, offset: u64) -> Option<Position> {
        let opened = StreamPosition::of(&self.connection.options().stream, opened).ok()?;
        StreamPosition { offset, last: None, seen: None, ..opened }.to_record().ok()
    }

    fn contact(&self) -> Contact {
        self.contact()
    }

    fn audited(&self) -> Option<Audited> {
        self.connection.audited()
    }

    fn read(&self, start: Start) -> BoxFuture<'_, Result<Box<dyn Reader>, Error>> {
        Box::pin(async move { Ok(Box::new(self.read(start).await?) as Box<dyn Reader>) })
    }
}

/// Reads one stream. Dropping it deletes its consumer on the server in the background.
pub struct NatsReader {
    decoding: Decoding,
    restarts: Arc<AtomicU64>,
    stop: DropGuard,
    task: JoinHandle<()>,
}

impl fmt::Debug for NatsReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsReader").field("position", self.position()).finish_non_exhaustive()
    }
}

impl Reader for NatsReader {
    fn next(&mut self) -> BoxFuture<'_, Result<Read, Error>> {
        Box::pin(self.decoding.next())
    }

    fn position(&self) -> &Position {
        self.decoding.position()
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, ()> {
        let NatsReader { decoding, stop, task, .. } = *self;
        drop((decoding, stop));
        Box::pin(async move {
            // It ends once the consumer is deleted. If it panicked, the server removes the consumer.
            let _ = task.await;
        })
    }

    fn restarts(&self) -> u64 {
        self.restarts.load(Ordering::Relaxed)
    }
}
