//! Mutated messages of each format among good ones: nothing panics, each event of a mutated message is a row or a dead letter, and every good
//! message keeps its rows. `ALLUVIUM_SEED` repeats a run, `ALLUVIUM_MUTATED_FORMATS` sets how many messages of each format are mutated, and
//! `ALLUVIUM_MUTATED_FORMAT` chooses one.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use alluvium_connectors::decode::{Decoded, Decoder, Headers, Message};
use alluvium_connectors::source::{BatchLimits, SourceConfig};
use arrow::array::{Int64Array, RecordBatch, StringArray, UInt64Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{DataType, Field, Schema};
use arrow::ipc::writer::{FileWriter, StreamWriter};
use fastrand::Rng;

use crate::mutations::{count, mutate, seed};

/// How many messages of each format are mutated where nothing else is said.
const MUTATIONS: u64 = 30_000;
/// The messages that are decoded at once. Every fourth is good.
const AT_ONCE: usize = 256;

const PROTOBUF: &str = r#"syntax = "proto3";
message Event {
  message Place { int32 x = 1; optional string label = 2; repeated Place more = 3; map<string, Place> by_name = 4; }
  int64 id = 1; string name = 2; Place place = 3; repeated sint32 tags = 4;
  oneof choice { Place first = 5; string second = 6; }
}"#;

const AVRO: &str = r#"{"type": "record", "name": "Event", "fields": [
  {"name": "id", "type": "long"},
  {"name": "name", "type": ["null", "string"]},
  {"name": "place", "type": {"type": "record", "name": "Place", "fields": [
    {"name": "x", "type": "int"},
    {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": ["A", "B"]}},
    {"name": "more", "type": {"type": "array", "items": ["null", "Place"]}},
    {"name": "by_name", "type": {"type": "map", "values": "double"}}]}}
]}"#;

const JSON_SCHEMA: &str = r#"{"type": "object", "required": ["id"], "properties": {
  "id": {"type": "integer"}, "name": {"type": "string"}, "place": {"type": "object", "properties": {"x": {"type": "integer", "maximum": 1000}}}
}}"#;

/// The option of changes, whose events may be no row and several.
const DEBEZIUM: (&str, &str) = ("format", "debezium");

/// Options of a source.
type Options = &'static [(&'static str, &'static str)];

type Pairs = Vec<(String, String)>;

struct HeaderList(Pairs);

impl Headers for HeaderList {
    fn visit(&self, each: &mut dyn FnMut(&str, &str)) {
        self.0.iter().for_each(|(name, value)| each(name, value));
    }
}

fn decoder(stored_as: &str, options: &[(&str, &str)], folder: &std::path::Path) -> Decoder {
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    let mut declared = vec![
        Field::new("id", DataType::Int64, true),
        text("name"),
        text("place"),
        Field::new("_payload", DataType::Binary, true),
    ];
    if options.contains(&DEBEZIUM) {
        declared.push(Field::new("_change", DataType::Int8, false));
    }
    let declared = Schema::new(declared);
    Decoder::new(&SourceConfig {
        name: "events".into(),
        stored_as: stored_as.into(),
        location: "nats://host/S".into(),
        folder: folder.to_owned(),
        options: options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect::<BTreeMap<_, _>>(),
        columns: (0..declared.fields().len()).collect(),
        declared: Arc::new(declared),
        limits: BatchLimits::default(),
    })
    .expect("a decoder")
}

fn json(id: i64, rng: &mut Rng) -> String {
    let name = ["plain", "with \\\"quotes\\\"", "caf\u{e9}", ""][rng.usize(..4)];
    format!("{{\"id\":{id},\"name\":\"{name}\",\"place\":{{\"x\":{},\"more\":[{{}}]}}}}", rng.u32(..1000))
}

fn cloud_event(id: i64, rng: &mut Rng) -> String {
    let data = json(id, rng);
    format!("{{\"specversion\":\"1.0\",\"type\":\"t\",\"source\":\"/s\",\"id\":\"{id}\",\"subject\":null,\"data\":{data}}}")
}

