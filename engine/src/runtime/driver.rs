//! Drives one pipeline: takes items from its sources, says when to commit, and knows when it has caught up.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use alluvium_connectors::Position;
use alluvium_connectors::source::Start;
use futures::future::{FutureExt, select_all};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::commit::CommitOptions;
use super::intake::{Intake, Taken};
use super::pipeline::Pipeline;
use crate::error::Error;
use crate::metrics;
use crate::status::{Phase, SourceStatus};

/// How many times as long as a commit took it is left to the events before the next one, while there is a backlog.
const BACKLOG_SHARE: u32 = 4;

/// Bytes of bodies that are applied before a commit, about: operators hold what comes in until then.
const UNCOMMITTED_BYTES: u64 = 1 << 30;

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
    /// Another run of the same views is at work beside this one.
    pub(crate) rebuilding: Arc<AtomicBool>,
    pub(crate) stop: CancellationToken,
}

/// How a source stands to its end.
struct Progress {
    /// The end of each partition when reading began; none where only reaching it tells.
    target: Option<Vec<u64>>,
    /// Only its end says that it has been read.
    read_once: bool,
    caught_up: bool,
    /// A commit may fall after what was taken.
    whole: bool,
    /// There will never be more.
    ended: bool,
}

impl Progress {
    /// Whether a position is at or after the target; none where there is no target.
    fn passed_target(&self, position: &Position) -> Option<bool> {
        let target = self.target.as_ref()?;
        Some((0..).zip(target).all(|(partition, end)| position.offset_of(partition) >= *end))
    }
}

/// What the driver wakes up for.
enum Wake {
    Stop,
    Due,
    Taken(usize, Result<Taken, Arc<alluvium_connectors::Error>>),
}

impl Driver {
    /// Runs until told to stop, or caught up where so asked, and commits at the end. A rebuild that is told to stop before the
    /// swap leaves nothing behind.
    ///
    /// # Errors
    /// The first that meets the pipeline; what was committed stays.
    pub(crate) async fn run(mut self) -> Result<(), Error> {
        let mut intakes = Vec::new();
        let mut progress = Vec::new();
        for source in self.pipeline.component.sources() {
            let feed = self.pipeline.shared.feed(&source)?.clone();
            let start = self.pipeline.positions.get(&source).map_or(Start::First, |position| Start::At(position.clone()));
            let Some((intake, target)) = self.open(&feed, start).await? else { return Ok(()) };
            self.pipeline.positions.insert(source.clone(), intake.position().clone());
            intakes.push(intake);
            let read_once = feed.source().promises().read_once;
            progress.push(Progress { target, read_once, caught_up: false, whole: true, ended: false });
        }
        let mut last_commit = Instant::now();
        let mut commit_took = Duration::ZERO;
        // A new pipeline commits at once: its views are there, and right, before any event.
        let mut dirty = true;
        let mut first = true;
        let mut uncommitted = 0;
        loop {
            let caught_up = progress.iter().all(|source| source.caught_up);
            if caught_up {
                if matches!(self.role, Role::Rebuild { .. }) {
                    let reached = self.recorded_positions()?;
                    if !self.passed(&reached) && progress.iter().all(|source| source.ended) {
                        return Err(self.too_short(&reached));
                    }
                }
                if matches!(self.role, Role::Rebuild { .. }) && self.passed(&self.recorded_positions()?) {
                    if !self.swap(&mut intakes).await? {
                        return Ok(());
                    }
                    dirty = false;
                    last_commit = Instant::now();
                }
                if matches!(self.role, Role::Main) {
                    self.show_phase(Phase::Live);
                    if self.until_caught_up {
                        break;
                    }
                }
            }
            let wait = if caught_up { commit_took } else { commit_took * BACKLOG_SHARE };
            let whole = progress.iter().all(|source| source.whole);
            let full = uncommitted >= UNCOMMITTED_BYTES;
            let due = last_commit + if first || full { Duration::ZERO } else { self.interval.max(wait + commit_took) };
            let wake = {
                let taken = next_of(&mut intakes);
                tokio::select! {
                    biased;
                    () = self.stop.cancelled() => Wake::Stop,
                    () = tokio::time::sleep_until(due.into()), if dirty && whole => Wake::Due,
                    (index, taken) = taken => Wake::Taken(index, taken),
                }
            };
            match wake {
                Wake::Stop => break,
                Wake::Due => {
                    last_commit = Instant::now();
                    commit_took = self.commit_or_flush().await?;
                    first = false;
                    dirty = false;
                    uncommitted = 0;
                }
                Wake::Taken(index, taken) => {
                    let intake = &intakes[index];
                    match taken.map_err(|error| self.source_error(error))? {
                        Taken::Batch(batch) => {
                            let began = Instant::now();
                            self.pipeline.apply(intake.name(), intake.columns(), &batch).await?;
                            metrics::batch_applied(self.pipeline.component.name(), began.elapsed());
                            dirty = true;
                            uncommitted += batch.bytes;
                            let source = &mut progress[index];
                            source.whole = batch.commits.allow(batch.end);
                            source.caught_up |= source.passed_target(intake.position()) == Some(true);
                            let end = source.target.as_ref().map(|target| target.iter().sum());
                            self.show_progress(intake.name(), intake.position().progress(), end);
                        }
                        Taken::CaughtUp => {
                            let source = &mut progress[index];
                            // A pause of a source that is read once says nothing of its end.
                            source.caught_up |= source.passed_target(intake.position()).unwrap_or(true) && !source.read_once;
                            let offset = intake.position().progress();
                            self.show_progress(intake.name(), offset, Some(offset));
                        }
                        Taken::End => {
                            progress[index].caught_up = true;
                            progress[index].ended = true;
                        }
                    }
                }
            }
        }
        if dirty && matches!(self.role, Role::Main) && progress.iter().all(|source| source.whole) {
            self.commit_or_flush().await?;
        }
        Ok(())
    }

