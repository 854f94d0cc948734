//! How an event is written as headers of a message, and read from them.
//!
//! | field | headers | CloudEvents |
//! | --- | --- | --- |
//! | id, type | `Event-Id`, `Event-Type` | `ce-id`, `ce-type` |
//! | version | `Event-Version` | `ce-aggregateversion` |
//! | schema version | `Event-Schema-Version` | `ce-schemaversion` |
//! | time | `Event-Time` | `ce-time` |
//! | correlation and causation | `Event-Correlation-Id`, `Event-Causation-Id` | `ce-correlationid`, `ce-causationid` |
//! | | | `ce-specversion`, `ce-source`, `ce-subject` |
//! | metadata | their own names | their own names |
//!
//! Both are read, whichever is written. A message without a type is not an event.

use std::collections::BTreeMap;
use std::str::FromStr;

use async_nats::{HeaderMap, HeaderValue};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::aggregate::AggregateId;
use super::error::StoreError;
use super::event::NewEvent;

/// The names of the headers of events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum HeaderNames {
    /// `Event-Id`, `Event-Type` and so on.
    #[default]
    Event,
    /// Those of CloudEvents 1.0 in binary mode: `ce-id`, `ce-type` and so on.
    CloudEvents,
}

/// The names of the headers that hold one event's fields.
pub(super) struct Names {
    pub(super) id: &'static str,
    pub(super) event_type: &'static str,
    pub(super) version: &'static str,
    pub(super) schema_version: &'static str,
    pub(super) time: &'static str,
    pub(super) correlation_id: &'static str,
    pub(super) causation_id: &'static str,
}

pub(super) const EVENT: Names = Names {
    id: "Event-Id",
    event_type: "Event-Type",
    version: "Event-Version",
    schema_version: "Event-Schema-Version",
    time: "Event-Time",
    correlation_id: "Event-Correlation-Id",
    causation_id: "Event-Causation-Id",
};

pub(super) const CLOUD_EVENTS: Names = Names {
    id: "ce-id",
    event_type: "ce-type",
    version: "ce-aggregateversion",
    schema_version: "ce-schemaversion",
    time: "ce-time",
    correlation_id: "ce-correlationid",
    causation_id: "ce-causationid",
};

/// Headers with these beginnings are the server's, or this store's.
const RESERVED: [&str; 5] = ["nats-", "event-", "aggregate-", "command-", "ce-"];

impl HeaderNames {
    fn names(self) -> &'static Names {
        match self {
            HeaderNames::Event => &EVENT,
            HeaderNames::CloudEvents => &CLOUD_EVENTS,
        }
    }
}

/// Writes an event as headers. `now` is its time if it has none.
pub(super) fn write(
    names: HeaderNames,
    aggregate: &AggregateId,
    event: &NewEvent,
    version: u64,
    now: OffsetDateTime,
) -> Result<HeaderMap, StoreError> {
    let mut headers = HeaderMap::new();
    let keys = names.names();
    headers.insert(keys.id, value("the id of an event", &event.id)?);
    headers.insert(keys.event_type, value("the type of an event", &event.event_type)?);
    headers.insert(keys.version, HeaderValue::from(version));
    headers.insert(keys.schema_version, HeaderValue::from(event.schema_version));
    headers.insert(keys.time, time_text(event.time.unwrap_or(now))?);
    for (key, name, id) in [
        (keys.correlation_id, "the correlation id", &event.correlation_id),
        (keys.causation_id, "the causation id", &event.causation_id),
    ] {
        if let Some(id) = id {
            headers.insert(key, value(name, id)?);
        }
    }
    if names == HeaderNames::CloudEvents {
        headers.insert("ce-specversion", "1.0");
        headers.insert("ce-source", value("the aggregate's type", aggregate.kind())?);
        headers.insert("ce-subject", value("the aggregate's id", aggregate.id())?);
    }
    for (name, text) in &event.metadata {
        check_metadata_name(name)?;
        headers.insert(name.as_str(), value(&format!("the metadata {name}"), text)?);
    }
    Ok(headers)
}

/// Checks the name of a metadata header.
pub(super) fn check_metadata_name(name: &str) -> Result<(), StoreError> {
    let lower = name.to_ascii_lowercase();
    if let Some(reserved) = RESERVED.iter().find(|reserved| lower.starts_with(**reserved)) {
        return Err(StoreError::Config(format!("the name of the metadata {name} begins with {reserved}, which is reserved")));
    }
    if name.is_empty() || name.bytes().any(|byte| !byte.is_ascii_graphic() || byte == b':') {
        return Err(StoreError::Config(format!("metadata must have a name of printable ASCII without ':', but one is {name:?}")));
    }
    Ok(())
}

