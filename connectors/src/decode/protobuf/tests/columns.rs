//! The columns of messages.

use super::SCHEMA;
use crate::decode::columns;
use crate::decode::tests::subjects::{of_files, shown};

fn of(text: &str, message: &str) -> Result<(Vec<String>, Vec<String>), String> {
    let folder = tempfile::tempdir().unwrap();
    let config = of_files(folder.path(), &[("event.proto", text)], &[("format", "protobuf"), ("message", message)]);
    let derived = columns(&config).map_err(|error| error.to_string())?.unwrap();
    Ok((shown(&derived), derived.notes))
}

#[test]
fn each_field_is_a_column_of_its_type() {
    let text = r#"syntax = "proto3";
        import "google/protobuf/timestamp.proto";
        import "google/protobuf/duration.proto";
        import "google/protobuf/wrappers.proto";
        import "google/protobuf/struct.proto";
        message Event {
          enum Kind { UNKNOWN = 0; PAID = 1; }
          message Place { int32 X = 1; string label = 2; Place next = 3; }
          message Nothing {}
          bool good = 1; int32 small = 2; sint64 big = 3; uint32 u = 4; fixed64 v = 5; float f = 6; double d = 7;
          string name = 8; bytes body = 9; Kind kind = 10; optional int64 maybe = 11; repeated string tags = 12;
          map<string, Place> places = 13; Place place = 14; google.protobuf.Timestamp at = 15; google.protobuf.Duration took = 16;
          google.protobuf.Int64Value wrapped = 17; google.protobuf.Struct any = 18; google.protobuf.Value value = 19;
          oneof choice { int32 first = 20; string second = 21; } Nothing nothing = 22; Event again = 23; string _subject = 24;
        }"#;
    let (columns, notes) = of(text, "Event").unwrap();
    let expected = [
        "good BOOLEAN NOT NULL",
        "small INT NOT NULL",
        "big BIGINT NOT NULL",
        "u INT UNSIGNED NOT NULL",
        "v BIGINT UNSIGNED NOT NULL",
        "f REAL NOT NULL",
        "d DOUBLE NOT NULL",
        "name VARCHAR NOT NULL",
        "body BYTEA NOT NULL",
        "kind VARCHAR NOT NULL",
        "maybe BIGINT",
        "tags VARCHAR[] NOT NULL",
        "places MAP(VARCHAR, STRUCT<x INT, label VARCHAR, next VARCHAR>) NOT NULL",
        "place STRUCT<x INT, label VARCHAR, next VARCHAR>",
        "at TIMESTAMP",
        "took VARCHAR",
        "wrapped BIGINT",
        "any VARCHAR",
        "value VARCHAR",
        "first INT",
        "second VARCHAR",
        "nothing VARCHAR",
        "again VARCHAR",
    ];
    assert_eq!(columns, expected);
    let expected = [
        "places.next: JSON text, since the message contains itself",
        "place.next: JSON text, since the message contains itself",
        "any: JSON text, since the schema does not name its members",
        "value: JSON text, since it may be any value",
        "nothing: JSON text, since the message has no fields",
        "again: JSON text, since the message contains itself",
        "_subject: no column, since the message fills the one of this name",
    ];
    assert_eq!(notes, expected);
}

#[test]
fn a_message_has_to_be_named_and_to_have_fields() {
    let refused = of(SCHEMA, "shop.Missing").unwrap_err();
    assert!(refused.contains("event.proto: it has no message shop.Missing; it has"), "{refused}");
    let refused = of("syntax = \"proto3\"; message Empty {}", "Empty").unwrap_err();
    assert!(refused.contains("it names no fields, of which columns could be made"), "{refused}");
}
