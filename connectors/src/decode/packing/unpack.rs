//! How the messages of a source hold events, as its options say.

use super::cloud_events::CloudEvents;
use super::events::Events;
use super::{arrow_stream, texts};
use crate::Error;
use crate::decode::message::Message;
use crate::source::SourceConfig;

const BATCH: &str = "batch";

/// How the messages of a source hold events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::decode) enum Packing {
    Lines,
    Array,
    Arrow,
    CloudEvents(CloudEvents),
}

impl Packing {
    /// Reads the options of a source. Returns `None` if each body is one event.
    ///
    /// # Errors
    /// [`Error::Config`] with the option concerned.
    pub(in crate::decode) fn of(config: &SourceConfig) -> Result<Option<Packing>, Error> {
        let wrong = |message: String, help: &str| {
            Err(Error::Config { message: format!("source {}: {message}", config.name), help: Some(help.to_owned()) })
        };
        let option =
            |name: &str| config.options.get(name).filter(|value| !value.is_empty()).map(|value| value.to_ascii_lowercase());
        let of_stream = config.stored_as.eq_ignore_ascii_case("NATS");
        let format = option("format").unwrap_or_else(|| "json".into());
        let batch = match option(BATCH).as_deref() {
            None => None,
            Some("lines") => Some(Packing::Lines),
            Some("array") => Some(Packing::Array),
            Some(other) => return wrong(format!("option '{BATCH}' is '{other}'"), "write 'lines' or 'array'"),
        };
        let known = match format.as_str() {
            "arrow" if of_stream => Some(Packing::Arrow),
            "cloudevents" if of_stream => Some(Packing::CloudEvents(CloudEvents::of(config))),
            _ => None,
        };
        match (batch, known) {
            (Some(_), _) if !of_stream => wrong(
                format!("option '{BATCH}' is one of messages"),
                "leave it out: each line, record or row of a file is an event",
            ),
            (Some(_), Some(_)) => wrong(
                format!(
                    "option '{BATCH}' does not go with format '{format}', whose messages say themselves how many events they hold"
                ),
                "leave the option out",
            ),
            (Some(_), None) if !matches!(format.as_str(), "json" | "debezium") => {
                wrong(format!("option '{BATCH}' does not go with format '{format}'"), "give it with JSON only")
            }
            (batch, known) => Ok(batch.or(known)),
        }
    }

    /// Appends the events of a message.
    pub(in crate::decode) fn unpack(self, message: &Message<'_>, events: &mut Events) {
        let unpacked = match self {
            // A body of nothing is no batch: of changes, it says that a row is gone.
            _ if message.payload.is_empty() && self != Packing::Arrow && !self.is_cloud_events() => {
                events.push_whole();
                Ok(())
            }
            Packing::Lines => texts::lines(message.payload, events),
            Packing::Array => texts::array(message.payload, events),
            Packing::Arrow => arrow_stream::rows(message.payload, events),
            Packing::CloudEvents(cloud_events) => cloud_events.unpack(message, events),
        };
        match unpacked {
            Ok(()) => events.end_message(),
            Err(fault) => events.reject_message(fault),
        }
    }

    fn is_cloud_events(self) -> bool {
        matches!(self, Packing::CloudEvents(_))
    }

    /// Returns the bodies of the events of a message, for letters.
    pub(super) fn parts(self, payload: &[u8]) -> Vec<Vec<u8>> {
        let mut events = Events::default();
        let unpacked = match self {
            Packing::Lines => texts::lines(payload, &mut events),
            Packing::Array | Packing::CloudEvents(_) => texts::array(payload, &mut events),
            Packing::Arrow => arrow_stream::rows(payload, &mut events),
        };
        match unpacked {
            Ok(()) => events.iter().map(|event| events.body(event, payload).to_vec()).collect(),
            Err(_) => Vec::new(),
        }
    }
}
