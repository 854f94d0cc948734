//! Tests each rule of the decoder on examples, and all rules together on random bodies against serde_json.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bodies;
mod changes;
mod oracle;
mod plain;
mod values;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::Array;
use arrow::datatypes::{DataType, Field, Schema};
use arrow::util::display::{ArrayFormatter, FormatOptions};

use crate::Error;
use crate::decode::{Decoded, Decoder, Message};
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
    let messages = bodies.iter().enumerate().map(|(index, body)| Message {
        sequence: index as u64 + 1,
        subject: "events.test",
        timestamp_ns: Some(1_700_000_000_123_456_789),
        headers: None,
        payload: body.as_ref(),
    });
    let decoded = decoder.decode(bodies.len(), messages).unwrap();
    assert_eq!(decoded.events, bodies.len() as u64);
    assert_eq!(decoded.rows.num_rows() + decoded.dead_letters.len(), bodies.len());
    assert_eq!(decoded.sequences.len(), decoded.rows.num_rows());
    decoded
}

/// A value as Arrow formats it.
fn show(array: &dyn Array, row: usize) -> String {
    let options = FormatOptions::new().with_null("NULL");
    ArrayFormatter::try_new(array, &options).unwrap().value(row).to_string()
}

fn nullable(name: &str, data_type: DataType) -> Field {
    Field::new(name, data_type, true)
}

fn config_error(result: Result<Decoder, Error>) -> String {
    match result {
        Err(Error::Config { message, .. }) => message,
        other => panic!("expected a configuration error, got {other:?}"),
    }
}
