//! Where keywords hold schemas.

use serde_json::{Map, Value as Json};

/// Keywords that hold one schema.
const SINGLE: [&str; 12] = [
    "additionalItems",
    "additionalProperties",
    "contains",
    "contentSchema",
    "else",
    "if",
    "items",
    "not",
    "propertyNames",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
];
/// Keywords that hold a list of schemas.
const LISTS: [&str; 5] = ["allOf", "anyOf", "items", "oneOf", "prefixItems"];
/// Keywords that hold schemas by name.
const NAMED: [&str; 6] = ["$defs", "definitions", "dependencies", "dependentSchemas", "patternProperties", "properties"];

/// Returns the schemas that a schema holds, each with its path below it.
pub(super) fn subschemas(members: &Map<String, Json>) -> Vec<(String, &Json)> {
    let mut found = Vec::new();
    for keyword in SINGLE {
        found.extend(members.get(keyword).filter(|inner| inner.is_object()).map(|inner| (keyword.to_owned(), inner)));
    }
    for keyword in LISTS {
        let list = members.get(keyword).and_then(Json::as_array).into_iter().flatten();
        found.extend(list.enumerate().map(|(index, inner)| (format!("{keyword}/{index}"), inner)));
    }
    for keyword in NAMED {
        let named = members.get(keyword).and_then(Json::as_object).into_iter().flatten();
        found.extend(named.map(|(name, inner)| (format!("{keyword}/{}", escaped(name)), inner)));
    }
    found
}

/// Returns a name as JSON pointers write it.
pub(super) fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}
