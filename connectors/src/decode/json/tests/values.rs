//! Tests which values each type accepts and refuses.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, IntervalUnit, TimeUnit};

use super::{config, config_error, decode_with, nullable, show};
use crate::decode::Decoder;
use crate::source::SourceConfig;

/// Checks that each JSON value becomes the given text, or NULL with a mark of the given kind.
fn check(data_type: DataType, cases: &[(&str, Result<&str, &str>)]) {
    check_read(data_type, &[], cases);
}

/// Like [`check`], for a source with these options.
fn check_read(data_type: DataType, options: &[(&str, &str)], cases: &[(&str, Result<&str, &str>)]) {
    let fields = vec![nullable("before", DataType::Int64), nullable("v", data_type.clone())];
    let bodies: Vec<String> = cases.iter().map(|(value, _)| format!(r#"{{"before":1,"v":{value}}}"#)).collect();
    let options = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    // All values are in one batch: a refused value must leave nothing behind.
    let decoded = decode_with(SourceConfig { options, ..config(fields, vec![0, 1]) }, &bodies);
    let mut marks = decoded.unfit.iter().peekable();
    for (row, (value, expected)) in cases.iter().enumerate() {
        let shown = show(decoded.rows.column(1), row);
        match marks.next_if(|unfit| unfit.row == row) {
            None => assert_eq!(Ok(shown.as_str()), *expected, "{data_type}: {value}"),
            Some(unfit) => {
                assert_eq!(Err(unfit.kind), *expected, "{data_type}: {value}: {}", unfit.error);
                assert!(unfit.error.starts_with("column v") && unfit.column == 1, "{}", unfit.error);
                assert!(shown == "NULL" || data_type == DataType::Null, "{data_type}: {value}: {shown}");
            }
        }
        assert_eq!(show(decoded.rows.column(0), row), "1");
    }
    assert!(marks.next().is_none() && decoded.dead_letters.is_empty());
}

const WRONG: Result<&str, &str> = Err("wrong_type");
const RANGE: Result<&str, &str> = Err("out_of_range");

#[test]
fn integers() {
    check(DataType::Int8, &[("127", Ok("127")), ("-128", Ok("-128")), ("128", RANGE), ("null", Ok("NULL"))]);
    check(DataType::UInt8, &[("255", Ok("255")), ("-1", RANGE), ("-0", Ok("0")), ("256", RANGE)]);
    check(DataType::Int16, &[("-32768", Ok("-32768")), ("32768", RANGE)]);
    check(DataType::UInt16, &[("65535", Ok("65535")), ("65536", RANGE)]);
    check(DataType::Int32, &[("2147483647", Ok("2147483647")), ("2147483648", RANGE)]);
    check(DataType::UInt32, &[("4294967295", Ok("4294967295")), ("4294967296", RANGE)]);
    check(DataType::UInt64, &[("18446744073709551615", Ok("18446744073709551615")), ("18446744073709551616", RANGE)]);
    check(
        DataType::Int64,
        &[
            ("9223372036854775807", Ok("9223372036854775807")),
            ("9223372036854775808", RANGE),
            ("\"9007199254740993\"", Ok("9007199254740993")),
            ("5.0", Ok("5")),
            ("5e2", Ok("500")),
            ("1.5e1", Ok("15")),
            ("0e99999999999999999999", Ok("0")),
            ("1e99999999999999999999", RANGE),
            ("5.5", WRONG),
            ("1e-99999999999999999999", WRONG),
            ("true", WRONG),
            ("\"\"", WRONG),
            ("\"5 \"", WRONG),
            ("\"five\"", WRONG),
            ("{}", WRONG),
            ("[1]", WRONG),
        ],
    );
}

#[test]
fn floating_point() {
    check(
        DataType::Float64,
        &[
            ("0.1", Ok("0.1")),
            ("1e308", Ok("1e308")),
            ("1e309", RANGE),
            ("\"2.5\"", Ok("2.5")),
            ("\"NaN\"", Ok("NaN")),
            ("\"-Infinity\"", Ok("-inf")),
            ("\"inf\"", WRONG),
            ("\"\"", WRONG),
            ("false", WRONG),
            ("-0.0", Ok("-0.0")),
        ],
    );
    check(DataType::Float32, &[("1.5", Ok("1.5")), ("1e39", RANGE), ("3", Ok("3.0"))]);
    check(DataType::Float16, &[("1.5", Ok("1.5")), ("65520", RANGE), ("null", Ok("NULL"))]);
}

#[test]
fn decimals_are_exact() {
    check(
        DataType::Decimal128(12, 2),
        &[
            ("1.5", Ok("1.50")),
            ("\"1.50\"", Ok("1.50")),
            ("1.500000", Ok("1.50")),
            ("1.505", RANGE),
            ("-0.01", Ok("-0.01")),
            ("1.5e3", Ok("1500.00")),
            ("15E-1", Ok("1.50")),
            ("100e-4", Ok("0.01")),
            ("9999999999.99", Ok("9999999999.99")),
            ("10000000000", RANGE),
            ("1e10", RANGE),
            ("1e-3", RANGE),
            ("0", Ok("0.00")),
            ("0.000", Ok("0.00")),
            ("\"\"", WRONG),
            ("\".\"", WRONG),
            ("\"1.2.3\"", WRONG),
            ("\"1e\"", WRONG),
            ("\"+.5\"", Ok("0.50")),
            ("true", WRONG),
        ],
    );
    check(
        DataType::Decimal128(38, 10),
        &[
            ("1234567890123456789012345678.0123456789", Ok("1234567890123456789012345678.0123456789")),
            ("12345678901234567890123456789.0", RANGE),
            ("0.00000000001", RANGE),
        ],
    );
    check(DataType::Decimal128(5, -2), &[("1234500", Ok("1234500")), ("1234550", RANGE), ("12e2", Ok("1200"))]);
    check(DataType::Decimal32(9, 2), &[("1234567.89", Ok("1234567.89")), ("12345678", RANGE)]);
    check(DataType::Decimal64(18, 0), &[("999999999999999999", Ok("999999999999999999"))]);
    let long = "1234567890123456789012345678901234567890123456789012345678901234567890.123456";
    check(DataType::Decimal256(76, 6), &[(long, Ok(long)), ("-0.5", Ok("-0.500000")), ("0", Ok("0.000000")), ("1e70", RANGE)]);
}

#[test]
fn text_takes_any_value_as_written() {
    for data_type in [DataType::Utf8, DataType::LargeUtf8, DataType::Utf8View] {
        check(
            data_type,
            &[
                ("\"\"", Ok("")),
                ("\"short\"", Ok("short")),
                ("\"a text of more than twelve bytes\"", Ok("a text of more than twelve bytes")),
                (r#""a\"b\\c\nd\u00e9\ud83d\ude00""#, Ok("a\"b\\c\ndé😀")),
                (r#""half \ud800 a pair""#, RANGE),
                ("1.50", Ok("1.50")),
                ("1e400", Ok("1e400")),
                ("true", Ok("true")),
                (r#"{ "a" : [1, "}"] }"#, Ok(r#"{ "a" : [1, "}"] }"#)),
                ("[ ]", Ok("[ ]")),
                ("null", Ok("NULL")),
                ("\"null\"", Ok("null")),
            ],
        );
    }
    check(
        DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)),
        &[("\"a\"", Ok("a")), ("null", Ok("NULL")), ("\"a\"", Ok("a"))],
    );
}

#[test]
fn bytes_are_base64() {
    for data_type in [DataType::Binary, DataType::LargeBinary, DataType::BinaryView] {
        check(
            data_type,
            &[
                ("\"AAH/\"", Ok("0001ff")),
                ("\"AAH_\"", Ok("0001ff")),
                ("\"AAE\"", Ok("0001")),
                ("\"AAE=\"", Ok("0001")),
                ("\"\"", Ok("")),
                ("\"AAECAwQFBgcICQoLDA0ODw==\"", Ok("000102030405060708090a0b0c0d0e0f")),
                ("\"*\"", WRONG),
                ("1", WRONG),
            ],
        );
    }
    check(DataType::FixedSizeBinary(2), &[("\"AAE=\"", Ok("0001")), ("\"AAH/\"", RANGE), ("null", Ok("NULL"))]);
}

#[test]
fn booleans_and_nulls() {
    check(DataType::Boolean, &[("true", Ok("true")), ("false", Ok("false"))]);
    for (written, expected) in [
        ("\"true\"", "true"),
        ("1", "true"),
        ("1.0", "true"),
        ("\"Yes\"", "true"),
        ("\"F\"", "false"),
        ("0", "false"),
        ("\"off\"", "false"),
    ] {
        check(DataType::Boolean, &[(written, Ok(expected))]);
    }
    for wrong in ["2", "-1", "0.5", "\"\"", "\"true \"", "\"nope\"", "{}", "[]", "\"10\""] {
        check(DataType::Boolean, &[(wrong, WRONG)]);
    }
    check(DataType::Null, &[("null", Ok("NULL")), ("1", WRONG)]);
}

#[test]
fn timestamps_are_exact() {
    let plain = |unit| DataType::Timestamp(unit, None);
    check(
        plain(TimeUnit::Nanosecond),
        &[
            ("\"2024-02-29T12:34:56.123456789Z\"", Ok("2024-02-29T12:34:56.123456789")),
            ("\"2024-02-29 12:34:56.5\"", Ok("2024-02-29T12:34:56.500")),
            ("\"2024-02-29T12:34:56+02:00\"", Ok("2024-02-29T10:34:56")),
            (r#""2024-02-29T12:34:56\u002B02:00""#, Ok("2024-02-29T10:34:56")),
            ("\"2024-02-29\"", Ok("2024-02-29T00:00:00")),
            ("1709210096000000000", WRONG),
            ("\"1709210096000000000\"", WRONG),
            ("\"2024-02-29T12:34Z\"", Ok("2024-02-29T12:34:00")),
            ("\"20240229T123456Z\"", Ok("2024-02-29T12:34:56")),
            ("\"Thu, 29 Feb 2024 12:34:56 +0200\"", Ok("2024-02-29T10:34:56")),
            ("\"Fri, 29 Feb 2024 12:34:56 +0200\"", WRONG),
            ("\"2024-02-30T12:34Z\"", WRONG),
            ("\"2024-02-29T12:34:56.1234567890\"", Ok("2024-02-29T12:34:56.123456789")),
            ("\"2024-02-29T12:34:56.1234567891\"", RANGE),
            ("\"2300-01-01T00:00:00Z\"", RANGE),
            ("\"2023-02-29\"", WRONG),
            ("\"yesterday\"", WRONG),
            ("\"\"", WRONG),
            ("1.5", WRONG),
            ("true", WRONG),
        ],
    );
    check(
        plain(TimeUnit::Millisecond),
        &[
            ("\"2024-02-29T12:34:56.123Z\"", Ok("2024-02-29T12:34:56.123")),
            ("\"1969-12-31T23:59:59.999Z\"", Ok("1969-12-31T23:59:59.999")),
            ("\"2024-02-29T12:34:56.1234Z\"", RANGE),
            ("1709210096123", Ok("2024-02-29T12:34:56.123")),
        ],
    );
    check(plain(TimeUnit::Microsecond), &[("\"2300-01-01T00:00:00Z\"", Ok("2300-01-01T00:00:00"))]);
    check(plain(TimeUnit::Second), &[("1709210096", Ok("2024-02-29T12:34:56")), ("\"2024-02-29T12:34:56.5Z\"", RANGE)]);
    check(
        DataType::Timestamp(TimeUnit::Second, Some("+02:00".into())),
        &[
            ("\"2024-02-29T12:34:56\"", Ok("2024-02-29T12:34:56+02:00")),
            ("\"2024-02-29T12:34:56Z\"", Ok("2024-02-29T14:34:56+02:00")),
        ],
    );
}

#[test]
fn a_time_as_a_number_has_a_unit() {
    let time = |unit| DataType::Timestamp(unit, None);
    let nanoseconds = time(TimeUnit::Nanosecond);
    for (epoch, number) in
        [("s", "1709210096"), ("ms", "1709210096000"), ("us", "\"1709210096000000\""), ("ns", "1.709210096e18")]
    {
        let at = Ok("2024-02-29T12:34:56");
        check_read(nanoseconds.clone(), &[("epoch", epoch)], &[(number, at), ("\"2024-02-29T12:34:56Z\"", at)]);
        check_read(time(TimeUnit::Second), &[("epoch.v", epoch)], &[(number, at)]);
    }
    check_read(
        nanoseconds.clone(),
        &[("epoch.v", "s")],
        &[
            ("1709210096.123456789", Ok("2024-02-29T12:34:56.123456789")),
            ("\"1709210096.5\"", Ok("2024-02-29T12:34:56.500")),
            ("-0.5", Ok("1969-12-31T23:59:59.500")),
            ("1709210096.1234567891", RANGE),
            ("1709210096000", RANGE),
            ("true", WRONG),
        ],
    );
    check_read(
        time(TimeUnit::Second),
        &[("epoch", "ms")],
        &[("1709210096123", RANGE), ("1709210096000", Ok("2024-02-29T12:34:56"))],
    );
    check(time(TimeUnit::Second), &[("1709210096.5", RANGE), ("1709210096.0", Ok("2024-02-29T12:34:56"))]);
    let inner = DataType::Struct(Fields::from(vec![nullable("at", nanoseconds.clone())]));
    check_read(inner.clone(), &[("epoch.v", "ms")], &[(r#"{"at":1709210096000}"#, Ok("{at: 2024-02-29T12:34:56}"))]);
    check(inner, &[(r#"{"at":1709210096000}"#, WRONG)]);
    let decoded = decode_with(config(vec![nullable("v", nanoseconds)], vec![0]), &[r#"{"v":1709210096000}"#]);
    assert!(decoded.unfit[0].error.contains("declare TIMESTAMP(3) for milliseconds"), "{}", decoded.unfit[0].error);
}

#[test]
fn a_text_can_stand_for_null() {
    for data_type in [DataType::Int64, DataType::Utf8, DataType::Boolean, DataType::Timestamp(TimeUnit::Second, None)] {
        check_read(data_type.clone(), &[("null_text", "")], &[("\"\"", Ok("NULL")), ("null", Ok("NULL"))]);
        check_read(data_type, &[("null_text.v", "N/A \"")], &[("\"N/A \\\"\"", Ok("NULL"))]);
    }
    let inner = DataType::Struct(Fields::from(vec![nullable("n", DataType::Int64)]));
    check_read(inner, &[("null_text", "-")], &[(r#"{"n":"-"}"#, Ok("{n: NULL}")), ("\"-\"", Ok("NULL")), (r#"{"n":""}"#, WRONG)]);
    let mut strict = config(vec![Field::new("v", DataType::Int64, false)], vec![0]);
    strict.options.insert("null_text".into(), String::new());
    assert_eq!(decode_with(strict, &[r#"{"v":""}"#]).unfit[0].kind, "missing");
}

#[test]
fn a_member_that_does_not_fit_can_be_null() {
    check_read(DataType::Int64, &[("on_bad_member", "null")], &[("\"x\"", Ok("NULL")), ("7", Ok("7")), ("{}", Ok("NULL"))]);
    let fields = vec![nullable("a", DataType::Int64), nullable("b", DataType::Int64), Field::new("c", DataType::Int64, false)];
    let mut config = config(fields, vec![0, 1, 2]);
    config.options.insert("on_bad_member".into(), "null".into());
    config.options.insert("on_bad_member.b".into(), "dead_letter".into());
    let decoded = decode_with(config, &[r#"{"a":"x","b":"y","c":"z"}"#, r#"{"a":1,"b":2,"c":3}"#, "{"]);
    assert_eq!(decoded.unfit.iter().map(|unfit| (unfit.row, unfit.column)).collect::<Vec<_>>(), [(0, 1), (0, 2)]);
    assert_eq!((decoded.nulled, decoded.dead_letters.len()), (1, 1));
}

#[test]
fn dates_times_and_lengths() {
    check(
        DataType::Date32,
        &[
            ("\"2024-02-29\"", Ok("2024-02-29")),
            ("\"1969-12-31\"", Ok("1969-12-31")),
            ("19782", Ok("2024-02-29")),
            ("\"2024-02-30\"", WRONG),
            ("\"20240229\"", Ok("2024-02-29")),
            ("\"20240230\"", WRONG),
            ("\"2024-01-1X\"", WRONG),
            ("\"2024-02-29T01:00:00\"", WRONG),
        ],
    );
    check(DataType::Date64, &[("\"2024-02-29\"", Ok("2024-02-29T00:00:00"))]);
    check(
        DataType::Time64(TimeUnit::Nanosecond),
        &[
            ("\"12:34:56.123456789\"", Ok("12:34:56.123456789")),
            ("\"12:34\"", Ok("12:34:00")),
            ("0", Ok("00:00:00")),
            ("86400000000000", RANGE),
            ("-1", RANGE),
            ("\"24:00:00\"", WRONG),
        ],
    );
    check(DataType::Time64(TimeUnit::Microsecond), &[("\"12:34:56.1234567\"", RANGE)]);
    check(DataType::Time32(TimeUnit::Millisecond), &[("\"12:34:56.789\"", Ok("12:34:56.789"))]);
    check(DataType::Time32(TimeUnit::Second), &[("\"12:34:56\"", Ok("12:34:56")), ("\"12:34:56.5\"", RANGE)]);
    check(DataType::Duration(TimeUnit::Second), &[("90", Ok("PT90S")), ("\"x\"", WRONG)]);
    check(
        DataType::Interval(IntervalUnit::MonthDayNano),
        &[("\"1 month 2 days\"", Ok("1 mons 2 days")), ("\"1 potato\"", WRONG), ("5", WRONG)],
    );
    check(DataType::Interval(IntervalUnit::YearMonth), &[("\"1 year 2 months\"", Ok("1 years 2 mons"))]);
    check(DataType::Interval(IntervalUnit::DayTime), &[("\"3 days\"", Ok("3 days"))]);
}

#[test]
fn nested() {
    let item = || Arc::new(nullable("item", DataType::Int32));
    let needed = || Arc::new(Field::new("item", DataType::Int32, false));
    let structure = DataType::Struct(Fields::from(vec![
        Field::new("id", DataType::Int32, false),
        nullable("Name", DataType::Utf8),
        nullable("tags", DataType::List(Arc::new(nullable("item", DataType::Utf8)))),
    ]));
    check(
        structure.clone(),
        &[
            (r#"{"id":1,"name":"a","tags":["x",null]}"#, Ok("{id: 1, Name: a, tags: [x, NULL]}")),
            (r#"{"other":{"deep":[{}]},"id":2}"#, Ok("{id: 2, Name: NULL, tags: NULL}")),
            (r#"{"name":"no id"}"#, Err("missing")),
            (r#"{"id":1,"tags":["x"],"name":"y","id":"z"}"#, WRONG),
            (r#"{"id":3,"tags":[],"tags":["last"]}"#, Ok("{id: 3, Name: NULL, tags: [last]}")),
            ("null", Ok("NULL")),
            ("[]", WRONG),
            ("\"{}\"", WRONG),
        ],
    );
    for list in [DataType::List(item()), DataType::LargeList(item())] {
        check(
            list,
            &[
                ("[1,2]", Ok("[1, 2]")),
                ("[]", Ok("[]")),
                ("null", Ok("NULL")),
                ("[1,null]", Ok("[1, NULL]")),
                ("[1,\"x\"]", WRONG),
                ("[1,3000000000]", RANGE),
                ("{}", WRONG),
                ("[3]", Ok("[3]")),
            ],
        );
    }
    check(DataType::List(needed()), &[("[1,null]", Err("missing")), ("[1]", Ok("[1]"))]);
    check(
        DataType::FixedSizeList(item(), 2),
        &[("[1,2]", Ok("[1, 2]")), ("[1]", RANGE), ("[1,2,3]", RANGE), ("null", Ok("NULL")), ("[5,null]", Ok("[5, NULL]"))],
    );
    let entries = |key, value| {
        let pair = Fields::from(vec![Field::new("key", key, false), nullable("value", value)]);
        DataType::Map(Arc::new(Field::new("entries", DataType::Struct(pair), false)), false)
    };
    check(
        entries(DataType::Utf8, DataType::Int32),
        &[
            (r#"{"a":1,"b":null}"#, Ok("{a: 1, b: NULL}")),
            (r#"{"a":1,"b":2,"\u0061":3}"#, Ok("{a: 3, b: 2}")),
            ("{}", Ok("{}")),
            (r#"{"a":1,"b":"x"}"#, WRONG),
            ("null", Ok("NULL")),
            ("[]", WRONG),
            (r#"{"c":7}"#, Ok("{c: 7}")),
        ],
    );
    check(
        entries(DataType::Int64, structure),
        &[
            (r#"{"7":{"id":1}}"#, Ok("{7: {id: 1, Name: NULL, tags: NULL}}")),
            (r#"{"7":{"id":1},"8":{}}"#, Err("missing")),
            (r#"{"x":{"id":1}}"#, WRONG),
        ],
    );
}

#[test]
fn types_that_json_cannot_give_are_refused_by_name() {
    let run = DataType::RunEndEncoded(
        Arc::new(Field::new("run_ends", DataType::Int32, false)),
        Arc::new(nullable("values", DataType::Utf8)),
    );
    let nested = DataType::Struct(Fields::from(vec![nullable("inner", run)]));
    let message = config_error(Decoder::new(&config(vec![nullable("odd", nested)], vec![0])));
    assert!(message.contains("column odd") && message.contains("inner"), "{message}");
    for (name, wrong) in [
        ("_sequence", DataType::Utf8),
        ("_subject", DataType::Int64),
        ("_timestamp", DataType::Int64),
        ("_headers", DataType::Int64),
        ("_payload", DataType::Int64),
    ] {
        assert!(config_error(Decoder::new(&config(vec![nullable(name, wrong)], vec![0]))).contains(name));
    }
    let mut xml = config(vec![], vec![]);
    xml.options.insert("format".into(), "xml".into());
    assert!(config_error(Decoder::new(&xml)).contains("xml"));
}
