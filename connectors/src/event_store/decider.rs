//! What a kind of aggregate is: how it decides about commands, and how events change its state.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

/// A kind of aggregate.
///
/// Events are enums. The name of the variant is the type of the event, and its content is the data: with `#[serde(rename = "order.placed")]`
/// on a variant `Placed { total: u32 }`, an event has the type `order.placed` and the data `{"total": 12}`.
///
/// # Contract
/// - `decide` and `evolve` are functions of their arguments: they read no clock and no randomness, and change nothing. Otherwise the state
///   depends on when it was loaded (unchecked; a command carries what a decision needs).
/// - `evolve` accepts every event that was ever stored, after the upcasters. It does not refuse (unchecked).
/// - An event and a state read back from JSON are equal to what was written (checked by [`super::Given`]).
/// - `STATE_SCHEMA` differs whenever the same events give another state, or its JSON has another form (unchecked).
pub trait Decider: Send + Sync {
    /// The type of the aggregates: a token of their subjects.
    const AGGREGATE_TYPE: &'static str;
    /// The version of the state's schema. A snapshot with another one is ignored and made anew.
    const STATE_SCHEMA: u32 = 1;
    /// The state. Its default is that of an aggregate without events.
    type State: Default + Serialize + DeserializeOwned + Send + Sync;
    /// What can be asked of an aggregate. It is cloned for each attempt.
    type Command: Clone + Send + Sync;
    /// What can happen to an aggregate.
    type Event: Serialize + DeserializeOwned + Send + Sync;
    /// Why a command is rejected.
    type Rejection: Serialize + DeserializeOwned + Send + Sync;

    /// Decides about a command: the events that it causes, which may be none, or why it is rejected.
    ///
    /// # Errors
    /// The rejection. Its events are none.
    fn decide(&self, state: &Self::State, command: Self::Command) -> Result<Vec<Self::Event>, Self::Rejection>;

    /// Returns the state after an event.
    fn evolve(&self, state: Self::State, event: &Self::Event) -> Self::State;

    /// Returns the schema version that events of a type are written with.
    fn schema_version(&self, _event_type: &str) -> u32 {
        1
    }
}

/// Splits an event into its type and its data. Says what is wrong with it.
pub(super) fn encode<E: Serialize>(event: &E) -> Result<(String, Bytes), String> {
    let text = serde_json::to_string(event).map_err(|error| error.to_string())?;
    if let Ok(event_type) = serde_json::from_str::<String>(&text) {
        return Ok((event_type, Bytes::from_static(b"null")));
    }
    let variants: BTreeMap<String, Box<RawValue>> = serde_json::from_str(&text).unwrap_or_default();
    let mut variants = variants.into_iter();
    match (variants.next(), variants.next()) {
        (Some((event_type, data)), None) => Ok((event_type, Bytes::from(data.get().as_bytes().to_vec()))),
        _ => Err(format!("an event must serialize as an enum with the name of the variant outside, but is {text}")),
    }
}

/// Makes an event of its type and its data. Says what does not fit.
pub(super) fn decode<E: DeserializeOwned>(event_type: &str, data: &[u8]) -> Result<E, String> {
    let name = serde_json::to_string(event_type).map_err(|error| error.to_string())?;
    if let (b"null", Ok(event)) = (data.trim_ascii(), serde_json::from_str(&name)) {
        return Ok(event);
    }
    let text = [b"{", name.as_bytes(), b":", data, b"}"].concat();
    serde_json::from_slice(&text).map_err(|error| format!("{event_type}: {error}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Event {
        #[serde(rename = "order.placed")]
        Placed {
            total: f64,
        },
        Shipped,
        Named(String),
        Maybe(Option<u32>),
    }

    #[test]
    fn variants_of_all_kinds_come_back() {
        for event in [Event::Placed { total: 0.1 }, Event::Shipped, Event::Named("a\"b".into()), Event::Maybe(None)] {
            let (event_type, data) = encode(&event).unwrap();
            assert_eq!(decode::<Event>(&event_type, &data).unwrap(), event);
        }
        let placed = encode(&Event::Placed { total: 1.5 }).unwrap();
        assert_eq!(placed, ("order.placed".to_owned(), Bytes::from_static(b"{\"total\":1.5}")));
        assert!(decode::<Event>("order.lost", b"{}").unwrap_err().contains("order.lost"));
        assert!(encode(&BTreeMap::from([("a", 1), ("b", 2)])).is_err());
    }
}
