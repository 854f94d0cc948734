//! Tests Protobuf bodies: each type, presence, what other writers may do, random rows beside their JSON, and bytes that are not Protobuf.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, IntervalUnit, Schema, TimeUnit};
use proptest::prelude::*;
use prost_reflect::prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};

mod columns;
mod registry;

use crate::Error;
use crate::decode::tests::{decode, nullable, show};
use crate::decode::{Decoded, Decoder};
use crate::source::{BatchLimits, SourceConfig};

const SCHEMA: &str = r#"
syntax = "proto3";
package shop;
import "google/protobuf/timestamp.proto";
import "google/protobuf/duration.proto";
import "google/protobuf/wrappers.proto";
import "google/protobuf/struct.proto";
message Event {
  message Place { sint32 x = 1; string label = 2; optional Place next = 3; }
  enum Kind { KIND_UNKNOWN = 0; NEW = 1; PAID = 2; }
  int64 id = 1;
  optional string name = 2;
  double score = 3;
  bool good = 4;
  repeated sint64 counts = 5;
  map<string, int32> sizes = 6;
  Kind kind = 7;
  Place place = 8;
  repeated Place places = 9;
  bytes body = 10;
  google.protobuf.Timestamp at = 11;
  google.protobuf.Duration took = 12;
  google.protobuf.Int64Value maybe = 13;
  google.protobuf.Struct any = 14;
  oneof choice { string text = 15; fixed32 number = 1000; }
  uint64 large = 17;
  float small = 18;
}
"#;

fn fields() -> Vec<Field> {
    let place =
        || DataType::Struct(Fields::from(vec![nullable("label", DataType::Utf8), Field::new("x", DataType::Int32, false)]));
    let list = |item| DataType::List(Arc::new(nullable("item", item)));
    let entries = Fields::from(vec![Field::new("key", DataType::Utf8, false), nullable("value", DataType::Int64)]);
    vec![
        nullable("id", DataType::Int64),
        nullable("name", DataType::Utf8),
        nullable("score", DataType::Float64),
        nullable("good", DataType::Boolean),
        nullable("counts", list(DataType::Int64)),
        nullable("sizes", DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entries), false)), false)),
        nullable("kind", DataType::Utf8),
        nullable("place", place()),
        nullable("places", list(place())),
        nullable("body", DataType::Binary),
        nullable("at", DataType::Timestamp(TimeUnit::Microsecond, None)),
        nullable("maybe", DataType::Int64),
        nullable("text", DataType::Utf8View),
        nullable("number", DataType::UInt32),
        nullable("large", DataType::UInt64),
        nullable("small", DataType::Float32),
    ]
}

/// A folder with the schema.
struct Bodies(tempfile::TempDir);

impl Bodies {
    fn new() -> Bodies {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("event.proto"), SCHEMA).unwrap();
        Bodies(folder)
    }

    fn pool(&self) -> DescriptorPool {
        let mut compiler = protox::Compiler::new([self.0.path()]).unwrap();
        compiler.include_imports(true).open_file("event.proto").unwrap();
        compiler.descriptor_pool()
    }

    fn config(&self, format: &[(&str, &str)], fields: Vec<Field>) -> SourceConfig {
        SourceConfig {
            name: "events".into(),
            stored_as: "NATS".into(),
            location: "nats://host/S".into(),
            folder: self.0.path().to_owned(),
            options: format.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            columns: (0..fields.len()).collect(),
            declared: Arc::new(Schema::new(fields)),
            limits: BatchLimits::default(),
        }
    }

    fn decoder(&self, fields: Vec<Field>) -> Result<Decoder, Error> {
        Decoder::new(&self.config(&[("format", "protobuf"), ("schema", "event.proto"), ("message", "shop.Event")], fields))
    }

    fn decode<B: AsRef<[u8]>>(&self, fields: Vec<Field>, bodies: &[B]) -> Decoded {
        decode(&self.decoder(fields).unwrap(), bodies)
    }

    /// The bytes of a message that is written in JSON.
    fn encode(&self, json: &str) -> Vec<u8> {
        encode(&self.pool(), json)
    }
}

fn encode(pool: &DescriptorPool, json: &str) -> Vec<u8> {
    let message = pool.get_message_by_name("shop.Event").unwrap();
    let mut deserializer = serde_json::Deserializer::from_str(json);
    DynamicMessage::deserialize(message, &mut deserializer).unwrap().encode_to_vec()
}

/// Checks what one column becomes.
fn check(json: &str, column: &str, data_type: DataType, expected: &str) {
    let bodies = Bodies::new();
    let decoded = bodies.decode(vec![nullable(column, data_type.clone())], &[bodies.encode(json)]);
    assert!(decoded.unfit.is_empty() && decoded.dead_letters.is_empty(), "{json}: {decoded:?}");
    assert_eq!(show(decoded.rows.column(0), 0), expected, "{json} as {data_type}");
}

