//! Reads an aggregate's messages in order, and proves that no version is missing or there twice.
//!
//! A short rest is read by direct reads: on 2.11 and later one request gives up to [`BATCH`] messages; on 2.10 each message is one request. No
//! consumer is made for them. A server counts what is left for each such request, so a long rest is read by one ephemeral consumer.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use time::OffsetDateTime;
use tracing::debug;

use super::aggregate::{AggregateId, Head};
use super::bulk::Bulk;
use super::error::StoreError;
use super::event::{RecordedEvent, Until};
use super::heads::Heads;
use super::message::{Content, Marker, StoredMessage};
use super::stream::EventStream;

/// The most messages of one batched read.
const BATCH: usize = 500;
/// The most single reads before a consumer is made, on servers without batched reads.
const SINGLES: usize = 16;
/// How often reading is tried again where it stands before it fails.
const ATTEMPTS: u32 = 4;
/// The wait between these attempts.
const WAIT: Duration = Duration::from_millis(100);

/// The events of an aggregate, one after the other.
pub struct Loading {
    stream: EventStream,
    heads: Arc<Heads>,
    aggregate: AggregateId,
    subject: String,
    until: Until,
    /// The last message that was read.
    head: Head,
    /// Whether the message at the head is yet to be compared.
    unproven: bool,
    /// The id that the message at the head must have, if it is known.
    expected_id: Option<String>,
    /// The id of the last message that was read.
    last_id: String,
    ready: VecDeque<Entry>,
    bulk: Option<Bulk>,
    singles: usize,
    /// Whether only the leader is asked, a message at a time.
    leader_only: bool,
    /// When the message at the head that the load began with was stored.
    proven_at: Option<OffsetDateTime>,
    /// The error that follows what is ready.
    failure: Option<StoreError>,
    finished: bool,
}

/// What a load gives.
pub(super) enum Entry {
    Event(RecordedEvent),
    Outcome(Marker),
}

impl Loading {
    pub(super) fn new(
        stream: EventStream,
        heads: Arc<Heads>,
        aggregate: AggregateId,
        subject: String,
        head: Head,
        until: Until,
    ) -> Loading {
        Loading {
            stream,
            heads,
            aggregate,
            subject,
            until,
            head,
            unproven: head.sequence > 0,
            expected_id: None,
            last_id: String::new(),
            ready: VecDeque::new(),
            bulk: None,
            singles: 0,
            leader_only: false,
            proven_at: None,
            failure: None,
            finished: head.sequence == 0 && matches!(until, Until::Version(0)),
        }
    }

    /// Expects this id of the message at the head that the load begins with.
    pub(super) fn expecting(mut self, id: &str) -> Loading {
        self.expected_id = Some(id.to_owned());
        self
    }

    /// The id of the last message that was read.
    pub(super) fn last_id(&self) -> &str {
        &self.last_id
    }

    /// Asks only the leader: nothing that is acknowledged is missing. For few messages.
    pub(super) fn ask_leader(mut self) -> Loading {
        self.leader_only = true;
        self
    }

    /// Compares the message at the head that the load began with, and returns when it was stored. `None` for a load from the first event.
    ///
    /// # Errors
    /// As [`Loading::next`]; [`StoreError::Gap`] if the message is not as the head says.
    pub(super) async fn prove(&mut self) -> Result<Option<OffsetDateTime>, StoreError> {
        if self.unproven {
            self.fill().await?;
        }
        Ok(self.proven_at)
    }

