//! Events that are checked: as a source declares it, and with a registry.

use std::fs;

use arrow::datatypes::{DataType, Field};
use serde_json::json;

use crate::Error;
use crate::decode::tests::registry::{declared, serve};
use crate::decode::tests::{decode, nullable, show};
use crate::decode::{Decoder, columns};

const ORDER: &str = r#"{"type": "object", "required": ["id"],
    "properties": {"id": {"type": "integer", "minimum": 1}, "name": {"type": "string"}}}"#;

fn fields() -> Vec<Field> {
    vec![nullable("id", DataType::Int64), nullable("name", DataType::Utf8)]
}

#[test]
fn an_event_that_does_not_conform_is_a_dead_letter_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("order.json"), ORDER).unwrap();
    for format in ["json", "JSON", ""] {
        let mut options = vec![("schema", "order.json")];
        options.extend((!format.is_empty()).then_some(("format", format)));
        let mut config = declared(fields(), &options);
        config.folder = folder.path().into();
        let decoder = Decoder::new(&config).unwrap();
        let bodies = [
            r#"{"id": 1, "name": "a"}"#,
            r#"{"id": 0, "name": "b"}"#,
            r#"{"name": "c"}"#,
            r#"{"id": 2, "name": 5}"#,
            r#"{"id": 3, "#,
            r#"[1]"#,
            // Numbers and letters that the check cannot hold, though no column reads them.
            r#"{"id": 4, "more": 1e999}"#,
            r#"{"id": 4, "more": "\ud800"}"#,
            r#"{"id": 5.0, "name": null}"#,
            r#"{"id": 6, "name": "d", "more": [{}]}"#,
        ];
        let decoded = decode(&decoder, &bodies);
        let rows = decoded.rows.num_rows();
        let shown: Vec<_> = (0..rows).map(|row| [0, 1].map(|column| show(decoded.rows.column(column), row))).collect();
        assert_eq!(shown, [["1", "a"], ["6", "d"]]);
        let errors: Vec<String> =
            decoded.dead_letters.iter().map(|letter| format!("{} {}: {}", letter.sequence, letter.kind, letter.error)).collect();
        assert_eq!(
            errors[..3],
            [
                "2 not_conforming: /id: 0 is less than 1 (#/properties/id/minimum)",
                "3 not_conforming: the body: it has no member id (#/required)",
                "4 not_conforming: /name: 5 is not of type string (#/properties/name/type)",
            ]
        );
        assert!(errors[3].starts_with("5 not_json: "), "{errors:?}");
        assert!(errors[4].starts_with("6 not_conforming: the body: an array is not of type object"), "{errors:?}");
        for (error, sequence) in errors[5..7].iter().zip(["7", "8"]) {
            assert!(error.starts_with(sequence) && !error.contains("more"), "{error}");
        }
        assert_eq!(errors[7], "9 not_conforming: /name: null is not of type string (#/properties/name/type)");
    }
    let mut config = declared(Vec::new(), &[("schema", "order.json")]);
    config.folder = folder.path().into();
    let derived = columns(&config).unwrap().unwrap();
    assert_eq!(derived.fields, [Field::new("id", DataType::Int64, false), nullable("name", DataType::Utf8)]);
}

#[test]
fn each_body_is_checked_by_its_own_schema() {
    let refers = json!({"schema": r#"{"properties": {"id": {"$ref": "amount.json"}}}"#, "schemaType": "JSON",
        "references": [{"name": "amount.json", "subject": "amount", "version": 2}]});
    let (url, answers) = serve(&[
        ("/schemas/ids/1", 200, json!({"schema": ORDER, "schemaType": "JSON"}).to_string()),
        ("/schemas/ids/2", 200, refers.to_string()),
        ("/subjects/amount/versions/2", 200, json!({"schema": r#"{"maximum": 9}"#, "schemaType": "JSON"}).to_string()),
        ("/schemas/ids/3", 200, json!({"schema": "\"string\""}).to_string()),
    ]);
    let decoder = Decoder::new(&declared(fields(), &[("format", "json"), ("registry", &url)])).unwrap();
    let framed = |id: u8, body: &str| [&[0, 0, 0, 0, id][..], body.as_bytes()].concat();
    let bodies = [
        framed(1, r#"{"id": 1}"#),
        framed(2, r#"{"id": 0}"#),
        framed(1, r#"{"id": 0}"#),
        framed(2, r#"{"id": 10}"#),
        framed(3, r#"{"id": 1}"#),
        framed(4, r#"{"id": 1}"#),
        br#"{"id": 1}"#.to_vec(),
    ];
    for _ in 0..2 {
        let decoded = decode(&decoder, &bodies);
        assert_eq!([0, 1].map(|row| show(decoded.rows.column(0), row)), ["1", "0"]);
        let errors: Vec<_> = decoded.dead_letters.iter().map(|letter| letter.error.as_str()).collect();
        assert_eq!(
            errors,
            [
                "/id: 0 is less than 1 (#/properties/id/minimum)",
                "/id: 10 is more than 9 (amount.json#/maximum)",
                "schema 3 of the registry: it is one of AVRO, not of JSON Schema",
                "the registry has no schema 4",
                "the body does not begin with a zero byte and the number of a schema, as those of a registry do, at byte 0",
            ]
        );
    }
    assert_eq!(answers.lock().unwrap().asked.len(), 5, "each is asked for once");
}

#[test]
fn a_schema_goes_with_json_and_says_what_is_wrong_with_it() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("order.json"), ORDER).unwrap();
    fs::write(folder.path().join("wrong.json"), r#"{"properties": {"id": {"type": "int"}}}"#).unwrap();
    let refused = |stored_as: &str, options: &[(&str, &str)]| {
        let mut config = declared(fields(), options);
        (config.folder, config.stored_as) = (folder.path().into(), stored_as.into());
        match Decoder::new(&config) {
            Ok(_) => String::new(),
            Err(Error::Config { message, .. }) => message,
            Err(other) => panic!("{other}"),
        }
    };
    let schema = ("schema", "order.json");
    assert_eq!(refused("FILE", &[schema]), "");
    assert_eq!(refused("JSON", &[schema]), "");
    assert!(refused("CSV", &[schema]).contains("option 'schema' does not go with this format"));
    assert!(refused("FILE", &[("registry", "http://host:8081")]).contains("option 'registry' does not go with this format"));
    assert!(refused("NATS", &[("format", "msgpack"), schema]).contains("does not go with this format"));
    assert!(refused("NATS", &[("message", "a"), schema]).contains("option 'message' does not go with this format"));
    let wrong = refused("NATS", &[("schema", "wrong.json")]);
    assert_eq!(wrong, "source events: option 'schema': wrong.json: #/properties/id/type is not a type");
    assert!(refused("NATS", &[("schema", "absent.json")]).contains("absent.json"));
}
