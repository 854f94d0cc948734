//! Tests MessagePack bodies: each type, random rows beside their JSON, and bytes that are not MessagePack.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema, TimeUnit};
use fastrand::Rng;
use serde_json::{Value as Json, json};

use crate::decode::tests::{decode, nullable, show};
use crate::decode::{Decoded, Decoder};
use crate::source::{BatchLimits, SourceConfig};

fn decoder(format: &str, fields: Vec<Field>) -> Decoder {
    Decoder::new(&SourceConfig {
        name: "events".into(),
        stored_as: "NATS".into(),
        location: "nats://host/S".into(),
        folder: Default::default(),
        options: [("format".to_owned(), format.to_owned())].into(),
        columns: (0..fields.len()).collect(),
        declared: Arc::new(Schema::new(fields)),
        limits: BatchLimits::default(),
    })
    .unwrap()
}

fn fields() -> Vec<Field> {
    let inner = Fields::from(vec![nullable("x", DataType::Int32), nullable("label", DataType::Utf8)]);
    let entries = Fields::from(vec![Field::new("key", DataType::Utf8, false), nullable("value", DataType::Int64)]);
    vec![
        nullable("id", DataType::Int64),
        nullable("name", DataType::Utf8View),
        nullable("score", DataType::Float64),
        nullable("good", DataType::Boolean),
        nullable("tags", DataType::List(Arc::new(nullable("item", DataType::Utf8)))),
        nullable("place", DataType::Struct(inner)),
        nullable("sizes", DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entries), false)), false)),
        nullable("any", DataType::Utf8),
    ]
}

/// Writes a value as MessagePack, by rmp.
pub(super) fn packed(value: &Json, bytes: &mut Vec<u8>) {
    use rmp::encode as write;
    match value {
        Json::Null => write::write_nil(bytes).unwrap(),
        Json::Bool(value) => write::write_bool(bytes, *value).unwrap(),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(value), _) => drop(write::write_sint(bytes, value).unwrap()),
            (None, Some(value)) => drop(write::write_uint(bytes, value).unwrap()),
            _ => write::write_f64(bytes, number.as_f64().unwrap()).unwrap(),
        },
        Json::String(text) => write::write_str(bytes, text).unwrap(),
        Json::Array(items) => {
            write::write_array_len(bytes, items.len() as u32).unwrap();
            items.iter().for_each(|item| packed(item, bytes));
        }
        Json::Object(members) => {
            write::write_map_len(bytes, members.len() as u32).unwrap();
            for (name, value) in members {
                write::write_str(bytes, name).unwrap();
                packed(value, bytes);
            }
        }
    }
}

fn body(value: &Json) -> Vec<u8> {
    let mut bytes = Vec::new();
    packed(value, &mut bytes);
    bytes
}

fn row(rng: &mut Rng) -> Json {
    let texts = ["", "a", "caf\u{e9} \"quoted\"\n", "a text of more than thirty-one bytes, so that it needs a length"];
    let text = |rng: &mut Rng| texts[rng.usize(..texts.len())];
    let numbers = [0, 127, 128, -1, -32, -33, 65_535, 65_536, -32_769, i64::from(u32::MAX), i64::MIN, i64::MAX, rng.i64(..)];
    let mut row = json!({
        "id": numbers[rng.usize(..numbers.len())], "name": text(rng), "score": f64::from(rng.i32(..)) / 8.0, "good": rng.bool(),
        "tags": (0..rng.usize(..20)).map(|_| text(rng)).collect::<Vec<_>>(),
        "place": {"x": rng.i32(..), "label": text(rng), "more": [1, {"deep": null}]},
        "sizes": {"a": rng.i64(..), "b": null},
        "any": {"list": [1, -5.5, "x", [true], {}], "large": u64::MAX},
        "other": {"skipped": [text(rng)]},
    });
    for name in ["id", "name", "tags", "place", "any"] {
        match rng.u8(..12) {
            0 => row[name] = Json::Null,
            1 => drop(row.as_object_mut().unwrap().remove(name)),
            2 => row[name] = json!("does not fit"),
            _ => {}
        }
    }
    row
}

