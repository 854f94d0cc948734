//! Bodies of each format among good ones: each is rows or a dead letter, and the good ones keep their rows.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use alluvium_connectors::decode::{Decoder, Message};
use alluvium_connectors::source::{BatchLimits, SourceConfig};
use arrow::array::AsArray;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, TimeUnit};

/// A format: its options, and a good body, whose `id` is 7.
struct Format {
    decoder: Decoder,
    good: &'static [u8],
}

static FORMATS: LazyLock<Vec<Format>> = LazyLock::new(|| {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/schemas"));
    let format = |options: &[(&str, &str)], good: &'static [u8]| Format { decoder: decoder(&folder, options), good };
    vec![
        format(&[], br#"{"id":7,"name":"a","total":"1.50"}"#),
        format(&[("format", "msgpack")], b"\x81\xa2id\x07"),
        format(&[("format", "avro"), ("schema", "event.avsc")], b"\x00\x0e\x00\x02a"),
        format(&[("format", "protobuf"), ("schema", "event.proto"), ("message", "Event")], b"\x08\x07\x12\x01a"),
        format(&[("on_bad_member", "null"), ("epoch", "ms")], br#"{"id":7}"#),
    ]
});

fn decoder(folder: &std::path::Path, options: &[(&str, &str)]) -> Decoder {
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    let declared = Schema::new(vec![
        Field::new("id", DataType::Int64, true),
        text("name"),
        Field::new("total", DataType::Decimal128(12, 2), true),
        Field::new("weight", DataType::Float64, true),
        Field::new("paid", DataType::Boolean, true),
        Field::new("placed_at", DataType::Timestamp(TimeUnit::Microsecond, None), true),
    ]);
    let nested = [
        Field::new_list("tags", Field::new_list_field(DataType::Utf8, true), true),
        Field::new("address", DataType::Struct(vec![text("city"), text("zip")].into()), true),
    ];
    // The columns of which the schemas have a field.
    let has: &dyn Fn(&str) -> bool = match options.first() {
        Some(("format", "avro")) => &|name| ["id", "name"].contains(&name),
        Some(("format", "protobuf")) => &|name| !["total", "placed_at"].contains(&name),
        _ => &|_| true,
    };
    let fields = declared.fields().iter().map(|field| field.as_ref().clone()).chain(nested);
    let fields = fields.filter(|field| has(field.name()));
    let declared = Schema::new(fields.collect::<Vec<_>>());
    let config = SourceConfig {
        name: "events".into(),
        stored_as: "NATS".into(),
        location: "nats://127.0.0.1:4222/EVENTS".into(),
        folder: folder.to_owned(),
        options: options.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect::<BTreeMap<_, _>>(),
        columns: (0..declared.fields().len()).collect(),
        declared: Arc::new(declared),
        limits: BatchLimits::default(),
    };
    Decoder::new(&config).unwrap_or_else(|error| panic!("{options:?}: {error}"))
}

/// The first byte chooses the format, the rest is bodies, separated by zero bytes.
pub fn run(bytes: &[u8]) {
    let Some((first, rest)) = bytes.split_first() else { return };
    let format = &FORMATS[usize::from(*first) % FORMATS.len()];
    let mut bodies: Vec<&[u8]> = rest.split(|byte| *byte == 0).collect();
    bodies.push(rest);
    let bodies: Vec<&[u8]> = bodies.iter().flat_map(|body| [format.good, body]).chain([format.good]).collect();
    let messages = bodies.iter().enumerate().map(|(index, payload)| Message {
        sequence: index as u64 + 1,
        subject: "events",
        timestamp_ns: Some(1),
        headers: None,
        payload,
    });
    let decoded = format.decoder.decode(bodies.len(), messages).expect("a bad body is a dead letter");
    assert_eq!(decoded.rows.num_rows() + decoded.dead_letters.len(), bodies.len(), "bodies are lost");
    let (sequences, ids) = (decoded.sequences.values(), decoded.rows.column(0).as_primitive::<Int64Type>());
    for index in (0..bodies.len()).step_by(2) {
        let row = sequences.binary_search(&(index as u64 + 1)).expect("a good body has a row");
        assert_eq!(ids.value(row), 7, "a good body has another row");
    }
    for letter in &decoded.dead_letters {
        assert!(letter.payload == bodies[letter.sequence as usize - 1] && !letter.error.is_empty());
    }
}
