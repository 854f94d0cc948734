//! Whether each source answers, and delivers what its filter selects.

use std::time::Instant;

use alluvium_connectors::source::Source;
use serde::{Deserialize, Serialize};

/// The health of one source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SourceHealth {
    /// Its name.
    pub source: String,
    /// Whether it answers and can be read.
    pub connected: bool,
    /// Seconds since it last answered; `None` if it never has.
    pub last_contact_seconds: Option<f64>,
    /// Why it does not answer or cannot be read; `None` while it is connected.
    pub error: Option<String>,
    /// How many events audits of its filter have compared since the start; `None` if there was no audit.
    #[serde(default)]
    pub audited_events: Option<u64>,
    /// How many of these the source did not deliver, though its filter selects them.
    #[serde(default)]
    pub skipped_events: u64,
    /// The sequences of the first of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<u64>,
}

impl SourceHealth {
    pub(super) fn of(source: &dyn Source) -> SourceHealth {
        let (contact, audited) = (source.contact(), source.audited());
        SourceHealth {
            source: source.config().name.clone(),
            connected: contact.connected,
            last_contact_seconds: contact.answered.map(|answered| Instant::now().duration_since(answered).as_secs_f64()),
            error: contact.reason,
            audited_events: audited.as_ref().map(|audited| audited.events),
            skipped_events: audited.as_ref().map_or(0, |audited| audited.skipped),
            skipped: audited.map(|audited| audited.sequences).unwrap_or_default(),
        }
    }

    /// Whether it is away: it does not answer or cannot be read. False before it was first asked.
    #[must_use]
    pub fn is_away(&self) -> bool {
        !self.connected && self.error.is_some()
    }
}