#[test]
fn well_known_types_are_what_they_stand_for() {
    let timestamp = |unit| DataType::Timestamp(unit, None);
    check(r#"{"at":"2024-05-01T10:00:00.250Z"}"#, "at", timestamp(TimeUnit::Millisecond), "2024-05-01T10:00:00.250");
    check(r#"{"at":"1969-12-31T23:59:59.999999999Z"}"#, "at", timestamp(TimeUnit::Nanosecond), "1969-12-31T23:59:59.999999999");
    check(r#"{"at":"2024-05-01T10:00:00Z"}"#, "at", DataType::Utf8, "2024-05-01T10:00:00Z");
    check(r#"{"took":"-1.5s"}"#, "took", DataType::Utf8, "-1.5s");
    check(r#"{"took":"90s"}"#, "took", DataType::Interval(IntervalUnit::MonthDayNano), "1 mins 30.000000000 secs");
    check(r#"{"maybe":"0"}"#, "maybe", DataType::Int64, "0");
    check("{}", "maybe", DataType::Int64, "NULL");
    check(r#"{"any":{"a":[1,null,"x",true,{"b":{}}]}}"#, "any", DataType::Utf8, r#"{"a":[1,null,"x",true,{"b":{}}]}"#);
}

#[test]
fn what_is_not_set_is_null_or_the_default() {
    for (column, data_type, expected) in [
        ("id", DataType::Int64, "0"),
        ("name", DataType::Utf8, "NULL"),
        ("good", DataType::Boolean, "false"),
        ("kind", DataType::Utf8, "KIND_UNKNOWN"),
        ("counts", DataType::Utf8, "[]"),
        ("sizes", DataType::Utf8, "{}"),
        ("place", DataType::Utf8, "NULL"),
        ("text", DataType::Utf8, "NULL"),
    ] {
        check("{}", column, data_type, expected);
    }
    check(r#"{"name":""}"#, "name", DataType::Utf8, "");
    check(r#"{"place":{}}"#, "place", DataType::Utf8, r#"{"x":0,"label":"","next":null}"#);
    check(r#"{"kind":7}"#, "kind", DataType::Utf8, "7");
}

#[test]
fn what_other_writers_do_is_read() {
    let bodies = Bodies::new();
    let read = |body: &[u8], column: &str, data_type| {
        let decoded = bodies.decode(vec![nullable(column, data_type)], &[body]);
        assert!(decoded.dead_letters.is_empty(), "{:?}", decoded.dead_letters);
        show(decoded.rows.column(0), 0)
    };
    // A field twice: the last counts. Of a message in pieces, the pieces are merged.
    assert_eq!(read(&[0x08, 1, 0x08, 2], "id", DataType::Int64), "2");
    let pieces = [0x42, 2, 0x08, 10, 0x42, 3, 0x12, 1, b'x'];
    assert_eq!(read(&pieces, "place", DataType::Utf8), r#"{"x":5,"label":"x","next":null}"#);
    // A list packed and not packed, in turns.
    assert_eq!(read(&[0x2a, 2, 2, 4, 0x28, 1, 0x2a, 0], "counts", DataType::Utf8), "[1,2,-1]");
    // Of a oneof, the last that is set.
    let choice = [0x7a, 1, b'x', 0xc5, 0x3e, 5, 0, 0, 0];
    assert_eq!(read(&choice, "text", DataType::Utf8), "NULL");
    assert_eq!(read(&choice, "number", DataType::Int64), "5");
    // Fields and groups that the schema does not know.
    let unknown = [0x08, 1, 0xfa, 0x7f, 1, 0, 0xfb, 0x7f, 0x08, 5, 0xfc, 0x7f];
    assert_eq!(read(&unknown, "id", DataType::Int64), "1");
    // Places in pieces within others, in another order than that of the schema, and elements of a list apart from each other.
    let place = |fields: &[u8]| [&[0x42, fields.len() as u8], fields].concat();
    assert_eq!(read(&place(&[0x12, 1, b'x', 0x08, 10]), "place", DataType::Utf8), r#"{"x":5,"label":"x","next":null}"#);
    let pieces = place(&[0x1a, 2, 0x08, 2, 0x08, 10, 0x1a, 3, 0x12, 1, b'y', 0x08, 12]);
    let expected = r#"{"x":6,"label":"","next":{"x":1,"label":"y","next":null}}"#;
    assert_eq!(read(&pieces, "place", DataType::Utf8), expected);
    // An entry of a map without a value.
    assert_eq!(read(&[0x32, 3, 0x0a, 1, b'k'], "sizes", DataType::Utf8), r#"{"k":0}"#);
}

#[test]
fn a_body_that_is_not_of_the_schema_is_a_dead_letter() {
    let bodies = Bodies::new();
    let good = bodies.encode(r#"{"id":"7"}"#);
    let nested = (0..200).fold(Vec::new(), |inner: Vec<u8>, _| {
        let mut body = vec![0x1a];
        prost_reflect::prost::encoding::encode_varint(inner.len() as u64, &mut body);
        [body, inner].concat()
    });
    let mut deep = vec![0x42];
    prost_reflect::prost::encoding::encode_varint(nested.len() as u64, &mut deep);
    deep.extend(nested);
    let cases: [(Vec<u8>, &str); 8] = [
        (vec![0x08], "cut off: the body ends within a field, at byte 1"),
        (b"{\"id\":1}".to_vec(), ""),
        (vec![0x0a, 1, b'x'], "field id is written as another type"),
        (vec![0x12, 1, 0xff], "column name: a text is not UTF-8"),
        (vec![0x0c], "a group ends that has not begun, at byte 0"),
        (vec![0x00, 1], "the number of a field is out of range"),
        (vec![0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f], "a number has more than 64 bits"),
        (deep, "nested more than 100 deep"),
    ];
    let mut all = vec![good.clone()];
    all.extend(cases.iter().map(|(body, _)| body.clone()));
    all.push(good);
    for fields in [fields(), vec![nullable("id", DataType::Int64)], vec![]] {
        let decoded = bodies.decode(fields, &all);
        assert_eq!(decoded.sequences.values().to_vec(), [1, 10]);
        for (letter, (_, expected)) in decoded.dead_letters.iter().zip(&cases) {
            assert!(letter.error.starts_with(expected), "{}", letter.error);
        }
    }
}

#[test]
fn columns_that_no_message_can_fill_are_refused() {
    let bodies = Bodies::new();
    let refusal = |options: &[(&str, &str)], field: Field| match Decoder::new(&bodies.config(options, vec![field])) {
        Err(Error::Config { message, .. }) => message,
        other => panic!("{other:?}"),
    };
    let whole = [("format", "protobuf"), ("schema", "event.proto"), ("message", "shop.Event")];
    for (field, said) in [
        (nullable("skore", DataType::Int64), "the schema has no field of this name; did you mean score?"),
        (
            nullable("kind", DataType::Int64),
            "column kind of type BIGINT: the field of the schema is an enum, which is read as text",
        ),
        (nullable("at", DataType::Int64), "is a Timestamp"),
        (nullable("counts", DataType::Int64), "is repeated"),
        (nullable("place", DataType::Struct(vec![nullable("y", DataType::Int64)].into())), "the schema has no field y"),
    ] {
        let refused = refusal(&whole, field);
        assert!(refused.contains(said), "{refused}");
    }
    let id = || nullable("id", DataType::Int64);
    assert!(refusal(&whole[..2], id()).contains("message' has to name one of its messages: shop.Event, shop.Event.Place"));
    let other = [whole[0], whole[1], ("message", "shop.Order")];
    assert!(refusal(&other, id()).contains("it has no message shop.Order"));
    std::fs::write(bodies.0.path().join("other.proto"), "message Other {}").unwrap();
    let imports = SCHEMA.replace(
        "import \"google/protobuf/duration.proto\";",
        "import \"other.proto\"; import \"google/protobuf/duration.proto\";",
    );
    std::fs::write(bodies.0.path().join("event.proto"), imports).unwrap();
    assert!(refusal(&whole, id()).contains("it imports other.proto; compile both"));
    std::fs::write(bodies.0.path().join("event.proto"), "message {").unwrap();
    assert!(refusal(&whole, id()).contains("event.proto"));
}

#[test]
fn a_set_of_descriptors_serves_as_well() {
    let bodies = Bodies::new();
    std::fs::write(bodies.0.path().join("event.desc"), bodies.pool().encode_to_vec()).unwrap();
    let options = [("format", "protobuf"), ("schema", "event.desc"), ("message", "Event")];
    let decoder = Decoder::new(&bodies.config(&options, vec![nullable("id", DataType::Int64)])).unwrap();
    let decoded = decode(&decoder, &[bodies.encode(r#"{"id":"7"}"#)]);
    assert_eq!(show(decoded.rows.column(0), 0), "7");
}

prop_compose! {
    /// A row as Protobuf writes it in JSON.
    fn row()(
        id in any::<i64>(),
        name in proptest::option::of("[a-zé\"]{0,8}"),
        score in -1e9_f64..1e9,
        good in any::<bool>(),
        counts in proptest::collection::vec(any::<i64>(), 0..4),
        // prost-reflect writes several entries in any order.
        sizes in proptest::collection::btree_map("[a-c]{0,2}", any::<i32>(), 0..2),
        kind in 0_usize..3,
        places in proptest::collection::vec((any::<i32>(), "[a-z]{0,4}"), 0..3),
        body in proptest::collection::vec(any::<u8>(), 0..6),
        at in 0_i64..4_000_000_000_000_000,
        choice in 0_u8..3,
        large in any::<u64>(),
        small in -1e6_f32..1e6,
    ) -> serde_json::Value {
        use base64::Engine;
        let time = arrow::temporal_conversions::timestamp_us_to_datetime(at).unwrap();
        let place = |(x, label): &(i32, String)| serde_json::json!({"x": x, "label": label});
        let kind = ["KIND_UNKNOWN", "NEW", "PAID"][kind];
        let mut row = serde_json::json!({
            "id": id.to_string(), "name": name, "score": score, "good": good,
            "counts": counts.iter().map(i64::to_string).collect::<Vec<_>>(), "sizes": sizes,
            "kind": kind, "place": places.first().map(place),
            "places": places.iter().map(place).collect::<Vec<_>>(),
            "body": base64::engine::general_purpose::STANDARD.encode(body), "at": format!("{time:?}Z"),
            "large": large.to_string(), "small": f64::from(small),
        });
        match choice {
            0 => row["text"] = "chosen".into(),
            1 => row["number"] = 5.into(),
            _ => {}
        }
        row
    }
}

#[test]
fn what_is_replaced_has_to_be_valid_whichever_columns_are_read() {
    let bodies = Bodies::new();
    let cases: [&[u8]; 5] = [
        // The text of a oneof, then its number; two names; two places, each with a label.
        &[0x7a, 1, 0xff, 0xc5, 0x3e, 5, 0, 0, 0],
        &[0x12, 1, 0xff, 0x12, 1, b'x'],
        &[0x42, 3, 0x12, 1, 0xff, 0x42, 3, 0x12, 1, b'x'],
        // A place whose label is cut off, and goes on in the next piece.
        &[0x42, 2, 0x12, 1, 0x42, 1, b'x'],
        // A time out of range in a message that no column reads.
        &[0x5a, 11, 0x10, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
    ];
    for columns in [fields(), vec![nullable("id", DataType::Int64)], vec![nullable("number", DataType::Int64)]] {
        let decoded = bodies.decode(columns, &cases);
        assert_eq!(decoded.dead_letters.len(), cases.len(), "{:?}", decoded.dead_letters);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// prost-reflect writes the rows in Protobuf; JSON decodes what it writes in JSON.
    #[test]
    fn rows_equal_those_of_their_json(rows in proptest::collection::vec(row(), 1..20)) {
        let bodies = Bodies::new();
        let pool = bodies.pool();
        let encoded: Vec<Vec<u8>> = rows.iter().map(|row| encode(&pool, &row.to_string())).collect();
        let options = SerializeOptions::new().skip_default_fields(false).use_proto_field_name(true);
        let jsons: Vec<String> = encoded.iter().map(|body| {
            let message = DynamicMessage::decode(pool.get_message_by_name("shop.Event").unwrap(), body.as_slice()).unwrap();
            let mut json = Vec::new();
            message.serialize_with_options(&mut serde_json::Serializer::new(&mut json), &options).unwrap();
            String::from_utf8(json).unwrap()
        }).collect();
        let protobuf = bodies.decode(fields(), &encoded);
        let json = decode(&Decoder::new(&bodies.config(&[], fields())).unwrap(), &jsons);
        prop_assert!(protobuf.dead_letters.is_empty() && protobuf.unfit.is_empty());
        prop_assert_eq!(&protobuf.rows, &json.rows);
    }

    /// Damage to one body never panics and never reaches another.
    #[test]
    fn damage_stays_where_it_is(
        rows in proptest::collection::vec(row(), 3..5),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let source = Bodies::new();
        let pool = source.pool();
        let mut bodies: Vec<Vec<u8>> = rows.iter().map(|row| encode(&pool, &row.to_string())).collect();
        for (at, byte) in damage {
            let at = at.index(bodies[1].len());
            bodies[1][at] = byte;
        }
        if let Some(cut) = cut {
            let length = cut.index(bodies[1].len());
            bodies[1].truncate(length);
        }
        let whole = source.decode(fields(), &bodies);
        let first = source.decode(fields(), &bodies[..1]);
        let rest = source.decode(fields(), &bodies[2..]);
        prop_assert_eq!(whole.rows.slice(0, 1), first.rows);
        let count = rest.rows.num_rows();
        prop_assert_eq!(whole.rows.slice(whole.rows.num_rows() - count, count), rest.rows);
        // Which columns are read does not decide whether a body decodes.
        for column in ["id", "place", "number"] {
            let one = source.decode(vec![nullable(column, DataType::Utf8)], &bodies);
            prop_assert_eq!(one.sequences.values(), whole.sequences.values(), "{}", column);
        }
    }
}
