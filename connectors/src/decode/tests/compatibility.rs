//! Changes of schemas in each format: which break what, in which direction, and what is said.

use serde_json::{Value as Json, json};

use super::registry::declared;
use crate::decode::comparison::{Comparison, KeptSchema};
use crate::decode::compatibility::{Compatibility, Direction, compare};

fn kept(file: &str, text: String) -> KeptSchema {
    KeptSchema { file: file.into(), text, is_base64: false }
}

fn compared(options: &[(&str, &str)], before: &[KeptSchema], now: &[KeptSchema]) -> Comparison {
    compare(&declared(Vec::new(), options), before, now).unwrap()
}

/// What each direction says, joined.
fn said(comparison: &Comparison) -> [String; 2] {
    [&comparison.backward, &comparison.forward]
        .map(|breaks| breaks.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
}

/// Compares Avro records of these fields, whose bodies name their schemas.
fn avro(before: Json, now: Json) -> [String; 2] {
    let schema = |fields: Json| json!({"type": "record", "name": "shop.Order", "fields": fields}).to_string();
    let options = [("format", "avro"), ("registry", "http://host:8081")];
    said(&compared(&options, &[kept("order.avsc", schema(before))], &[kept("order.avsc", schema(now))]))
}

#[test]
fn avro_follows_the_rules_of_resolution() {
    let field = |name: &str, of: Json| json!({"name": name, "type": of});
    let decimal = |scale: u32| json!({"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": scale});
    let symbols = |symbols: &[&str]| json!({"type": "enum", "name": "S", "symbols": symbols});
    let inner =
        |of: &str| json!({"type": "array", "items": {"type": "record", "name": "I", "fields": [field("count", json!(of))]}});
    for (before, now, backward, forward) in [
        (json!([field("n", json!("int"))]), json!([field("n", json!("long"))]), "", "n: int before, long now"),
        (
            json!([field("n", json!("long"))]),
            json!([field("n", json!("string"))]),
            "n: long before, string now",
            "n: long before, string now",
        ),
        (json!([]), json!([field("n", json!("long"))]), "n: absent before, long without a default now", ""),
        (json!([]), json!([{"name": "n", "type": ["null", "long"], "default": null}]), "", ""),
        (json!([field("n", json!("long"))]), json!([]), "", "n: long without a default before, absent now"),
        (
            json!([field("n", json!("long"))]),
            json!([{"name": "m", "type": "long", "aliases": ["n"]}]),
            "m: absent before, long without a default now",
            "n: long without a default before, absent now",
        ),
        (json!([field("n", json!("long"))]), json!([field("n", json!(["null", "long"]))]), "", "n: long before, null now"),
        (
            json!([field("d", decimal(2))]),
            json!([field("d", decimal(3))]),
            "d: decimal(9, 2) before, decimal(9, 3) now",
            "d: decimal(9, 2) before, decimal(9, 3) now",
        ),
        (
            json!([field("t", json!({"type": "long", "logicalType": "timestamp-millis"}))]),
            json!([field("t", json!({"type": "long", "logicalType": "timestamp-micros"}))]),
            "t: timestamp-millis before, timestamp-micros now",
            "t: timestamp-millis before, timestamp-micros now",
        ),
        (
            json!([field("s", symbols(&["A", "B"]))]),
            json!([field("s", symbols(&["A"]))]),
            "s: symbol B before, no such symbol now",
            "",
        ),
        (
            json!([field("i", inner("int"))]),
            json!([field("i", inner("string"))]),
            "i[].count: int before, string now",
            "i[].count: int before, string now",
        ),
    ] {
        assert_eq!(avro(before.clone(), now.clone()), [backward, forward], "{before} {now}");
    }
    // Records that refer to themselves.
    let tree = |of: &str| json!([field("v", json!(of)), {"name": "next", "type": ["null", "shop.Order"], "default": null}]);
    assert_eq!(avro(tree("int"), tree("int")), ["", ""]);
    assert_eq!(avro(tree("int"), tree("long")), ["", "v: int before, long now"]);
}

#[test]
fn avro_bodies_without_numbers_need_the_files_that_they_were_written_with() {
    let schema = |fields: Json| json!({"type": "record", "name": "Order", "fields": fields}).to_string();
    let old = schema(json!([{"name": "id", "type": "long"}]));
    let documented = schema(json!([{"name": "id", "type": "long", "doc": "its number"}]));
    let new = schema(json!([{"name": "id", "type": "long"}, {"name": "note", "type": "string", "default": ""}]));
    let of = |now: &[KeptSchema]| said(&compared(&[("format", "avro")], &[kept("a.avsc", old.clone())], now));
    assert_eq!(of(&[kept("a.avsc", documented)]), ["", ""]);
    assert_eq!(of(&[kept("b.avsc", new.clone()), kept("a.avsc", old.clone())]), ["", ""]);
    let [backward, forward] = of(&[kept("b.avsc", new)]);
    assert!(backward.starts_with("bodies of a.avsc: read before, not read, unless 'schema' names that file"), "{backward}");
    assert_eq!(forward, "");
}

#[test]
fn protobuf_goes_by_numbers() {
    let proto = |fields: &str| {
        format!("syntax = \"proto3\"; message Order {{ {fields} }} enum E {{ NONE = 0; PAID = 1; }} enum F {{ NO = 0; }}")
    };
    let of = |before: &str, now: &str| {
        let options = [("format", "protobuf"), ("message", "Order")];
        said(&compared(&options, &[kept("o.proto", proto(before))], &[kept("o.proto", proto(now))]))
    };
    for (before, now, backward, forward) in [
        ("int64 id = 1;", "int64 id = 1; string note = 2;", "", ""),
        ("int64 id = 1;", "int64 number = 1;", "", ""),
        ("int64 id = 1; string note = 2;", "int64 id = 1;", "", ""),
        ("int32 id = 1;", "int64 id = 1;", "", "id: int32 before, int64 now"),
        ("int64 id = 1;", "string id = 1;", "id: int64 before, string now", "id: int64 before, string now"),
        ("int64 id = 1;", "sint64 id = 1;", "id: int64 before, sint64 now", "id: int64 before, sint64 now"),
        ("int64 id = 1;", "int64 id = 2;", "id: number 1 before, number 2 now", "id: number 1 before, number 2 now"),
        (
            "int64 a = 1; int64 b = 2;",
            "int64 a = 2; int64 b = 1;",
            "a: number 1 before, number 2 now; b: number 2 before, number 1 now",
            "b: number 2 before, number 1 now; a: number 1 before, number 2 now",
        ),
        ("int64 id = 1;", "repeated int64 id = 1;", "", "id: int64 before, repeated int64 now"),
        ("E e = 1;", "F e = 1;", "e: value PAID = 1 before, no such value now", ""),
        (
            "map<string, int32> m = 1;",
            "map<string, string> m = 1;",
            "m.value: int32 before, string now",
            "m.value: int32 before, string now",
        ),
    ] {
        assert_eq!(of(before, now), [backward, forward], "{before} {now}");
    }
}

fn json_schema(before: Json, now: Json) -> [String; 2] {
    said(&compared(&[], &[kept("o.json", before.to_string())], &[kept("o.json", now.to_string())]))
}

#[test]
fn json_schemas_are_compared_by_what_they_allow() {
    let of = |n: Json| json!({"properties": {"n": n}});
    for (before, now, backward, forward) in [
        (of(json!({"type": "integer"})), of(json!({"type": "integer", "description": "x"})), "", ""),
        (of(json!({"type": "integer"})), of(json!({"type": "number"})), "", "n: integer before, number now"),
        (of(json!({"type": "integer"})), of(json!({"type": ["integer", "null"]})), "", "n: integer before, null or integer now"),
        (
            of(json!({"type": "integer"})),
            of(json!({"type": "string"})),
            "n: integer before, string now",
            "n: integer before, string now",
        ),
        (of(json!({"minimum": 0})), of(json!({"minimum": 1})), "n: minimum 0 before, minimum 1 now", ""),
        (of(json!({"type": "number"})), of(json!({"type": "number", "maximum": 9})), "n: no maximum before, maximum 9 now", ""),
        (of(json!({"type": "string"})), of(json!({"type": "string", "maximum": 9})), "", ""),
        (of(json!({"enum": ["a", "b"]})), of(json!({"enum": ["a"]})), "n: value \"b\" before, no such value now", ""),
        (
            of(json!({"enum": ["a"]})),
            of(json!({"type": "string", "minLength": 1})),
            "",
            "n: one of 1 values before, any value now",
        ),
        (
            of(json!({"type": "string"})),
            of(json!({"type": "string", "pattern": "^a"})),
            "n: no pattern before, pattern \\Aa now",
            "",
        ),
        (
            json!({"properties": {"n": {}}}),
            json!({"required": ["n"], "properties": {"n": {}}}),
            "n: not required before, required now",
            "",
        ),
        (json!({"properties": {"n": {}}}), json!({"properties": {"n": {}, "m": {"type": "integer"}}}), "", ""),
        (
            json!({"properties": {"n": {"type": "string"}}, "additionalProperties": false}),
            json!({"properties": {}, "additionalProperties": false}),
            "n: string before, nothing now",
            "",
        ),
        (
            json!({}),
            json!({"additionalProperties": false}),
            "the whole: any other member before, other members are not free now",
            "",
        ),
        (
            of(json!({"type": "array", "items": {"type": "object", "properties": {"c": {"type": "integer"}}}})),
            of(json!({"type": "array", "items": {"type": "object", "properties": {"c": {"type": "boolean"}}}})),
            "n[].c: integer before, boolean now",
            "n[].c: integer before, boolean now",
        ),
        (of(json!({"not": {"const": 1}})), of(json!({"not": {"const": 1}})), "", ""),
        (
            of(json!({"not": {"const": 1}})),
            of(json!({"not": {"const": 2}})),
            "n: another one before, not now",
            "n: not before, another one now",
        ),
        (
            of(json!({"anyOf": [{"type": "string"}]})),
            of(json!({"anyOf": [{"type": "integer"}, {"type": "string"}]})),
            "",
            "n: #/properties/n/anyOf/0 before, none of 1 schemas now",
        ),
    ] {
        let found = json_schema(before.clone(), now.clone());
        if forward.contains("none of 1 schemas") {
            assert!(found[0].is_empty() && !found[1].is_empty(), "{before} {now} {found:?}");
        } else {
            assert_eq!(found, [backward, forward], "{before} {now}");
        }
    }
    let tree = |of: &str| json!({"properties": {"v": {"type": of}, "next": {"$ref": "#"}}});
    assert_eq!(json_schema(tree("integer"), tree("integer")), ["", ""]);
    assert_eq!(json_schema(tree("integer"), tree("number")), ["", "next.v: integer before, number now"]);
}

#[test]
fn what_json_schemas_cannot_be_compared_for_counts_as_a_change() {
    let patterns = |of: &str| json!({"patternProperties": {"^x_": {"type": of}}});
    let closed = json!({"patternProperties": {"^x_": {}}, "additionalProperties": false});
    let unevaluated = |names: &[&str]| {
        let named: serde_json::Map<String, Json> = names.iter().map(|name| ((*name).to_owned(), json!({}))).collect();
        json!({"properties": named, "unevaluatedProperties": false})
    };
    let one = |branches: &[Json]| json!({"properties": {"n": {"oneOf": branches}}});
    let (integer, number, text) = (json!({"type": "integer"}), json!({"type": "number"}), json!({"type": "string"}));
    let kind = |kind: &str| json!({"type": "object", "properties": {"kind": {"const": kind}, "inner": {"$ref": "#"}}});
    let format = |format: &str| json!({"properties": {"n": {"type": "string", "format": format}}});
    let never = |of: u8| {
        let of = json!({"required": ["x"], "properties": {"b": {"$ref": "#/$defs/a"}, "c": {"const": of}}});
        json!({"not": {"$ref": "#/$defs/a"}, "$defs": {"a": of}})
    };
    for (before, now, breaks) in [
        (patterns("integer"), patterns("integer"), false),
        (patterns("integer"), patterns("string"), true),
        (patterns("integer"), json!({"properties": {"x_a": {"type": "string"}}}), true),
        (json!({"properties": {"x_a": {"type": "string"}}}), patterns("integer"), true),
        (closed.clone(), closed.clone(), false),
        (closed, json!({"properties": {"n": {}}, "additionalProperties": false}), true),
        (unevaluated(&["a", "b"]), unevaluated(&["a", "b"]), false),
        (unevaluated(&["a", "b"]), unevaluated(&["a"]), true),
        (one(std::slice::from_ref(&integer)), one(&[integer.clone(), text.clone()]), false),
        (one(std::slice::from_ref(&integer)), one(&[integer.clone(), number.clone()]), true),
        (
            json!({"properties": {"n": {"anyOf": [integer.clone(), number.clone()]}}}),
            one(&[integer.clone(), number.clone()]),
            true,
        ),
        (one(&[integer.clone(), number.clone()]), one(&[integer, number]), false),
        (json!({"oneOf": [kind("a")]}), json!({"oneOf": [kind("a"), kind("b")]}), false),
        (format("other"), format("date-time"), true),
        (format("date-time"), format("other"), false),
        (json!({"properties": {"n": {"enum": ["new"]}}}), json!({"properties": {"n": {"pattern": "^[A-Z]+$"}}}), true),
        (never(1), never(1), false),
        (never(1), never(2), true),
    ] {
        let [backward, _] = json_schema(before.clone(), now.clone());
        assert_eq!(!backward.is_empty(), breaks, "{before} {now}: {backward}");
    }
}

#[test]
fn the_option_says_what_is_asked_for() {
    let of = |word: &str| Compatibility::of(&declared(Vec::new(), &[("compatibility", word)]));
    for (word, backward, forward) in
        [("backward", true, false), ("Forward", false, true), ("FULL", true, true), ("none", false, false)]
    {
        let found = of(word).unwrap();
        assert_eq!((found.asks_for(Direction::Backward), found.asks_for(Direction::Forward)), (backward, forward));
    }
    assert_eq!(Compatibility::of(&declared(Vec::new(), &[])).unwrap(), Compatibility::Backward);
    assert!(of("both").unwrap_err().to_string().contains("option 'compatibility' is 'both'"));
    // A schema of another format.
    let config = declared(Vec::new(), &[("format", "avro")]);
    let error = compare(&config, &[kept("o.proto", "syntax".into())], &[kept("o.avsc", "\"long\"".into())]).unwrap_err();
    assert!(error.to_string().contains("the schema of the last commit cannot be compared: o.proto: it is not JSON"), "{error}");
}
