//! One live reader for each source. It reads and decodes each event once for all views that have caught up.
//!
//! A feed is a task that owns the reader, its last batches and its subscribers. A subscriber asks to be attached at an offset. The feed
//! attaches it if it still has that offset. Otherwise the subscriber is behind: it reads with a reader of its own and asks again. A
//! subscriber that keeps the others waiting is detached, and comes back in the same way.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use alluvium_connectors::source::{Read, Reader, Source, Start};
use alluvium_connectors::{Batch, Error, Position};
use futures::FutureExt;
use tokio::sync::{mpsc, oneshot};

use crate::metrics;

/// How many batches a feed keeps for subscribers that have nearly caught up.
const KEPT_BATCHES: usize = 32;
/// How many bytes of bodies the kept batches may have.
const KEPT_BYTES: u64 = 16 << 20;
/// How many batches may be queued for one subscriber.
const IN_FLIGHT: usize = 4;
/// How long, in total, one subscriber may keep the others waiting before it is detached. It regains a tenth of the time that passes.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a subscriber receives.
#[derive(Debug, Clone)]
pub(crate) enum Item {
    /// Events. The subscriber applies those from its own offset on.
    Batch(Arc<Batch>),
    /// The reader has reached the end of the source.
    CaughtUp,
    /// The source will never have more events.
    End,
    /// The source failed for good.
    Failed(Arc<Error>),
}

/// An answer to [`Feed::attach`].
pub(crate) enum Attached {
    /// Items from the requested offset on; the first batch may begin before it.
    Live {
        items: mpsc::Receiver<Item>,
        /// The position at which the feed began to read, for a subscriber that starts at the source's first event.
        start: Position,
    },
    /// The feed does not have that offset. The subscriber has to read for itself.
    Behind,
}

struct Request {
    start: Start,
    /// The subscriber's own reader has checked that its position belongs to the source as it is now.
    verified: bool,
    reply: oneshot::Sender<Result<Attached, Arc<Error>>>,
}

/// A handle to a feed. Cheap to clone; the feed ends when its last handle is dropped.
#[derive(Debug, Clone)]
pub(crate) struct Feed {
    source: Arc<dyn Source>,
    requests: mpsc::Sender<Request>,
}

impl Feed {
    /// Starts the feed's task. It reads nothing before someone attaches.
    pub(crate) fn start(source: Arc<dyn Source>) -> Feed {
        let (requests, receiver) = mpsc::channel(64);
        tokio::spawn(Task { source: source.clone(), requests: receiver, live: None }.watched());
        Feed { source, requests }
    }

    /// The source that the feed reads.
    pub(crate) fn source(&self) -> &Arc<dyn Source> {
        &self.source
    }