    /// Returns the next event. `None` once there is none, and from then on.
    ///
    /// # Errors
    /// [`StoreError::Gap`] if a version is missing or there twice, [`StoreError::Undecodable`], [`StoreError::Unavailable`].
    pub async fn next(&mut self) -> Result<Option<RecordedEvent>, StoreError> {
        while let Some(entry) = self.next_entry().await? {
            if let Entry::Event(event) = entry {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    /// Returns the rest of the events.
    ///
    /// # Errors
    /// As [`Loading::next`].
    pub async fn collect(mut self) -> Result<Vec<RecordedEvent>, StoreError> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await? {
            events.push(event);
        }
        Ok(events)
    }

    /// Turns the load into a stream of events. It ends after its first error.
    pub fn into_stream(self) -> impl Stream<Item = Result<RecordedEvent, StoreError>> + Send {
        futures::stream::try_unfold(self, async |mut loading| Ok(loading.next().await?.map(|event| (event, loading))))
    }

    /// The last message that was read: after the last event, that of the aggregate. Where one message carries several events, its version is
    /// that of the last of them, also if [`Until::Version`] asks for fewer.
    pub fn head(&self) -> Head {
        self.head
    }

    /// Returns the next event or outcome.
    pub(super) async fn next_entry(&mut self) -> Result<Option<Entry>, StoreError> {
        loop {
            if let Some(entry) = self.ready.pop_front() {
                return Ok(Some(entry));
            }
            if let Some(failure) = self.failure.take() {
                return Err(failure);
            }
            if self.finished {
                if self.until == Until::End && self.head.sequence > 0 {
                    self.heads.note(&self.aggregate, self.head);
                }
                return Ok(None);
            }
            self.failure = self.fill().await.err();
        }
    }

    /// Reads on. A failure is tried again: nothing that was read is lost by it.
    async fn fill(&mut self) -> Result<(), StoreError> {
        let mut failures = 0;
        loop {
            match self.read().await {
                Ok(()) => return Ok(()),
                Err(error) => {
                    // A consumer can lose messages on the way. Direct reads decide whether they are missing in the stream.
                    let doubtful = self.bulk.take().is_some();
                    self.singles = 0;
                    failures += 1;
                    if failures > ATTEMPTS || !(doubtful || matches!(error, StoreError::Unavailable { .. })) {
                        self.finished = true;
                        return Err(error);
                    }
                    debug!(aggregate = %self.aggregate, %error, "reading again");
                    tokio::time::sleep(WAIT * failures).await;
                }
            }
        }
    }

    async fn read(&mut self) -> Result<(), StoreError> {
        let from = if self.unproven { self.head.sequence } else { self.head.sequence + 1 };
        if let Some(bulk) = &mut self.bulk {
            let (message, last) = bulk.next().await?;
            self.take(message)?;
            return self.after(last);
        }
        if self.leader_only {
            let message = self.stream.leader_next(&self.subject, from).await?;
            let last = message.is_none();
            message.map_or(Ok(()), |message| self.take(message))?;
            return self.after(last);
        }
        if !self.stream.batched_reads() {
            if self.singles == SINGLES {
                self.bulk = Bulk::open(&self.stream, &self.subject, from).await?;
                return self.after(self.bulk.is_none());
            }
            self.singles += 1;
            let message = self.stream.direct_next(&self.subject, from).await?;
            let last = message.is_none();
            message.map_or(Ok(()), |message| self.take(message))?;
            return self.after(last);
        }
        let (messages, pending) = self.stream.direct_batch(&self.subject, from, BATCH).await?;
        for message in messages {
            self.take(message)?;
        }
        self.after(pending == 0)?;
        if pending > BATCH as u64 && !self.finished {
            self.bulk = Bulk::open(&self.stream, &self.subject, self.head.sequence + 1).await?;
        }
        Ok(())
    }

    /// Notes whether there is no message left.
    fn after(&mut self, last: bool) -> Result<(), StoreError> {
        if last && self.unproven {
            let Head { version, .. } = self.head;
            return Err(self.gap(version, 0, 0));
        }
        self.finished |= last;
        Ok(())
    }

    /// Takes a message over, if it is the one that has to follow.
    fn take(&mut self, message: StoredMessage) -> Result<(), StoreError> {
        if self.finished {
            return Ok(());
        }
        if self.unproven {
            let found = message.head(&self.aggregate)?;
            // After a lost tail, another message can have its sequence.
            if found != self.head || self.expected_id.as_ref().is_some_and(|id| *id != message.last_id()) {
                return Err(self.gap(self.head.version, found.version, found.sequence));
            }
            self.unproven = false;
            self.proven_at = Some(message.time);
            self.last_id = message.last_id();
            self.finished = self.reached(&message);
            return Ok(());
        }
        if matches!(self.until, Until::Time(time) if message.time > time) {
            self.finished = true;
            return Ok(());
        }
        match message.content(&self.aggregate)? {
            Content::Outcome(marker) if marker.version != self.head.version => {
                return Err(self.gap(self.head.version, marker.version, message.sequence));
            }
            Content::Outcome(marker) => self.ready.push_back(Entry::Outcome(marker)),
            Content::Events(events) => {
                // All are compared before the first is given, so that reading again starts at a whole message.
                let mut version = self.head.version;
                for event in &events {
                    version += 1;
                    if event.version != version {
                        return Err(self.gap(version, event.version, message.sequence));
                    }
                }
                let wanted = |event: &RecordedEvent| !matches!(self.until, Until::Version(most) if event.version > most);
                let events = events.into_iter().filter(wanted);
                self.ready.extend(events.map(Entry::Event));
                self.head.version = version;
            }
        }
        self.head.sequence = message.sequence;
        self.last_id = message.last_id();
        self.finished = self.reached(&message);
        Ok(())
    }

    fn reached(&self, message: &StoredMessage) -> bool {
        match self.until {
            Until::End => false,
            Until::Version(version) => self.head.version >= version,
            Until::Time(time) => message.time > time,
        }
    }

    fn gap(&self, expected: u64, found: u64, sequence: u64) -> StoreError {
        StoreError::Gap { aggregate: self.aggregate.clone(), expected, found, sequence }
    }
}

impl std::fmt::Debug for Loading {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = formatter.debug_struct("Loading");
        shown.field("aggregate", &self.aggregate).field("until", &self.until).field("head", &self.head).finish_non_exhaustive()
    }
}
