//! Compares random bodies, valid and corrupted, with a naive walk over serde_json's values.

use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Field, Fields, Int64Type};
use proptest::prelude::*;
use serde_json::Value;

use super::{decode_some, nullable};

fn fields() -> Vec<Field> {
    let inner = Fields::from(vec![nullable("x", DataType::Int64), Field::new("y", DataType::Utf8, false)]);
    let list = DataType::List(Arc::new(nullable("item", DataType::Struct(inner.clone()))));
    vec![
        nullable("i", DataType::Int64),
        nullable("t", DataType::Utf8View),
        nullable("b", DataType::Boolean),
        nullable("s", DataType::Struct(inner)),
        nullable("l", list),
        Field::new("n", DataType::Int64, false),
    ]
}

/// What a column must do with a value.
#[derive(Debug, PartialEq, Clone, Copy)]
enum Verdict {
    Good,
    Bad,
    /// The oracle does not know: its numbers are floating point.
    Either,
}

fn verdict(field: &Field, value: Option<&Value>) -> Verdict {
    let all = |verdicts: Vec<Verdict>| match verdicts {
        all if all.contains(&Verdict::Bad) => Verdict::Bad,
        all if all.contains(&Verdict::Either) => Verdict::Either,
        _ => Verdict::Good,
    };
    match (field.data_type(), value.unwrap_or(&Value::Null)) {
        (_, Value::Null) => {
            if field.is_nullable() {
                Verdict::Good
            } else {
                Verdict::Bad
            }
        }
        (DataType::Int64, Value::Number(number)) if number.is_i64() => Verdict::Good,
        (DataType::Int64, Value::Number(number)) if number.is_u64() => Verdict::Bad,
        (DataType::Int64, Value::Number(_)) => Verdict::Either,
        (DataType::Int64, Value::String(text)) if text.parse::<i64>().is_ok() => Verdict::Good,
        (DataType::Int64, Value::String(text)) if text.bytes().any(|byte| byte.is_ascii_digit()) => Verdict::Either,
        (DataType::Utf8 | DataType::Utf8View, _) | (DataType::Boolean, Value::Bool(_)) => Verdict::Good,
        (DataType::Boolean, Value::Number(number)) if number.is_f64() => Verdict::Either,
        (DataType::Boolean, Value::Number(number)) if matches!(number.as_u64(), Some(0 | 1)) => Verdict::Good,
        (DataType::Boolean, Value::String(text)) if boolean(text).is_some() => Verdict::Good,
        (DataType::Struct(fields), Value::Object(_)) => {
            all(fields.iter().map(|field| verdict(field, member(value, field.name()))).collect())
        }
        (DataType::List(item), Value::Array(elements)) => {
            all(elements.iter().map(|element| verdict(item, Some(element))).collect())
        }
        _ => Verdict::Bad,
    }
}

fn member<'v>(object: Option<&'v Value>, name: &str) -> Option<&'v Value> {
    let object = object?.as_object()?;
    object.get(name).or_else(|| object.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value))
}

fn equals(array: &dyn Array, row: usize, value: Option<&Value>) -> bool {
    let value = value.unwrap_or(&Value::Null);
    if value.is_null() || array.is_null(row) {
        return value.is_null() && array.is_null(row);
    }
    match array.data_type() {
        DataType::Int64 => {
            let found = array.as_primitive::<Int64Type>().value(row);
            match value {
                Value::Number(number) => number.as_i64() == Some(found) || number.as_f64() == Some(found as f64),
                Value::String(text) => text.parse::<i64>().map_or(true, |expected| expected == found),
                _ => false,
            }
        }
        DataType::Boolean => {
            let found = array.as_boolean().value(row);
            match value {
                Value::Bool(expected) => found == *expected,
                Value::Number(number) => number.as_f64() == Some(f64::from(u8::from(found))),
                Value::String(text) => boolean(text) == Some(found),
                _ => false,
            }
        }
        DataType::Utf8 => equals_text(array.as_string::<i32>().value(row), value),
        DataType::Utf8View => equals_text(array.as_string_view().value(row), value),
        DataType::Struct(fields) => {
            let columns = array.as_struct().columns();
            fields.iter().zip(columns).all(|(field, column)| equals(column, row, member(Some(value), field.name())))
        }
        DataType::List(_) => {
            let (elements, expected) = (array.as_list::<i32>().value(row), value.as_array().unwrap());
            elements.len() == expected.len()
                && expected.iter().enumerate().all(|(index, value)| equals(&elements, index, Some(value)))
        }
        other => panic!("{other}"),
    }
}

/// Parses a boolean written as text.
fn boolean(text: &str) -> Option<bool> {
    match text.to_lowercase().as_str() {
        "true" | "t" | "yes" | "y" | "on" | "1" => Some(true),
        "false" | "f" | "no" | "n" | "off" | "0" => Some(false),
        _ => None,
    }
}

fn equals_text(found: &str, value: &Value) -> bool {
    match value {
        Value::String(text) => found == text,
        other => serde_json::from_str::<Value>(found).unwrap() == *other,
    }
}