    /// Asks to be attached. If the feed is not reading, it begins at `start`.
    ///
    /// # Errors
    /// Those of [`Source::read`].
    pub(crate) async fn attach(&self, start: Start, verified: bool) -> Result<Attached, Arc<Error>> {
        let (reply, answer) = oneshot::channel();
        let gone = || Arc::new(Error::Bug("a feed has ended before its subscribers".into()));
        self.requests.send(Request { start, verified, reply }).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

struct Subscriber {
    items: mpsc::Sender<Item>,
    /// Whether it has received the item under way.
    served: bool,
    kept_waiting: Duration,
}

/// A running reader with its subscribers.
struct Live {
    reader: Box<dyn Reader>,
    began: Start,
    start: Position,
    kept: VecDeque<Arc<Batch>>,
    kept_bytes: u64,
    /// The position at which `kept` begins.
    kept_from: Position,
    subscribers: Vec<Subscriber>,
    /// The item that not all subscribers have received yet, and when the reader gave it.
    under_way: Option<(Item, Instant)>,
    last_restarts: u64,
    settled: Instant,
}

/// What a feed's task wakes up for.
// Created once for each batch of thousands of events: boxing would save nothing.
#[allow(clippy::large_enum_variant)]
enum Wake {
    Request(Option<Request>),
    Served,
    Read(Result<Read, Error>),
}

struct Task {
    source: Arc<dyn Source>,
    requests: mpsc::Receiver<Request>,
    live: Option<Live>,
}

impl Task {
    /// Runs the feed. After a panic it goes on without its reader, and its subscribers read for themselves.
    async fn watched(mut self) {
        while AssertUnwindSafe(self.run()).catch_unwind().await.is_err() {
            tracing::error!(source = self.source.config().name, "the live reader panicked: its views read for themselves");
            self.live = None;
        }
    }

    async fn run(&mut self) {
        loop {
            let Some(live) = &mut self.live else {
                match self.requests.recv().await {
                    Some(request) => self.begin(request).await,
                    None => return,
                }
                continue;
            };
            live.let_go();
            if live.subscribers.is_empty() {
                // Nobody is left to feed: drop the reader and its consumer on the server.
                self.live = None;
                continue;
            }
            let wake = if live.under_way.is_some() {
                tokio::select! {
                    biased;
                    request = self.requests.recv() => Wake::Request(request),
                    () = live.serve() => Wake::Served,
                }
            } else {
                tokio::select! {
                    biased;
                    request = self.requests.recv() => Wake::Request(request),
                    read = live.reader.next() => Wake::Read(read),
                }
            };
            match wake {
                Wake::Request(Some(request)) => live.answer(request),
                Wake::Request(None) => return,
                Wake::Served => {}
                Wake::Read(read) => {
                    if let Some(error) = live.take(&self.source.config().name, read) {
                        let error = Arc::new(error);
                        for subscriber in live.subscribers.drain(..) {
                            // If the channel is full, its owner finds it closed, reads for itself and meets the same error.
                            let _ = subscriber.items.try_send(Item::Failed(Arc::clone(&error)));
                        }
                        self.live = None;
                    }
                }
            }
        }
    }

    /// Opens a reader at the position that the first subscriber asks for.
    async fn begin(&mut self, request: Request) {
        match self.source.read(request.start.clone()).await {
            Ok(reader) => {
                let start = reader.position().clone();
                let mut live = Live {
                    kept_from: start.clone(),
                    reader,
                    began: request.start.clone(),
                    start,
                    kept: VecDeque::new(),
                    kept_bytes: 0,
                    subscribers: Vec::new(),
                    under_way: None,
                    last_restarts: 0,
                    settled: Instant::now(),
                };
                live.answer(request);
                self.live = Some(live);
            }
            Err(error) => {
                // The subscriber may have gone; there is nobody else to tell.
                let _ = request.reply.send(Err(Arc::new(error)));
            }
        }
    }
}

impl Live {
    fn answer(&mut self, request: Request) {
        let from = match &request.start {
            Start::First if self.began == Start::First && self.kept_from == self.start => Some(&self.start),
            Start::First => None,
            Start::At(position) => {
                let known = *position == self.start || (request.verified && position.identity.same_source(&self.start.identity));
                (known && position.reaches(&self.kept_from)).then_some(position)
            }
        };
        let Some(from) = from else {
            let _ = request.reply.send(Ok(Attached::Behind));
            return;
        };
        // With room for all kept batches beside those in flight, attaching never waits.
        let (items, receiver) = mpsc::channel(IN_FLIGHT + self.kept.len());
        for batch in self.kept.iter().filter(|batch| batch.end > from.offset_of(batch.partition)) {
            // This cannot fail: the channel has room for them all, and we still hold the receiver.
            let _ = items.try_send(Item::Batch(Arc::clone(batch)));
        }
        let attached = Attached::Live { items: receiver, start: self.start.clone() };
        if request.reply.send(Ok(attached)).is_ok() {
            // A batch under way is already among the kept ones, and the reader repeats that it has caught up.
            self.subscribers.push(Subscriber { items, served: true, kept_waiting: Duration::ZERO });
        }
    }

    /// Takes the reader's result as the next item. Returns an error that ends the feed.
    fn take(&mut self, name: &str, read: Result<Read, Error>) -> Option<Error> {
        let restarts = self.reader.restarts();
        for _ in self.last_restarts..restarts {
            metrics::reader_restarted(name);
        }
        self.last_restarts = restarts;
        let item = match read {
            Ok(Read::Batch(batch)) => {
                metrics::batch_read(name, &batch);
                let batch = Arc::new(batch);
                self.keep(Arc::clone(&batch));
                Item::Batch(batch)
            }
            Ok(Read::CaughtUp { .. }) => Item::CaughtUp,
            Ok(Read::End) => Item::End,
            Err(error) => return Some(error),
        };
        for subscriber in &mut self.subscribers {
            subscriber.served = false;
        }
        self.under_way = Some((item, Instant::now()));
        None
    }

    fn keep(&mut self, batch: Arc<Batch>) {
        self.kept_bytes += batch.bytes;
        self.kept.push_back(batch);
        while self.kept.len() > KEPT_BATCHES || (self.kept_bytes > KEPT_BYTES && self.kept.len() > 1) {
            if let Some(old) = self.kept.pop_front() {
                self.kept_bytes -= old.bytes;
                self.kept_from = old.position.clone();
            }
        }
    }

    /// Hands the item under way to the next subscriber that lacks it, and waits until that one can take it or has run out of
    /// [`PATIENCE`]. Cancel safe.
    async fn serve(&mut self) {
        let Some((item, since)) = self.under_way.clone() else { return };
        let alone = self.subscribers.len() == 1;
        let Some(subscriber) = self.subscribers.iter_mut().find(|subscriber| !subscriber.served) else {
            self.under_way = None;
            return;
        };
        let patience = PATIENCE.saturating_sub(subscriber.kept_waiting + since.elapsed());
        let waited = Instant::now();
        let permit = if alone {
            Some(subscriber.items.reserve().await)
        } else {
            tokio::time::timeout(patience, subscriber.items.reserve()).await.ok()
        };
        match permit {
            Some(Ok(permit)) => {
                permit.send(item);
                subscriber.served = true;
                subscriber.kept_waiting += waited.elapsed();
            }
            // The subscriber has gone.
            Some(Err(_)) => subscriber.served = true,
            None => {
                subscriber.kept_waiting = PATIENCE;
                subscriber.served = true;
            }
        }
    }

    /// Detaches subscribers that have gone or kept the others waiting for too long, and gives the rest back some of their patience.
    fn let_go(&mut self) {
        let passed = self.settled.elapsed();
        let alone = self.subscribers.len() == 1;
        self.subscribers.retain(|subscriber| !subscriber.items.is_closed() && (alone || subscriber.kept_waiting < PATIENCE));
        if passed > Duration::from_millis(100) {
            self.settled = Instant::now();
            for subscriber in &mut self.subscribers {
                subscriber.kept_waiting = subscriber.kept_waiting.saturating_sub(passed / 10);
            }
        }
    }
}
