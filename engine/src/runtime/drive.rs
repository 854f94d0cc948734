//! Drives one pipeline: reads its sources, decides when to commit, and knows when it has caught up.

pub(super) mod aside;
pub(super) mod assemble;
pub(super) mod feed;
pub(super) mod intake;
mod limits;
mod pace;
pub(super) mod pipeline;
mod report;
mod set_aside;
mod state_size;
mod swap;
pub(super) mod tallies;
mod turns;

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, Instant};

use alluvium_connectors::Batch;
use alluvium_connectors::source::Start;
use futures::future::{BoxFuture, FutureExt};
use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use self::feed::Feed;
use self::intake::{Intake, Taken, seconds};
use self::pace::Pace;
use self::pipeline::Pipeline;
use self::turns::next_in_turn;
use super::backoff::Backoff;
use super::changes::losses::Guard;
use super::commit::CommitOptions;
use super::memory::Room;
use super::panics;
use super::rebuilder::Rebuilder;
use super::suspects::Suspects;
use crate::error::Error;
use crate::metrics;

/// Where memory is short, so many bytes of bodies are worth a commit of their own.
const LITTLE_BYTES: u64 = 16 << 20;

/// How often to check whether a source has been away for too long.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// A rebuilt pipeline's request to take over. It is answered when the old pipelines have committed and ended.
pub(crate) struct TakeOver {
    pub(crate) component: String,
    pub(crate) reply: oneshot::Sender<()>,
}

/// Whether the pipeline's commits are what readers see.
pub(crate) enum Role {
    /// Yes.
    Main,
    /// No: the views are rebuilt beside the ones that serve. When they have caught up, one commit swaps them in.
    Rebuild {
        /// Receives the request for the swap.
        take_over: mpsc::Sender<TakeOver>,
        /// The component that is swapped, as the supervisor names it.
        whole: String,
        /// What the rebuild must not lose.
        guard: Arc<Guard>,
    },
}

/// A pipeline with its sources.
pub(crate) struct Driver {
    pub(crate) pipeline: Pipeline,
    pub(crate) role: Role,
    pub(crate) interval: Duration,
    /// End when everything that the sources held at the start is applied.
    pub(crate) until_caught_up: bool,
    /// The rebuild of the views of this pipeline, by itself or beside it.
    pub(crate) rebuilder: Arc<Rebuilder>,
    pub(crate) stop: CancellationToken,
    /// Where the pipeline panicked before.
    pub(crate) suspects: Suspects,
}

/// A source of the pipeline, and how far it has been read.
struct Reading {
    intake: Intake,
    /// The end of each partition when reading began. `None` if the source does not know its end before it is reached.
    target: Option<Vec<u64>>,
    /// The source can be read only once. It has been read when it ends.
    read_once: bool,
    /// The target has been reached.
    caught_up: bool,
    /// A commit may follow the last batch: it ends on an atomic boundary.
    whole: bool,
    /// All events taken last are set aside. They are committed only together with an event that is not, or at the end: if the next
    /// event panics as well, the fault does not lie in the event.
    held: bool,
    /// The source was at its end when last read.
    at_end: bool,
    /// The source does not answer at present.
    away: bool,
    /// The source will never have more events.
    ended: bool,
}

impl Reading {
    /// Returns the next item of the source. Where room is `short`, only of one that no commit may follow yet: it is read on until one may.
    fn next(&mut self, short: bool) -> BoxFuture<'_, Result<Taken, Arc<alluvium_connectors::Error>>> {
        if short && self.is_settled() { pending().boxed() } else { self.intake.next().boxed() }
    }

    /// Whether a commit may happen at the current position.
    fn is_settled(&self) -> bool {
        self.whole && !self.held
    }

    /// Whether the position is at or after the target; `None` without a target.
    fn passed_target(&self) -> Option<bool> {
        let (target, position) = (self.target.as_ref()?, self.intake.position());
        Some((0..).zip(target).all(|(partition, end)| position.offset_of(partition) >= *end))
    }
}

