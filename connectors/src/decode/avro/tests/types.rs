//! Each type of Avro in columns of each type, and typed values beside their JSON text.

use std::sync::Arc;

use arrow::array::Array;
use arrow::datatypes::{DataType, Field, Fields, IntervalUnit, TimeUnit};
use proptest::prelude::*;

use super::{Bodies, long, nullable, show, text};
use crate::decode::Reading;
use crate::decode::json::make::make;
use crate::decode::value::{Clock, Value, write_json};

/// Checks what a field with this schema and these bytes becomes.
fn check(schema: &str, bytes: &[u8], data_type: DataType, expected: &str) {
    let schema = format!(r#"{{"type":"record","name":"R","fields":[{{"name":"v","type":{schema}}}]}}"#);
    let decoded = Bodies::new(&schema, vec![nullable("v", data_type.clone())]).decode(&[bytes]);
    assert!(decoded.unfit.is_empty() && decoded.dead_letters.is_empty(), "{schema}: {decoded:?}");
    assert_eq!(show(decoded.rows.column(0), 0), expected, "{schema} as {data_type}");
}

#[test]
fn each_type_becomes_what_it_says() {
    let timestamp = |unit| DataType::Timestamp(unit, None);
    let list = |item| DataType::List(Arc::new(nullable("item", item)));
    let millis = r#"{"type":"long","logicalType":"timestamp-millis"}"#;
    let decimal = r#"{"type":"bytes","logicalType":"decimal","precision":6,"scale":2}"#;
    let fixed = r#"{"type":"fixed","name":"F","size":2,"logicalType":"decimal","precision":4,"scale":1}"#;
    let duration = r#"{"type":"fixed","name":"D","size":12,"logicalType":"duration"}"#;
    let uuid = r#"{"type":"fixed","name":"U","size":16,"logicalType":"uuid"}"#;
    let record = r#"{"type":"record","name":"S","fields":[{"name":"b","type":"string"},{"name":"a","type":"int"}]}"#;
    let members = Fields::from(vec![nullable("a", DataType::Int64), nullable("B", DataType::Utf8)]);
    let entries = Fields::from(vec![Field::new("key", DataType::Utf8, false), nullable("value", DataType::Int64)]);
    let map = DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entries), false)), false);
    let at = long(1_714_557_600_250);
    check("\"boolean\"", &[1], DataType::Boolean, "true");
    check("\"float\"", &0.1_f32.to_le_bytes(), DataType::Float32, "0.1");
    check("\"float\"", &12.34_f32.to_le_bytes(), DataType::Decimal128(10, 2), "12.34");
    check("\"float\"", &0.1_f32.to_le_bytes(), DataType::Utf8, "0.1");
    check("\"double\"", &0.1_f64.to_le_bytes(), DataType::Float64, "0.1");
    check("\"double\"", &5.0_f64.to_le_bytes(), DataType::Int32, "5");
    check("\"bytes\"", &[4, 0xff, 0], DataType::Binary, "ff00");
    check("\"bytes\"", &[4, 0xff, 0], DataType::Utf8, "/wA=");
    check("\"string\"", &text("12.5"), DataType::Decimal128(10, 2), "12.50");
    check(decimal, &[4, 0x04, 0xd2], DataType::Decimal128(10, 3), "12.340");
    check(decimal, &[2, 0xff], DataType::Utf8View, "-0.01");
    check(fixed, &[0xff, 0xfe], DataType::Decimal128(4, 1), "-0.2");
    check(r#"{"type":"int","logicalType":"date"}"#, &long(19_844), DataType::Date32, "2024-05-01");
    check(r#"{"type":"int","logicalType":"time-millis"}"#, &long(1), DataType::Time64(TimeUnit::Microsecond), "00:00:00.001");
    check(millis, &at, timestamp(TimeUnit::Nanosecond), "2024-05-01T10:00:00.250");
    check(millis, &at, DataType::Utf8, "2024-05-01T10:00:00.250Z");
    check(millis, &at, DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())), "2024-05-01T10:00:00.250Z");
    check(
        r#"{"type":"long","logicalType":"timestamp-micros"}"#,
        &long(-1_000),
        timestamp(TimeUnit::Millisecond),
        "1969-12-31T23:59:59.999",
    );
    check("\"long\"", &at, timestamp(TimeUnit::Millisecond), "2024-05-01T10:00:00.250");
    check(r#"{"type":"string","logicalType":"uuid"}"#, &text("x"), DataType::Utf8, "x");
    check(uuid, &[0x12; 16], DataType::Utf8, "12121212-1212-1212-1212-121212121212");
    let parts = [1_u32, 2, 3000].map(u32::to_le_bytes).concat();
    check(duration, &parts, DataType::Interval(IntervalUnit::MonthDayNano), "1 mons 2 days 3.000000000 secs");
    check(r#"{"type":"enum","name":"E","symbols":["LOW","HIGH"]}"#, &[2], DataType::Utf8, "HIGH");
    check(r#"["null","int"]"#, &[0], DataType::Int64, "NULL");
    check(r#"["null","string","int"]"#, &[4, 10], DataType::Int64, "5");
    check(r#"{"type":"array","items":["null","int"]}"#, &[4, 2, 2, 0, 2, 2, 4, 0], list(DataType::Int64), "[1, NULL, 2]");
    check(r#"{"type":"map","values":"int"}"#, &[4, 2, b'a', 2, 2, b'a', 4, 0], map, "{a: 2}");
    check(record, &[2, b'x', 14], DataType::Struct(members), "{a: 7, B: x}");
    check(record, &[2, b'x', 14], DataType::Utf8, r#"{"b":"x","a":7}"#);
    // A logical type that is not one of its type is ignored.
    check(r#"{"type":"string","logicalType":"date"}"#, &text("x"), DataType::Utf8, "x");
}

fn scalar() -> impl Strategy<Value = (i64, f64, u8, u8)> {
    let number = prop_oneof![any::<i64>(), -100_i64..100, Just(1_714_557_600), Just(1_714_557_600_250), Just(86_400_000)];
    (number, prop_oneof![any::<f64>(), (-9_i32..9).prop_map(f64::from)], 0_u8..4, any::<u8>())
}

fn column_types() -> Vec<DataType> {
    let mut types = vec![
        DataType::Boolean,
        DataType::Int8,
        DataType::Int64,
        DataType::UInt32,
        DataType::UInt64,
        DataType::Float32,
        DataType::Float64,
        DataType::Decimal64(9, 2),
        DataType::Decimal128(20, 4),
        DataType::Decimal256(50, 6),
        DataType::Date32,
        DataType::Time32(TimeUnit::Second),
        DataType::Time32(TimeUnit::Millisecond),
        DataType::Time64(TimeUnit::Microsecond),
        DataType::Interval(IntervalUnit::MonthDayNano),
        DataType::Utf8,
        DataType::Utf8View,
        DataType::Binary,
        DataType::FixedSizeBinary(3),
        DataType::Null,
        DataType::List(Arc::new(nullable("item", DataType::Int64))),
        DataType::Struct(vec![nullable("a", DataType::Int64)].into()),
    ];
    for unit in [TimeUnit::Second, TimeUnit::Millisecond, TimeUnit::Microsecond, TimeUnit::Nanosecond] {
        types.extend([None, Some("+02:00".into())].map(|zone| DataType::Timestamp(unit, zone)));
    }
    types
}

proptest! {
    /// A column takes a value as it takes its JSON text. Only lengths of time that JSON text cannot say are taken besides.
    #[test]
    fn typed_values_equal_their_json((number, float, unit, scale) in scalar()) {
        let unit = [TimeUnit::Second, TimeUnit::Millisecond, TimeUnit::Microsecond, TimeUnit::Nanosecond][usize::from(unit)];
        let bytes = number.to_be_bytes();
        let written = number.to_string();
        let values = [
            Value::Boolean(number > 0),
            Value::Integer(number),
            Value::Unsigned(number.unsigned_abs()),
            Value::Float(float),
            Value::Single(float as f32),
            Value::Float(f64::NAN),
            Value::Text(&written),
            Value::Text("true"),
            Value::Bytes(&bytes[..3]),
            Value::Decimal(&bytes[4..], u32::from(scale % 8)),
            Value::Timestamp(number, unit, Clock::Utc),
            Value::Timestamp(number, unit, Clock::Local),
            Value::Date(number as i32),
            Value::Time(number, unit),
            Value::Uuid(number as u64, 5),
            Value::Interval { months: number as u32 % 1000, days: 3, milliseconds: number as u32 },
        ];
        for data_type in column_types() {
            for value in values {
                let column = || make(&data_type, 1, &Reading::default()).unwrap();
                let (mut direct, mut by_text) = (column(), column());
                let mut json = Vec::new();
                write_json(&[value], &mut json);
                let json = String::from_utf8(json).unwrap();
                match (direct.append_value(&[value]), by_text.append(&json)) {
                    (Ok(()), Ok(())) => {
                        let (direct, by_text) = (direct.finish().unwrap(), by_text.finish().unwrap());
                        prop_assert_eq!(&direct.to_data(), &by_text.to_data(), "{:?} in {}", value, data_type);
                    }
                    (Err(direct), Err(by_text)) => prop_assert_eq!(direct.kind, by_text.kind),
                    (Ok(()), Err(_)) => {
                        let beyond = matches!(value, Value::Interval { .. });
                        prop_assert!(beyond, "{:?} in {}: JSON text {} is refused", value, data_type, json);
                    }
                    (Err(fault), Ok(())) => {
                        prop_assert!(false, "{:?} in {}: {}", value, data_type, fault.describe(&[]));
                    }
                }
            }
        }
    }
}
