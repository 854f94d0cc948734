//! The rules of decoding.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;

use arrow::array::Array;
use arrow::datatypes::{DataType, Field, Fields, Schema, TimeUnit};
use arrow::util::display::array_value_to_string;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn decoder(fields: Vec<Field>) -> Arc<Decoder> {
    let columns = (0..fields.len()).collect();
    decoder_of(fields, columns)
}

fn decoder_of(fields: Vec<Field>, columns: Vec<usize>) -> Arc<Decoder> {
    Arc::new(
        Decoder::new(&SourceConfig {
            name: "s".into(),
            stored_as: "FILE".into(),
            location: "-".into(),
            options: BTreeMap::new(),
            declared: Arc::new(Schema::new(fields)),
            columns,
            limits: Default::default(),
        })
        .unwrap(),
    )
}

fn decode(decoder: &Arc<Decoder>, bodies: &[&[u8]]) -> Decoded {
    let mut builder = decoder.batch(bodies.len()).unwrap();
    for (index, payload) in bodies.iter().enumerate() {
        let sequence = index as u64 + 1;
        builder.append(&Message { sequence, subject: "sub", timestamp_ns: Some(7), headers: None, payload });
    }
    builder.finish().unwrap()
}

/// The value of a column `v` of this type as text, or the kind of dead letter.
fn value(data_type: DataType, json: &str) -> String {
    let body = format!("{{\"v\":{json}}}");
    let decoded = decode(&decoder(vec![Field::new("v", data_type, true)]), &[body.as_bytes()]);
    match decoded.dead_letters.first() {
        Some(letter) => letter.kind.to_owned(),
        None if decoded.rows.column(0).is_null(0) => "null".to_owned(),
        None => array_value_to_string(decoded.rows.column(0), 0).unwrap(),
    }
}

fn kind(body: &[u8]) -> &'static str {
    let decoded = decode(&decoder(vec![Field::new("v", DataType::Int64, true)]), &[body]);
    assert_eq!(decoded.rows.num_rows() + decoded.dead_letters.len(), 1);
    decoded.dead_letters.first().map_or("good", |letter| letter.kind)
}

#[test]
fn numbers_are_taken_exactly_or_not_at_all() {
    let decimal = || DataType::Decimal128(10, 2);
    for (data_type, json, expected) in [
        (DataType::Int64, "5", "5"),
        (DataType::Int64, "5.0", "5"),
        (DataType::Int64, "5e2", "500"),
        (DataType::Int64, "\"-9223372036854775808\"", "-9223372036854775808"),
        (DataType::Int64, "9223372036854775808", "out_of_range"),
        (DataType::Int64, "true", "wrong_type"),
        (DataType::Int64, "null", "null"),
        (DataType::Int8, "128", "out_of_range"),
        (DataType::UInt64, "18446744073709551615", "18446744073709551615"),
        (DataType::UInt64, "-1", "out_of_range"),
        (decimal(), "0.1", "0.10"),
        (decimal(), "\"12345678.90\"", "12345678.90"),
        (decimal(), "1.5e3", "1500.00"),
        (decimal(), "0.001", "out_of_range"),
        (decimal(), "123456789", "out_of_range"),
        (DataType::Float64, "1e999", "out_of_range"),
        (DataType::Float64, "\"NaN\"", "NaN"),
        (DataType::Float64, "0.1", "0.1"),
        (DataType::Boolean, "true", "true"),
        (DataType::Boolean, "\"true\"", "wrong_type"),
    ] {
        assert_eq!(value(data_type.clone(), json), expected, "{json} as {data_type}");
    }
}

