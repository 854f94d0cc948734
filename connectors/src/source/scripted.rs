//! An in-memory source, for tests of the runtime and of views, that follows a script: it emits events, fails, waits and ends in the given order.
//!
//! A script is a list of steps. Every reader plays it from the beginning and skips the events before its position, so that the source can
//! be read again like a stream. A failure happens once, to the first reader that reaches it. After the last step a reader has caught up
//! and waits for more steps, which [`ScriptedSource::then`] can add at any time.
//!
//! ```
//! # use std::sync::Arc;
//! # use alluvium_connectors::source::scripted::{Step, ScriptedSource};
//! # use alluvium_connectors::source::{BatchLimits, Read, Source, SourceConfig, Start};
//! # use arrow::datatypes::{DataType, Field, Schema};
//! # let config = SourceConfig {
//! #     name: "orders".into(),
//! #     stored_as: "SCRIPTED".into(),
//! #     location: "memory".into(),
//! #     folder: Default::default(),
//! #     options: Default::default(),
//! #     declared: Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)])),
//! #     columns: vec![0],
//! #     limits: BatchLimits::default(),
//! # };
//! # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
//! let source = ScriptedSource::new(config)?;
//! source.then(Step::events(["{\"n\":1}", "{\"n\":2}"])).then(Step::unavailable("the server is away")).then(Step::End);
//! let source: Arc<dyn Source> = Arc::new(source);
//! let mut reader = source.read(Start::First).await?;
//! assert!(matches!(reader.next().await, Ok(Read::Batch(batch)) if batch.end == 3));
//! assert!(reader.next().await.is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! `STORED AS` does not name this kind of source: a test of the runtime, or `alluvium test`, passes it to the engine.

mod script;

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arrow::array::Int64Array;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use self::script::Payloads;
pub use self::script::{Envelope, Failure, ScriptedBatch, Step};
use super::batch::Batch;
use super::contract::{Extent, Held, Past, Promises, Read, Reader, Source, Start};
use super::declaration::SourceConfig;
use super::position::{Identity, Position};
use crate::Error;
use crate::decode::Decoder;

/// The kind of source, as in identities.
const KIND: &str = "scripted";
/// How often a reader that has caught up reports it.
const QUIET: Duration = Duration::from_secs(1);

/// A source that follows a script. Clones share it.
#[derive(Clone)]
pub struct ScriptedSource {
    config: Arc<SourceConfig>,
    decoder: Arc<Decoder>,
    promises: Promises,
    script: Arc<Mutex<Script>>,
    /// Notified when the script changes.
    changed: watch::Sender<()>,
}

struct Script {
    steps: Vec<Step>,
    /// The errors of the next calls of [`Source::read`].
    refusals: VecDeque<Failure>,
    /// Distinguishes a recreated source from the one before it.
    created: String,
    /// The first sequence of partition 0 that still exists.
    first: u64,
}

/// The content of the identity of a position in a script.
#[derive(Serialize, Deserialize)]
struct Known {
    stream: String,
    created: String,
}

impl fmt::Debug for ScriptedSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScriptedSource").field("name", &self.config.name).finish_non_exhaustive()
    }
}

impl ScriptedSource {
    /// Creates a source without any step. It promises the same as a stream: order, replay and a known end.
    ///
    /// # Errors
    /// [`Error::Config`] for a column or format that cannot be decoded.
    pub fn new(config: SourceConfig) -> Result<ScriptedSource, Error> {
        let promises = Promises { ordered: true, replayable: true, read_once: false, knows_end: true, partitions: 1 };
        let script = Script { steps: Vec::new(), refusals: VecDeque::new(), created: "1".into(), first: 1 };
        Ok(ScriptedSource {
            decoder: Arc::new(Decoder::new(&config)?),
            config: Arc::new(config),
            promises,
            script: Arc::new(Mutex::new(script)),
            changed: watch::Sender::new(()),
        })
    }

