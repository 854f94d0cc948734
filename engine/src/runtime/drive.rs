//! Drives one pipeline: takes items from its sources, says when to commit, and knows when it has caught up.

pub(super) mod aside;
pub(super) mod assemble;
pub(super) mod feed;
pub(super) mod intake;
pub(super) mod pipeline;
mod report;
mod set_aside;
mod swap;
pub(super) mod tallies;
mod turns;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use alluvium_connectors::Batch;
use alluvium_connectors::source::Start;
use futures::future::FutureExt;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use self::feed::Feed;
use self::intake::{Intake, Taken, seconds};
use self::pipeline::Pipeline;
use self::turns::next_in_turn;
use super::backoff::Backoff;
use super::commit::CommitOptions;
use super::panics;
use super::suspects::Suspects;
use crate::error::Error;
use crate::metrics;

/// After a commit, wait this many times its duration before the next one while there is a backlog.
const BACKLOG_SHARE: u32 = 4;

/// Bytes of bodies that are applied before a commit, about: operators hold what comes in until then.
const UNCOMMITTED_BYTES: u64 = 1 << 30;

/// Between two looks at sources that may be away for too long.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// A rebuilt pipeline's wish to take over: answered when the old ones have committed and ended.
pub(crate) struct TakeOver {
    pub(crate) component: String,
    pub(crate) reply: oneshot::Sender<()>,
}

/// Whether the pipeline's commits are what readers see.
pub(crate) enum Role {
    /// They are.
    Main,
    /// The views are built beside the ones that serve; one commit swaps them when they have caught up.
    Rebuild {
        /// Where to ask for the swap.
        take_over: mpsc::Sender<TakeOver>,
    },
}

/// A pipeline with its sources.
pub(crate) struct Driver {
    pub(crate) pipeline: Pipeline,
    pub(crate) role: Role,
    pub(crate) interval: Duration,
    /// End when all that the sources held has been applied.
    pub(crate) until_caught_up: bool,
    /// The task that rebuilds the views of this pipeline; 0: none.
    pub(crate) rebuilder: Arc<AtomicU64>,
    pub(crate) stop: CancellationToken,
    /// Where the pipeline has panicked before.
    pub(crate) suspects: Suspects,
}

/// A source of the pipeline, and how reading stands to its end.
struct Reading {
    intake: Intake,
    /// The end of each partition when reading began; none where only reaching it tells.
    target: Option<Vec<u64>>,
    /// Only its end says that it has been read.
    read_once: bool,
    /// It was reached once.
    caught_up: bool,
    /// A commit may fall after what was taken.
    whole: bool,
    /// All that was taken last is set aside. It is committed only with an event that is not, or at the end: when the next one panics
    /// as well, it was not the event.
    held: bool,
    /// Nothing came after the last look at its end.
    at_end: bool,
    /// The source does not answer for now.
    away: bool,
    /// There will never be more.
    ended: bool,
}

impl Reading {
    /// Whether a commit may fall where the source stands.
    fn is_settled(&self) -> bool {
        self.whole && !self.held
    }

    /// Whether a position is at or after the target; none where there is no target.
    fn passed_target(&self) -> Option<bool> {
        let (target, position) = (self.target.as_ref()?, self.intake.position());
        Some((0..).zip(target).all(|(partition, end)| position.offset_of(partition) >= *end))
    }
}

/// A source that is open, and the end of each partition where it is known.
type Opened = (Intake, Option<Vec<u64>>);

/// What the driver wakes up for.
enum Wake {
    Stop,
    Due,
    /// A look at sources that may be away for too long.
    Look,
    Taken(usize, Result<Taken, Arc<alluvium_connectors::Error>>),
}

/// When the next commit is due.
struct Pace {
    interval: Duration,
    last: Instant,
    took: Duration,
    /// Something is applied that is not committed.
    dirty: bool,
    /// A new pipeline commits at once: its views are there, and right, before any event.
    first: bool,
    bytes: u64,
}

impl Pace {
    fn new(interval: Duration) -> Pace {
        Pace { interval, last: Instant::now(), took: Duration::ZERO, dirty: true, first: true, bytes: 0 }
    }

    fn due(&self, caught_up: bool) -> Instant {
        let wait = if caught_up { self.took } else { self.took * BACKLOG_SHARE };
        let at_once = self.first || self.bytes >= UNCOMMITTED_BYTES;
        self.last + if at_once { Duration::ZERO } else { self.interval.max(wait + self.took) }
    }

    fn committed(&mut self, began: Instant, took: Duration) {
        *self = Pace { last: began, took, dirty: false, first: false, bytes: 0, ..*self };
    }
}

