//! The task behind a reader. It keeps a consumer alive, gathers batches, confirms that no event is missing, and passes the batches on in
//! order while they are decoded.
//!
//! The reader gets no batch before its gaps are confirmed. Unconfirmed messages are discarded and read again from the offset.

use std::ops::Range;
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

use super::connection::{Connection, Health};
use super::consumer::{Consumer, NotCreated};
use super::gathered::Gathered;
use super::stream::{Confirmation, Holes, OpenStream, gone, no_stream};
use super::stream_position::StreamPosition;
use crate::Error;
use crate::decode::Decoder;
use crate::source::batch::Batch;
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
/// The number of checks that find the end ahead, without a message, before the missing sequences are requested one by one.
const LOOKS_BEFORE_PROBING: u32 = 3;
/// The number of such checks before the consumer is recreated.
const LOOKS_BEFORE_RESTART: u32 = 20;
/// How often in a row the server may skip an event before that is an error.
const SKIPS_TOLERATED: u32 = 5;
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
        if let Some(open) = self.open.take() {
            open.consumer.delete().await;
        }
        if let Some(error) = failure {
            // Sending fails if the reader was dropped, which is fine.
            drop(self.items.send(Item::Failed(error)).await);
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
            let mut batch = Gathered::new(self.position.offset, self.filtered(), self.decoder.reads_changes());
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
                    if !coming {
                        return Ok(None);
                    }
                    messages_before = batch.messages();
                    deadline.as_mut().reset(Instant::now() + limits.max_wait);
                }
            }
        }
    }

    /// Confirms the gaps of a batch and passes it on.
    async fn hand_on(&mut self, batch: Gathered, permit: OwnedPermit<Item>) -> Result<(), Stop> {
        let mut gaps = batch.gaps.as_slice();
        if self.at_head && gaps.first().is_some_and(|gap| gap.start == batch.start) {
            gaps = gaps.get(1..).unwrap_or_default();
        }
        // With a filter, gaps are expected. All that can be checked is whether the stream still holds everything from the first gap on.
        // The check runs while the next batch is gathered.
        let mut first_gap = None;
        if self.filtered() {
            first_gap = gaps.first().map(|gap| gap.start).filter(|_| !self.at_head);
        } else if !gaps.is_empty() {
            self.confirm(gaps).await?;
        }

        let (last, seen_last) = (batch.last_event(), batch.last_seen());
        let (pending, end, seen) = (batch.pending, batch.end, batch.messages() > 0);
        self.at_head = false;
        self.position.advance(end, last, seen_last);
        let (decoder, position) = (Arc::clone(&self.decoder), self.position.to_record()?);
        let decoding = tokio::task::spawn_blocking(move || batch.decode(&decoder, position));
        let handle = match (first_gap, &self.open) {
            (Some(first_gap), Some(open)) => {
                tokio::spawn(decoded_and_held(decoding, self.connection.clone(), open.stream.clone(), first_gap))
            }
            _ => decoding,
        };
        permit.send(Item::Batch(AbortOnDropHandle::new(handle)));
        if seen {
            self.looks_in_vain = 0;
            self.skips = 0;
            let pause = if pending == 0 { CONFIRM_WHILE_BUSY } else { CONFIRM_WHILE_QUIET };
            let earliest = self.looked_at.map_or_else(Instant::now, |looked_at| looked_at + pause);
            self.look_at = earliest.max(Instant::now());
        }
        Ok(())
    }

    async fn confirm(&mut self, gaps: &[Range<u64>]) -> Result<(), Stop> {
        let Some(open) = &self.open else { return Err(Stop::Broken("no consumer".into())) };
        match open.stream.confirm(gaps, &mut self.holes).await? {
            Confirmation::Holes => Ok(()),
            Confirmation::Gone { expected, first } => Err(Stop::Failed(gone(&self.connection, expected, first))),
            Confirmation::Skipped(sequence) => {
                self.skips += 1;
                if self.skips > SKIPS_TOLERATED {
                    let message =
                        format!("sequence {sequence} was expected; the stream holds it, but the server does not deliver it");
                    return Err(Stop::Failed(self.connection.changed(message)));
                }
                Err(Stop::Broken(format!("the stream holds sequence {sequence}, but it was not delivered")))
            }
        }
    }

    /// Checks whether everything in the stream has been read. If only sequences without events to read remain, the batch, which is empty,
    /// covers them.
    async fn look_for_end(&mut self, batch: &mut Gathered) -> Result<Option<u64>, Stop> {
        let now = Instant::now();
        self.looked_at = Some(now);
        self.look_at = now + CONFIRM_WHILE_BUSY;
        let Some(open) = &self.open else { return Err(Stop::Broken("no consumer".into())) };
        let extent = open.stream.facts().await?.extent;
        let offset = self.position.offset;
        if extent.end < offset {
            let message = format!("the stream has lost its end: sequence {offset} was next, but its last is {}", extent.end - 1);
            return Err(Stop::Failed(self.connection.changed(message)));
        }
        if extent.first > offset && !self.at_head {
            return Err(Stop::Failed(gone(&self.connection, offset, extent.first)));
        }
        if extent.end > offset && !self.nothing_left(extent.first.max(offset)..extent.end).await? {
            self.looks_in_vain += 1;
            if self.looks_in_vain > LOOKS_BEFORE_RESTART {
                return Err(Stop::Broken(format!("no message for some time, but the stream goes on to {}", extent.end - 1)));
            }
            return Ok(None);
        }
        if extent.end > offset {
            let Some(open) = &self.open else { return Err(Stop::Broken("no consumer".into())) };
            batch.cover(extent.end, open.stream.event(extent.end - 1).await?);
        }
        self.looks_in_vain = 0;
        Ok(Some(extent.end))
    }

    /// Checks whether none of these sequences, the last ones of the stream, holds an event to read.
    async fn nothing_left(&mut self, range: Range<u64>) -> Result<bool, Stop> {
        if range.is_empty() {
            return Ok(true);
        }
        let Some(open) = &self.open else { return Err(Stop::Broken("no consumer".into())) };
        if self.filtered() {
            // The consumer may be on a replica that lags behind, so ask the leader.
            if !open.consumer.drained().await.map_err(Stop::Broken)? {
                return Ok(false);
            }
            let last = open.stream.last_on(&self.connection.options().subjects).await?;
            return Ok(last.is_none_or(|last| last < range.start));
        }
        if self.looks_in_vain < LOOKS_BEFORE_PROBING {
            return Ok(false);
        }
        match open.stream.confirm(std::slice::from_ref(&range), &mut self.holes).await? {
            Confirmation::Holes => Ok(true),
            Confirmation::Skipped(_) => Ok(false),
            Confirmation::Gone { .. } if self.at_head => Ok(false),
            Confirmation::Gone { expected, first } => Err(Stop::Failed(gone(&self.connection, expected, first))),
        }
    }

    /// Reports that the end was reached. Reports it again soon if the queue to the reader is full.
    fn caught_up(&mut self, end: u64) {
        let said = self.items.try_send(Item::CaughtUp(end)).is_ok();
        self.look_at = Instant::now() + if said { CONFIRM_WHILE_QUIET } else { CONFIRM_WHILE_BUSY };
    }
}

/// Waits until the batch is decoded and the stream is confirmed to still hold everything from `first_gap` on.
async fn decoded_and_held(
    decoding: tokio::task::JoinHandle<Result<Batch, Error>>,
    connection: Arc<Connection>,
    stream: OpenStream,
    first_gap: u64,
) -> Result<Batch, Error> {
    loop {
        match stream.facts().await {
            Ok(facts) if facts.extent.first > first_gap => return Err(gone(&connection, first_gap, facts.extent.first)),
            Ok(_) => break,
            Err(error @ Error::Unavailable { .. }) => {
                warn!(source = connection.source(), %error, "cannot confirm that no event is missing; retrying");
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            Err(error) => return Err(error),
        }
    }
    decoding.await.map_err(|error| Error::Bug(format!("decoding: {error}")))?
}