    /// Opens an intake, waiting for a source that is away. None when told to stop meanwhile.
    async fn open(&self, feed: &super::feed::Feed, start: Start) -> Result<Option<(Intake, Option<Vec<u64>>)>, Error> {
        let name = &feed.source().config().name;
        let mut delay = Duration::from_millis(100);
        loop {
            let opened = tokio::select! {
                () = self.stop.cancelled() => return Ok(None),
                opened = open_once(feed, start.clone()) => opened,
            };
            match opened {
                Ok(opened) => return Ok(Some(opened)),
                Err(error) if matches!(*error, alluvium_connectors::Error::Unavailable { .. }) => {
                    tracing::warn!(source = name, %error, "waiting for the source");
                    for member in &self.pipeline.members {
                        self.pipeline.shared.board.update(&member.view.name, |status| status.error = Some(error.to_string()));
                    }
                }
                Err(error) => return Err(self.source_error(error)),
            }
            tokio::select! {
                () = self.stop.cancelled() => return Ok(None),
                () = tokio::time::sleep(delay) => {}
            }
            delay = (delay * 2).min(Duration::from_secs(5));
        }
    }

    fn source_error(&self, error: Arc<alluvium_connectors::Error>) -> Error {
        Error::Source { view: self.pipeline.component.name().to_owned(), error }
    }

    /// Commits; a rebuild that is not swapped in yet only bounds what its operators and parts hold back.
    async fn commit_or_flush(&mut self) -> Result<Duration, Error> {
        match self.role {
            Role::Main => {
                let keep_unnamed = self.rebuilding.load(Ordering::SeqCst);
                self.pipeline.commit(CommitOptions { ends_rebuild: false, keep_unnamed }).await
            }
            Role::Rebuild { .. } => {
                let began = Instant::now();
                self.pipeline.build(None).await?;
                Ok(began.elapsed())
            }
        }
    }