fn several(rng: &mut Rng, mut each: impl FnMut(&mut Rng) -> String) -> Vec<String> {
    (0..rng.usize(1..5)).map(|_| each(rng)).collect()
}

fn arrow(id: i64, rng: &mut Rng) -> Vec<u8> {
    let (ids, names): (Vec<i64>, Vec<Option<&str>>) =
        (0..rng.i64(1..4)).map(|row| (id + row, (row > 0).then_some("a\nb"))).unzip();
    let columns: [(&str, arrow::array::ArrayRef); 2] =
        [("id", Arc::new(Int64Array::from(ids))), ("name", Arc::new(StringArray::from(names)))];
    let batch = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true))).unwrap();
    let mut bytes = Vec::new();
    if rng.bool() {
        let mut writer = StreamWriter::try_new(&mut bytes, &batch.schema()).unwrap();
        writer.write(&batch).unwrap();
        writer.write(&batch).unwrap();
        writer.finish().unwrap();
    } else {
        let mut writer = FileWriter::try_new(&mut bytes, &batch.schema()).unwrap();
        writer.write(&batch).unwrap();
        writer.finish().unwrap();
    }
    bytes
}

/// The bytes of a field of Protobuf: its tag, its length, its content.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2, content.len() as u8], content].concat()
}

fn protobuf(id: i64, rng: &mut Rng) -> Vec<u8> {
    let place = [vec![8, rng.u8(..100)], field(2, b"label"), field(3, &[8, 1]), field(3, &[8, 2])].concat();
    let entry = [field(1, b"k"), field(2, &place)].concat();
    let place = [place, field(4, &entry)].concat();
    let choice = if rng.bool() { field(5, &place) } else { field(6, b"second") };
    [vec![8, (id & 0x7f) as u8], field(2, "caf\u{e9}".as_bytes()), field(3, &place), field(4, &[1, 2, 3]), choice].concat()
}

/// A number of Avro below 64.
fn small(number: u8) -> u8 {
    number << 1
}

fn avro(id: i64, rng: &mut Rng) -> Vec<u8> {
    let place = |more: &[u8], rng: &mut Rng| {
        let by_name = [&[small(1), small(1), b'k'], &0.5_f64.to_le_bytes()[..], &[0]].concat();
        [&[small(rng.u8(..60)), small(rng.u8(..2))], more, &by_name].concat()
    };
    let inner = place(&[0], rng);
    let more = [&[small(2), small(0), small(1)], &inner[..], &[0]].concat();
    let name = if rng.bool() { vec![small(0)] } else { [&[small(1), small(5)], "caf\u{e9}".as_bytes()].concat() };
    [vec![small((id & 0x3f) as u8)], name, place(&more, rng)].concat()
}

fn change(id: i64, rng: &mut Rng) -> String {
    let row = |id: i64, rng: &mut Rng| json(id, rng);
    match rng.u8(..4) {
        0 => format!("{{\"before\":null,\"after\":{},\"op\":\"c\"}}", row(id, rng)),
        1 => format!("{{\"before\":{},\"after\":{},\"op\":\"u\"}}", row(id, rng), row(id, rng)),
        2 => format!("{{\"payload\":{{\"before\":{},\"after\":{},\"op\":\"u\"}}}}", row(id, rng), row(id + 1, rng)),
        _ => format!("{{\"before\":{},\"after\":null,\"op\":\"d\"}}", row(id, rng)),
    }
}

/// A record as files pass it on.
fn csv(id: i64, rng: &mut Rng) -> String {
    let place = ["", "12.5", "a \\\"b\\\"", "caf\u{e9}"][rng.usize(..4)];
    format!("{{\"id\":\"{id}\",\"name\":\"x, y\",\"place\":\"{place}\"}}")
}