/// An open source, and the end of each partition if it is known.
type Opened = (Intake, Option<Vec<u64>>);

/// What the driver wakes up for.
enum Wake {
    Stop,
    Due,
    /// Check whether a source has been away for too long.
    Look,
    Taken(usize, Result<Taken, Arc<alluvium_connectors::Error>>),
    /// There is more or less room in memory.
    Room,
    /// The process is at its limit, and this pipeline is the largest.
    OutOfMemory,
}

impl Driver {
    /// Runs until it is stopped or, with `until_caught_up`, until it has caught up. Commits at the end. A rebuild that is stopped before
    /// the swap leaves nothing behind.
    ///
    /// # Errors
    /// The first error of the pipeline. Earlier commits stay.
    pub(crate) async fn run(mut self) -> Result<(), Error> {
        self.pipeline.set_aside(self.suspects.all_aside());
        let Some(mut sources) = self.open_sources().await? else { return Ok(()) };
        self.show_catching_up();
        let mut pace = Pace::new(self.interval);
        let mut turn = 0;
        let mut memory = self.pipeline.shared().memory().join(matches!(self.role, Role::Rebuild { .. }));
        let out_of_memory = memory.stop();
        let mut look = tokio::time::interval(LOOK_INTERVAL);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        memory.holds(self.state_bytes());
        let began = Instant::now();
        loop {
            let caught_up = sources.iter().all(|source| source.caught_up);
            // The end that a source had at the start may lie within an atomic batch.
            let whole = sources.iter().all(|source| source.whole);
            if caught_up && whole && matches!(self.role, Role::Rebuild { .. }) && self.ahead(&sources).await?.is_empty() {
                if !self.swap(&mut sources).await? {
                    return Ok(());
                }
                memory.serves();
                pace.committed(Instant::now(), pace.took);
            }
            if caught_up && matches!(self.role, Role::Main) {
                if sources.iter().all(|source| !source.away) {
                    self.show_live();
                }
                if self.until_caught_up && whole {
                    // No event comes any more that could be the one to set aside.
                    sources.iter_mut().for_each(|source| source.held = false);
                    break;
                }
            }
            let settled = sources.iter().all(Reading::is_settled);
            let short = match memory.room() {
                Room::Enough => false,
                Room::Little => pace.bytes >= LITTLE_BYTES,
                Room::None => true,
            };
            pace.first |= short;
            memory.waits(true);
            let wake = tokio::select! {
                biased;
                () = self.stop.cancelled() => Wake::Stop,
                () = pace.is_due(caught_up), if pace.dirty && settled => Wake::Due,
                () = out_of_memory.cancelled() => Wake::OutOfMemory,
                () = memory.changed() => Wake::Room,
                _ = look.tick(), if self.until_caught_up => Wake::Look,
                (index, taken) = next_in_turn(&mut sources, &mut turn, |source| source.next(short)) => Wake::Taken(index, taken),
            };
            memory.waits(false);
            match wake {
                Wake::Stop => break,
                Wake::Room => {}
                Wake::OutOfMemory => return Err(self.out_of_memory()),
                Wake::Look => {
                    for source in sources.iter().filter(|source| !source.caught_up) {
                        self.give_up_after(self.pipeline.shared().feed(source.intake.name())?, began)?;
                    }
                }
                Wake::Due => {
                    let began = Instant::now();
                    let took = self.commit_or_flush().await?;
                    pace.committed(began, took);
                    memory.holds(self.state_bytes());
                }
                Wake::Taken(index, taken) => {
                    let taken = taken.map_err(|error| self.source_error(error))?;
                    if let Taken::Batch(batch) = &taken {
                        pace.dirty = true;
                        pace.bytes += batch.bytes;
                        pace.first |= self.is_suspect(&sources[index]);
                    }
                    self.take(&mut sources[index], taken).await?;
                }
            }
        }
        if pace.dirty && matches!(self.role, Role::Main) && sources.iter().all(Reading::is_settled) {
            self.commit_or_flush().await?;
        }
        Ok(())
    }

