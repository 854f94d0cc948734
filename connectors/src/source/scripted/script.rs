//! The steps of a script, and the messages of its batches.

use bytes::Bytes;

use crate::Error;
use crate::dead_letters::DeadLetter;
use crate::decode::{Headers, Message};
use crate::source::batch::{CommitPoints, Origin};

/// One step of a script.
#[derive(Debug, Clone)]
pub enum Step {
    /// Emits one batch.
    Batch(ScriptedBatch),
    /// Reports that everything has been read.
    CaughtUp,
    /// Fails, once. This reader then returns nothing more; a new one continues after this step.
    Fail(Failure),
    /// Waits until [`ScriptedSource::release`].
    Wait,
    /// Reports that there will never be more events, on each call.
    End,
    /// Does nothing. Replaces a failure that has happened and a wait that was released.
    Passed,
}

impl Step {
    /// Returns a batch of these payloads in partition 0.
    pub fn events<P: Into<Bytes>>(payloads: impl IntoIterator<Item = P>) -> Step {
        Step::Batch(ScriptedBatch::new(payloads))
    }

    /// Returns a failure after which a retry helps.
    #[must_use]
    pub fn unavailable(message: &str) -> Step {
        Step::Fail(Failure::Unavailable(message.to_owned()))
    }

    /// Returns a failure that reports that the source is another one or has lost events.
    #[must_use]
    pub fn changed(message: &str) -> Step {
        Step::Fail(Failure::StreamChanged(message.to_owned()))
    }
}

/// An error that a script can cause.
#[derive(Debug, Clone)]
pub enum Failure {
    /// [`Error::Unavailable`].
    Unavailable(String),
    /// [`Error::StreamChanged`].
    StreamChanged(String),
}

impl Failure {
    pub(super) fn error(self, source_name: &str) -> Error {
        let source_name = source_name.to_owned();
        match self {
            Failure::Unavailable(message) => Error::Unavailable { source_name, message },
            Failure::StreamChanged(message) => Error::StreamChanged { source_name, message },
        }
    }
}

/// What surrounds a payload.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Envelope {
    /// The subject; `scripted` if there is none.
    pub subject: Option<String>,
    /// When the event was stored, in nanoseconds since the epoch; one second for each event before it, if not given.
    pub timestamp_ns: Option<i64>,
    /// Names and values.
    pub headers: Vec<(String, String)>,
}

impl Headers for Envelope {
    fn visit(&self, each: &mut dyn FnMut(&str, &str)) {
        self.headers.iter().for_each(|(name, value)| each(name, value));
    }
}

/// The events of one batch. Their sequences follow those of the batches before it in its partition.
#[derive(Debug, Clone)]
pub struct ScriptedBatch {
    /// The partition.
    pub partition: u32,
    /// The payloads, in the source's format.
    pub payloads: Vec<Bytes>,
    /// What surrounds each payload, by its index. Payloads without one have the subject `scripted`, a time of their own and no headers.
    pub envelopes: Vec<Envelope>,
    /// The number of sequences without events at the end of the batch.
    pub gap: u64,
    /// The weight of each row. If set, every payload must decode to a row.
    pub weights: Option<Vec<i64>>,
    /// After which events a commit may fall.
    pub commits: CommitPoints,
}

impl ScriptedBatch {
    /// Returns a batch of partition 0 that allows a commit after any event.
    pub fn new<P: Into<Bytes>>(payloads: impl IntoIterator<Item = P>) -> ScriptedBatch {
        let payloads = payloads.into_iter().map(Into::into).collect();
        ScriptedBatch { partition: 0, payloads, envelopes: Vec::new(), gap: 0, weights: None, commits: CommitPoints::AfterAny }
    }

    pub(super) fn length(&self) -> u64 {
        self.payloads.len() as u64 + self.gap
    }
}

/// Returns the time of an event. Events are one second apart, starting in 1970.
fn timestamp_ns(sequence: u64) -> i64 {
    i64::try_from(sequence).unwrap_or(i64::MAX).saturating_mul(1_000_000_000)
}

/// The payloads of a batch.
#[derive(Debug)]
pub(super) struct Payloads {
    pub(super) start: u64,
    pub(super) payloads: Vec<Bytes>,
    pub(super) envelopes: Vec<Envelope>,
}

impl Payloads {
    pub(super) fn messages(&self) -> impl Iterator<Item = Message<'_>> {
        (0..self.payloads.len()).filter_map(|index| self.message(index))
    }

    fn message(&self, index: usize) -> Option<Message<'_>> {
        let (payload, envelope) = (self.payloads.get(index)?, self.envelopes.get(index));
        let sequence = self.start + index as u64;
        Some(Message {
            sequence,
            subject: envelope.and_then(|envelope| envelope.subject.as_deref()).unwrap_or("scripted"),
            timestamp_ns: envelope.and_then(|envelope| envelope.timestamp_ns).or_else(|| Some(timestamp_ns(sequence))),
            headers: envelope.filter(|envelope| !envelope.headers.is_empty()).map(|envelope| envelope as &dyn Headers),
            payload,
        })
    }
}

impl Origin for Payloads {
    fn letter(&self, sequence: u64) -> Option<DeadLetter> {
        let index = usize::try_from(sequence.checked_sub(self.start)?).ok()?;
        Some(self.message(index)?.letter("", "expression", String::new()))
    }
}
