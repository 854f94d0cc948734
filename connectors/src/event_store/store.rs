//! The event store: appends and loads the events of aggregates.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_nats::jetstream::context::{CreateStreamErrorKind, GetStreamErrorKind};
use async_nats::jetstream::stream::Config;
use async_nats::jetstream::{self, ErrorCode};
use async_nats::{Client, HeaderMap};
use bytes::Bytes;
use serde_json::value::RawValue;
use time::OffsetDateTime;
use tokio::time::Instant;

use super::aggregate::{AggregateId, Head};
use super::append::{Append, Outcome, holds, waits};
use super::error::StoreError;
use super::event::{Appended, Expected, NewEvent, Until};
use super::heads::Heads;
use super::load::Loading;
use super::message::Content;
use super::options::StoreOptions;
use super::stream::{EventStream, context};
use super::{headers, message, packed};

/// The most messages that a server takes as one atomic batch.
const LARGEST_BATCH: usize = 1_000;

/// An event store on one JetStream stream. Cheap to clone.
///
/// # Example
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use alluvium_connectors::event_store::{AggregateId, EventStore, Expected, NewEvent, StoreOptions, Until};
///
/// let client = async_nats::connect("nats://127.0.0.1:4222").await?;
/// let store = EventStore::open(client, StoreOptions::new("ORDERS", "orders")).await?;
/// let order = AggregateId::new("order", "42")?;
///
/// let placed = NewEvent::json("order.placed", &serde_json::json!({ "total": 12 }))?;
/// let appended = store.append(&order, Expected::MustNotExist, &[placed]).await?;
/// assert_eq!(appended.version, 1);
///
/// let mut events = store.load(&order, Until::End);
/// while let Some(event) = events.next().await? {
///     println!("{} {}", event.version, event.event_type);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct EventStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    client: Client,
    stream: EventStream,
    options: StoreOptions,
    /// Identifies the stream among those that had its name: when it was created, in nanoseconds since the epoch.
    incarnation: i128,
    atomic: bool,
    heads: Arc<Heads>,
}

impl EventStore {
    /// Opens a store. Creates its stream if there is none, for subjects `<prefix>.*.*`.
    ///
    /// A stream that exists must keep its events for ever and allow direct reads. Atomic batches are used if it has `allow_atomic` and the
    /// server is 2.12 or later.
    ///
    /// # Errors
    /// [`StoreError::Config`] for names and streams that do not fit, [`StoreError::Unavailable`] if the server does not answer.
    pub async fn open(client: Client, options: StoreOptions) -> Result<EventStore, StoreError> {
        options.check()?;
        if !client.is_server_compatible(2, 10, 0) {
            let version = client.server_info().version;
            return Err(StoreError::Config(format!(
                "the NATS server has version {version}, but 2.10 is the oldest supported version"
            )));
        }
        let atomic = client.is_server_compatible(2, 12, 0);
        let (config, created) = get_or_create(&context(&client, &options), options.stream_config(atomic)).await?;
        options.check_stream(&config)?;
        let stream = EventStream::open(&client, &options, &options.stream).await?;
        Ok(EventStore {
            shared: Arc::new(Shared {
                atomic: atomic && config.allow_atomic_publish,
                incarnation: created.unix_timestamp_nanos(),
                client,
                stream,
                options,
                heads: Arc::default(),
            }),
        })
    }

    /// Whether several events are stored as one message each, in an atomic batch. Otherwise one message carries them.
    pub fn has_atomic_batches(&self) -> bool {
        // The client may have gone to another server since the store was opened, which would ignore what makes the messages a batch.
        self.shared.atomic && self.shared.client.is_server_compatible(2, 12, 0)
    }