    /// Takes over from the old pipeline: waits until it has ended, goes at least as far as it did, and commits. False when
    /// told to stop meanwhile.
    async fn swap(&mut self, intakes: &mut [Intake]) -> Result<bool, Error> {
        let Role::Rebuild { take_over, .. } = &self.role else { return Ok(true) };
        let (reply, answer) = oneshot::channel();
        let request = TakeOver { component: self.pipeline.component.name().to_owned(), reply };
        if take_over.send(request).await.is_err() {
            return Ok(false);
        }
        if answer.await.is_err() {
            return Ok(false);
        }
        let reached = self.recorded_positions()?;
        while !self.passed(&reached) {
            let (index, taken) = next_of(intakes).await;
            let intake = &intakes[index];
            if let Taken::Batch(batch) = taken.map_err(|error| self.source_error(error))? {
                self.pipeline.apply(intake.name(), intake.columns(), &batch).await?;
            }
        }
        self.pipeline.continue_epochs()?;
        self.pipeline.commit(CommitOptions { ends_rebuild: true, keep_unnamed: false }).await?;
        for member in &self.pipeline.members {
            super::commit::sweep_incarnations(&self.pipeline.shared.layout.states(&member.view.name), &member.incarnation)?;
            tracing::info!(view = member.view.name, epoch = self.pipeline.epoch, "rebuilt and swapped in");
        }
        self.rebuilding.store(false, Ordering::SeqCst);
        self.role = Role::Main;
        Ok(true)
    }

    /// Where the views stand that readers see now: a swap never takes them back.
    fn recorded_positions(&self) -> Result<BTreeMap<String, Position>, Error> {
        let mut farthest: BTreeMap<String, Position> = BTreeMap::new();
        for member in &self.pipeline.members {
            for (source, position) in
                self.pipeline.shared.store.record(&member.view.name)?.into_iter().flat_map(|record| record.positions)
            {
                if farthest.get(&source).is_none_or(|known| !known.reaches(&position)) {
                    farthest.insert(source, position);
                }
            }
        }
        Ok(farthest)
    }

    /// Whether this pipeline stands at or after each of the positions; one of a stream that was made anew since does not count.
    fn passed(&self, positions: &BTreeMap<String, Position>) -> bool {
        positions.iter().all(|(source, old)| {
            self.pipeline.positions.get(source).is_none_or(|new| !new.identity.same_source(&old.identity) || new.reaches(old))
        })
    }

    /// A rebuild's sources have ended before what the view that serves has applied.
    fn too_short(&self, reached: &BTreeMap<String, Position>) -> Error {
        let offset = |positions: &BTreeMap<String, Position>, source: &str| positions.get(source).map_or(1, Position::progress);
        let behind = reached.keys().find(|source| offset(&self.pipeline.positions, source) < offset(reached, source));
        let source = behind.map_or("", String::as_str);
        Error::config(
            format!(
                "view {}: source {source} ended after {} events, but the view that serves was made from {}",
                self.pipeline.component.name(),
                offset(&self.pipeline.positions, source) - 1,
                offset(reached, source) - 1
            ),
            "to rebuild, give the same events from the first on, or drop the view",
        )
    }

    fn show_phase(&self, phase: Phase) {
        for member in &self.pipeline.members {
            self.pipeline.shared.board.update(&member.view.name, |status| {
                if status.phase != Phase::Rebuilding && status.phase != Phase::Failed {
                    status.phase = phase;
                }
                status.error = None;
            });
        }
    }

    fn show_progress(&self, source: &str, offset: u64, end: Option<u64>) {
        let main = matches!(self.role, Role::Main);
        for member in &self.pipeline.members {
            self.pipeline.shared.board.update(&member.view.name, |status| {
                let shown = if main { &mut status.sources } else { &mut status.rebuild };
                let entry = shown.entry(source.to_owned()).or_insert_with(SourceStatus::default);
                entry.end = entry.end.max(end.unwrap_or(0)).max(offset);
                entry.applied = offset;
                if !main {
                    entry.offset = offset;
                    let (done, all) =
                        status.rebuild.values().fold((0, 0), |(done, all), source| (done + source.offset, all + source.end));
                    metrics::rebuild_progress(&member.view.name, done, all);
                }
            });
        }
    }
}

/// Attaches, then asks where the source ends.
async fn open_once(
    feed: &super::feed::Feed,
    start: Start,
) -> Result<(Intake, Option<Vec<u64>>), Arc<alluvium_connectors::Error>> {
    let intake = Intake::open(feed.clone(), start).await?;
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

/// The next item of any source; never, where there is no source.
async fn next_of(intakes: &mut [Intake]) -> (usize, Result<Taken, Arc<alluvium_connectors::Error>>) {
    if intakes.is_empty() {
        return std::future::pending().await;
    }
    let (taken, index, _) = select_all(intakes.iter_mut().map(|intake| intake.next().boxed())).await;
    (index, taken)
}
