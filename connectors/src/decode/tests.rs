//! What the tests of several formats share.

#![allow(clippy::unwrap_used)]

mod compatibility;
pub(super) mod registry;
mod registry_server;
pub(super) mod subjects;

use arrow::array::Array;
use arrow::datatypes::{DataType, Field};
use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::{Decoded, Decoder, Message};

/// Decodes bodies, whose sequences begin at 1.
pub(super) fn decode<B: AsRef<[u8]>>(decoder: &Decoder, bodies: &[B]) -> Decoded {
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
pub(super) fn show(array: &dyn Array, row: usize) -> String {
    let options = FormatOptions::new().with_null("NULL");
    ArrayFormatter::try_new(array, &options).unwrap().value(row).to_string()
}

pub(super) fn nullable(name: &str, data_type: DataType) -> Field {
    Field::new(name, data_type, true)
}