impl Driver {
    /// Runs until told to stop, or caught up where so asked, and commits at the end. A rebuild that is told to stop before the
    /// swap leaves nothing behind.
    ///
    /// # Errors
    /// The first that meets the pipeline; what was committed stays.
    pub(crate) async fn run(mut self) -> Result<(), Error> {
        self.pipeline.set_aside(self.suspects.all_aside());
        let Some(mut sources) = self.open_sources().await? else { return Ok(()) };
        self.show_catching_up();
        let mut pace = Pace::new(self.interval);
        let mut turn = 0;
        let began = Instant::now();
        loop {
            let caught_up = sources.iter().all(|source| source.caught_up);
            if caught_up && matches!(self.role, Role::Rebuild { .. }) && self.ahead(&sources).await?.is_empty() {
                if !self.swap(&mut sources).await? {
                    return Ok(());
                }
                pace.committed(Instant::now(), pace.took);
            }
            if caught_up && matches!(self.role, Role::Main) {
                if sources.iter().all(|source| !source.away) {
                    self.show_live();
                }
                if self.until_caught_up {
                    break;
                }
            }
            let settled = sources.iter().all(Reading::is_settled);
            let wake = tokio::select! {
                biased;
                () = self.stop.cancelled() => Wake::Stop,
                () = tokio::time::sleep_until(pace.due(caught_up).into()), if pace.dirty && settled => Wake::Due,
                (index, taken) = next_in_turn(&mut sources, &mut turn, |source| source.intake.next().boxed()) =>
                    Wake::Taken(index, taken),
                () = tokio::time::sleep(LOOK_INTERVAL), if self.until_caught_up => Wake::Look,
            };
            match wake {
                Wake::Stop => break,
                Wake::Look => {
                    for source in sources.iter().filter(|source| !source.caught_up) {
                        self.give_up_after(self.pipeline.shared().feed(source.intake.name())?, began)?;
                    }
                }
                Wake::Due => {
                    let began = Instant::now();
                    let took = self.commit_or_flush().await?;
                    pace.committed(began, took);
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

    /// Applies an item of a source, and notes how the source stands.
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
                // A pause of a source that is read once says nothing of its end.
                source.caught_up |= source.passed_target().unwrap_or(true) && !source.read_once;
                source.held = false;
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

    /// Opens every source. None when told to stop meanwhile.
    async fn open_sources(&mut self) -> Result<Option<Vec<Reading>>, Error> {
        let mut sources = Vec::new();
        for name in self.pipeline.component().sources() {
            let feed = self.pipeline.shared().feed(&name)?.clone();
            let start = self.pipeline.position(&name).map_or(Start::First, |position| Start::At(position.clone()));
            // Before the source is asked for its end: what others keep meanwhile may lie beyond it.
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
        Ok(Some(sources))
    }

    /// Opens an intake, waiting for a source that is away. None when told to stop meanwhile.
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

    /// A run that ends by itself waits for a source that does not answer, but not for ever.
    ///
    /// # Errors
    /// What is waited for, where it was away for too long since `began` or since its last answer.
    fn give_up_after(&self, feed: &Feed, began: Instant) -> Result<(), Error> {
        let limit = self.pipeline.shared().settings().source_timeout;
        let contact = feed.source().contact();
        let since = contact.answered.map_or(began, |answered| answered.max(began));
        if !self.until_caught_up || !contact.is_lost() || since.elapsed() < limit {
            return Ok(());
        }
        let reason = contact.reason.unwrap_or_default();
        let message = format!("it was waited for {}: {reason}", humantime::format_duration(limit));
        let help =
            Some("`source_timeout` says how long a run that ends by itself waits; `alluvium run` waits for ever".to_owned());
        Err(self.source_error(Arc::new(alluvium_connectors::Error::Absent { message, help })))
    }

    /// Attaches, then asks where the source ends.
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

    /// Whether the source is read in small batches where it stands now.
    fn is_suspect(&self, source: &Reading) -> bool {
        self.suspects.batch_limit(source.intake.name(), source.intake.position().offset).is_some()
    }

    /// The events of a source that this run has set aside, where the batch has one of them.
    fn aside(&self, source: &Reading, batch: &Batch) -> Option<&BTreeSet<u64>> {
        let aside = self.suspects.aside(source.intake.name())?;
        let found = aside.range(batch.start..batch.end).any(|sequence| batch.sequences.values().binary_search(sequence).is_ok());
        found.then_some(aside)
    }

    fn source_error(&self, error: Arc<alluvium_connectors::Error>) -> Error {
        Error::Source { view: self.pipeline.name().to_owned(), error }
    }

    /// Commits; a rebuild that is not swapped in yet only bounds what its operators and parts hold back. Gives how long it took.
    async fn commit_or_flush(&mut self) -> Result<Duration, Error> {
        match self.role {
            Role::Main => {
                let keep_unnamed = self.rebuilder.load(Ordering::SeqCst) != 0;
                self.commit(CommitOptions { ends_rebuild: false, keep_unnamed }).await
            }
            Role::Rebuild { .. } => {
                let began = Instant::now();
                self.pipeline.build(None).await?;
                Ok(began.elapsed())
            }
        }
    }

    async fn commit(&mut self, options: CommitOptions) -> Result<Duration, Error> {
        let committed = self.pipeline.commit(options).await?;
        panics::clear_hand();
        self.show_committed(&committed);
        Ok(committed.took)
    }
}
