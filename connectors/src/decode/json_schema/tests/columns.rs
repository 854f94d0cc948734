//! The columns of schemas.

use arrow::datatypes::DataType;
use serde_json::{Value as Json, json};

use super::schema;
use crate::decode::json_schema::columns::fits;
use crate::decode::json_schema::schema::Schema;
use crate::decode::tests::{nullable, subjects};

/// The columns as SQL declares them, and the notes.
fn shown(schema: &Schema) -> (Vec<String>, Vec<String>) {
    let derived = schema.columns().unwrap();
    (subjects::shown(&derived), derived.notes)
}

fn of(value: &Json) -> (Vec<String>, Vec<String>) {
    shown(&schema(value).unwrap())
}

#[test]
fn each_property_is_a_column() {
    let text = r##"{
        "type": "object",
        "required": ["orderId", "placedAt", "note", "_sequence"],
        "$defs": {"money": {"type": "number", "multipleOf": 0.01}, "node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}, "v": {"type": "boolean"}}}},
        "properties": {
            "orderId": {"type": "integer"},
            "small": {"type": "integer", "format": "int32"},
            "placedAt": {"type": "string", "format": "date-time"},
            "day": {"type": "string", "format": "date"},
            "total": {"$ref": "#/$defs/money"},
            "rate": {"type": "number"},
            "whole": {"type": "number", "multipleOf": 1},
            "state": {"enum": ["new", "paid"]},
            "note": {"type": ["string", "null"]},
            "maybe": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
            "picture": {"type": "string", "contentEncoding": "base64"},
            "items": {"type": "array", "items": {"type": "object", "properties": {"sku": {"type": "string"}, "count": {"type": "integer"}}}},
            "labels": {"type": "object", "additionalProperties": {"type": "string"}},
            "node": {"$ref": "#/$defs/node"},
            "either": {"type": ["string", "number"]},
            "any": {},
            "open": {"type": "object"},
            "list": {"type": "array"},
            "pair": {"type": "array", "prefixItems": [{"type": "string"}], "items": {"type": "string"}},
            "_sequence": {"type": "integer"}
        }
    }"##;
    let schema = Schema::of_texts([("order.json", text)].into_iter()).unwrap();
    let (columns, notes) = shown(&schema);
    let expected = [
        "orderid BIGINT NOT NULL",
        "small INT",
        "placedat TIMESTAMP NOT NULL",
        "day DATE",
        "total DECIMAL(18, 2)",
        "rate DOUBLE",
        "whole BIGINT",
        "state VARCHAR",
        "note VARCHAR",
        "maybe BIGINT",
        "picture BYTEA",
        "items STRUCT<sku VARCHAR, count BIGINT>[]",
        "labels MAP(VARCHAR, VARCHAR)",
        "node STRUCT<next STRUCT<next VARCHAR, v BOOLEAN>, v BOOLEAN>",
        "either VARCHAR",
        "any VARCHAR",
        "open VARCHAR",
        "list VARCHAR",
        "pair VARCHAR",
    ];
    assert_eq!(columns, expected);
    let said = [
        "node.next.next: JSON text, since the schema refers to itself",
        "either: JSON text, since it may be number or string",
        "any: JSON text, since the schema does not say its type",
        "open: JSON text, since the schema does not name its members",
        "list: JSON text, since the schema does not say what its elements are",
        "pair: JSON text, since the schema does not say what its elements are",
        "_sequence: no column, since the message fills the one of this name",
    ];
    assert_eq!(notes, said);
    let derived = schema.columns().unwrap();
    derived.fields.iter().for_each(|field| fits(&schema, field).unwrap());
}

#[test]
fn kinds_of_events_share_columns() {
    let (columns, notes) = of(&json!({
        "$defs": {
            "placed": {"type": "object", "required": ["type", "id", "total"], "properties": {
                "type": {"const": "placed"}, "id": {"type": "integer"}, "total": {"type": "number"}, "by": {"type": "string"}}},
            "paid": {"allOf": [{"$ref": "#/$defs/base"}], "required": ["type"], "properties": {
                "type": {"const": "paid"}, "by": {"type": "integer"}}},
            "base": {"type": "object", "required": ["id"], "properties": {"id": {"type": "integer"}}}
        },
        "oneOf": [{"$ref": "#/$defs/placed"}, {"$ref": "#/$defs/paid"}]
    }));
    // The order of names is that of the alphabet here, since the test writes the schema so.
    let expected = ["by VARCHAR", "id BIGINT NOT NULL", "total DOUBLE", "type VARCHAR NOT NULL"];
    assert_eq!(columns, expected);
    assert_eq!(notes, ["by: JSON text, since the schema has several types for it"]);
    let (columns, _) = of(&json!({"properties": {"id": {}, "Id": {"type": "string"}}}));
    assert_eq!(columns, ["Id VARCHAR", "id VARCHAR"], "names that differ by case only stay as they are");
    for (value, said) in [
        (json!({"type": "array"}), "it describes no object: its type is array"),
        (json!({"type": "object"}), "it names no properties, of which columns could be made"),
    ] {
        assert_eq!(schema(&value).unwrap().columns().unwrap_err(), said);
    }
}

#[test]
fn a_declared_column_needs_a_property_that_fits() {
    let schema = schema(&json!({
        "properties": {"id": {"type": "integer"}, "tags": {"type": "array", "items": {"type": "string"}},
            "place": {"type": "object", "properties": {"x": {"type": "number"}}}}
    }))
    .unwrap();
    let list = |item| DataType::List(std::sync::Arc::new(nullable("item", item)));
    let place = |name: &str| DataType::Struct(vec![nullable(name, DataType::Float64)].into());
    for (name, data_type, said) in [
        ("id", DataType::Int64, ""),
        ("ID", DataType::Utf8, ""),
        ("id", DataType::Boolean, ""),
        ("id", list(DataType::Int64), "the schema says that it is integer"),
        ("id", DataType::Binary, "the schema says that it is integer"),
        ("tags", list(DataType::Utf8), ""),
        ("tags", list(place("x")), "the schema says that it is string"),
        ("place", place("x"), ""),
        ("place", place("y"), "y: the schema has no field of this name; it has x"),
        ("idd", DataType::Int64, "the schema has no field of this name; did you mean id?"),
    ] {
        let found = fits(&schema, &nullable(name, data_type)).err().unwrap_or_default();
        assert_eq!(found, said, "{name}");
    }
    let open = self::schema(&json!({"additionalProperties": true, "properties": {"id": {}}})).unwrap();
    assert!(fits(&open, &nullable("other", DataType::Int64)).is_ok());
}
