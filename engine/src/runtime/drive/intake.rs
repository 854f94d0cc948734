//! How a pipeline receives one source: from the live feed when it is near the end, from a reader of its own when it is behind. It
//! retries a source that is away for ever.

use std::sync::Arc;
use std::time::Duration;

use alluvium_connectors::source::{self, BatchLimits, Read, Reader, Source, SourceConfig, Start};
use alluvium_connectors::{Batch, Error, Position};
use futures::future::BoxFuture;
use tokio::sync::mpsc;

use super::feed::{Attached, Feed, Item};
use crate::metrics;
use crate::runtime::backoff::Backoff;
use crate::runtime::surroundings::Surroundings;

enum Mode {
    Live(mpsc::Receiver<Item>),
    Own(Box<dyn Reader>),
    /// A reader of our own is being opened. The future is kept here, so that the server's answer is not lost when another source is faster.
    Opening(BoxFuture<'static, Result<Box<dyn Reader>, Error>>),
    /// Standard input has ended.
    Ended,
}

/// What a pipeline receives from a source.
#[derive(Debug)]
pub(crate) enum Taken {
    /// Events to apply. They begin at the pipeline's offset.
    Batch(Arc<Batch>),
    /// There is nothing after the intake's position at present.
    CaughtUp,
    /// The source is away for this reason. The next call tries again.
    Away(String),
    /// The source will never have more events.
    End,
}

/// One pipeline's input from one source.
pub(crate) struct Intake {
    feed: Feed,
    mode: Mode,
    position: Position,
    /// Whether to ask the live feed before the next read of our own.
    ask_feed: bool,
    /// The request to the feed that is under way.
    asked: Option<BoxFuture<'static, Result<Attached, Arc<Error>>>>,
    /// The source with a smaller limit on batches. It is read without the live feed until [`Intake::join_the_others`].
    alone: Option<Arc<dyn Source>>,
    backoff: Backoff,
    surroundings: Arc<dyn Surroundings>,
}

impl Intake {
    /// Opens an intake: attaches to the live feed, or opens a reader at the pipeline's position.
    ///
    /// # Errors
    /// The source is unavailable, or has changed since the position was recorded.
    pub(crate) async fn open(feed: Feed, start: Start, surroundings: Arc<dyn Surroundings>) -> Result<Intake, Arc<Error>> {
        let (mode, position) = match feed.attach(start.clone(), false).await? {
            Attached::Live { items, start: began } => {
                let position = match start {
                    Start::First => began,
                    Start::At(position) => position,
                };
                (Mode::Live(items), position)
            }
            Attached::Behind => {
                let reader = feed.source().read(start).await?;
                let position = reader.position().clone();
                (Mode::Own(reader), position)
            }
        };
        Ok(Intake { feed, mode, position, ask_feed: true, asked: None, alone: None, backoff: Backoff::default(), surroundings })
    }

    /// Opens an intake of its own, which gives at most `max_events` in a batch.
    ///
    /// # Errors
    /// As [`Intake::open`].
    pub(crate) async fn open_alone(
        feed: Feed,
        start: Start,
        max_events: usize,
        surroundings: Arc<dyn Surroundings>,
    ) -> Result<Intake, Arc<Error>> {
        let config = feed.source().config();
        let limits = BatchLimits { max_events, ..config.limits };
        let source = source::open(SourceConfig { limits, ..config.clone() })?;
        let reader = source.read(start).await?;
        let position = reader.position().clone();
        let (mode, backoff) = (Mode::Own(reader), Backoff::default());
        Ok(Intake { feed, mode, position, ask_feed: false, asked: None, alone: Some(source), backoff, surroundings })
    }

    /// Lets the intake join the live feed again, and replaces its reader by one with the source's own limits.
    pub(crate) fn join_the_others(&mut self) {
        if self.alone.take().is_some() && !matches!(self.mode, Mode::Ended) {
            self.mode = self.opening(Duration::ZERO);
            self.ask_feed = true;
        }
    }

    /// The source's name.
    pub(crate) fn name(&self) -> &str {
        &self.feed.source().config().name
    }

    /// The indices of the source's columns that batches carry.
    pub(crate) fn columns(&self) -> &[usize] {
        &self.feed.source().config().columns
    }

    /// The position after everything that has been taken.
    pub(crate) fn position(&self) -> &Position {
        &self.position
    }

    /// Returns the next item; waits while there is none. Cancel safe.
    ///
    /// # Errors
    /// An error that retrying does not help. A source that is away is no error here: see [`Taken::Away`].
    pub(crate) async fn next(&mut self) -> Result<Taken, Arc<Error>> {
        match self.try_next().await {
            Err(error) if matches!(*error, Error::Unavailable { .. }) => {
                let wait = self.backoff.wait(self.surroundings.as_ref());
                self.mode = self.opening(wait);
                tracing::warn!(source = self.name(), offset = self.position.offset, %error, again_in = %seconds(wait), "trying again");
                Ok(Taken::Away(error.to_string()))
            }
            taken => taken,
        }
    }

