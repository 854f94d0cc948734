//! The queue of batches from a reading task to a reader. Batches are decoded in parallel and returned in the order in which they were read.

use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::batch::Batch;
use super::contract::Read;
use super::position::Position;
use crate::Error;

/// An item that a reading task passes to the reader.
pub(super) enum Item {
    /// A batch that is being decoded.
    Batch(AbortOnDropHandle<Result<Batch, Error>>),
    /// Everything below this offset has been passed on.
    CaughtUp(u64),
    /// There will never be more events.
    End,
    /// Reading failed permanently.
    Failed(Error),
}

/// The reader's end of the queue.
pub(super) struct Decoding {
    position: Position,
    items: mpsc::Receiver<Item>,
    /// The next batch. Kept here so that dropping the future of `next` loses nothing.
    next: Option<AbortOnDropHandle<Result<Batch, Error>>>,
    ended: bool,
}

impl Decoding {
    /// Creates the queue's end for a reader that begins at `position`.
    pub(super) fn new(position: Position, items: mpsc::Receiver<Item>) -> Decoding {
        Decoding { position, items, next: None, ended: false }
    }

    /// Returns the position after the last batch returned.
    pub(super) fn position(&self) -> &Position {
        &self.position
    }

    /// Returns the next item once it is decoded. Dropping the future loses nothing.
    ///
    /// # Errors
    /// Those of the reading task and the decoder. After an error, nothing that was read after it is returned.
    pub(super) async fn next(&mut self) -> Result<Read, Error> {
        if self.ended {
            return Ok(Read::End);
        }
        let decoding = match &mut self.next {
            Some(decoding) => decoding,
            empty => match self.items.recv().await {
                Some(Item::Batch(decoding)) => empty.insert(decoding),
                Some(Item::CaughtUp(offset)) => return Ok(Read::CaughtUp { offset }),
                Some(Item::End) => {
                    self.ended = true;
                    return Ok(Read::End);
                }
                Some(Item::Failed(error)) => return Err(self.fail(error)),
                None => return Err(Error::Bug("a reader was asked for more after it failed".into())),
            },
        };
        let decoded = decoding.await;
        self.next = None;
        match decoded {
            Ok(Ok(batch)) => {
                let offset = self.position.offset_of(batch.partition);
                assert_eq!(batch.start, offset, "a batch begins where the one before in its partition ended");
                self.position = batch.position.clone();
                Ok(Read::Batch(batch))
            }
            Ok(Err(error)) => Err(self.fail(error)),
            Err(_) => Err(self.fail(Error::Bug("a task that decodes a batch panicked or was cancelled".into()))),
        }
    }

    /// Discards everything that was read after the error.
    fn fail(&mut self, error: Error) -> Error {
        self.items.close();
        while self.items.try_recv().is_ok() {}
        error
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use std::sync::Arc;

    use arrow::array::UInt64Array;
    use arrow::datatypes::Schema;
    use arrow::record_batch::RecordBatch;
    use futures::FutureExt;
    use tokio::sync::oneshot;

    use super::*;
    use crate::source::batch::CommitPoints;
    use crate::source::position::Identity;

    fn position(offset: u64) -> Position {
        Position::new(offset, Identity::new("test", &serde_json::json!({})).unwrap())
    }

    fn batch(start: u64, end: u64) -> Batch {
        Batch {
            partition: 0,
            start,
            end,
            rows: RecordBatch::new_empty(Arc::new(Schema::empty())),
            sequences: UInt64Array::from(Vec::<u64>::new()),
            ordinals: None,
            weights: None,
            commits: CommitPoints::AfterAny,
            gaps: Vec::new(),
            events: 0,
            bytes: 0,
            unfit: Vec::new(),
            nulled: 0,
            absent: None,
            dead_letters: Vec::new(),
            newest_ns: None,
            position: position(end),
            origin: None,
        }
    }

    /// A batch whose decoding ends when the sender sends it.
    fn pending() -> (oneshot::Sender<Result<Batch, Error>>, Item) {
        let (sender, decoded) = oneshot::channel();
        let task = tokio::spawn(async move { decoded.await.unwrap() });
        (sender, Item::Batch(AbortOnDropHandle::new(task)))
    }

    #[tokio::test]
    async fn batches_come_in_the_order_in_which_they_were_read() {
        let (items, receiver) = mpsc::channel(8);
        let mut decoding = Decoding::new(position(1), receiver);
        let (first, item) = pending();
        items.send(item).await.unwrap();
        let (second, item) = pending();
        items.send(item).await.unwrap();
        items.send(Item::CaughtUp(9)).await.unwrap();
        items.send(Item::End).await.unwrap();
        second.send(Ok(batch(5, 9))).unwrap();
        // The second batch is decoded first. Dropping the future of `next` while it waits loses nothing.
        for _ in 0..3 {
            tokio::task::yield_now().await;
            assert!(decoding.next().now_or_never().is_none());
        }
        first.send(Ok(batch(1, 5))).unwrap();
        assert!(matches!(decoding.next().await, Ok(Read::Batch(batch)) if batch.end == 5));
        assert_eq!(decoding.position().offset, 5);
        assert!(matches!(decoding.next().await, Ok(Read::Batch(batch)) if batch.end == 9));
        assert!(matches!(decoding.next().await, Ok(Read::CaughtUp { offset: 9 })));
        for _ in 0..2 {
            assert!(matches!(decoding.next().await, Ok(Read::End)));
        }
    }

    #[tokio::test]
    async fn nothing_passes_a_failure() {
        for broken_off in [false, true] {
            let (items, receiver) = mpsc::channel(8);
            let mut decoding = Decoding::new(position(1), receiver);
            let (first, item) = pending();
            items.send(item).await.unwrap();
            let (second, item) = pending();
            items.send(item).await.unwrap();
            second.send(Ok(batch(5, 9))).unwrap();
            if broken_off {
                drop(first);
            } else {
                first.send(Err(Error::Bug("it does not decode".into()))).unwrap();
            }
            assert!(decoding.next().await.is_err());
            assert!(decoding.next().await.is_err());
            assert_eq!(decoding.position().offset, 1);
            assert!(items.send(Item::End).await.is_err(), "the reading task learns that nobody reads");
        }
    }
}
