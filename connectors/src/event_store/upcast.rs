//! Upcasters: turn the data of events of an old schema into that of a newer one, while they are read.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;

use super::error::StoreError;
use super::event::RecordedEvent;

/// A type of event and the version of its schema.
type Schema = (String, u32);
type Change = Arc<dyn Fn(Value) -> Result<Value, String> + Send + Sync>;

/// Upcasters by the type and schema version of the events that they read. They are chained: what one writes, another may read.
///
/// # Example
/// ```
/// use alluvium_connectors::event_store::Upcasters;
/// use serde_json::{Value, json};
///
/// let upcasters = Upcasters::new()
///     .with(("order.placed", 1), ("order.placed", 2), |mut data| {
///         data["currency"] = json!("EUR");
///         Ok(data)
///     })?
///     .with(("order.placed", 2), ("order.accepted", 1), Ok)?;
/// let (event_type, version, data) = upcasters.apply("order.placed", 1, br#"{"total": 12}"#.as_slice().into())?;
/// assert_eq!((event_type.as_str(), version), ("order.accepted", 1));
/// assert_eq!(serde_json::from_slice::<Value>(&data)?, json!({ "total": 12, "currency": "EUR" }));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default)]
pub struct Upcasters {
    by_schema: BTreeMap<Schema, (Schema, Change)>,
}

impl Upcasters {
    /// None.
    pub fn new() -> Upcasters {
        Upcasters::default()
    }

    /// Adds an upcaster from one type and schema version to another. It gets and gives the data as JSON; an error says what does not fit.
    ///
    /// # Errors
    /// [`StoreError::Config`] if there is one already for `from`, or if the chain would not end.
    pub fn with(
        mut self,
        from: (&str, u32),
        to: (&str, u32),
        change: impl Fn(Value) -> Result<Value, String> + Send + Sync + 'static,
    ) -> Result<Upcasters, StoreError> {
        let (from, to): (Schema, Schema) = ((from.0.into(), from.1), (to.0.into(), to.1));
        let refuse = |what: &str| Err(StoreError::Config(format!("the upcaster of {} {}: {what}", from.0, from.1)));
        if self.by_schema.contains_key(&from) {
            return refuse("there is another one");
        }
        self.by_schema.insert(from.clone(), (to, Arc::new(change)));
        let mut seen = BTreeSet::new();
        let mut schema = &from;
        while let Some((next, _)) = self.by_schema.get(schema) {
            if !seen.insert(schema) {
                return refuse("its chain leads back to it");
            }
            schema = next;
        }
        Ok(self)
    }

    /// Returns the type, the schema version and the data that an event has today.
    ///
    /// # Errors
    /// Says which upcaster does not fit.
    pub fn apply(&self, event_type: &str, schema_version: u32, data: Bytes) -> Result<(String, u32, Bytes), String> {
        let mut schema = (event_type.to_owned(), schema_version);
        let Some(_) = self.by_schema.get(&schema) else { return Ok((schema.0, schema.1, data)) };
        let mut value: Value = serde_json::from_slice(&data).map_err(|error| format!("{event_type}: {error}"))?;
        while let Some((next, change)) = self.by_schema.get(&schema) {
            value = change(value).map_err(|error| format!("the upcaster of {} {}: {error}", schema.0, schema.1))?;
            schema = next.clone();
        }
        let data = serde_json::to_vec(&value).map_err(|error| format!("{event_type}: {error}"))?;
        Ok((schema.0, schema.1, data.into()))
    }

    /// As [`Upcasters::apply`], for a stored event.
    pub(super) fn upcast(&self, event: &RecordedEvent) -> Result<(String, u32, Bytes), String> {
        self.apply(&event.event_type, event.schema_version, event.data.clone())
    }
}

impl fmt::Debug for Upcasters {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_map().entries(self.by_schema.iter().map(|(from, (to, _))| (from, to))).finish()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn chains_end_and_each_schema_has_one_upcaster() {
        let one = || Upcasters::new().with(("a", 1), ("a", 2), Ok).unwrap();
        assert!(one().with(("a", 1), ("a", 3), Ok).is_err());
        assert!(one().with(("a", 2), ("a", 1), Ok).is_err());
        assert!(Upcasters::new().with(("a", 1), ("a", 1), Ok).is_err());
        assert!(one().with(("a", 2), ("a", 3), Ok).is_ok());
    }

    #[test]
    fn data_that_no_upcaster_reads_stays_as_it_is() {
        let upcasters = Upcasters::new().with(("a", 1), ("a", 2), |_| Err("no".into())).unwrap();
        let data = Bytes::from_static(b"\xff");
        assert_eq!(upcasters.apply("a", 2, data.clone()).unwrap(), ("a".into(), 2, data.clone()));
        assert!(upcasters.apply("a", 1, data).is_err());
        assert_eq!(upcasters.apply("a", 1, Bytes::from_static(b"1")).unwrap_err(), "the upcaster of a 1: no");
    }
}