fn msgpack(id: i64, rng: &mut Rng) -> Vec<u8> {
    use rmp::encode as write;
    let mut bytes = Vec::new();
    write::write_map_len(&mut bytes, 3).unwrap();
    write::write_str(&mut bytes, "id").unwrap();
    write::write_sint(&mut bytes, id).unwrap();
    write::write_str(&mut bytes, "name").unwrap();
    write::write_str(&mut bytes, ["plain", "caf\u{e9}", ""][rng.usize(..3)]).unwrap();
    write::write_str(&mut bytes, "place").unwrap();
    write::write_array_len(&mut bytes, 2).unwrap();
    write::write_bin(&mut bytes, &[1, 0xff]).unwrap();
    write::write_f64(&mut bytes, 0.5).unwrap();
    bytes
}

/// A message: its body, and its headers.
type Written = (Vec<u8>, Pairs);

fn written(format: &str, id: i64, rng: &mut Rng) -> Written {
    let none = |body: Vec<u8>| (body, Vec::new());
    match format {
        "lines" => none(several(rng, |rng| json(id, rng)).join("\n").into_bytes()),
        "array" => none(format!("[{}]", several(rng, |rng| json(id, rng)).join(", ")).into_bytes()),
        "arrow" => none(arrow(id, rng)),
        "protobuf" => none(protobuf(id, rng)),
        "msgpack" => none(msgpack(id, rng)),
        "json" | "json_schema" => none(json(id, rng).into_bytes()),
        "avro" => none(avro(id, rng)),
        "csv" => none(csv(id, rng).into_bytes()),
        "debezium" => none(change(id, rng).into_bytes()),
        _ => match rng.u8(..3) {
            0 => none(cloud_event(id, rng).into_bytes()),
            1 => none(format!("[{}]", several(rng, |rng| cloud_event(id, rng)).join(",")).into_bytes()),
            _ => {
                let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
                let text = id.to_string();
                let attributes = [("specversion", "1.0"), ("type", "t"), ("source", "/caf%C3%A9"), ("id", text.as_str())];
                let headers = attributes.map(|(name, value)| header(&format!("ce-{name}"), value));
                (json(id, rng).into_bytes(), [headers.to_vec(), vec![header("content-type", "application/json")]].concat())
            }
        },
    }
}

fn decoded(decoder: &Decoder, messages: &[(u64, Written)]) -> Decoded {
    let headers: Vec<HeaderList> = messages.iter().map(|(_, (_, headers))| HeaderList(headers.clone())).collect();
    let messages = messages.iter().zip(&headers).map(|((sequence, (payload, _)), headers)| Message {
        sequence: *sequence,
        subject: "events",
        timestamp_ns: Some(1),
        headers: (!headers.0.is_empty()).then_some(headers as &dyn Headers),
        payload,
    });
    decoder.decode(AT_ONCE, messages).expect("decoded")
}

/// Each format with the word after STORED AS and its options. A message of the first ones is one event.
const FORMATS: &[(&str, &str, Options)] = &[
    ("json", "NATS", &[]),
    ("json_schema", "NATS", &[("schema", "event.json")]),
    ("csv", "CSV", &[]),
    ("avro", "NATS", &[("format", "avro"), ("schema", "event.avsc")]),
    ("protobuf", "NATS", &[("format", "protobuf"), ("schema", "event.proto"), ("message", "Event")]),
    ("msgpack", "NATS", &[("format", "msgpack")]),
    ("debezium", "NATS", &[DEBEZIUM, ("key", "id")]),
    ("lines", "NATS", &[("batch", "lines")]),
    ("array", "NATS", &[("batch", "array")]),
    ("arrow", "NATS", &[("format", "arrow")]),
    ("cloudevents", "NATS", &[("format", "cloudevents")]),
];

/// So many of [`FORMATS`] have one event in a message, which is one row or one dead letter.
const OF_ONE_EVENT: usize = 6;

/// Whether the sequence is that of a message that is not mutated.
fn is_good(sequence: u64) -> bool {
    (sequence - 1).is_multiple_of(4)
}

