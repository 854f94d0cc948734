//! The columns of schemas in files and of a subject of a registry, in each format, and the registry's rule of compatibility.

#![allow(clippy::panic)]

use arrow::datatypes::{DataType, Field};
use serde_json::json;

use super::decode;
use super::registry::{declared, serve};
use crate::Error;
use crate::decode::derived::Derived;
use crate::decode::sql_type::SqlType;
use crate::decode::{Compatibility, Decoder, columns};
use crate::source::SourceConfig;

/// Columns as SQL declares them.
pub(in crate::decode) fn shown(derived: &Derived) -> Vec<String> {
    let column = |field: &Field| {
        let not_null = if field.is_nullable() { "" } else { " NOT NULL" };
        format!("{} {}{not_null}", field.name(), SqlType(field.data_type()))
    };
    derived.fields.iter().map(column).collect()
}

/// A source that names these schema files, beside others of the same folder.
pub(in crate::decode) fn of_files(folder: &std::path::Path, files: &[(&str, &str)], options: &[(&str, &str)]) -> SourceConfig {
    for (name, text) in files {
        std::fs::write(folder.join(name), text).unwrap();
    }
    let names = files.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    SourceConfig { folder: folder.to_owned(), ..declared(Vec::new(), &[options, &[("schema", names.as_str())]].concat()) }
}

fn versions(subject: &str, kind: &str, texts: &[String]) -> Vec<(String, u16, String)> {
    let numbers: Vec<usize> = (1..=texts.len()).collect();
    let mut answers = vec![(format!("/subjects/{subject}/versions"), 200, json!(numbers).to_string())];
    for (number, text) in numbers.iter().zip(texts) {
        let answer = json!({"subject": subject, "version": number, "id": number, "schemaType": kind, "schema": text});
        answers.push((format!("/subjects/{subject}/versions/{number}"), 200, answer.to_string()));
    }
    answers
}

fn serve_all(answers: &[(String, u16, String)]) -> String {
    serve(&answers.iter().map(|(path, status, body)| (path.as_str(), *status, body.clone())).collect::<Vec<_>>()).0
}

fn of_subject(url: &str, format: &str, more: &[(&str, &str)]) -> SourceConfig {
    declared(Vec::new(), &[&[("format", format), ("registry", url), ("registry_subject", "orders-value")], more].concat())
}

fn avro(fields: serde_json::Value) -> String {
    json!({"type": "record", "name": "Order", "fields": fields}).to_string()
}

#[test]
fn a_subject_gives_the_columns_of_all_its_versions() {
    let field = |name: &str, of: serde_json::Value| json!({"name": name, "type": of});
    let first = avro(json!([field("id", json!("int")), field("old", json!("string")), field("odd", json!("string"))]));
    let item = |fields: serde_json::Value| json!({"type": "record", "name": "Item", "fields": fields});
    let second = avro(json!([
        field("id", json!("long")),
        field("odd", json!("long")),
        field("Item", item(json!([field("sku", json!("string"))])))
    ]));
    let third = avro(json!([
        field("id", json!("long")),
        field("odd", json!("long")),
        field("Item", item(json!([field("sku", json!("string")), field("count", json!("int"))])))
    ]));
    let url = serve_all(&versions("orders-value", "AVRO", &[first, second, third]));
    let derived = columns(&of_subject(&url, "avro", &[])).unwrap().unwrap();
    assert_eq!(shown(&derived), ["id BIGINT", "odd VARCHAR", "item STRUCT<sku VARCHAR, count INT>", "old VARCHAR"]);
    assert_eq!(derived.notes, ["odd: JSON text, since the schemas have several types for it: BIGINT or VARCHAR"]);

    let proto = |more: &str| format!("syntax = \"proto3\"; message Order {{ int64 id = 1; optional string name = 2; {more} }}");
    let url = serve_all(&versions("orders-value", "PROTOBUF", &[proto(""), proto("repeated int32 counts = 3;")]));
    let derived = columns(&of_subject(&url, "protobuf", &[])).unwrap().unwrap();
    assert_eq!(shown(&derived), ["id BIGINT", "name VARCHAR", "counts INT[]"]);
    let derived = columns(&of_subject(&url, "protobuf", &[("message", "Order")])).unwrap().unwrap();
    assert_eq!(derived.fields.len(), 3);

    let object =
        |properties: serde_json::Value| json!({"type": "object", "required": ["id"], "properties": properties}).to_string();
    let texts =
        [object(json!({"id": {"type": "integer"}})), object(json!({"id": {"type": "integer"}, "new": {"type": "boolean"}}))];
    let url = serve_all(&versions("orders-value", "JSON", &texts));
    let derived = columns(&of_subject(&url, "json", &[])).unwrap().unwrap();
    assert_eq!(shown(&derived), ["id BIGINT", "new BOOLEAN"]);
}