/// Values of all kinds, whether a column accepts them or not.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        3 => any::<i64>().prop_map(Value::from),
        3 => (-20_i64..20).prop_map(Value::from),
        1 => any::<u64>().prop_map(Value::from),
        1 => (-1e6..1e6).prop_map(Value::from),
        2 => any::<bool>().prop_map(Value::from),
        2 => Just(Value::Null),
        3 => "[a-z\"\\\\{}\\[\\],:0-9éあ\u{1}]{0,20}".prop_map(Value::from),
        1 => "-?[0-9]{1,22}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[xyXz]|y", inner.clone(), 0..4).prop_map(|map| Value::Object(map.into_iter().collect())),
            // Values that fit the columns s and l.
            (inner.clone(), "[a-z]{0,14}").prop_map(|(x, y)| serde_json::json!({"x": x, "y": y})),
            (any::<i64>(), "[a-z]{0,14}").prop_map(|(x, y)| serde_json::json!([{"x": x, "y": y}, null])),
        ]
    })
}

/// A body as text, with members in any order, some of them twice, and varying white space.
fn body() -> impl Strategy<Value = String> {
    let name = prop_oneof![8 => "[itbsl]", 1 => "[ITBSL]", 1 => "[a-z]{2,9}"].boxed();
    let members = prop::collection::vec((name, value(), any::<bool>()), 0..8);
    (members, prop_oneof![9 => Just(true), 1 => Just(false)]).prop_map(|(members, with_n)| {
        // If two names differ only in case, the oracle cannot tell which came last.
        let mut seen: Vec<String> = Vec::new();
        let mut texts = Vec::new();
        for (name, value, pretty) in members {
            let twin = seen.iter().any(|other| *other != name && other.eq_ignore_ascii_case(&name));
            if !(twin && name.bytes().all(|byte| byte.is_ascii_uppercase())) {
                let value = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
                texts.push(format!("\"{name}\": {}", value.unwrap()));
                seen.push(name);
            }
        }
        if with_n {
            texts.insert(texts.len() / 2, "\"n\":1".into());
        }
        format!("{{{}}}", texts.join(","))
    })
}

/// Changes, inserts or removes a byte, cuts off the end, or appends the body once more.
fn corrupt(body: &str, way: u8, place: usize, byte: u8) -> Vec<u8> {
    let mut bytes = body.as_bytes().to_vec();
    let place = place % bytes.len();
    match way {
        0 => bytes[place] = byte,
        1 => bytes.insert(place, byte),
        2 => drop(bytes.remove(place)),
        3 => bytes.truncate(place),
        4 => bytes.extend_from_slice(body.as_bytes()),
        _ => {}
    }
    bytes
}

fn interesting_byte() -> impl Strategy<Value = u8> {
    prop_oneof![3 => prop::sample::select(b"{}[]\",:\\ 0123456789-+.eEtfnu\n\xff\x80".to_vec()), 1 => any::<u8>()]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]
    #[test]
    fn agrees_with_serde_json(
        bodies in prop::collection::vec((body(), 0_u8..12, any::<usize>(), interesting_byte()), 1..8),
        columns in prop::sample::subsequence((0..6).collect::<Vec<usize>>(), 0..=6),
    ) {
        let fields = fields();
        let bodies: Vec<Vec<u8>> = bodies.iter().map(|(body, way, place, byte)| corrupt(body, *way, *place, *byte)).collect();
        let decoded = decode_some(fields.clone(), columns.clone(), &bodies);
        for (index, body) in bodies.iter().enumerate() {
            let row = decoded.sequences.values().iter().position(|sequence| *sequence == index as u64 + 1);
            let shown = String::from_utf8_lossy(body);
            let parsed = serde_json::from_slice::<Value>(body);
            if let Err(error) = &parsed
                && (error.to_string().contains("number out of range") || error.to_string().contains("surrogate"))
            {
                // The decoder accepts these in members that no column reads.
                continue;
            }
            let value = parsed.ok().filter(Value::is_object);
            prop_assert_eq!(row.is_some(), value.is_some(), "{}: {:?}", shown, decoded.dead_letters);
            let (Some(row), Some(value)) = (row, &value) else { continue };
            for (place, column) in columns.iter().enumerate() {
                let (field, found) = (&fields[*column], member(Some(value), fields[*column].name()));
                let marked = decoded.unfit.iter().any(|unfit| (unfit.row, unfit.column) == (row, *column));
                match verdict(field, found) {
                    Verdict::Good => prop_assert!(!marked, "refused: {}: {:?}", shown, decoded.unfit),
                    Verdict::Bad => prop_assert!(marked, "accepted: {}", shown),
                    Verdict::Either => {}
                }
                let array = decoded.rows.column(place);
                let right = if marked { !field.is_nullable() || array.is_null(row) } else { equals(array, row, found) };
                prop_assert!(right, "{}: {:?}", shown, array);
            }
            prop_assert!(decoded.unfit.iter().all(|unfit| columns.contains(&unfit.column)));
        }
    }
}