    async fn try_next(&mut self) -> Result<Taken, Arc<Error>> {
        loop {
            if self.ask_feed && self.alone.is_none() && matches!(self.mode, Mode::Own(_)) {
                self.join().await?;
            }
            let taken = match &mut self.mode {
                Mode::Live(items) => match items.recv().await {
                    Some(Item::Batch(batch)) if batch.end <= self.position.offset_of(batch.partition) => continue,
                    Some(Item::Batch(batch)) => self.take(batch),
                    Some(Item::CaughtUp) => Taken::CaughtUp,
                    Some(Item::End) => Taken::End,
                    Some(Item::Failed(error)) => return Err(error),
                    // The feed detached us: we are behind now.
                    None => {
                        self.mode = self.opening(Duration::ZERO);
                        continue;
                    }
                },
                Mode::Own(reader) => match reader.next().await? {
                    Read::Batch(batch) => {
                        metrics::batch_read(&self.feed.source().config().name, &batch);
                        self.ask_feed = true;
                        self.take(Arc::new(batch))
                    }
                    Read::CaughtUp { .. } => {
                        self.ask_feed = true;
                        Taken::CaughtUp
                    }
                    Read::End => Taken::End,
                },
                Mode::Opening(opening) => {
                    self.mode = Mode::Own(opening.await?);
                    continue;
                }
                Mode::Ended => return std::future::pending().await,
            };
            self.backoff.reset();
            if matches!(taken, Taken::End) {
                self.mode = Mode::Ended;
            }
            return Ok(taken);
        }
    }

    /// Switches to the live feed if it has the next event.
    async fn join(&mut self) -> Result<(), Arc<Error>> {
        let asked = self.asked.get_or_insert_with(|| {
            let (feed, start) = (self.feed.clone(), Start::At(self.position.clone()));
            Box::pin(async move { feed.attach(start, true).await })
        });
        let attached = asked.await;
        self.asked = None;
        self.ask_feed = false;
        if let Attached::Live { items, .. } = attached? {
            self.mode = Mode::Live(items);
        }
        Ok(())
    }

    /// Opens a reader of our own after a wait.
    fn opening(&self, wait: Duration) -> Mode {
        let source = self.alone.as_ref().unwrap_or_else(|| self.feed.source()).clone();
        let start = Start::At(self.position.clone());
        Mode::Opening(Box::pin(async move {
            tokio::time::sleep(wait).await;
            source.read(start).await
        }))
    }

    fn take(&mut self, batch: Arc<Batch>) -> Taken {
        let offset = self.position.offset_of(batch.partition);
        assert!(batch.start <= offset, "source {} skips from {offset} to {}", self.name(), batch.start);
        let batch = if batch.start < offset { Arc::new(batch.since(offset)) } else { batch };
        self.position = batch.position.clone();
        Taken::Batch(batch)
    }
}

/// Formats a wait in seconds, to a tenth, for people.
pub(crate) fn seconds(wait: Duration) -> String {
    format!("{:.1}s", wait.as_secs_f64())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;
    use crate::runtime::surroundings::Machine;

    const EVENTS: usize = 500;
    const IN_BATCH: usize = 100;

    fn events(taken: &Taken) -> usize {
        match taken {
            Taken::Batch(batch) => batch.rows.num_rows(),
            other => panic!("expected events, not {other:?}"),
        }
    }

    #[tokio::test]
    async fn a_search_for_one_event_leaves_no_small_batches_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        let lines: String = (0..EVENTS).map(|n| format!("{{\"n\":{n}}}\n")).collect();
        std::fs::write(&path, lines).unwrap();
        let source = source::open(SourceConfig {
            name: "t".to_owned(),
            stored_as: "FILE".to_owned(),
            location: path.display().to_string(),
            folder: Default::default(),
            options: Default::default(),
            declared: Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)])),
            columns: vec![0],
            limits: BatchLimits { max_events: IN_BATCH, ..BatchLimits::default() },
        })
        .unwrap();
        let mut all = source.read(Start::First).await.unwrap();
        while let Read::Batch(_) = all.next().await.unwrap() {}
        let feed = Feed::start(source);
        // Another view reads at the end of the source, so the feed has nothing of what is before it.
        let _other = feed.attach(Start::At(all.position().clone()), true).await.unwrap();
        let mut intake = Intake::open_alone(feed, Start::First, 1, Arc::new(Machine)).await.unwrap();
        assert_eq!(events(&intake.next().await.unwrap()), 1);
        intake.join_the_others();
        assert_eq!(events(&intake.next().await.unwrap()), IN_BATCH);
        let mut rest = EVENTS - 1 - IN_BATCH;
        while rest > 0 {
            rest -= events(&intake.next().await.unwrap());
        }
    }
}
