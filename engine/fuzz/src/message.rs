//! Messages of any subject, headers and body: each is one row or one dead letter, and its letter can be written.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use alluvium_connectors::decode::{Decoder, Headers, Message};
use alluvium_connectors::source::{BatchLimits, SourceConfig};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};

/// Pairs of a name and a value.
struct Pairs(Vec<(String, String)>);

impl Headers for Pairs {
    fn visit(&self, each: &mut dyn FnMut(&str, &str)) {
        for (name, value) in &self.0 {
            each(name, value);
        }
    }
}

static DECODER: LazyLock<Decoder> = LazyLock::new(|| {
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    let declared = Schema::new(vec![
        Field::new("id", DataType::Int64, true),
        Field::new("_sequence", DataType::UInt64, false),
        text("_subject"),
        Field::new("_timestamp", DataType::Timestamp(TimeUnit::Nanosecond, None), true),
        text("_headers"),
        text("_payload"),
    ]);
    let config = SourceConfig {
        name: "events".into(),
        stored_as: "NATS".into(),
        location: "nats://127.0.0.1:4222/EVENTS".into(),
        folder: Default::default(),
        options: BTreeMap::new(),
        columns: (0..declared.fields().len()).collect(),
        declared: Arc::new(declared),
        limits: BatchLimits::default(),
    };
    Decoder::new(&config).unwrap_or_else(|error| panic!("{error}"))
});

/// Lines: the subject, headers as `name: value` up to an empty line, and the body.
pub fn run(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (head, _) = text.split_once("\n\n").unwrap_or((&text, ""));
    let payload = bytes.windows(2).position(|two| two == b"\n\n").map_or(&[] as &[u8], |at| &bytes[at + 2..]);
    let mut lines = head.lines();
    let subject = lines.next().unwrap_or_default();
    let headers = Pairs(lines.filter_map(|line| line.split_once(':')).map(|(name, value)| (name.into(), value.into())).collect());
    let message = Message { sequence: 1, subject, timestamp_ns: Some(i64::MAX), headers: Some(&headers), payload };
    let decoded = DECODER.decode(1, std::iter::once(message)).expect("a bad message is a dead letter");
    assert_eq!(decoded.rows.num_rows() + decoded.dead_letters.len(), 1, "a message is lost");
    let letter = message.letter("events", "decode", "no reason".to_owned());
    assert_eq!(letter.payload, payload);
}