    /// Appends events to an aggregate: all, or none.
    ///
    /// Appending the same events at the same version again succeeds and stores nothing, as long as they are the aggregate's newest. Otherwise it
    /// is a conflict, and with [`Expected::Any`] they are stored a second time. So after [`StoreError::Unknown`], load the aggregate and look
    /// for their ids first; or use a [`super::CommandHandler`], whose commands can be repeated at any time.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if the aggregate has another version, [`StoreError::Unknown`] if the server neither acknowledged the events
    /// nor could be asked, [`StoreError::Unavailable`], [`StoreError::Config`] for events that cannot be stored.
    pub async fn append(&self, aggregate: &AggregateId, expected: Expected, events: &[NewEvent]) -> Result<Appended, StoreError> {
        check_events(aggregate, events)?;
        let expected = match expected {
            Expected::Version(version) => Some(version),
            Expected::MustNotExist => Some(0),
            Expected::Any => None,
        };
        let connects = self.shared.client.statistics().connects.load(Ordering::Relaxed);
        let known =
            self.shared.heads.get(aggregate, connects).filter(|head| expected.is_none_or(|expected| head.version == expected));
        let mut head = match (known, expected) {
            (Some(head), _) => head,
            (None, Some(0)) => Head::default(),
            _ => self.leader_head(aggregate).await?,
        };
        let deadline = Instant::now() + self.shared.options.give_up_after;
        let mut waits = waits();
        loop {
            if let Some(expected) = expected.filter(|expected| *expected != head.version) {
                return self.repeated_or_conflict(aggregate, expected, head, events).await;
            }
            if let Outcome::Stored(stored) = self.append_behind(aggregate, head, events).await? {
                return Ok(Appended { first_version: head.version + 1, version: stored.version, sequence: stored.sequence });
            }
            // An outcome of a command moves the sequence and leaves the version.
            let moved = self.leader_head(aggregate).await?;
            if expected.is_none() || moved == head {
                if Instant::now() >= deadline {
                    let reason = format!("{aggregate}: other writers were faster each time; nothing is stored");
                    return Err(self.shared.stream.unavailable(reason));
                }
                tokio::time::sleep(waits.next().unwrap_or_default()).await;
            }
            head = moved;
        }
    }

    /// Loads the events of an aggregate, in order. The versions are proven to be 1, 2, 3 and so on.
    ///
    /// Any replica may answer, so events that were appended an instant ago can be missing in a cluster. An append tells: it conflicts.
    pub fn load(&self, aggregate: &AggregateId, until: Until) -> Loading {
        self.load_after(aggregate, Head::default(), until)
    }

    /// Loads the events that follow a head, such as that of a snapshot. The message at the head is read too: if it is not there as the head
    /// says, the error is [`StoreError::Gap`].
    pub fn load_after(&self, aggregate: &AggregateId, head: Head, until: Until) -> Loading {
        let heads = Arc::clone(&self.shared.heads);
        Loading::new(self.shared.stream.clone(), heads, aggregate.clone(), self.subject(aggregate), head, until)
    }

    /// Returns the version of an aggregate, as the stream's leader knows it.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Undecodable`].
    pub async fn head(&self, aggregate: &AggregateId) -> Result<Head, StoreError> {
        self.leader_head(aggregate).await
    }

    /// Appends events behind a head, without asking for the version.
    pub(super) async fn append_behind(
        &self,
        aggregate: &AggregateId,
        head: Head,
        events: &[NewEvent],
    ) -> Result<Outcome, StoreError> {
        check_events(aggregate, events)?;
        let (names, now) = (self.shared.options.header_names, OffsetDateTime::now_utc());
        let messages: Vec<(HeaderMap, Bytes)> = if events.len() == 1 || self.has_atomic_batches() {
            let numbered = (head.version + 1..).zip(events);
            let written =
                numbered.map(|(version, event)| Ok((headers::write(names, aggregate, event, version, now)?, event.data.clone())));
            written.collect::<Result<_, StoreError>>()?
        } else {
            vec![packed::write(aggregate, head.version, events, now)?]
        };
        let ids: Vec<String> = events.iter().map(|event| event.id.clone()).collect();
        self.run(aggregate, head, &messages, &ids, head.version + events.len() as u64).await
    }

    /// Appends the outcome of a command that emitted no event. `id` identifies its message.
    pub(super) async fn append_outcome(
        &self,
        aggregate: &AggregateId,
        head: Head,
        id: &str,
        command_id: &str,
        rejection: Option<Box<RawValue>>,
    ) -> Result<Outcome, StoreError> {
        let message = message::outcome(id, command_id, head.version, rejection)?;
        self.run(aggregate, head, &[message], &[id.to_owned()], head.version).await
    }

    async fn run(
        &self,
        aggregate: &AggregateId,
        head: Head,
        messages: &[(HeaderMap, Bytes)],
        ids: &[String],
        version: u64,
    ) -> Result<Outcome, StoreError> {
        let subject = self.subject(aggregate);
        let append = Append { aggregate, subject: &subject, messages, ids, version };
        let outcome = append.run(&self.shared.stream, head, self.shared.options.give_up_after).await;
        match &outcome {
            Ok(Outcome::Stored(stored)) => self.shared.heads.note(aggregate, *stored),
            _ => self.shared.heads.forget(aggregate),
        }
        outcome
    }

