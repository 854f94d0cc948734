//! Prints how fast the same rows are decoded in each format, relative to JSON. Asserts nothing about time.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};

use super::{decode, long, nullable, text};
use crate::decode::Decoder;
use crate::source::{BatchLimits, SourceConfig};

const ROWS: usize = 50_000;

const AVRO: &str = r#"{"type":"record","name":"R","fields":[
    {"name":"id","type":"long"}, {"name":"country","type":"string"}, {"name":"total","type":"double"}, {"name":"good","type":"boolean"},
    {"name":"at","type":{"type":"long","logicalType":"timestamp-millis"}},
    {"name":"tags","type":{"type":"array","items":"string"}},
    {"name":"place","type":["null",{"type":"record","name":"P","fields":[{"name":"x","type":"int"},{"name":"label","type":"string"}]}]}]}"#;
const PROTOBUF: &str = r#"syntax = "proto3";
message R { message P { sint32 x = 1; string label = 2; }
  sint64 id = 1; string country = 2; double total = 3; bool good = 4; int64 at = 5; repeated string tags = 6; P place = 7; }"#;

/// The bytes of a field of Protobuf: its tag, its length, its content.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2, content.len() as u8], content].concat()
}

/// One row in JSON, Avro and Protobuf.
fn row(index: usize) -> [Vec<u8>; 3] {
    let (id, country, total) = (index as i64 * 7919, ["DE", "FR", "Japan"][index % 3], index as f64 / 7.0);
    let (good, x, label) = (index.is_multiple_of(2), index as i32 % 1000, "a place with a name");
    let at = 1_714_557_600_000 + index as i64 * 997;
    let time = arrow::temporal_conversions::timestamp_ms_to_datetime(at).unwrap();
    let mut json = format!(r#"{{"id":{id},"country":"{country}","total":{total},"good":{good},"at":"{time:?}Z","#);
    write!(json, r#""tags":["one","two"],"place":{{"x":{x},"label":"{label}"}}}}"#).unwrap();
    let (first, second) = (
        [long(id), text(country), total.to_le_bytes().to_vec(), vec![u8::from(good)], long(at)].concat(),
        [long(2), text("one"), text("two"), long(0), long(1), long(i64::from(x)), text(label)].concat(),
    );
    let mut unsigned = Vec::new();
    prost_reflect::prost::encoding::encode_varint(at as u64, &mut unsigned);
    let place = [vec![8], long(i64::from(x)), field(2, label.as_bytes())].concat();
    let protobuf = [
        [vec![8], long(id), field(2, country.as_bytes()), vec![25], total.to_le_bytes().to_vec(), vec![32, u8::from(good)]]
            .concat(),
        [vec![40], unsigned, field(6, b"one"), field(6, b"two"), field(7, &place)].concat(),
    ];
    [json.into_bytes(), [first, second].concat(), protobuf.concat()]
}

/// How long this thread has run, which other processes do not change.
fn on_cpu() -> Duration {
    let schedule = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(schedule.split(' ').next().unwrap().parse().unwrap())
}

fn fields(nested: bool) -> Vec<Field> {
    let place = vec![nullable("x", DataType::Int32), nullable("label", DataType::Utf8View)];
    let mut fields = vec![
        nullable("id", DataType::Int64),
        nullable("country", DataType::Utf8View),
        nullable("total", DataType::Float64),
        nullable("good", DataType::Boolean),
        nullable("at", DataType::Timestamp(TimeUnit::Millisecond, None)),
    ];
    if nested {
        fields.push(nullable("tags", DataType::List(Arc::new(nullable("item", DataType::Utf8View)))));
        fields.push(nullable("place", DataType::Struct(place.into())));
    }
    fields
}

#[test]
fn formats_beside_each_other() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("r.avsc"), AVRO).unwrap();
    std::fs::write(folder.path().join("r.proto"), PROTOBUF).unwrap();
    let rows: Vec<_> = (0..ROWS).map(row).collect();
    let formats = [("json", ""), ("avro", "r.avsc"), ("protobuf", "r.proto")];
    for nested in [false, true] {
        let fields = fields(nested);
        let mut options = formats.map(|(format, schema)| vec![("format", format), ("schema", schema), ("message", "R")]);
        options[0].truncate(1);
        options[1].truncate(2);
        let decoders = options.map(|options| {
            Decoder::new(&SourceConfig {
                name: "events".into(),
                stored_as: "NATS".into(),
                location: "nats://host/S".into(),
                folder: folder.path().to_owned(),
                options: options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
                columns: (0..fields.len()).collect(),
                declared: Arc::new(Schema::new(fields.clone())),
                limits: BatchLimits::default(),
            })
            .unwrap()
        });
        let bodies: [Vec<&[u8]>; 3] = [0, 1, 2].map(|format| rows.iter().map(|row| row[format].as_slice()).collect());
        // The formats take turns, and the best of each counts.
        let mut best = [Duration::MAX; 3];
        let mut decoded = [const { None }; 3];
        for _ in 0..7 {
            for format in 0..3 {
                let start = on_cpu();
                decoded[format] = Some(decode(&decoders[format], &bodies[format]).rows);
                best[format] = best[format].min(on_cpu() - start);
            }
        }
        assert!(decoded[0] == decoded[1] && decoded[0] == decoded[2], "the formats differ");
        for (format, (name, _)) in formats.iter().enumerate() {
            let ratio = best[0].as_secs_f64() / best[format].as_secs_f64();
            let each = best[format].as_secs_f64() * 1e9 / ROWS as f64;
            println!("{name}, {} columns: {each:.0} ns a row, {ratio:.2} times the speed of JSON", fields.len());
        }
    }
}
