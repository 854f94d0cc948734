//! Whether each source answers.

use std::time::Instant;

use alluvium_connectors::source::Contact;
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
}

impl SourceHealth {
    pub(super) fn of(source: &str, contact: Contact) -> SourceHealth {
        SourceHealth {
            source: source.to_owned(),
            connected: contact.connected,
            last_contact_seconds: contact.answered.map(|answered| Instant::now().duration_since(answered).as_secs_f64()),
            error: contact.reason,
        }
    }

    /// Whether it is away: it does not answer or cannot be read. False before it was first asked.
    #[must_use]
    pub fn is_away(&self) -> bool {
        !self.connected && self.error.is_some()
    }
}