    /// Finds out whether the newest events are those to append.
    async fn repeated_or_conflict(
        &self,
        aggregate: &AggregateId,
        expected: u64,
        head: Head,
        events: &[NewEvent],
    ) -> Result<Appended, StoreError> {
        let conflict = StoreError::Conflict { aggregate: aggregate.clone(), expected, actual: head.version };
        if Some(head.version) != expected.checked_add(events.len() as u64) {
            return Err(conflict);
        }
        let (stream, subject) = (&self.shared.stream, self.subject(aggregate));
        let ids: Vec<String> = events.iter().map(|event| event.id.clone()).collect();
        // One message carries them all, or they are a batch with consecutive sequences.
        for from in [head.sequence, (head.sequence + 1).saturating_sub(events.len() as u64)] {
            let Some(first) = stream.leader_next(&subject, from).await? else { continue };
            if holds(stream, aggregate, &subject, first, &ids).await? == Some(head.sequence) {
                return Ok(Appended { first_version: expected + 1, version: head.version, sequence: head.sequence });
            }
        }
        Err(conflict)
    }

    /// Checks that the message at a sequence is what a command has led to.
    pub(super) async fn is_outcome(&self, aggregate: &AggregateId, sequence: u64, command_id: &str) -> Result<bool, StoreError> {
        let found = self.shared.stream.leader_next(&self.subject(aggregate), sequence).await?;
        let Some(found) = found.filter(|found| found.sequence == sequence) else { return Ok(false) };
        Ok(match found.content(aggregate)? {
            Content::Events(events) => events.iter().any(|event| event.causation_id.as_deref() == Some(command_id)),
            Content::Outcome(marker) => marker.command_id == command_id,
        })
    }

    /// Asks the leader, for as long as an append goes on trying.
    async fn leader_head(&self, aggregate: &AggregateId) -> Result<Head, StoreError> {
        let deadline = Instant::now() + self.shared.options.give_up_after;
        let mut waits = waits();
        loop {
            match self.shared.stream.leader_last(&self.subject(aggregate)).await {
                Ok(Some(message)) => return message.head(aggregate),
                Ok(None) => return Ok(Head::default()),
                Err(StoreError::Unavailable { .. }) if Instant::now() < deadline => {
                    tokio::time::sleep(waits.next().unwrap_or_default()).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn subject(&self, aggregate: &AggregateId) -> String {
        aggregate.subject(&self.shared.options.prefix)
    }

    pub(super) fn client(&self) -> &Client {
        &self.shared.client
    }

    pub(super) fn options(&self) -> &StoreOptions {
        &self.shared.options
    }

    pub(super) fn incarnation(&self) -> i128 {
        self.shared.incarnation
    }
}

/// Checks what holds for the events of any append.
fn check_events(aggregate: &AggregateId, events: &[NewEvent]) -> Result<(), StoreError> {
    let refuse = |what: String| Err(StoreError::Config(format!("{aggregate}: {what}")));
    if events.is_empty() {
        return refuse("there are no events to append".to_owned());
    }
    if events.len() > LARGEST_BATCH {
        return refuse(format!("{} events are more than the {LARGEST_BATCH} that can be appended at once", events.len()));
    }
    let mut ids = HashSet::with_capacity(events.len());
    match events.iter().find(|event| !ids.insert(&event.id)) {
        Some(event) => refuse(format!("two events have the id {}", event.id)),
        None => Ok(()),
    }
}

/// Returns the configuration of a stream and when it was created. Creates it if there is none.
pub(super) async fn get_or_create(context: &jetstream::Context, config: Config) -> Result<(Config, OffsetDateTime), StoreError> {
    let name = config.name.clone();
    let unavailable =
        |error: String| StoreError::Unavailable { stream: name.clone(), reason: format!("asking for the stream: {error}") };
    match context.get_stream(&name).await {
        Ok(stream) => return Ok((stream.cached_info().config.clone(), stream.cached_info().created)),
        Err(error) => match error.kind() {
            GetStreamErrorKind::JetStream(refusal) if refusal.error_code() == ErrorCode::STREAM_NOT_FOUND => {}
            _ => return Err(unavailable(error.to_string())),
        },
    }
    match context.create_stream(config).await {
        Ok(stream) => Ok((stream.cached_info().config.clone(), stream.cached_info().created)),
        Err(error) => match error.kind() {
            // Another process was faster.
            CreateStreamErrorKind::JetStream(refusal) if refusal.error_code() == ErrorCode::STREAM_NAME_EXIST => {
                let stream = context.get_stream(&name).await.map_err(|error| unavailable(error.to_string()))?;
                Ok((stream.cached_info().config.clone(), stream.cached_info().created))
            }
            CreateStreamErrorKind::JetStream(refusal) => {
                Err(StoreError::Config(format!("creating the stream {name}: {refusal}")))
            }
            _ => Err(unavailable(error.to_string())),
        },
    }
}
