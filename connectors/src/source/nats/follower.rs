//! The task behind a reader. It keeps a consumer alive, gathers batches, confirms that no event is missing, and passes the batches on in
//! order while they are decoded.
//!
//! The reader gets no batch before the sequences that were not delivered are confirmed. `confirmed` does that, and `stream_end` notices the
//! end of the stream. Unconfirmed messages are discarded and read again from the offset.

mod confirmed;
mod stream_end;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use tokio::sync::mpsc::{self, OwnedPermit};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{info, warn};

use super::atomic::AtomicBatches;
use super::audit::Audits;
use super::connection::{Connection, Health};
use super::consumer::{Consumer, NotCreated};
use super::gathered::Gathered;
use super::lost::{decoded_and_held, lost};
use super::stream::{Holes, OpenStream, no_stream};
use super::stream_position::StreamPosition;
use crate::Error;
use crate::decode::Decoder;
use crate::source::declaration::BatchLimits;
use crate::source::decoding::Item;

/// The maximum number of batches that wait for the reader or are being decoded, in addition to the one being gathered.
pub(super) const LOOK_AHEAD: usize = 2;
/// How long to wait for a full batch if the stream has enough messages to fill it.
const FILL_LIMIT: Duration = Duration::from_millis(250);
/// The interval between checks for the end of the stream while messages arrive.
const CONFIRM_WHILE_BUSY: Duration = Duration::from_millis(100);
/// The interval between checks for the end of the stream while no messages arrive.
const CONFIRM_WHILE_QUIET: Duration = Duration::from_millis(900);
/// How long the stream may be absent, or the server refuse us, after a restart of the server.
const REFUSAL_GRACE: Duration = Duration::from_secs(10);

/// Why following stops.
enum Stop {
    /// The consumer can no longer be trusted and must be recreated.
    Broken(String),
    /// Nothing more can be read.
    Failed(Error),
    /// The reader was dropped.
    Unread,
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        match error {
            Error::Unavailable { message, .. } => Stop::Broken(message),
            other => Stop::Failed(other),
        }
    }
}

/// Why a consumer could not be opened.
pub(super) enum NotOpen {
    /// There is no such stream.
    NoStream,
    /// Anything else.
    Error(Error),
}

impl From<Error> for NotOpen {
    fn from(error: Error) -> NotOpen {
        NotOpen::Error(error)
    }
}

/// A stream with a consumer.
struct Open {
    stream: OpenStream,
    consumer: Consumer,
}

/// Reads a stream from a position.
pub(super) struct Follower {
    connection: Arc<Connection>,
    decoder: Arc<Decoder>,
    limits: BatchLimits,
    items: mpsc::Sender<Item>,
    restarts: Arc<AtomicU64>,
    health: watch::Receiver<Health>,
    /// The position after the last batch passed on.
    position: StreamPosition,
    /// Whether reading started at the head of the stream and nothing was read yet. Until then the stream may lose events at its head.
    at_head: bool,
    open: Option<Open>,
    holes: Holes,
    /// When to check for the end of the stream, and when that was last done.
    look_at: Instant,
    looked_at: Option<Instant>,
    /// The number of checks since the last message that found the end ahead.
    looks_in_vain: u32,
    skips: u32,
    /// The atomic batches of the messages that were passed on.
    atomic: AtomicBatches,
    /// Since when the stream has ended within an atomic batch.
    waits_for_batch_since: Option<Instant>,
    audits: Audits,
}

impl Follower {
    /// Creates a follower at a position. Opens nothing.
    pub(super) fn new(
        connection: Arc<Connection>,
        decoder: Arc<Decoder>,
        limits: BatchLimits,
        items: mpsc::Sender<Item>,
        restarts: Arc<AtomicU64>,
        position: StreamPosition,
        at_head: bool,
    ) -> Follower {
        let health = connection.health();
        let audits = Audits::new(connection.options().audit_interval);
        Follower {
            connection,
            decoder,
            limits,
            items,
            restarts,
            health,
            position,
            at_head,
            open: None,
            holes: Holes::default(),
            look_at: Instant::now(),
            looked_at: None,
            looks_in_vain: 0,
            skips: 0,
            atomic: AtomicBatches::default(),
            waits_for_batch_since: None,
            audits,
        }
    }

