//! Events of a JetStream stream, from any offset on, in order, without acknowledgements.
//!
//! | module | what it holds |
//! | --- | --- |
//! | `options` | what `LOCATION` and `OPTIONS` may say |
//! | `connection` | the client, made when first needed |
//! | `stream_position` | how far a stream was read, and which stream it was |
//! | `stream` | what the stream's leader tells: identity, extent, holes |
//! | `consumer` | the ephemeral consumer, and the checks on each message |
//! | `pulls` | what the consumer is asked for, and the answers |
//! | `gathered` | messages on their way to becoming a batch |
//! | `follower` | the task that reads |
//!
//! The server keeps nothing for us: a consumer is made at an offset, with no acknowledgements, and thrown away at the first
//! doubt; what was in doubt is read again. Nothing is handed on before it is known that nothing before it is missing:
//!
//! - the consumer's own sequence must rise by one with each message (nothing was dropped on the way);
//! - sequences of the stream that were not delivered must be ones that the stream's leader does not have. Events deleted one by
//!   one are legal, and the batch covers their sequences; events that were purged or have expired unread are
//!   [`Error::StreamChanged`];
//! - with a filter on subjects, other sequences are not delivered at all. What is checked then is that the stream still begins at or
//!   before the first of them; that the server selects rightly is trusted, save at the end of the stream, where the
//!   leader is asked for the last event on each subject;
//! - at the start, and each time a connection or a consumer was lost, the stream must be the one of the position: its creation
//!   time, its first and last sequence, the time and hash of the last event read, and of the last one that was passed over as
//!   not selected.
//!
//! A message without a body that marks a removal (`Nats-Marker-Reason`, or `KV-Operation` `DEL` or `PURGE`) is not an event:
//! it is passed over, its sequence covered. Any other empty body goes to the decoder like every body. Messages of an atomic
//! batch are events like all others: the server shows them only once the batch is complete.

mod connection;
mod consumer;
mod follower;
mod gathered;
mod options;
mod pulls;
mod stream;
mod stream_position;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::future::BoxFuture;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use self::connection::Connection;
use self::follower::{Follower, LOOK_AHEAD, NotOpen};
use self::options::NatsOptions;
use self::stream::{OpenStream, no_stream};
use self::stream_position::StreamPosition;
use crate::Error;
use crate::decode::Decoder;
use crate::source::contract::{Contact, Extent, Promises, Read, Reader, Source, Start};
use crate::source::declaration::SourceConfig;
use crate::source::decoding::Decoding;
use crate::source::position::Position;

/// A declared JetStream stream. Clones share one client, made when it is first needed, in the runtime that first needs it.
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
    /// Checks the declaration; connects to nothing and opens no file.
    ///
    /// # Errors
    /// [`Error::Config`] with the option or column concerned; never with the value of a credential.
    pub fn new(config: SourceConfig) -> Result<NatsSource, Error> {
        let options = NatsOptions::parse(&config)?;
        let decoder = Arc::new(Decoder::new(&config)?);
        let connection = Arc::new(Connection::new(&config.name, options));
        Ok(NatsSource { config: Arc::new(config), decoder, connection })
    }

    /// What the stream holds now, as its leader tells. Tries once, for at most the connect and the request timeout.
    ///
    /// # Errors
    /// [`Error::Unavailable`] where the server does not answer; [`Error::Absent`] where it has no such stream;
    /// [`Error::Config`] where it refuses us, is too old, or the stream's retention would let reading delete.
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

    /// What is known of the way to the server.
    pub fn contact(&self) -> Contact {
        self.connection.contact()
    }

    /// A new reader. Tries once, for a few times the request timeout at most; once it is there, it never gives up a server
    /// that is away.
    ///
    /// # Errors
    /// Those of [`NatsSource::extent`], and [`Error::StreamChanged`] where the stream is not the one of the position or no longer
    /// holds all that follows it.
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
        // One more is for the batch that is being gathered.
        let (sender, items) = mpsc::channel(LOOK_AHEAD + 1);
        let restarts = Arc::new(AtomicU64::new(0));
        let mut follower = Follower::new(
            Arc::clone(&self.connection),
            Arc::clone(&self.decoder),
            self.config.limits,
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
        tokio::spawn(follower.run(stop.clone()));
        Ok(NatsReader { decoding: Decoding::new(record, items), restarts, _stop: stop.drop_guard() })
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

    fn contact(&self) -> Contact {
        self.contact()
    }

    fn read(&self, start: Start) -> BoxFuture<'_, Result<Box<dyn Reader>, Error>> {
        Box::pin(async move { Ok(Box::new(self.read(start).await?) as Box<dyn Reader>) })
    }
}

/// Reads one stream. Dropping it removes its consumer from the server, in the background.
pub struct NatsReader {
    decoding: Decoding,
    restarts: Arc<AtomicU64>,
    _stop: DropGuard,
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

    fn restarts(&self) -> u64 {
        self.restarts.load(Ordering::Relaxed)
    }
}