#[test]
fn versions_of_other_types_have_the_wider_one_and_what_cannot_be_read_is_left_out() {
    let field = |name: &str, of: serde_json::Value| json!({"name": name, "type": of});
    let decimal =
        |precision: u32, scale: u32| json!({"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale});
    let time = |unit: &str| json!({"type": "long", "logicalType": unit});
    let place =
        |x: &str, y: &str| json!({"type": "record", "name": "Place", "fields": [field("x", json!(x)), field("y", json!(y))]});
    let version = |total: &str, amount, at, place| {
        avro(json!([field("total", json!(total)), field("amount", amount), field("at", at), field("place", place)]))
    };
    let versions = versions(
        "orders-value",
        "AVRO",
        &[
            version("int", decimal(9, 2), time("timestamp-millis"), place("int", "int")),
            version("long", decimal(8, 4), time("timestamp-micros"), place("double", "string")),
            version("double", decimal(4, 0), time("timestamp-millis"), place("int", "int")),
            "{".to_owned(),
            avro(json!([field("Total", json!("int")), field("total", json!("int"))])),
        ],
    );
    let derived = columns(&of_subject(&serve_all(&versions), "avro", &[])).unwrap().unwrap();
    let expected = ["Total INT", "total DOUBLE", "amount DECIMAL(11, 4)", "at TIMESTAMP(6)", "place STRUCT<x DOUBLE, y VARCHAR>"];
    assert_eq!(shown(&derived), expected);
    assert_eq!(derived.notes[0], "place.y: JSON text, since the schemas have several types for it: INT or VARCHAR");
    assert!(
        derived.notes[1].starts_with("orders-value: left out: version 4 of the registry: it is not JSON"),
        "{:?}",
        derived.notes
    );
    assert_eq!(derived.notes.len(), 2);
}

#[test]
fn a_subject_that_cannot_be_used_is_said_with_what_there_is() {
    let says = |config: &SourceConfig| match columns(config) {
        Err(Error::Config { message, help }) => format!("{message} | {}", help.unwrap_or_default()),
        Err(error) => error.to_string(),
        Ok(found) => panic!("{found:?}"),
    };
    let subjects = ("/subjects".to_owned(), 200, json!(["a-value", "b-value"]).to_string());
    let url = serve_all(&[subjects]);
    let said = says(&of_subject(&url, "avro", &[]));
    assert!(said.contains("orders-value: the schema registry at") && said.contains("it has a-value, b-value"), "{said}");
    let url = serve_all(&versions("orders-value", "AVRO", &[avro(json!([]))]));
    let said = says(&of_subject(&url, "avro", &[]));
    assert!(said.contains("option 'registry_subject': orders-value: it names no fields"), "{said}");
    let said = says(&of_subject(&url, "protobuf", &[]));
    assert!(said.contains("version 1 of the registry: it is one of AVRO, not of Protobuf"), "{said}");
    let said = says(&of_subject("http://127.0.0.1:1", "avro", &[]));
    assert!(said.contains("the schema registry at http://127.0.0.1:1 does not answer"), "{said}");
    // Without a subject, and with a format that has no schemas, there is nothing to ask.
    assert_eq!(columns(&declared(Vec::new(), &[("format", "avro"), ("registry", &url)])).unwrap(), None);
    assert_eq!(columns(&of_subject(&url, "msgpack", &[])).unwrap(), None);
}

#[test]
fn the_registry_says_which_compatibility_holds_where_no_option_does() {
    let level = |level: &str| json!({"compatibilityLevel": level}).to_string();
    let in_force = |answers: &[(&str, u16, String)], more: &[(&str, &str)]| {
        let (url, _) = serve(answers);
        let folder = tempfile::tempdir().unwrap();
        let files = [("order.avsc", "{}")];
        let config = of_subject(&url, "avro", more);
        let named = of_files(folder.path(), &files, &[]).options["schema"].clone();
        let options = config.options.into_iter().chain([("schema".to_owned(), named)]).collect();
        Compatibility::in_force(&SourceConfig { options, ..declared(Vec::new(), &[]) })
            .map(|found| (found.rule, found.of_registry))
    };
    let of_all = ("/config", 200, level("FORWARD_TRANSITIVE"));
    let own = ("/config/orders-value", 200, level("FULL"));
    assert_eq!(in_force(&[of_all.clone(), own.clone()], &[]).unwrap(), (Compatibility::Full, Some("FULL".into())));
    assert_eq!(
        in_force(std::slice::from_ref(&of_all), &[]).unwrap(),
        (Compatibility::Forward, Some("FORWARD_TRANSITIVE".into()))
    );
    assert_eq!(in_force(&[], &[]).unwrap(), (Compatibility::Backward, None));
    assert_eq!(in_force(&[own], &[("compatibility", "none")]).unwrap(), (Compatibility::None, None));
    let odd = ("/config/orders-value", 200, level("SIDEWAYS"));
    assert!(in_force(&[odd], &[]).unwrap_err().to_string().contains("compatibility 'SIDEWAYS' is not known"));
    assert_eq!(in_force(&[("/config", 403, String::new())], &[]).unwrap(), (Compatibility::Backward, None));
    assert!(in_force(&[("/config", 500, String::new())], &[]).unwrap_err().to_string().contains("status 500"));
}

#[test]
fn derived_columns_hold_what_their_bodies_have() {
    let folder = tempfile::tempdir().unwrap();
    let schema = avro(json!([
        {"name": "Id", "type": "int"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "total", "type": ["null", {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}]}
    ]));
    let config = of_files(folder.path(), &[("order.avsc", &schema)], &[("format", "avro")]);
    let fields = columns(&config).unwrap().unwrap().fields;
    assert_eq!(fields[2].data_type(), &DataType::Decimal128(9, 2));
    let with_columns = declared(fields, &[]);
    let config = SourceConfig { declared: with_columns.declared, columns: with_columns.columns, ..config };
    let decoder = Decoder::new(&config).unwrap();
    let decoded = decode(&decoder, &[vec![10, 0, 2, 4, 7, 208], vec![12, 2, 0]]);
    let shown = |row| (0..3).map(|column| super::show(decoded.rows.column(column), row)).collect::<Vec<_>>();
    assert_eq!(shown(0), ["5", "1970-01-01T00:00:00", "20.00"]);
    assert_eq!(shown(1), ["6", "1970-01-01T00:00:00.000001", "NULL"]);
    assert!(decoded.dead_letters.is_empty() && decoded.unfit.is_empty());
}