    /// Checks that the stream matches the position, and creates a consumer. Tries once.
    pub(super) async fn open(&mut self) -> Result<(), NotOpen> {
        self.health.mark_unchanged();
        let Some((stream, mut facts)) = OpenStream::find(&self.connection).await? else { return Err(NotOpen::NoStream) };
        if self.at_head {
            facts.extent.first = facts.extent.first.min(self.position.offset);
        }
        stream.verify(&self.position, &facts).await?;
        if facts.extent.first > self.position.offset {
            // Where reading goes on, the gap is reported with the batch that covers it.
            lost(&self.connection, self.position.offset..facts.extent.first, &facts)?;
        }
        let (client, context) = self.connection.jetstream().await?;
        let options = self.connection.options();
        let created = Consumer::create(client, context, &stream, &facts, options, self.position.offset).await;
        let consumer = created.map_err(|error| match error {
            NotCreated::ForNow(message) => self.connection.unavailable(message),
            NotCreated::Filters(message) => Error::Config {
                message: format!("source {}: {message}", self.connection.source()),
                help: Some("option subject: name subjects of the stream that do not overlap".into()),
            },
        })?;
        // The stream may have been recreated before the consumer was created.
        if let Err(error) = stream.facts().await {
            consumer.delete().await;
            return Err(error.into());
        }
        self.connection.connected();
        self.open = Some(Open { stream, consumer });
        self.look_at = Instant::now();
        self.looks_in_vain = 0;
        Ok(())
    }

    /// Reads until the reader is dropped or nothing more can be read, then deletes the consumer.
    pub(super) async fn run(mut self, stopped: CancellationToken) {
        let failure = tokio::select! {
            () = stopped.cancelled() => None,
            failure = self.read() => failure,
        };
        let Follower { connection, health, items, open, .. } = self;
        // It counts as a reader no longer, however long the server takes.
        drop(health);
        if failure.is_none() {
            connection.left();
        }
        if let Some(open) = open {
            open.consumer.delete().await;
        }
        if let Some(error) = failure {
            // Sending fails if the reader was dropped, which is fine.
            drop(items.send(Item::Failed(error)).await);
        }
    }

    async fn read(&mut self) -> Option<Error> {
        loop {
            let reason = match self.follow().await {
                Stop::Unread => return None,
                Stop::Failed(error) => return Some(error),
                Stop::Broken(reason) => reason,
            };
            warn!(source = self.connection.source(), offset = self.position.offset, reason, "restarting at the offset");
            self.restarts.fetch_add(1, Ordering::Relaxed);
            if let Some(open) = self.open.take() {
                tokio::spawn(open.consumer.delete());
            }
            if let Err(error) = self.reopen().await {
                return Some(error);
            }
            info!(source = self.connection.source(), offset = self.position.offset, "reading resumed");
        }
    }

    /// Opens the stream again. Retries forever while the server is unavailable.
    async fn reopen(&mut self) -> Result<(), Error> {
        let delays = ExponentialBuilder::new()
            .with_min_delay(Duration::from_millis(50))
            .with_max_delay(Duration::from_secs(5))
            .with_jitter()
            .without_max_times();
        let mut delays = delays.build();
        let mut refused_since: Option<Instant> = None;
        loop {
            let (error, passing) = match self.open().await {
                Ok(()) => return Ok(()),
                // A server that is starting may not know its streams and accounts yet.
                Err(NotOpen::NoStream) => {
                    let error = no_stream(&self.connection, &self.position);
                    self.connection.gone(&error);
                    (error, true)
                }
                Err(NotOpen::Error(error)) => {
                    let passing = matches!(error, Error::Config { .. });
                    self.connection.lost(&error);
                    (error, passing)
                }
            };
            if matches!(error, Error::Unavailable { .. }) {
                refused_since = None;
            } else if !passing || refused_since.get_or_insert_with(Instant::now).elapsed() > REFUSAL_GRACE {
                return Err(error);
            }
            let delay = delays.next().unwrap_or(Duration::from_secs(5));
            warn!(source = self.connection.source(), %error, retry_in = ?delay, "cannot read");
            tokio::time::sleep(delay).await;
        }
    }

    async fn follow(&mut self) -> Stop {
        loop {
            let Ok(permit) = self.items.clone().reserve_owned().await else { return Stop::Unread };
            let atomic = AtomicBatches::after(&self.atomic);
            let mut batch = Gathered::new(self.position.offset, self.filtered(), self.decoder.reads_changes(), atomic);
            let gathered = self.gather(&mut batch).await;
            if batch.end > batch.start
                && let Err(stop) = self.hand_on(batch, permit).await
            {
                return stop;
            }
            match gathered {
                Ok(Some(end)) => self.caught_up(end),
                Ok(None) => {}
                Err(stop) => return stop,
            }
        }
    }

    fn filtered(&self) -> bool {
        !self.connection.options().subjects.is_empty()
    }