    /// Replaces the promises.
    #[must_use]
    pub fn promising(self, promises: Promises) -> ScriptedSource {
        ScriptedSource { promises, ..self }
    }

    /// Adds a step at the end of the script.
    pub fn then(&self, step: Step) -> &ScriptedSource {
        self.change(|script| script.steps.push(step))
    }

    /// Releases the first remaining wait of the script.
    pub fn release(&self) -> &ScriptedSource {
        self.change(|script| {
            if let Some(wait) = script.steps.iter_mut().find(|step| matches!(step, Step::Wait)) {
                *wait = Step::Passed;
            }
        })
    }

    /// Makes the next call of [`Source::read`] fail. Several failures queue up.
    pub fn refuse(&self, failure: Failure) -> &ScriptedSource {
        self.change(|script| script.refusals.push_back(failure))
    }

    /// Recreates the source, without any step. Positions in the old source no longer match.
    pub fn make_anew(&self, created: &str) -> &ScriptedSource {
        self.change(|script| {
            *script = Script { created: created.to_owned(), steps: Vec::new(), refusals: VecDeque::new(), first: 1 }
        })
    }

    /// Removes the events of partition 0 before `first`.
    pub fn lose_before(&self, first: u64) -> &ScriptedSource {
        self.change(|script| script.first = first)
    }

    fn change(&self, change: impl FnOnce(&mut Script)) -> &ScriptedSource {
        change(&mut self.script());
        self.changed.send_replace(());
        self
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self, start: Start) -> Result<ScriptedReader, Error> {
        let mut script = self.script();
        if let Some(refusal) = script.refusals.pop_front() {
            return Err(refusal.error(&self.config.name));
        }
        let known = Known { stream: self.config.name.clone(), created: script.created.clone() };
        let identity = Identity::new(KIND, &known)?;
        let changed = |message: String| Failure::StreamChanged(message).error(&self.config.name);
        let position = match start {
            Start::First => Position::new(script.first, identity),
            Start::At(position) if !position.identity.same_source(&identity) => {
                return Err(changed(format!("expected the source created at {}, found {:?}", script.created, position.identity)));
            }
            Start::At(position) if position.offset < script.first => {
                return Err(changed(format!("expected sequence {}, found {} as the first", position.offset, script.first)));
            }
            Start::At(position) => position,
        };
        drop(script);
        Ok(ScriptedReader {
            source: self.clone(),
            changed: self.changed.subscribe(),
            position,
            next: 0,
            failed: false,
            said: false,
        })
    }
}

impl Script {
    /// Returns the first sequence of the batch at index `step`. If `step` is the number of steps, returns the end of the partition.
    fn start_of(&self, step: usize, partition: u32) -> u64 {
        let before = self.steps.iter().take(step).filter_map(|step| match step {
            Step::Batch(batch) if batch.partition == partition => Some(batch.length()),
            _ => None,
        });
        1 + before.sum::<u64>()
    }
}

impl Source for ScriptedSource {
    fn config(&self) -> &SourceConfig {
        &self.config
    }

    fn promises(&self) -> Promises {
        self.promises
    }

    fn extent(&self, partition: u32) -> BoxFuture<'_, Result<Extent, Error>> {
        let script = self.script();
        let first = if partition == 0 { script.first } else { 1 };
        let extent = Extent { first, end: script.start_of(script.steps.len(), partition).max(first) };
        drop(script);
        Box::pin(std::future::ready(Ok(extent)))
    }

    fn holds<'a>(&'a self, past: &'a Past) -> BoxFuture<'a, Result<Held, Error>> {
        let script = self.script();
        let held = match past.position.identity.content::<Known>(KIND).filter(|known| known.created == script.created) {
            None => Err(Failure::StreamChanged("it was recreated".into()).error(&self.config.name)),
            Some(_) if script.first <= past.began.unwrap_or(1) => Ok(Held::All),
            Some(_) => Ok(Held::Part { first: script.first, gone: None }),
        };
        drop(script);
        Box::pin(std::future::ready(held))
    }

    fn read(&self, start: Start) -> BoxFuture<'_, Result<Box<dyn Reader>, Error>> {
        let opened = self.open(start).map(|reader| Box::new(reader) as Box<dyn Reader>);
        Box::pin(std::future::ready(opened))
    }
}

