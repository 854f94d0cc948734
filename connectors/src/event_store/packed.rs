//! One message that carries several events, for servers that know no atomic batches.
//!
//! Its body is JSON: `{"events": [{"id", "type", "version", "schema_version", "time", "correlation_id", "causation_id", "metadata",
//! "data"}]}`. `data` is the event's body if that is JSON; otherwise `data_base64` holds it. The headers are those of the last event, and
//! `Event-Count`; never those of CloudEvents, since it is not one. SQL reads it with a column `events STRUCT<...>[]` and UNNEST.

use std::collections::BTreeMap;

use async_nats::{HeaderMap, HeaderValue};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::aggregate::AggregateId;
use super::error::StoreError;
use super::event::NewEvent;
use super::headers::{self, EventHeaders, HeaderNames};

/// The header with the number of events that the body holds.
pub(super) const COUNT: &str = "Event-Count";

#[derive(Serialize, Deserialize)]
struct Packed<'a> {
    #[serde(borrow)]
    events: Vec<PackedEvent<'a>>,
}

#[derive(Serialize, Deserialize)]
struct PackedEvent<'a> {
    id: String,
    #[serde(rename = "type")]
    event_type: String,
    version: u64,
    #[serde(default = "first_schema")]
    schema_version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    time: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    correlation_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    causation_id: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    metadata: BTreeMap<String, String>,
    #[serde(default, borrow, skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    data_base64: Option<String>,
}

fn first_schema() -> u32 {
    1
}

/// Writes events that follow `version` as one message.
pub(super) fn write(
    aggregate: &AggregateId,
    version: u64,
    events: &[NewEvent],
    now: OffsetDateTime,
) -> Result<(HeaderMap, Bytes), StoreError> {
    let mut headers = HeaderMap::new();
    let mut packed = Packed { events: Vec::with_capacity(events.len()) };
    for (version, event) in (version + 1..).zip(events) {
        // Also checks the values, so that what one server accepts, the other does too.
        headers = headers::write(HeaderNames::Event, aggregate, event, version, now)?;
        // With spaces around it, it would come back without them.
        let data = serde_json::from_slice::<&RawValue>(&event.data).ok();
        let data = data.filter(|json| json.get().as_bytes() == event.data);
        let time = event.time.unwrap_or(now).format(&Rfc3339);
        packed.events.push(PackedEvent {
            id: event.id.clone(),
            event_type: event.event_type.clone(),
            version,
            schema_version: event.schema_version,
            time: Some(time.map_err(|error| StoreError::Config(format!("the time of an event: {error}")))?),
            correlation_id: event.correlation_id.clone(),
            causation_id: event.causation_id.clone(),
            metadata: event.metadata.clone(),
            data_base64: data.is_none().then(|| BASE64_STANDARD.encode(&event.data)),
            data,
        });
    }
    headers.insert(COUNT, HeaderValue::from(events.len()));
    let body = serde_json::to_vec(&packed).map_err(|error| StoreError::Config(format!("events as one message: {error}")))?;
    Ok((headers, body.into()))
}

/// Reads the events of a message. Says what is wrong with it.
pub(super) fn read(headers: &HeaderMap, body: &Bytes) -> Result<Vec<(EventHeaders, Bytes)>, String> {
    let packed: Packed<'_> = serde_json::from_slice(body).map_err(|error| format!("its body: {error}"))?;
    let count = headers.get_last(COUNT).map(|count| count.as_str().to_owned());
    if count.as_deref() != Some(packed.events.len().to_string().as_str()) || packed.events.is_empty() {
        return Err(format!("its header {COUNT} is {}, but its body holds {}", count.unwrap_or_default(), packed.events.len()));
    }
    packed.events.into_iter().map(PackedEvent::read).collect()
}

impl PackedEvent<'_> {
    fn read(self) -> Result<(EventHeaders, Bytes), String> {
        let data = match (self.data, self.data_base64) {
            (Some(json), _) => Bytes::copy_from_slice(json.get().as_bytes()),
            (None, Some(text)) => BASE64_STANDARD.decode(text).map_err(|error| format!("data_base64: {error}"))?.into(),
            // A body of `null` reads as absent.
            (None, None) => Bytes::from_static(b"null"),
        };
        let time = match self.time {
            None => None,
            Some(text) => Some(OffsetDateTime::parse(&text, &Rfc3339).map_err(|_| format!("the time {text:?}"))?),
        };
        let fields = EventHeaders {
            id: self.id,
            event_type: self.event_type,
            version: self.version,
            schema_version: self.schema_version,
            time,
            correlation_id: self.correlation_id,
            causation_id: self.causation_id,
            metadata: self.metadata,
        };
        Ok((fields, data))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn bodies_of_any_kind_come_back_as_they_were() {
        let aggregate = AggregateId::new("order", "42").unwrap();
        let bodies: [&[u8]; 6] = [b"{\"a\": 1.50}", b"null", b"", b"\xff\x00", b"text", b" [1] "];
        let events: Vec<_> = bodies.iter().map(|body| NewEvent::new("placed", Bytes::from_static(body))).collect();
        let now = OffsetDateTime::UNIX_EPOCH;
        let (headers, body) = write(&aggregate, 4, &events, now).unwrap();
        assert_eq!(headers.get_last("Event-Version").unwrap().as_str(), "10", "the headers tell the last version");
        let read = read(&headers, &body).unwrap();
        for ((version, expected), (fields, data)) in (5..).zip(&events).zip(&read) {
            assert_eq!((fields.version, &fields.id), (version, &expected.id));
            assert_eq!(data, &expected.data);
        }
        assert_eq!(read.len(), 6);
    }
}