#[test]
fn rows_equal_those_of_their_json() {
    let (packs, jsons) = (decoder("msgpack", fields()), decoder("json", fields()));
    let mut rng = Rng::with_seed(7);
    for _ in 0..50 {
        let rows: Vec<Json> = (0..rng.usize(1..200)).map(|_| row(&mut rng)).collect();
        let pack = decode(&packs, &rows.iter().map(body).collect::<Vec<_>>());
        let json = decode(&jsons, &rows.iter().map(Json::to_string).collect::<Vec<_>>());
        assert_eq!(pack.rows, json.rows);
        let marks =
            |decoded: &Decoded| decoded.unfit.iter().map(|unfit| (unfit.row, unfit.column, unfit.kind)).collect::<Vec<_>>();
        assert_eq!(marks(&pack), marks(&json));
    }
}

#[test]
fn types_that_json_lacks_are_read() {
    let time = DataType::Timestamp(TimeUnit::Nanosecond, None);
    let milliseconds = DataType::Timestamp(TimeUnit::Millisecond, None);
    let one = |value: &[u8]| [&b"\x81\xa1v"[..], value].concat();
    for (value, data_type, expected) in [
        (&b"\xc4\x02\xff\x00"[..], DataType::Binary, "ff00"),
        (b"\xc4\x02\xff\x00", DataType::Utf8, "/wA="),
        (b"\xd4\x05\x09", DataType::Utf8, "CQ=="),
        (b"\xd6\xff\x66\x32\x0e\x20", milliseconds, "2024-05-01T09:40:48"),
        (b"\xd7\xff\x00\x00\x00\x04\x66\x32\x0e\x20", time.clone(), "2024-05-01T09:40:48.000000001"),
        (b"\xc7\x0c\xff\x3b\x9a\xc9\xff\xff\xff\xff\xff\xff\xff\xff\xff", time, "1969-12-31T23:59:59.999999999"),
        (b"\xca\x3d\xcc\xcc\xcd", DataType::Float32, "0.1"),
        (b"\xca\x3d\xcc\xcc\xcd", DataType::Utf8, "0.1"),
        (b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", DataType::UInt64, "18446744073709551615"),
        (b"\x82\x05\x01\xc0\x02", DataType::Utf8, r#"{"5":1,"null":2}"#),
    ] {
        let decoded = decode(&decoder("msgpack", vec![nullable("v", data_type)]), &[one(value)]);
        assert!(decoded.dead_letters.is_empty() && decoded.unfit.is_empty(), "{value:x?}: {decoded:?}");
        assert_eq!(show(decoded.rows.column(0), 0), expected, "{value:x?}");
    }
}

#[test]
fn a_body_that_is_no_map_is_a_dead_letter() {
    let deep = [vec![0x81, 0xa1, b'v'], vec![0x91; 200], vec![0xc0]].concat();
    let cases: [(&[u8], &str); 9] = [
        (b"", "cut off: the body ends within a value, at byte 0"),
        (b"\x81\xa1v", "cut off: the body ends within a value, at byte 3"),
        (b"\x93\x01\x02\x03", "the body is not a map, but another value"),
        (b"\x80\x80", "more follows after the value, at byte 1"),
        (b"\x81\xa1v\xa1\xff", "a text is not UTF-8, at byte 4"),
        (b"\x81\xa1v\xc1", "a value begins with the byte c1"),
        (b"\x81\x90\x01", "a key is an array or a map, at byte 1"),
        (b"\x81\xa1v\xdf\xff\xff\xff\xff", "cut off"),
        (&deep, "nested more than 127 deep"),
    ];
    let good = body(&json!({"id": 1}));
    let mut bodies = vec![good.as_slice()];
    bodies.extend(cases.iter().map(|(body, _)| *body));
    bodies.push(&good);
    for fields in [fields(), vec![nullable("id", DataType::Int64)]] {
        let decoded = decode(&decoder("msgpack", fields), &bodies);
        assert_eq!(decoded.sequences.values().to_vec(), [1, 11]);
        for (letter, (_, expected)) in decoded.dead_letters.iter().zip(&cases) {
            assert!(letter.error.starts_with(expected), "{}", letter.error);
        }
    }
}
