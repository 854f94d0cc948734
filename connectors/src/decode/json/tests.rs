//! Tests each rule of the decoder on examples, and all rules together on random bodies against serde_json.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bodies;
mod changes;
mod oracle;
mod plain;
mod values;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};

use crate::Error;
use crate::decode::tests::{nullable, show};
use crate::decode::{Decoded, Decoder};
use crate::source::{BatchLimits, SourceConfig};

/// A source with these columns. Those at `columns` are decoded.
fn config(fields: Vec<Field>, columns: Vec<usize>) -> SourceConfig {
    SourceConfig {
        name: "events".into(),
        stored_as: "FILE".into(),
        location: "-".into(),
        folder: Default::default(),
        options: BTreeMap::new(),
        declared: Arc::new(Schema::new(fields)),
        columns,
        limits: BatchLimits::default(),
    }
}

/// Decodes all columns.
fn decode<B: AsRef<[u8]>>(fields: Vec<Field>, bodies: &[B]) -> Decoded {
    let columns = (0..fields.len()).collect();
    decode_some(fields, columns, bodies)
}

fn decode_some<B: AsRef<[u8]>>(fields: Vec<Field>, columns: Vec<usize>, bodies: &[B]) -> Decoded {
    decode_with(config(fields, columns), bodies)
}

fn decode_with<B: AsRef<[u8]>>(config: SourceConfig, bodies: &[B]) -> Decoded {
    let decoder = Decoder::new(&config).unwrap();
    crate::decode::tests::decode(&decoder, bodies)
}

fn config_error(result: Result<Decoder, Error>) -> String {
    match result {
        Err(Error::Config { message, .. }) => message,
        other => panic!("expected a configuration error, got {other:?}"),
    }
}
