//! Tests JSON Schema: the standard's own tests, what dead letters say, and the columns of schemas.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod columns;
mod events;

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::schema::Schema;

/// Reads a schema of one text.
fn schema(value: &Json) -> Result<Schema, String> {
    let text = value.to_string();
    Schema::of_texts([("order.json", text.as_str())].into_iter())
}

/// Says why a value does not conform.
fn violation(schema: &Schema, value: &Json) -> String {
    schema.check(value).map_or_else(|violation| violation.to_string(), |()| String::new())
}

#[test]
fn the_standards_own_tests_pass() {
    let (mut checked, mut skipped): (usize, BTreeMap<&str, usize>) = (0, BTreeMap::new());
    for line in include_str!("tests/suite.jsonl").lines().filter(|line| !line.starts_with("//")) {
        let group: Json = serde_json::from_str(line).unwrap();
        let name = format!("{} {}: {}", group["draft"], group["keyword"], group["group"]);
        let mut text = group["schema"].clone();
        if let (Json::Object(members), "7") = (&mut text, group["draft"].as_str().unwrap()) {
            members.insert("$schema".into(), "http://json-schema.org/draft-07/schema#".into());
        }
        let schema = match schema(&text) {
            Ok(schema) => schema,
            Err(reason) => {
                let known = ["$dynamicRef is not read", "which is in none of the given files", "look-around"];
                let why = known.into_iter().find(|why| reason.contains(why));
                *skipped.entry(why.unwrap_or_else(|| panic!("{name}: {reason}"))).or_default() += 1;
                continue;
            }
        };
        for test in group["tests"].as_array().unwrap() {
            let found = violation(&schema, &test[0]);
            assert_eq!(found.is_empty(), test[1], "{name}, {}: {} {found}", test[2], test[0]);
            checked += 1;
        }
    }
    println!("{checked} checked, groups skipped: {skipped:?}");
    assert!(checked > 1_800);
}

#[test]
fn what_fails_is_named_by_its_pointer_and_the_rule() {
    let schema = schema(&json!({
        "$defs": {"item": {
            "type": "object", "required": ["sku"], "additionalProperties": false,
            "properties": {"sku": {"type": "string", "pattern": "^[a-z]{2}\\d+$"}, "count": {"type": "integer", "minimum": 1}}
        }},
        "properties": {
            "items": {"type": "array", "items": {"$ref": "#/$defs/item"}, "minItems": 1},
            "total": {"type": "number", "multipleOf": 0.01},
            "state": {"enum": ["new", "paid"]},
            "a/b~c": {"const": 1},
            "paid": {"oneOf": [
                {"properties": {"by": {"const": "card"}, "digits": {"maxLength": 4}}, "required": ["by"]},
                {"properties": {"by": {"const": "cash"}}, "required": ["by"]}
            ]}
        }
    }))
    .unwrap();
    for (value, expected) in [
        (json!({"items": [{"sku": "ab1", "count": 2}], "total": 19.99, "paid": {"by": "card", "digits": "1234"}}), ""),
        (
            json!({"items": [{"sku": "ab1"}, {"sku": "ab2", "count": 0}]}),
            "/items/1/count: 0 is less than 1 (#/$defs/item/properties/count/minimum)",
        ),
        (json!({"items": []}), "/items: it has 0 elements, at least 1 are needed (#/properties/items/minItems)"),
        (json!({"items": [{}]}), "/items/0: it has no member sku (#/$defs/item/required)"),
        (json!({"items": [{"sku": "ab1", "x": 1}]}), "/items/0/x: nothing may stand here (#/$defs/item/additionalProperties)"),
        (json!({"total": 19.995}), "/total: 19.995 is no multiple of 0.01 (#/properties/total/multipleOf)"),
        (json!({"state": "lost"}), "/state: \"lost\" is none of \"new\", \"paid\" (#/properties/state/enum)"),
        (json!({"a/b~c": 2}), "/a~1b~0c: 2 is not 1 (#/properties/a~1b~0c/const)"),
        (
            json!({"paid": {"by": "card", "digits": "12345"}}),
            "/paid: none of the 2 schemas allows it; /digits: it has 5 letters, at most 4 are allowed \
             (#/properties/paid/oneOf/0/properties/digits/maxLength) (#/properties/paid/oneOf)",
        ),
    ] {
        assert_eq!(violation(&schema, &value), expected);
    }
    let never = self::schema(&json!(false)).unwrap();
    assert_eq!(violation(&never, &json!({})), "the body: nothing may stand here (#)");
}

#[test]
fn decimals_are_compared_as_written() {
    let schema = schema(&json!({"multipleOf": 0.01})).unwrap();
    for cents in 0..20_000 {
        let text = format!("{}.{:02}", cents / 100, cents % 100);
        assert_eq!(violation(&schema, &serde_json::from_str(&text).unwrap()), "", "{text}");
    }
    assert_ne!(violation(&schema, &json!(1.001)), "");
    let large = self::schema(&json!({"maximum": 9_007_199_254_740_993_u64, "enum": [9_007_199_254_740_993_u64]})).unwrap();
    assert_eq!(violation(&large, &json!(9_007_199_254_740_993_u64)), "");
    assert_ne!(violation(&large, &json!(9_007_199_254_740_994_u64)), "");
    assert_ne!(violation(&large, &json!(9_007_199_254_740_992_u64)), "");
}

