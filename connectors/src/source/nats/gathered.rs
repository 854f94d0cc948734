//! The messages of one batch, from their arrival until they are decoded.

use std::ops::Range;
use std::sync::Arc;

use async_nats::HeaderMap;
use xxhash_rust::xxh3::xxh3_64;

use super::atomic::AtomicBatches;
use super::consumer::{Delivery, Event};
use crate::Error;
use crate::dead_letters::DeadLetter;
use crate::decode::{Decoder, Headers, Message};
use crate::source::batch::{Batch, CommitPoints, Origin};
use crate::source::declaration::BatchLimits;
use crate::source::gap::Gap;
use crate::source::position::{LastEvent, Position};

/// The maximum number of messages of an atomic batch that the server takes by default.
const MOST_IN_ATOMIC_BATCH: usize = 1_000;

/// Messages in the order of their sequences, and the range of sequences that they cover.
#[derive(Debug)]
pub(super) struct Gathered {
    /// The first sequence covered.
    pub(super) start: u64,
    /// One past the last sequence covered.
    pub(super) end: u64,
    /// The covered ranges that were not delivered, ascending. Only the first one if `first_undelivered_only`.
    pub(super) undelivered: Vec<Range<u64>>,
    /// What of those ranges the stream has lost.
    pub(super) gaps: Vec<Gap>,
    /// The number of messages that the server still held after the last of these.
    pub(super) pending: u64,
    first_undelivered_only: bool,
    events: Vec<Event>,
    messages: usize,
    bytes: usize,
    /// Markers are events: they say that a row is gone.
    keeps_markers: bool,
    /// The last message, if it was a marker that is no event.
    last_marker: Option<LastEvent>,
    /// The last skipped event of the stream, if sequences were covered without a message.
    seen: Option<LastEvent>,
    /// Finds atomic batches.
    atomic: AtomicBatches,
}

impl Gathered {
    /// Creates an empty batch that begins at `start`.
    pub(super) fn new(start: u64, first_undelivered_only: bool, keeps_markers: bool, atomic: AtomicBatches) -> Gathered {
        Gathered {
            start,
            end: start,
            undelivered: Vec::new(),
            gaps: Vec::new(),
            pending: 0,
            first_undelivered_only,
            events: Vec::new(),
            messages: 0,
            bytes: 0,
            keeps_markers,
            last_marker: None,
            seen: None,
            atomic,
        }
    }

    /// Adds a message.
    ///
    /// # Errors
    /// Fails if its sequence is already covered. The message is dropped, and its consumer cannot be trusted.
    pub(super) fn add(&mut self, delivery: Delivery) -> Result<(), String> {
        let Delivery { event, pending } = delivery;
        if event.sequence < self.end {
            return Err(format!("expected a sequence of at least {}, found {}", self.end, event.sequence));
        }
        if event.sequence > self.end && (self.undelivered.is_empty() || !self.first_undelivered_only) {
            self.undelivered.push(self.end..event.sequence);
        }
        self.end = event.sequence + 1;
        self.pending = pending;
        self.messages += 1;
        self.atomic.pass(event.sequence, event.headers.as_ref());
        if event.is_marker() && !self.keeps_markers {
            self.last_marker = Some(last_event(&event));
        } else {
            self.last_marker = None;
            self.bytes += event.payload.len();
            self.events.push(event);
        }
        Ok(())
    }

    /// Covers sequences up to `end` (exclusive) that hold no events to read. `seen` is the event of the stream before `end`, if it exists, and
    /// `headers` are its headers.
    pub(super) fn cover(&mut self, end: u64, seen: Option<LastEvent>, headers: Option<&HeaderMap>) {
        assert!(end > self.end, "a range without events is not empty");
        self.atomic.cover(end, headers);
        self.end = end;
        self.seen = seen;
    }

    /// Passes over the message of the stream at `end`, which the filter leaves out, if it belongs to the open atomic batch. Otherwise the
    /// atomic batch ends before it.
    pub(super) fn pass_over(&mut self, headers: &HeaderMap, seen: LastEvent) {
        if !self.atomic.is_open_for(headers) {
            self.atomic.close_at(self.end);
            return;
        }
        self.atomic.pass(self.end, Some(headers));
        self.end += 1;
        self.seen = Some(seen);
    }

    /// Passes over the sequence at `end`, whose message was deleted.
    pub(super) fn pass_over_deleted(&mut self) {
        self.atomic.pass_deleted(self.end);
        self.end += 1;
    }