/// A reader that plays a script.
#[derive(Debug)]
struct ScriptedReader {
    source: ScriptedSource,
    changed: watch::Receiver<()>,
    position: Position,
    /// The step to play next.
    next: usize,
    failed: bool,
    /// Whether it has reported that it caught up since the last batch.
    said: bool,
}

impl ScriptedReader {
    /// Plays steps until one returns something. Returns `None` if the reader has to wait.
    fn play(&mut self) -> Option<Result<Read, Error>> {
        if self.failed {
            return Some(Err(Error::Bug("a reader was asked for more after it failed".into())));
        }
        let source = self.source.clone();
        let mut script = source.script();
        loop {
            let at = self.next;
            let Some(step) = script.steps.get(at).cloned() else { return self.caught_up() };
            match step {
                Step::Wait => return None,
                Step::End => return Some(Ok(Read::End)),
                Step::Passed => self.next += 1,
                Step::CaughtUp => {
                    self.next += 1;
                    return Some(Ok(Read::CaughtUp { offset: self.position.offset }));
                }
                Step::Fail(failure) => {
                    script.steps[at] = Step::Passed;
                    self.failed = true;
                    return Some(Err(failure.error(&source.config.name)));
                }
                Step::Batch(batch) => {
                    self.next += 1;
                    let start = script.start_of(at, batch.partition);
                    let offset = self.position.offset_of(batch.partition);
                    if start + batch.length() <= offset {
                        continue;
                    }
                    return Some(self.batch(batch, start).map(|batch| Read::Batch(batch.since(offset))));
                }
            }
        }
    }

    fn caught_up(&mut self) -> Option<Result<Read, Error>> {
        if self.said {
            return None;
        }
        self.said = true;
        Some(Ok(Read::CaughtUp { offset: self.position.offset }))
    }

    fn batch(&mut self, batch: ScriptedBatch, start: u64) -> Result<Batch, Error> {
        let end = start + batch.length();
        let payloads = Payloads { start, payloads: batch.payloads, envelopes: batch.envelopes };
        let decoded = self.source.decoder.decode(payloads.payloads.len(), payloads.messages())?;
        if batch.weights.as_ref().is_some_and(|weights| weights.len() != decoded.rows.num_rows()) {
            return Err(Error::Bug(format!("{} rows with weights {:?}", decoded.rows.num_rows(), batch.weights)));
        }
        match batch.partition {
            0 => self.position.offset = end,
            other => drop(self.position.partitions.insert(other, end)),
        }
        self.said = false;
        Ok(Batch {
            partition: batch.partition,
            start,
            end,
            rows: decoded.rows,
            sequences: decoded.sequences,
            ordinals: decoded.ordinals,
            weights: batch.weights.map(Int64Array::from),
            commits: batch.commits,
            events: decoded.events,
            bytes: decoded.bytes,
            unfit: decoded.unfit,
            nulled: decoded.nulled,
            gaps: Vec::new(),
            absent: decoded.absent,
            dead_letters: decoded.dead_letters,
            newest_ns: payloads.messages().filter_map(|message| message.timestamp_ns).max(),
            position: self.position.clone(),
            origin: Some(Arc::new(payloads)),
        })
    }
}

impl Reader for ScriptedReader {
    fn next(&mut self) -> BoxFuture<'_, Result<Read, Error>> {
        Box::pin(async {
            loop {
                self.changed.mark_unchanged();
                if let Some(read) = self.play() {
                    return read;
                }
                if tokio::time::timeout(QUIET, self.changed.changed()).await.is_err() {
                    self.said = false;
                }
            }
        })
    }

    fn position(&self) -> &Position {
        &self.position
    }
}

#[cfg(test)]
mod tests;
