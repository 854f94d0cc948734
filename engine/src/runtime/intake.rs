//! How a pipeline receives one source: from the live feed when it is near, by a reader of its own when it is behind.

use std::sync::Arc;

use alluvium_connectors::source::{Read, Reader, Start};
use alluvium_connectors::{Batch, Error, Position};
use tokio::sync::mpsc;

use super::feed::{Attached, Feed, Item};
use crate::metrics;

enum Mode {
    Live(mpsc::Receiver<Item>),
    Own(Box<dyn Reader>),
    /// Standard input has ended.
    Ended,
}

/// What a pipeline does next about a source.
#[derive(Debug)]
pub(crate) enum Taken {
    /// Apply these events: they begin at the pipeline's offset.
    Batch(Arc<Batch>),
    /// Nothing new at the intake's position.
    CaughtUp,
    /// There will never be more.
    End,
}

/// One pipeline's way to one source.
pub(crate) struct Intake {
    feed: Feed,
    mode: Mode,
    position: Position,
    /// Whether the live feed is to be asked before the next read of our own.
    ask_feed: bool,
}

impl Intake {
    /// Opens the way: attaches to the live feed, or begins to read where the pipeline stands.
    ///
    /// # Errors
    /// Those of the source: unavailable, or changed since the position was recorded.
    pub(crate) async fn open(feed: Feed, start: Start) -> Result<Intake, Arc<Error>> {
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
        Ok(Intake { feed, mode, position, ask_feed: true })
    }

    /// The source's name.
    pub(crate) fn name(&self) -> &str {
        &self.feed.source().config().name
    }

    /// The columns of the source that batches carry.
    pub(crate) fn columns(&self) -> &[usize] {
        &self.feed.source().config().columns
    }

    /// After all that has been taken.
    pub(crate) fn position(&self) -> &Position {
        &self.position
    }

    /// The next item; waits while there is none. Dropping the future loses nothing.
    ///
    /// # Errors
    /// The source's, for good.
    pub(crate) async fn next(&mut self) -> Result<Taken, Arc<Error>> {
        loop {
            if self.ask_feed && matches!(self.mode, Mode::Own(_)) {
                self.join().await?;
                self.ask_feed = false;
            }
            match &mut self.mode {
                Mode::Live(items) => match items.recv().await {
                    Some(Item::Batch(batch)) if batch.end <= self.position.offset_of(batch.partition) => {}
                    Some(Item::Batch(batch)) => return Ok(self.take(batch)),
                    Some(Item::CaughtUp) => return Ok(Taken::CaughtUp),
                    Some(Item::End) => {
                        self.mode = Mode::Ended;
                        return Ok(Taken::End);
                    }
                    Some(Item::Failed(error)) => return Err(error),
                    // Let go by the feed: behind now.
                    None => {
                        let reader = self.feed.source().read(Start::At(self.position.clone())).await?;
                        self.mode = Mode::Own(reader);
                    }
                },
                Mode::Own(reader) => match reader.next().await? {
                    Read::Batch(batch) => {
                        metrics::batch_read(&self.feed.source().config().name, &batch);
                        self.ask_feed = true;
                        return Ok(self.take(Arc::new(batch)));
                    }
                    Read::CaughtUp { .. } => {
                        self.ask_feed = true;
                        return Ok(Taken::CaughtUp);
                    }
                    Read::End => {
                        self.mode = Mode::Ended;
                        return Ok(Taken::End);
                    }
                },
                Mode::Ended => std::future::pending().await,
            }
        }
    }

    /// Goes over to the live feed when it has what comes next.
    async fn join(&mut self) -> Result<(), Arc<Error>> {
        if let Attached::Live { items, .. } = self.feed.attach(Start::At(self.position.clone()), true).await? {
            self.mode = Mode::Live(items);
        }
        Ok(())
    }

    fn take(&mut self, batch: Arc<Batch>) -> Taken {
        let offset = self.position.offset_of(batch.partition);
        assert!(batch.start <= offset, "source {} skips from {offset} to {}", self.name(), batch.start);
        let batch = if batch.start < offset { Arc::new(batch.since(offset)) } else { batch };
        self.position = batch.position.clone();
        Taken::Batch(batch)
    }
}