#[test]
fn mutated_messages_of_each_format_cost_no_good_event() {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [("event.proto", PROTOBUF), ("event.avsc", AVRO), ("event.json", JSON_SCHEMA)] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let mut rng = Rng::with_seed(seed());
    let wanted = std::env::var("ALLUVIUM_MUTATED_FORMAT").ok();
    for (place, (format, stored_as, options)) in FORMATS.iter().enumerate() {
        if wanted.as_ref().is_some_and(|wanted| wanted != format) {
            continue;
        }
        let decoder = decoder(stored_as, options, folder.path());
        let (mut left, mut letters, mut rows) = (count("ALLUVIUM_MUTATED_FORMATS", MUTATIONS), 0, 0);
        while left > 0 {
            let mut messages: Vec<(u64, Written)> =
                (1..=AT_ONCE as u64).map(|sequence| (sequence, written(format, sequence as i64, &mut rng))).collect();
            let good: Vec<(u64, Written)> = messages.iter().step_by(4).cloned().collect();
            for (_, (body, headers)) in messages.iter_mut().filter(|(sequence, _)| !is_good(*sequence)) {
                if !headers.is_empty() && rng.u8(..4) == 0 {
                    headers.remove(rng.usize(..headers.len()));
                }
                mutate(body, &mut rng);
                left = left.saturating_sub(1);
            }
            let (all, alone) = (decoded(&decoder, &messages), decoded(&decoder, &good));
            assert!(alone.dead_letters.is_empty() && alone.unfit.is_empty(), "{format}: {:?}", alone.dead_letters);
            let kept = all.sequences.values().iter().enumerate().filter(|(_, sequence)| is_good(**sequence));
            let kept = UInt64Array::from_iter_values(kept.map(|(row, _)| row as u64));
            assert_eq!(take_record_batch(&all.rows, &kept).unwrap(), alone.rows, "{format}");
            assert!(all.dead_letters.iter().all(|letter| !is_good(letter.sequence) && !letter.error.is_empty()));
            assert_eq!(all.rows.num_rows(), all.sequences.len());
            let one_of_each = place < OF_ONE_EVENT;
            if one_of_each {
                assert_eq!(all.events as usize, messages.len(), "{format}");
            }
            if options.contains(&DEBEZIUM) {
                assert_changes(&all, &messages);
            } else {
                assert_eq!(all.rows.num_rows() + all.dead_letters.len(), all.events as usize, "{format}");
            }
            if one_of_each || options.contains(&DEBEZIUM) {
                let of_rows: HashSet<u64> = all.sequences.values().iter().copied().collect();
                let both = all.dead_letters.iter().find(|letter| of_rows.contains(&letter.sequence));
                assert!(both.is_none(), "{format}: a row and a dead letter: {both:?}");
            }
            (letters, rows) = (letters + all.dead_letters.len(), rows + all.rows.num_rows());
        }
        println!("{format}: {rows} rows, {letters} dead letters");
        assert!(letters > 0 && rows > 0);
    }
}

/// Checks that a body that is neither rows nor a dead letter says that nothing has changed.
fn assert_changes(all: &Decoded, messages: &[(u64, Written)]) {
    let sequences = all.sequences.values().iter().copied().chain(all.dead_letters.iter().map(|letter| letter.sequence));
    let known: HashSet<u64> = sequences.collect();
    for (_, (body, _)) in messages.iter().filter(|(sequence, _)| !known.contains(sequence)) {
        let text = String::from_utf8_lossy(body);
        let says_nothing = match serde_json::from_slice(body) {
            _ if body.trim_ascii().is_empty() => true,
            Ok(change) => is_no_change(&change),
            // A text in it that is none is in a member that nobody reads.
            Err(_) => ["\"m\"", "\"message\""].iter().any(|word| text.to_ascii_lowercase().contains(word)),
        };
        assert!(says_nothing, "neither a row nor a dead letter: {text}");
    }
}

/// Whether a payload says that no row has changed: it is null, holds one that is, or is a message of the log. Names are read in any case.
fn is_no_change(change: &serde_json::Value) -> bool {
    let Some(members) = change.as_object() else { return change.is_null() };
    members.iter().any(|(name, value)| match name.to_ascii_lowercase().as_str() {
        "payload" => is_no_change(value),
        "op" => value.as_str().is_some_and(|op| ["m", "message"].iter().any(|word| op.eq_ignore_ascii_case(word))),
        _ => false,
    })
}