    /// Applies an item of a source, and updates how far the source has been read.
    async fn take(&mut self, source: &mut Reading, taken: Taken) -> Result<(), Error> {
        if source.away && !matches!(taken, Taken::Away(_)) {
            source.away = false;
            self.show_catching_up();
        }
        source.at_end = matches!(taken, Taken::CaughtUp);
        match taken {
            Taken::Batch(batch) => {
                let began = Instant::now();
                self.pipeline.apply(source.intake.name(), source.intake.columns(), &batch).await?;
                source.held = match self.aside(source, &batch) {
                    Some(aside) => batch.sequences.values().iter().all(|sequence| aside.contains(sequence)),
                    None => source.held && batch.rows.num_rows() == 0,
                };
                if !self.is_suspect(source) {
                    source.intake.join_the_others();
                }
                metrics::batch_applied(self.pipeline.name(), began.elapsed());
                source.whole = batch.commits.allow(batch.end);
                source.caught_up |= source.passed_target() == Some(true);
                let end = source.target.as_ref().map(|target| target.iter().sum());
                self.show_applied(source.intake.name(), source.intake.position().progress(), end);
            }
            Taken::CaughtUp => {
                // A source that is read once may pause long before its end.
                source.caught_up |= source.passed_target().unwrap_or(true) && !source.read_once;
                source.held = false;
                source.whole = true;
                let offset = source.intake.position().progress();
                self.show_at_end(source.intake.name(), offset);
            }
            Taken::Away(reason) => {
                source.away = true;
                self.show_retrying(&reason);
            }
            Taken::End => {
                source.caught_up = true;
                source.ended = true;
            }
        }
        Ok(())
    }

    /// Opens every source. Returns `None` if it is stopped meanwhile.
    async fn open_sources(&mut self) -> Result<Option<Vec<Reading>>, Error> {
        let mut sources = Vec::new();
        let mut from_first = false;
        for name in self.pipeline.component().sources() {
            let feed = self.pipeline.shared().feed(&name)?.clone();
            let start = self.pipeline.position(&name).map_or(Start::First, |position| Start::At(position.clone()));
            from_first |= start == Start::First;
            // Read before the source is asked for its end: other pipelines may keep letters beyond that end meanwhile.
            let kept = match self.role {
                Role::Rebuild { .. } => self.pipeline.shared().store().dead_letter_offsets(&name)?,
                Role::Main => BTreeMap::new(),
            };
            let Some((intake, target)) = self.open(&feed, start).await? else { return Ok(None) };
            if let Some(end) = target.iter().flatten().max() {
                self.pipeline.keep_letters_from(&kept, &intake.position().identity.lineage(), *end)?;
            }
            self.pipeline.begin_at(&name, intake.position().clone());
            self.pipeline.begin_tallies(&name, intake.position().offset, None);
            let read_once = feed.source().promises().read_once;
            sources.push(Reading {
                intake,
                target,
                read_once,
                caught_up: false,
                whole: true,
                held: false,
                at_end: false,
                away: false,
                ended: false,
            });
        }
        if let Role::Rebuild { guard, .. } = &self.role
            && from_first
        {
            guard.check(self.pipeline.component(), self.pipeline.shared()).await?;
        }
        Ok(Some(sources))
    }