    /// Fills a batch, which may stay empty. Returns the end of the stream if it is reached without a message.
    async fn gather(&mut self, batch: &mut Gathered) -> Result<Option<u64>, Stop> {
        let broken = |()| Stop::Broken("the connection was lost or the client dropped messages".into());
        let first = loop {
            if self.look_at <= Instant::now()
                && let Some(end) = self.look_for_end(batch).await?
            {
                return Ok(Some(end));
            }
            let Some(open) = &mut self.open else { return Err(Stop::Broken("no consumer".into())) };
            tokio::select! {
                biased;
                _ = self.health.changed() => return Err(broken(())),
                delivery = open.consumer.next() => break delivery.map_err(Stop::Broken)?,
                () = tokio::time::sleep_until(self.look_at) => {}
            }
        };
        let Some(open) = &mut self.open else { return Err(Stop::Broken("no consumer".into())) };
        batch.add(first).map_err(Stop::Broken)?;
        let limits = &self.limits;
        let begun = Instant::now();
        let mut messages_before = 0;
        let deadline = tokio::time::sleep_until(begun + limits.max_wait);
        tokio::pin!(deadline);
        loop {
            while !batch.is_full(limits) {
                match open.consumer.next_ready() {
                    Some(delivery) => batch.add(delivery.map_err(Stop::Broken)?).map_err(Stop::Broken)?,
                    None => break,
                }
            }
            if batch.is_full(limits) {
                return Ok(None);
            }
            tokio::select! {
                biased;
                _ = self.health.changed() => return Err(broken(())),
                delivery = open.consumer.next() => batch.add(delivery.map_err(Stop::Broken)?).map_err(Stop::Broken)?,
                () = &mut deadline => {
                    // If the reader is behind by more than a batch, a smaller batch gains it nothing.
                    let coming = batch.can_fill(limits) && batch.messages() > messages_before && begun.elapsed() < FILL_LIMIT;
                    let splits = batch.splits_atomic_batch() && begun.elapsed() < FILL_LIMIT;
                    if !coming && !splits {
                        return Ok(None);
                    }
                    messages_before = batch.messages();
                    deadline.as_mut().reset(Instant::now() + limits.max_wait);
                }
            }
        }
    }

    /// Confirms the sequences of a batch that were not delivered, and passes it on.
    async fn hand_on(&mut self, mut batch: Gathered, permit: OwnedPermit<Item>) -> Result<(), Stop> {
        let mut undelivered = batch.undelivered.as_slice();
        if self.at_head && undelivered.first().is_some_and(|range| range.start == batch.start) {
            undelivered = undelivered.get(1..).unwrap_or_default();
        }
        // With a filter, this is expected. All that can be checked is whether the stream still holds everything from the first such sequence
        // on. The check runs while the next batch is gathered.
        let mut first_undelivered = None;
        if self.filtered() {
            first_undelivered = undelivered.first().map(|range| range.start).filter(|_| !self.at_head);
        } else if !undelivered.is_empty() {
            let undelivered = undelivered.to_vec();
            batch.gaps.extend(self.confirm(&undelivered).await?);
        }
        if self.filtered() {
            self.complete_atomic_batch(&mut batch).await?;
        }

        let (last, seen_last) = (batch.last_event(), batch.last_seen());
        let (pending, end, seen) = (batch.pending, batch.end, batch.messages() > 0);
        if let Some(sample) = self.open.as_ref().filter(|_| self.filtered()).and_then(|_| self.audits.sample(&batch))
            && let Some(open) = &self.open
        {
            tokio::spawn(sample.audit(Arc::clone(&self.connection), open.stream.clone()));
        }
        self.atomic = AtomicBatches::after(batch.atomic());
        self.at_head = false;
        self.position.advance(end, last, seen_last);
        let (decoder, position) = (Arc::clone(&self.decoder), self.position.to_record()?);
        let decoding = tokio::task::spawn_blocking(move || batch.decode(&decoder, position));
        let handle = match (first_undelivered, &self.open) {
            (Some(first_undelivered), Some(open)) => {
                tokio::spawn(decoded_and_held(decoding, self.connection.clone(), open.stream.clone(), first_undelivered))
            }
            _ => decoding,
        };
        permit.send(Item::Batch(AbortOnDropHandle::new(handle)));
        self.waits_for_batch_since = None;
        if seen {
            self.looks_in_vain = 0;
            self.skips = 0;
            let pause = if pending == 0 { CONFIRM_WHILE_BUSY } else { CONFIRM_WHILE_QUIET };
            let earliest = self.looked_at.map_or_else(Instant::now, |looked_at| looked_at + pause);
            self.look_at = earliest.max(Instant::now());
        }
        Ok(())
    }
}
