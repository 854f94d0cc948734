//! The declaration of a source, and the registry that it asks.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema};

pub(in crate::decode) use super::registry_server::serve;
use crate::source::{BatchLimits, SourceConfig};

/// A source of a stream with these columns and options.
pub(in crate::decode) fn declared(fields: Vec<Field>, options: &[(&str, &str)]) -> SourceConfig {
    SourceConfig {
        name: "events".into(),
        stored_as: "NATS".into(),
        location: "nats://host/S".into(),
        folder: Default::default(),
        options: options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        columns: (0..fields.len()).collect(),
        declared: Arc::new(Schema::new(fields)),
        limits: BatchLimits::default(),
    }
}
