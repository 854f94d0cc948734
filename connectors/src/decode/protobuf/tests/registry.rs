//! Bodies that name their schema in a registry, and a message of it.

use arrow::datatypes::DataType;

use crate::Error;
use crate::decode::Decoder;
use crate::decode::tests::registry::{declared, serve};
use crate::decode::tests::{decode, nullable, show};

const ORDER: &str = r#"syntax = "proto3";
package shop;
import "common.proto";
import "google/protobuf/timestamp.proto";
message Ignored { map<string, Inner> m = 1; message Inner { int64 id = 1; } message Other { int64 id = 2; string name = 1; } }
message Order { int64 id = 1; Money total = 2; google.protobuf.Timestamp at = 3; string name = 4; }
"#;
const COMMON: &str = r#"syntax = "proto3"; package shop; message Money { int64 cents = 1; }"#;

fn framed(id: u32, places: &[u8], message: &[u8]) -> Vec<u8> {
    [&[0][..], &id.to_be_bytes(), places, message].concat()
}

fn decoder(options: &[(&str, &str)]) -> Result<Decoder, Error> {
    let total = DataType::Struct(vec![nullable("cents", DataType::Int64)].into());
    let fields = vec![nullable("id", DataType::Int64), nullable("name", DataType::Utf8), nullable("total", total)];
    Decoder::new(&declared(fields, options))
}

#[test]
fn each_body_is_read_by_the_message_that_it_names() {
    let refers = serde_json::json!({"schema": ORDER, "schemaType": "PROTOBUF",
        "references": [{"name": "common.proto", "subject": "common", "version": 1}]});
    let same_name = serde_json::json!({"schema": ORDER.replace("common.proto", "schema.proto"), "schemaType": "PROTOBUF",
        "references": [{"name": "schema.proto", "subject": "common", "version": 1}]});
    let proto = |text: &str| serde_json::json!({"schema": text, "schemaType": "PROTOBUF"}).to_string();
    let (url, answers) = serve(&[
        ("/schemas/ids/1", 200, refers.to_string()),
        ("/subjects/common/versions/1", 200, proto(COMMON)),
        ("/schemas/ids/2", 200, proto("syntax = \"proto3\"; message One { string name = 1; int32 id = 2; }")),
        ("/schemas/ids/3", 200, serde_json::json!({"schema": "{\"type\":\"string\"}"}).to_string()),
        ("/schemas/ids/5", 200, proto("message {")),
        ("/schemas/ids/6", 200, same_name.to_string()),
    ]);
    let decoder = decoder(&[("format", "protobuf"), ("registry", &url)]).unwrap();
    let good = [
        // The second message of the file; the first, for which a zero is short; the second in the first.
        framed(1, &[2, 2], &[0x08, 5, 0x12, 2, 0x08, 7, 0x22, 1, b'a']),
        framed(1, &[2, 2], &[0x08, 6]),
        framed(2, &[0], &[0x0a, 1, b'b', 0x10, 9]),
        framed(1, &[4, 0, 2], &[0x0a, 1, b'c', 0x10, 8]),
        framed(2, &[2, 0], &[0x10, 3]),
        framed(6, &[2, 2], &[0x08, 4, 0x22, 1, b'd']),
    ];
    let bad = [
        (framed(1, &[2, 2], &[0x08]), "cut off: the body ends within a field, at byte 8"),
        (framed(1, &[2, 8], &[]), "its schema has no message [4]"),
        (framed(3, &[0], &[]), "schema 3 of the registry: it is one of AVRO, not of Protobuf"),
        (framed(4, &[0], &[]), "the registry has no schema 4"),
        (framed(5, &[0], &[]), "schema 5 of the registry: "),
        (framed(1, &[0xfe, 0xff, 0x7f], &[]), "the body does not say which message of its schema it is"),
        (framed(1, &[1], &[]), "the place of a message is negative"),
        (framed(1, &[], &[]), "cut off"),
        (b"\x08\x05".to_vec(), "the body does not begin with a zero byte"),
    ];
    let mut bodies: Vec<Vec<u8>> = good.to_vec();
    bodies.extend(bad.iter().map(|(body, _)| body.clone()));
    bodies.push(good[0].clone());
    for _ in 0..2 {
        let decoded = decode(&decoder, &bodies);
        let shown = (0..7).map(|row| decoded.rows.columns().iter().map(|column| show(column, row)).collect::<Vec<_>>().join(" "));
        let first = "5 a {cents: 7}";
        assert_eq!(shown.collect::<Vec<_>>(), [first, "6  NULL", "9 b NULL", "8 c NULL", "3  NULL", "4 d NULL", first]);
        assert_eq!(decoded.dead_letters.len(), bad.len());
        for (letter, (_, expected)) in decoded.dead_letters.iter().zip(&bad) {
            assert!(letter.error.starts_with(expected) && letter.kind == "not_protobuf", "{}", letter.error);
        }
    }
    let paths: Vec<_> = answers.lock().unwrap().asked.iter().map(|(path, _)| path.clone()).collect();
    let expected = ["1", "common", "2", "6", "common", "3", "4", "5"].map(|one| match one {
        "common" => "/subjects/common/versions/1".to_owned(),
        id => format!("/schemas/ids/{id}"),
    });
    assert_eq!(paths, expected, "each is asked for once");
}

#[test]
fn a_registry_goes_with_some_formats_only() {
    let refused = |options: &[(&str, &str)]| match decoder(options) {
        Err(Error::Config { message, .. }) => message,
        other => panic!("{other:?}"),
    };
    let registry = ("registry", "http://host:8081");
    assert!(refused(&[("format", "msgpack"), registry]).contains("option 'registry' does not go with this format"));
    assert!(refused(&[("format", "protobuf")]).contains("needs a schema"));
    assert!(decoder(&[("format", "protobuf"), registry]).is_ok());
}