    /// Opens an intake, and waits for a source that is away. Returns `None` if it is stopped meanwhile.
    async fn open(&self, feed: &Feed, start: Start) -> Result<Option<Opened>, Error> {
        let surroundings = self.pipeline.shared().surroundings();
        let mut backoff = Backoff::default();
        let began = Instant::now();
        loop {
            let opened = tokio::select! {
                () = self.stop.cancelled() => return Ok(None),
                opened = self.open_once(feed, start.clone()) => opened,
            };
            let error = match opened {
                Ok(opened) => return Ok(Some(opened)),
                Err(error) if matches!(*error, alluvium_connectors::Error::Unavailable { .. }) => error,
                Err(error) => return Err(self.source_error(error)),
            };
            let wait = backoff.wait(surroundings.as_ref());
            tracing::warn!(source = feed.source().config().name, %error, again_in = %seconds(wait), "waiting for the source");
            self.show_retrying(&error.to_string());
            self.give_up_after(feed, began)?;
            tokio::select! {
                () = self.stop.cancelled() => return Ok(None),
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Fails if a run that ends by itself has waited too long for a source that does not answer.
    ///
    /// # Errors
    /// [`Absent`](alluvium_connectors::Error::Absent) if the source has not answered for `source_timeout` since `began` or since its last
    /// answer.
    fn give_up_after(&self, feed: &Feed, began: Instant) -> Result<(), Error> {
        let limit = self.pipeline.shared().settings().source_timeout;
        let contact = feed.source().contact();
        let since = contact.answered.map_or(began, |answered| answered.max(began));
        if !self.until_caught_up || !contact.is_lost() || since.elapsed() < limit {
            return Ok(());
        }
        let reason = contact.reason.unwrap_or_default();
        let message = format!("gave up after {}: {reason}", humantime::format_duration(limit));
        let help =
            Some("`source_timeout` limits how long a run that ends by itself waits; `alluvium run` waits for ever".to_owned());
        Err(self.source_error(Arc::new(alluvium_connectors::Error::Absent { message, help })))
    }

    /// Opens an intake once, then asks where the source ends.
    async fn open_once(&self, feed: &Feed, start: Start) -> Result<Opened, Arc<alluvium_connectors::Error>> {
        let surroundings = self.pipeline.shared().surroundings();
        let offset = if let Start::At(position) = &start { position.offset } else { 0 };
        let intake = match self.suspects.batch_limit(&feed.source().config().name, offset) {
            Some(most) => Intake::open_alone(feed.clone(), start, most, surroundings).await?,
            None => Intake::open(feed.clone(), start, surroundings).await?,
        };
        let promises = feed.source().promises();
        if !promises.knows_end {
            return Ok((intake, None));
        }
        let mut target = Vec::new();
        for partition in 0..promises.partitions {
            target.push(feed.source().extent(partition).await?.end);
        }
        Ok((intake, Some(target)))
    }

    /// Whether the source is read in small batches at its current position, in search of an event that panics.
    fn is_suspect(&self, source: &Reading) -> bool {
        self.suspects.batch_limit(source.intake.name(), source.intake.position().offset).is_some()
    }

    /// The events of a source that this run has set aside, if the batch contains one of them.
    fn aside(&self, source: &Reading, batch: &Batch) -> Option<&BTreeSet<u64>> {
        let aside = self.suspects.aside(source.intake.name())?;
        let found = aside.range(batch.start..batch.end).any(|sequence| batch.sequences.values().binary_search(sequence).is_ok());
        found.then_some(aside)
    }

    fn source_error(&self, error: Arc<alluvium_connectors::Error>) -> Error {
        Error::Source { view: self.pipeline.name().to_owned(), error }
    }

    /// Commits, and returns how long that took. A rebuild that is not yet swapped in only flushes, to bound what its operators and parts
    /// hold in memory.
    async fn commit_or_flush(&mut self) -> Result<Duration, Error> {
        match self.role {
            Role::Main => {
                let rebuilder = Arc::clone(&self.rebuilder);
                self.commit(CommitOptions { ends_rebuild: false, beside: Some(&rebuilder) }).await
            }
            Role::Rebuild { .. } => {
                let began = Instant::now();
                self.pipeline.build(None).await?;
                Ok(began.elapsed())
            }
        }
    }

    async fn commit(&mut self, options: CommitOptions<'_>) -> Result<Duration, Error> {
        let committed = self.pipeline.commit(options).await?;
        panics::clear_hand();
        self.show_committed(&committed);
        Ok(committed.took)
    }
}
