//! How it stands with the way to each source.

use std::time::Instant;

use alluvium_connectors::source::Contact;
use serde::{Deserialize, Serialize};

/// One source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SourceHealth {
    /// Its name.
    pub source: String,
    /// It answers and can be read.
    pub connected: bool,
    /// Seconds since it last answered; none where it never has.
    pub last_contact_seconds: Option<f64>,
    /// Why it does not answer or cannot be read.
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

    /// Whether it was asked and is away; not so before it was asked at all.
    #[must_use]
    pub fn is_away(&self) -> bool {
        !self.connected && self.error.is_some()
    }
}