#[test]
fn what_cannot_be_read_is_refused_with_its_place() {
    for (text, said) in [
        (json!(5), "#: it is neither an object nor true or false"),
        (json!({"properties": {"a": {"type": "text"}}}), "#/properties/a/type is not a type"),
        (json!({"minimum": "5"}), "#/minimum is not a number"),
        (json!({"required": "a"}), "#/required is not a list of texts"),
        (json!({"$ref": "#/$defs/a"}), "#: it refers to #/$defs/a, and there is no such part"),
        (json!({"$ref": "https://example.org/a.json"}), "in none of the given files"),
        (json!({"properties": {"a": {"$dynamicRef": "#a"}}}), "#/properties/a: $dynamicRef is not read; write $ref"),
        (json!({"pattern": "(?=a)b"}), "#: the pattern (?=a)b is not read: "),
        (json!({"$ref": "#"}), "# refers to itself"),
        (json!({"allOf": [{"anyOf": [{"$ref": "#/allOf/0"}]}]}), "refers to itself"),
        (json!({"$schema": "http://json-schema.org/draft-04/schema#"}), "draft 6 and later are read"),
    ] {
        let error = schema(&text).unwrap_err();
        assert!(error.contains(said), "{text}: {error}");
    }
    // Deep values and schemas that refer to themselves.
    let tree = schema(&json!({"properties": {"left": {"$ref": "#"}}, "type": "object"})).unwrap();
    let deep = (0..100).fold(json!({}), |inner, _| json!({ "left": inner }));
    assert_eq!(violation(&tree, &deep), "");
}

#[test]
fn texts_refer_to_each_other() {
    let order = r#"{"properties": {"total": {"$ref": "money.json"}, "tax": {"$ref": "https://shop.example/tax#rate"}}}"#;
    let money = r#"{"type": "object", "properties": {"cents": {"type": "integer"}}}"#;
    let tax = r#"{"$id": "https://shop.example/tax", "$defs": {"rate": {"$anchor": "rate", "maximum": 1}}}"#;
    let schema = Schema::of_texts([("order.json", order), ("money.json", money), ("tax.json", tax)].into_iter()).unwrap();
    assert_eq!(violation(&schema, &json!({"total": {"cents": 5}, "tax": 0.2})), "");
    let found = violation(&schema, &json!({"total": {"cents": "5"}}));
    assert_eq!(found, "/total/cents: \"5\" is not of type integer (money.json#/properties/cents/type)");
    assert_eq!(violation(&schema, &json!({"tax": 2})), "/tax: 2 is more than 1 (tax.json#/$defs/rate/maximum)");
}

#[test]
fn events_that_ask_for_many_steps_are_checked_in_few() {
    let branch = |kind: &str| json!({"properties": {"arg": {"$ref": "#/$defs/n"}, "kind": {"const": kind}}});
    let one_of = json!({"n": {"type": "object", "oneOf": [branch("and"), branch("or")]}});
    let schema = schema(&json!({"$ref": "#/$defs/n", "$defs": one_of})).unwrap();
    let deep = |kind: &str| (0..120).fold(json!({"kind": kind}), |inner, _| json!({"kind": "or", "arg": inner}));
    assert_eq!(violation(&schema, &deep("or")), "");
    assert_ne!(violation(&schema, &deep("xor")), "");
    let unique = self::schema(&json!({"uniqueItems": true})).unwrap();
    let numbers: Vec<Json> = (0..200_000).map(|number| json!([number, {"a": number}])).collect();
    assert_eq!(violation(&unique, &Json::from(numbers.clone())), "");
    let twice: Vec<Json> = numbers.into_iter().chain([json!([7.0, {"a": 7}])]).collect();
    assert!(violation(&unique, &Json::from(twice)).starts_with("the body: element 200000 is there twice"));
}

#[test]
fn what_cannot_be_checked_to_its_end_does_not_conform() {
    let any = json!({"n": {"properties": {"a": {"$ref": "#/$defs/n"}}}});
    let deep = |levels: usize| (0..levels).fold(json!({}), |inner, _| json!({ "a": inner }));
    let never = schema(&json!({"not": {"$ref": "#/$defs/n"}, "$defs": any})).unwrap();
    assert_eq!(violation(&never, &deep(100)), "the body: it is what may not stand here (#/not)");
    assert_eq!(violation(&never, &deep(400)), "the body: it is nested too deep for the schema");
}

#[test]
fn schemas_that_ask_for_many_steps_are_refused() {
    type Members = serde_json::Map<String, Json>;
    let doubled = |index: usize| {
        let next = json!({"$ref": format!("#/$defs/a{}", index + 1)});
        (format!("a{index}"), if index == 59 { json!({}) } else { json!({"allOf": [next, next]}) })
    };
    let defs: Members = (0..60).map(doubled).collect();
    let error = schema(&json!({"$ref": "#/$defs/a0", "$defs": defs})).unwrap_err();
    assert!(error.contains("apply to one value"), "{error}");
    let all = |of: usize| -> Members {
        (0..12).map(|other| (format!("m{other}"), json!({"$ref": format!("#/$defs/d{}", (of + other) % 12)}))).collect()
    };
    let defs: Members = (0..12).map(|of| (format!("d{of}"), json!({"type": "object", "properties": all(of)}))).collect();
    let woven = schema(&json!({"$ref": "#/$defs/d0", "$defs": defs})).unwrap();
    assert!(woven.columns().unwrap_err().contains("too many for columns"));
}

#[test]
fn numbers_whose_digits_are_not_all_known_lose_no_event() {
    let unique = schema(&json!({"uniqueItems": true})).unwrap();
    let read = |text: &str| serde_json::from_str::<Json>(text).unwrap();
    assert_eq!(violation(&unique, &read("[18446744073709551617, 18446744073709551618]")), "");
    for (of, number) in
        [("3", "36893488147419103233"), ("3", "9007199254740993.0"), ("0.01", "1e37"), ("0.01", "1234567890123.45")]
    {
        let schema = schema(&json!({"multipleOf": read(of)})).unwrap();
        assert_eq!(violation(&schema, &read(number)), "", "{number}");
    }
}