    /// Whether a message belongs to the open atomic batch.
    pub(super) fn belongs(&self, headers: &HeaderMap) -> bool {
        self.atomic.is_open_for(headers)
    }

    /// Returns the last skipped event of the stream, if sequences were covered without a message.
    pub(super) fn last_seen(&self) -> Option<LastEvent> {
        self.seen.clone()
    }

    /// Returns the number of messages so far.
    pub(super) fn messages(&self) -> usize {
        self.messages
    }

    /// Returns the atomic batches of its messages.
    pub(super) fn atomic(&self) -> &AtomicBatches {
        &self.atomic
    }

    /// Returns the sequences of the events.
    pub(super) fn sequences(&self) -> impl Iterator<Item = u64> {
        self.events.iter().map(|event| event.sequence)
    }

    /// Whether markers are among the events.
    pub(super) fn keeps_markers(&self) -> bool {
        self.keeps_markers
    }

    /// Checks whether the batch has reached a size limit. It goes on up to the end of an atomic batch: if each batch ended within one, no commit
    /// could fall.
    pub(super) fn is_full(&self, limits: &BatchLimits) -> bool {
        let full = self.messages >= limits.max_events || self.bytes >= limits.max_bytes;
        full && (!self.splits_atomic_batch() || self.messages >= limits.max_events.saturating_add(MOST_IN_ATOMIC_BATCH))
    }

    /// Whether it ends within an atomic batch whose end is going to be delivered, as far as is known.
    pub(super) fn splits_atomic_batch(&self) -> bool {
        // A filter may leave out the end.
        !self.first_undelivered_only && self.atomic.open().is_some()
    }

    /// Checks whether the server held enough messages to fill the batch.
    pub(super) fn can_fill(&self, limits: &BatchLimits) -> bool {
        usize::try_from(self.pending).unwrap_or(usize::MAX) >= limits.max_events.saturating_sub(self.messages)
    }

    /// Returns the last event or marker read, if any.
    pub(super) fn last_event(&self) -> Option<LastEvent> {
        self.last_marker.clone().or_else(|| self.events.last().map(last_event))
    }

    /// Decodes the messages. `position` is the position after the batch. Blocks the thread while decoding.
    ///
    /// # Errors
    /// As [`Decoder::decode`].
    pub(super) fn decode(mut self, decoder: &Decoder, position: Position) -> Result<Batch, Error> {
        let inside = self.atomic.take_inside();
        let decoded = decoder.decode(self.events.len(), self.events.iter().map(message))?;
        Ok(Batch {
            partition: 0,
            start: self.start,
            end: self.end,
            rows: decoded.rows,
            sequences: decoded.sequences,
            ordinals: decoded.ordinals,
            weights: None,
            commits: if inside.is_empty() { CommitPoints::AfterAny } else { CommitPoints::NotAt(inside) },
            gaps: self.gaps,
            events: decoded.events,
            bytes: decoded.bytes,
            unfit: decoded.unfit,
            nulled: decoded.nulled,
            absent: decoded.absent,
            dead_letters: decoded.dead_letters,
            newest_ns: self.events.last().map(|event| event.timestamp_ns),
            position,
            origin: Some(Arc::new(Messages(self.events))),
        })
    }
}

fn last_event(event: &Event) -> LastEvent {
    LastEvent { sequence: event.sequence, timestamp_ns: event.timestamp_ns, payload_hash: xxh3_64(&event.payload) }
}

/// The messages of a batch, kept as long as the batch.
#[derive(Debug)]
struct Messages(Vec<Event>);

impl Origin for Messages {
    fn letter(&self, sequence: u64) -> Option<DeadLetter> {
        let at = self.0.binary_search_by_key(&sequence, |event| event.sequence).ok()?;
        Some(message(&self.0[at]).letter("", "expression", String::new()))
    }
}

fn message(event: &Event) -> Message<'_> {
    Message {
        sequence: event.sequence,
        subject: event.subject.as_str(),
        timestamp_ns: Some(event.timestamp_ns),
        headers: event.headers.as_ref().map(|headers| headers as &dyn Headers),
        payload: &event.payload,
    }
}

/// Visits the headers in the order of their names, since the library keeps them in arbitrary order.
impl Headers for HeaderMap {
    fn visit(&self, each: &mut dyn FnMut(&str, &str)) {
        let mut headers: Vec<_> = self.iter().map(|(name, values)| (AsRef::<str>::as_ref(name), values)).collect();
        headers.sort_unstable_by_key(|(name, _)| *name);
        for (name, values) in headers {
            for value in values {
                each(name, value.as_str());
            }
        }
    }
}
