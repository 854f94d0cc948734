//! Events: those to append, and those that are stored.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Serialize;
use time::OffsetDateTime;

use super::error::StoreError;

/// An event to append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// Identifies the event for ever. [`NewEvent::new`] generates it.
    pub id: String,
    /// The event's type, such as `order.placed`.
    pub event_type: String,
    /// The version of the schema of its data, from 1. Upcasters ask for it.
    pub schema_version: u32,
    /// When it happened. `None` means when it is appended.
    pub time: Option<OffsetDateTime>,
    /// Identifies the business process that the event is part of.
    pub correlation_id: Option<String>,
    /// Identifies the command or the event that caused it. A command's events have the command's id.
    pub causation_id: Option<String>,
    /// Other headers. Their names must not begin with `Nats-`, `Event-`, `Aggregate-`, `Command-` or `ce-`.
    pub metadata: BTreeMap<String, String>,
    /// The body.
    pub data: Bytes,
}

impl NewEvent {
    /// Makes an event with a new id.
    pub fn new(event_type: impl Into<String>, data: impl Into<Bytes>) -> NewEvent {
        NewEvent {
            id: nuid::next().to_string(),
            event_type: event_type.into(),
            schema_version: 1,
            time: None,
            correlation_id: None,
            causation_id: None,
            metadata: BTreeMap::new(),
            data: data.into(),
        }
    }

    /// Makes an event whose body is JSON.
    ///
    /// # Errors
    /// [`StoreError::Config`] if the value does not serialize.
    pub fn json<T: Serialize>(event_type: impl Into<String>, data: &T) -> Result<NewEvent, StoreError> {
        let event_type = event_type.into();
        let data = serde_json::to_vec(data).map_err(|error| StoreError::Config(format!("an event {event_type}: {error}")))?;
        Ok(NewEvent::new(event_type, data))
    }
}

/// An event that is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedEvent {
    /// Identifies the event.
    pub id: String,
    /// The event's type.
    pub event_type: String,
    /// The version of the schema of its data.
    pub schema_version: u32,
    /// Its number among the events of its aggregate: 1, 2, 3 and so on.
    pub version: u64,
    /// The sequence of its message in the stream. Events that one message carries share it.
    pub sequence: u64,
    /// When it happened, as its writer says.
    pub time: OffsetDateTime,
    /// When the server stored it. Never earlier than for the version before.
    pub recorded_at: OffsetDateTime,
    /// Identifies the business process that the event is part of.
    pub correlation_id: Option<String>,
    /// Identifies the command or the event that caused it.
    pub causation_id: Option<String>,
    /// Other headers.
    pub metadata: BTreeMap<String, String>,
    /// The body.
    pub data: Bytes,
}

/// Which version the writer expects the aggregate to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// This many events. `Version(0)` is the same as [`Expected::MustNotExist`].
    Version(u64),
    /// Any: the events follow whatever is there.
    Any,
    /// No event.
    MustNotExist,
}

/// Where an append has put its events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// The version of the first event.
    pub first_version: u64,
    /// The version of the last event: that of the aggregate now.
    pub version: u64,
    /// The sequence of the last message in the stream.
    pub sequence: u64,
}

/// How much of an aggregate to load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// Everything.
    End,
    /// The events up to this version, inclusive.
    Version(u64),
    /// The events that the server had stored at this time, inclusive: a temporal query.
    Time(OffsetDateTime),
}