#[test]
fn text_bytes_and_times() {
    let micros = || DataType::Timestamp(TimeUnit::Microsecond, None);
    for (data_type, json, expected) in [
        (DataType::Utf8, r#""a\u00e9\n""#, "a\u{e9}\n"),
        (DataType::Utf8, r#"{"a": [1, 2.50]}"#, r#"{"a": [1, 2.50]}"#),
        (DataType::Utf8View, "1.50", "1.50"),
        (DataType::Utf8, r#""\ud800""#, "out_of_range"),
        (DataType::Binary, "\"-_8=\"", "fbff"),
        (DataType::Binary, "\"+/8\"", "fbff"),
        (DataType::Binary, "\"?\"", "wrong_type"),
        (micros(), "\"2026-01-02T03:04:05.000006Z\"", "2026-01-02T03:04:05.000006"),
        (micros(), "\"2026-01-02 03:04:05+01:00\"", "2026-01-02T02:04:05"),
        (micros(), "1000000", "1970-01-01T00:00:01"),
        (micros(), "\"2026-01-02T03:04:05.0000001Z\"", "out_of_range"),
        (micros(), "\"2026-13-02T03:04:05Z\"", "wrong_type"),
        (DataType::Date32, "\"2026-02-28\"", "2026-02-28"),
        (DataType::Date32, "\"2026-02-30\"", "wrong_type"),
    ] {
        assert_eq!(value(data_type.clone(), json), expected, "{json} as {data_type}");
    }
}

#[test]
fn a_body_is_one_object() {
    let deep = |depth: usize| format!("{{\"x\":{}{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1));
    for (body, expected) in [
        (&b" {\"v\":1} "[..], "good"),
        (b"{}", "good"),
        (b"", "not_json"),
        (b"[1]", "not_one_object"),
        (b"1", "not_one_object"),
        (b"{\"v\":1}{\"v\":2}", "not_one_object"),
        (b"{\"v\":1} x", "not_one_object"),
        (b"{\"v\":1", "not_json"),
        (b"{\"v\":01}", "not_json"),
        (b"{\"x\":\"\xff\"}", "not_json"),
        (b"{\"v\":1,}", "not_json"),
        (deep(MAX_DEPTH).as_bytes(), "good"),
        (deep(MAX_DEPTH + 1).as_bytes(), "too_deep"),
        (deep(100_000).as_bytes(), "too_deep"),
    ] {
        assert_eq!(kind(body), expected, "{}", String::from_utf8_lossy(&body[..body.len().min(60)]));
    }
}

#[test]
fn not_null_holds_for_columns_that_are_not_decoded() {
    let fields = vec![Field::new("a", DataType::Int64, true), Field::new("b", DataType::Utf8, false)];
    let decoded = decode(&decoder_of(fields, vec![0]), &[br#"{"a":1}"#, br#"{"a":2,"b":null}"#, br#"{"a":3,"b":"x"}"#]);
    assert_eq!(decoded.sequences.values(), &[3]);
    assert!(decoded.dead_letters.iter().all(|letter| letter.kind == "missing" && letter.error.contains("column b")));
}

#[test]
fn names_match_exactly_first_and_the_last_member_wins() {
    let decoder = decoder(vec![Field::new("v", DataType::Int64, true)]);
    let decoded = decode(&decoder, &[br#"{"V":1}"#, br#"{"v":1,"V":2}"#, br#"{"V":2,"v":1}"#, br#"{"v":1,"v":3}"#]);
    let values: Vec<_> = (0..4).map(|row| array_value_to_string(decoded.rows.column(0), row).unwrap()).collect();
    assert_eq!(values, ["1", "1", "1", "3"]);
}

#[test]
fn a_bad_body_leaves_nothing_in_any_column() {
    let inner = Fields::from(vec![Field::new("x", DataType::Int64, true), Field::new("y", DataType::Utf8, true)]);
    let list = DataType::List(Arc::new(Field::new("item", DataType::Struct(inner), true)));
    let fields = vec![
        Field::new("t", DataType::Utf8, true),
        Field::new("l", list, true),
        Field::new("_sequence", DataType::UInt64, false),
        Field::new("_payload", DataType::Binary, true),
        Field::new("z", DataType::Int64, true),
    ];
    let good = |n: i64| json!({"t": format!("t{n}"), "l": [{"x": n, "y": "a"}, null, {"x": n}], "z": n}).to_string();
    let bodies = [
        good(1),
        r#"{"t":"bad","l":[{"x":1,"y":"b"},{"x":"no"}],"z":1}"#.into(),
        good(2),
        r#"{"t":"bad","l":[{"x":1}],"z":"no"}"#.into(),
        good(3),
    ];
    let bytes: Vec<&[u8]> = bodies.iter().map(String::as_bytes).collect();
    let mixed = decode(&decoder(fields.clone()), &bytes);
    assert_eq!(mixed.sequences.values(), &[1, 3, 5]);
    assert_eq!(mixed.dead_letters.iter().map(|letter| letter.sequence).collect::<Vec<_>>(), [2, 4]);
    assert!(mixed.dead_letters[0].error.contains("column l[1].x"), "{}", mixed.dead_letters[0].error);
    assert_eq!(mixed.dead_letters[1].payload, bodies[3].as_bytes());
    let clean = decode(&decoder(fields), &[bytes[0], bytes[2], bytes[4]]);
    for column in [0, 1, 3, 4] {
        assert_eq!(mixed.rows.column(column), clean.rows.column(column));
    }
    assert_eq!(array_value_to_string(mixed.rows.column(2), 2).unwrap(), "5");
}

fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<i64>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        (-1e9..1e9f64).prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
    ]
}

proptest! {
    /// What serde_json reads of a body is what the columns hold.
    #[test]
    fn columns_hold_what_serde_json_reads(bodies in prop::collection::vec((any_value(), any_value()), 1..20)) {
        let decoder = decoder(vec![Field::new("i", DataType::Int64, true), Field::new("t", DataType::Utf8, true)]);
        let texts: Vec<String> = bodies.iter().map(|(i, t)| json!({"i": i, "t": t, "other": [i]}).to_string()).collect();
        let decoded = decode(&decoder, &texts.iter().map(String::as_bytes).collect::<Vec<_>>());
        let mut row = 0;
        for (index, (i, t)) in bodies.iter().enumerate() {
            let whole = i.as_i64().or_else(|| i.as_str()?.parse().ok());
            let whole = whole.or_else(|| i.as_f64().filter(|f| f.fract() == 0.0).map(|f| f as i64));
            if decoded.sequences.values().get(row) != Some(&(index as u64 + 1)) {
                prop_assert!(whole.is_none() && !i.is_null(), "{} was refused", i);
                continue;
            }
            prop_assert!(whole.is_some() || i.is_null() || i.is_string(), "{} was taken", i);
            let shown = |column: usize| {
                let array = decoded.rows.column(column);
                (!array.is_null(row)).then(|| array_value_to_string(array, row).unwrap())
            };
            if !i.is_string() {
                prop_assert_eq!(shown(0), whole.map(|whole| whole.to_string()));
            }
            let text = match t {
                Value::Null => None,
                Value::String(text) => Some(text.clone()),
                other => Some(other.to_string()),
            };
            prop_assert_eq!(shown(1), text);
            row += 1;
        }
        prop_assert_eq!(row, decoded.rows.num_rows());
        prop_assert_eq!(decoded.events as usize, bodies.len());
    }
}
