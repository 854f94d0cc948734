//! What a message on an aggregate's subject is: events, or the outcome of a command that emitted none.

use async_nats::{HeaderMap, HeaderValue};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use time::OffsetDateTime;

use super::aggregate::{AggregateId, Head};
use super::error::StoreError;
use super::event::RecordedEvent;
use super::{headers, packed};

/// The header of an outcome: the id of the command.
const COMMAND_ID: &str = "Command-Id";
/// The header of an outcome: `accepted` or `rejected`.
const COMMAND_OUTCOME: &str = "Command-Outcome";
/// The header of an outcome: identifies the message, as two attempts of one command may end in the same way.
const OUTCOME_ID: &str = "Command-Outcome-Id";
/// The header of an outcome: the version of the aggregate, which the outcome does not change.
const AGGREGATE_VERSION: &str = "Aggregate-Version";

/// A message as the stream holds it.
#[derive(Debug, Clone)]
pub(super) struct StoredMessage {
    pub(super) sequence: u64,
    pub(super) time: OffsetDateTime,
    pub(super) headers: HeaderMap,
    pub(super) payload: Bytes,
}

/// The outcome of a command that emitted no event. It takes part in the order of the aggregate's messages and changes no version.
#[derive(Debug, Clone)]
pub(super) struct Marker {
    pub(super) command_id: String,
    pub(super) version: u64,
    pub(super) sequence: u64,
    /// The rejection as JSON. `None` if the command was accepted.
    pub(super) rejection: Option<Box<RawValue>>,
}

/// What a message holds.
#[derive(Debug, Clone)]
pub(super) enum Content {
    /// At least one event.
    Events(Vec<RecordedEvent>),
    /// An outcome without events.
    Outcome(Marker),
}

#[derive(Serialize, Deserialize)]
struct OutcomeBody {
    command_id: String,
    outcome: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rejection: Option<Box<RawValue>>,
}

impl StoredMessage {
    /// Reads the message.
    pub(super) fn content(&self, aggregate: &AggregateId) -> Result<Content, StoreError> {
        self.parse().map_err(|reason| StoreError::Undecodable { aggregate: aggregate.clone(), sequence: self.sequence, reason })
    }

    /// The head of the aggregate after this message.
    pub(super) fn head(&self, aggregate: &AggregateId) -> Result<Head, StoreError> {
        let version = match self.headers.get_last(COMMAND_OUTCOME) {
            Some(_) => self.aggregate_version(),
            None => headers::read(&self.headers).map(|fields| fields.version),
        };
        let undecodable = |reason| StoreError::Undecodable { aggregate: aggregate.clone(), sequence: self.sequence, reason };
        Ok(Head { version: version.map_err(undecodable)?, sequence: self.sequence })
    }

    /// The ids of its events, or that of the outcome.
    pub(super) fn ids(&self, aggregate: &AggregateId) -> Result<Vec<String>, StoreError> {
        Ok(match self.content(aggregate)? {
            Content::Events(events) => events.into_iter().map(|event| event.id).collect(),
            Content::Outcome(_) => vec![self.last_id()],
        })
    }

    /// The id of its last event, or that of the outcome. It tells the message from any other that could have its sequence.
    pub(super) fn last_id(&self) -> String {
        let names = [OUTCOME_ID, headers::EVENT.id, headers::CLOUD_EVENTS.id];
        let id = names.iter().find_map(|name| self.headers.get_last(*name));
        id.map(|id| id.as_str().to_owned()).unwrap_or_default()
    }

    fn parse(&self) -> Result<Content, String> {
        if self.headers.get_last(COMMAND_OUTCOME).is_some() {
            let body: OutcomeBody = serde_json::from_slice(&self.payload).map_err(|error| format!("its body: {error}"))?;
            return Ok(Content::Outcome(Marker {
                command_id: body.command_id,
                version: self.aggregate_version()?,
                sequence: self.sequence,
                rejection: body.rejection,
            }));
        }
        let parts = match self.headers.get_last(packed::COUNT) {
            Some(_) => packed::read(&self.headers, &self.payload)?,
            None => vec![(headers::read(&self.headers)?, self.payload.clone())],
        };
        let recorded = |(fields, data): (headers::EventHeaders, Bytes)| RecordedEvent {
            id: fields.id,
            event_type: fields.event_type,
            schema_version: fields.schema_version,
            version: fields.version,
            sequence: self.sequence,
            time: fields.time.unwrap_or(self.time),
            recorded_at: self.time,
            correlation_id: fields.correlation_id,
            causation_id: fields.causation_id,
            metadata: fields.metadata,
            data,
        };
        Ok(Content::Events(parts.into_iter().map(recorded).collect()))
    }

    fn aggregate_version(&self) -> Result<u64, String> {
        let version = self.headers.get_last(AGGREGATE_VERSION).map(HeaderValue::as_str).unwrap_or_default();
        headers::version(AGGREGATE_VERSION, version).map_err(|reason| format!("its header: {reason}"))
    }
}

/// Writes the outcome of a command that emitted no event, for an aggregate of this version. `id` identifies the message.
pub(super) fn outcome(
    id: &str,
    command_id: &str,
    version: u64,
    rejection: Option<Box<RawValue>>,
) -> Result<(HeaderMap, Bytes), StoreError> {
    let outcome = if rejection.is_some() { "rejected" } else { "accepted" };
    let body = OutcomeBody { command_id: command_id.into(), outcome: outcome.into(), rejection };
    let body = serde_json::to_vec(&body).map_err(|error| StoreError::Config(format!("the rejection: {error}")))?;
    let mut headers = HeaderMap::new();
    headers.insert(COMMAND_ID, headers::value("the id of a command", command_id)?);
    headers.insert(COMMAND_OUTCOME, outcome);
    headers.insert(OUTCOME_ID, id);
    headers.insert(AGGREGATE_VERSION, HeaderValue::from(version));
    Ok((headers, body.into()))
}