/// Checks that a header can hold a text.
pub(super) fn value(what: &str, text: &str) -> Result<HeaderValue, StoreError> {
    // The server and other clients trim values, and an empty value reads as none.
    if text.is_empty() || text.trim() != text {
        return Err(StoreError::Config(format!("{what} is empty, or begins or ends with a space: {text:?}")));
    }
    HeaderValue::from_str(text).map_err(|_| StoreError::Config(format!("{what} holds a line break: {text:?}")))
}

fn time_text(time: OffsetDateTime) -> Result<String, StoreError> {
    time.format(&Rfc3339).map_err(|error| StoreError::Config(format!("the time of an event: {error}")))
}

/// The fields that headers hold. `None` if there is no type.
#[derive(Debug, Clone)]
pub(super) struct EventHeaders {
    pub(super) id: String,
    pub(super) event_type: String,
    pub(super) version: u64,
    pub(super) schema_version: u32,
    pub(super) time: Option<OffsetDateTime>,
    pub(super) correlation_id: Option<String>,
    pub(super) causation_id: Option<String>,
    pub(super) metadata: BTreeMap<String, String>,
}

/// Reads the fields of an event from headers. Says what is missing.
pub(super) fn read(headers: &HeaderMap) -> Result<EventHeaders, String> {
    let text = |name: &str| headers.get_last(name).map(|value| value.as_str().to_owned());
    let keys = [&EVENT, &CLOUD_EVENTS].into_iter().find(|keys| headers.get_last(keys.event_type).is_some());
    let keys = keys.ok_or_else(|| format!("it has neither the header {} nor {}", EVENT.event_type, CLOUD_EVENTS.event_type))?;
    let need = |name: &str| text(name).ok_or_else(|| format!("it has no header {name}"));
    let version = need(keys.version)?;
    let schema_version = text(keys.schema_version);
    let time = text(keys.time);
    Ok(EventHeaders {
        id: need(keys.id)?,
        event_type: need(keys.event_type)?,
        version: self::version(keys.version, &version)?,
        schema_version: match &schema_version {
            None => 1,
            Some(text) => text.parse().map_err(|_| format!("the header {} is {text:?}", keys.schema_version))?,
        },
        time: match &time {
            None => None,
            Some(text) => {
                Some(OffsetDateTime::parse(text, &Rfc3339).map_err(|_| format!("the header {} is {text:?}", keys.time))?)
            }
        },
        correlation_id: text(keys.correlation_id),
        causation_id: text(keys.causation_id),
        metadata: metadata(headers),
    })
}

/// Reads a version. The bound leaves room to count on.
pub(super) fn version(name: &str, text: &str) -> Result<u64, String> {
    let version = text.parse().ok().filter(|version| *version <= i64::MAX as u64);
    version.ok_or_else(|| format!("{name} is {text:?}"))
}

fn metadata(headers: &HeaderMap) -> BTreeMap<String, String> {
    let own = |name: &str| !RESERVED.iter().any(|reserved| name.to_ascii_lowercase().starts_with(reserved));
    let last = |values: &Vec<HeaderValue>| values.last().map(|value| value.as_str().to_owned());
    let named = headers.iter().map(|(name, values)| (name.to_string(), values));
    named.filter(|(name, _)| own(name)).filter_map(|(name, values)| Some((name, last(values)?))).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn headers_are_read_as_they_were_written() {
        let aggregate = AggregateId::new("order", "42").unwrap();
        let mut event = NewEvent::new("order.placed", "{}");
        event.correlation_id = Some("c".into());
        event.causation_id = Some("d".into());
        event.schema_version = 3;
        event.metadata.insert("Tenant".into(), "größer".into());
        for names in [HeaderNames::Event, HeaderNames::CloudEvents] {
            let now = OffsetDateTime::UNIX_EPOCH;
            let read = read(&write(names, &aggregate, &event, 7, now).unwrap()).unwrap();
            assert_eq!((read.id, read.event_type, read.version), (event.id.clone(), "order.placed".into(), 7));
            assert_eq!((read.schema_version, read.time), (3, Some(now)));
            assert_eq!((read.correlation_id, read.causation_id), (Some("c".into()), Some("d".into())));
            assert_eq!(read.metadata, event.metadata);
        }
    }

    #[test]
    fn values_that_a_header_cannot_hold_are_refused() {
        let aggregate = AggregateId::new("order", "42").unwrap();
        for (name, text) in
            [("Nats-Rollup", "all"), ("ce-id", "1"), ("a b", "1"), ("", "1"), ("a", "x\ny"), ("a", ""), ("a", " x")]
        {
            let mut event = NewEvent::new("order.placed", "{}");
            event.metadata.insert(name.into(), text.into());
            let written = write(HeaderNames::Event, &aggregate, &event, 1, OffsetDateTime::UNIX_EPOCH);
            assert!(matches!(written, Err(StoreError::Config(_))), "{name:?} {text:?}");
        }
    }
}
