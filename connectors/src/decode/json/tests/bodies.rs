//! Tests whole bodies: which are valid, which column a member belongs to, and which columns are filled from the message.

use std::sync::Arc;

use arrow::array::{Array, StringArray};
use arrow::datatypes::{DataType, Field, Fields, TimeUnit};

use super::{config, decode, decode_some, nullable, show};
use crate::decode::json::depth::MAX_DEPTH;
use crate::decode::{Decoded, Decoder, Headers, Message};

fn ab() -> Vec<Field> {
    vec![nullable("a", DataType::Int64), nullable("b", DataType::Utf8)]
}

#[test]
fn a_body_is_exactly_one_object() {
    let deep = |depth: usize| format!(r#"{{"a":1,"x":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
    let deepest = deep(MAX_DEPTH - 1);
    let too_deep = deep(MAX_DEPTH);
    let far_too_deep = deep(1_000_000);
    let brackets_in_text = format!(r#"{{"a":1,"x":["{}\"{}"]}}"#, "[".repeat(500), "{".repeat(500));
    let cases: Vec<(&[u8], &str)> = vec![
        (b"{}", ""),
        (b" {\"a\" : 1 } \r\n", ""),
        (deepest.as_bytes(), ""),
        (brackets_in_text.as_bytes(), ""),
        (b"", "not_json"),
        (b"  ", "not_json"),
        (b"{", "not_json"),
        (b"{\"a\":1", "not_json"),
        (b"{\"a\":1,", "not_json"),
        (b"{\"a\":1,}", "not_json"),
        (b"{\"a\" 1}", "not_json"),
        (b"{\"a\":01}", "not_json"),
        (b"{\"a\":tru}", "not_json"),
        (b"{\"x\":\"\n\"}", "not_json"),
        (b"{a:1}", "not_json"),
        (b"hello", "not_json"),
        (b"{\"x\":\"\xff\"}", "not_json"),
        (b"{\"x\":\"\xed\xa0\x80\"}", "not_json"),
        (b"[1]", "not_one_object"),
        (b"1", "not_one_object"),
        (b"null", "not_one_object"),
        (b"\"{}\"", "not_one_object"),
        (b"{\"a\":1}{\"a\":2}", "not_one_object"),
        (b"{\"a\":1} x", "not_one_object"),
        (b"{\"a\":1}\0", "not_one_object"),
        (too_deep.as_bytes(), "too_deep"),
        (far_too_deep.as_bytes(), "too_deep"),
        (b"{\"a\":2}", ""),
    ];
    let bodies: Vec<&[u8]> = cases.iter().map(|(body, _)| *body).collect();
    // Members that no column reads are checked too.
    for columns in [vec![0, 1], vec![0], vec![]] {
        let decoded = decode_some(ab(), columns, &bodies);
        let kind = |sequence: u64| {
            decoded.dead_letters.iter().find(|letter| letter.sequence == sequence).map_or("", |letter| letter.kind)
        };
        for (index, (body, expected)) in cases.iter().enumerate() {
            let excerpt = String::from_utf8_lossy(&body[..body.len().min(60)]);
            assert_eq!(kind(index as u64 + 1), *expected, "{excerpt}");
        }
    }
}

#[test]
fn errors_say_where() {
    let bodies: [&[u8]; 5] =
        [b"{\"b\":\"x\",\"a\":\"y\"}", b"{\"a\":1,,}", b"{\"a\":1}\n {}", b"{\"a\":\"\xff\"}", b"{\"a\":1,\n\"b\":tru}"];
    let decoded = decode(ab(), &bodies);
    assert_eq!(decoded.unfit[0].error, "column a: expected BIGINT, found \"y\", at byte 13");
    let errors: Vec<String> = decoded.dead_letters.into_iter().map(|letter| letter.error).collect();
    for (error, byte) in errors.iter().zip(["at byte 7", "at byte 9", "at byte 6", "at byte 15"]) {
        assert!(error.ends_with(byte), "{error} {byte}");
    }
    let list = DataType::List(Arc::new(nullable("item", DataType::Struct(Fields::from(ab())))));
    let decoded = decode(vec![nullable("l", list)], &[r#"{"l":[{"a":1},{"a":{}}]}"#]);
    assert!(decoded.unfit[0].error.starts_with("column l[1].a: "), "{}", decoded.unfit[0].error);
}

#[test]
fn members_find_their_columns() {
    let fields = vec![nullable("orderid", DataType::Int64), nullable("X", DataType::Int64), nullable("x", DataType::Int64)];
    let cases = [
        (r#"{"orderId":1}"#, "1 NULL NULL"),
        (r#"{"orderid":1,"orderId":2}"#, "1 NULL NULL"),
        (r#"{"orderId":2,"orderid":1}"#, "1 NULL NULL"),
        (r#"{"orderId":"no number","orderid":1}"#, "1 NULL NULL"),
        (r#"{"orderid":1,"orderId":"no number"}"#, "1 NULL NULL"),
        (r#"{"ORDERID":1,"orderId":2}"#, "2 NULL NULL"),
        (r#"{"order\u0069d":1}"#, "1 NULL NULL"),
        (r#"{"orderid":1,"orderid":2}"#, "2 NULL NULL"),
        (r#"{"orderid":"x","orderid":2}"#, "2 NULL NULL"),
        (r#"{"orderid":1,"orderid":null}"#, "NULL NULL NULL"),
        (r#"{"X":1,"x":2}"#, "NULL 1 2"),
        (r#"{"x":2}"#, "NULL NULL 2"),
        (r#"{"z":0,"y":{},"x":2,"orderid":5}"#, "5 NULL 2"),
        (r#"{"x":2,"z":0,"orderid":5}"#, "5 NULL 2"),
    ];
    let bodies: Vec<&str> = cases.iter().map(|(body, _)| *body).collect();
    let rows = decode(fields.clone(), &bodies).rows;
    for (row, (body, expected)) in cases.iter().enumerate() {
        let shown: Vec<String> = rows.columns().iter().map(|column| show(column, row)).collect();
        assert_eq!(shown.join(" "), *expected, "{body}");
    }
    // The column of a member does not depend on which columns are decoded.
    let narrow = decode_some(fields, vec![1], &[r#"{"x":2}"#]);
    assert_eq!(show(narrow.rows.column(0), 0), "NULL");
    // More names than are remembered.
    let many: Vec<String> = (0..3000).map(|name| format!(r#"{{"n{name}":0,"A":{name}}}"#)).collect();
    let rows = decode(ab(), &many).rows;
    assert!((0..3000).all(|row| show(rows.column(0), row) == row.to_string()));
}

/// The row, column and kind of each mark.
fn marks(decoded: &Decoded) -> Vec<(usize, usize, &str)> {
    decoded.unfit.iter().map(|unfit| (unfit.row, unfit.column, unfit.kind)).collect()
}

#[test]
fn not_null_concerns_those_alone_that_read_the_column() {
    let fields = vec![Field::new("a", DataType::Int64, false), nullable("b", DataType::Utf8)];
    let bodies = [r#"{"b":"x"}"#, r#"{"a":null}"#, r#"{"a":1}"#, r#"{"a":null,"a":1}"#, r#"{"a":1,"a":null}"#];
    let decoded = decode(fields.clone(), &bodies);
    assert_eq!(marks(&decoded), [(0, 0, "missing"), (1, 0, "missing"), (4, 0, "missing")]);
    assert!(decoded.unfit.iter().all(|unfit| unfit.error == "column a: NOT NULL, but the value is missing or null"));
    assert_eq!(show(decoded.rows.column(1), 0), "x");
    assert_eq!([2, 3].map(|row| show(decoded.rows.column(0), row)), ["1", "1"]);
    for columns in [vec![1], vec![]] {
        let decoded = decode_some(fields.clone(), columns, &bodies);
        assert_eq!(decoded.sequences.values(), &[1, 2, 3, 4, 5]);
        assert!(decoded.unfit.is_empty());
    }
}

/// Columns of each shape. `strict` makes the last one NOT NULL.
fn shapes(strict: bool) -> Vec<Field> {
    let inner = Fields::from(vec![nullable("x", DataType::Int64), nullable("y", DataType::Utf8)]);
    let pair = Fields::from(vec![Field::new("key", DataType::Utf8, false), nullable("value", DataType::Int64)]);
    vec![
        nullable("t", DataType::Utf8),
        nullable("l", DataType::List(Arc::new(nullable("item", DataType::Struct(inner))))),
        nullable("m", DataType::Map(Arc::new(Field::new("entries", DataType::Struct(pair), false)), false)),
        nullable("_payload", DataType::Binary),
        Field::new("z", DataType::Int64, !strict),
    ]
}

fn shaped(n: i64) -> String {
    format!(r#"{{"t":"t{n}","l":[{{"x":{n},"y":"a"}},null,{{"x":{n}}}],"m":{{"k{n}":{n}}},"z":{n}}}"#)
}

#[test]
fn a_refused_body_leaves_nothing_in_any_column() {
    let bodies = [
        shaped(1),
        // The error follows lists and maps that were taken, in a text that is not in compact form.
        r#"{ "t":"bad", "l":[{"x":1}],  "m":{"a":1,"b":2}, "z":1"#.into(),
        shaped(2),
        r#"{ "t":"bad", "l":[{"x":"no"}],  "m":{"a":"no"}, "z":"no" } {}"#.into(),
        r#"{ "t":"bad", "m":{"a":1}, "l":[],, }"#.into(),
        shaped(3),
    ];
    for strict in [false, true] {
        let mixed = decode(shapes(strict), &bodies);
        assert_eq!(mixed.sequences.values(), &[1, 3, 6]);
        assert!(mixed.unfit.is_empty() && mixed.dead_letters.len() == 3);
        let clean = decode(shapes(strict), &[&bodies[0], &bodies[2], &bodies[5]]);
        assert_eq!(mixed.rows, clean.rows);
    }
}

#[test]
fn a_member_that_does_not_fit_leaves_the_others_as_they_are() {
    let cases = [
        (shaped(1), vec![]),
        (r#"{"t":"a","l":[{"x":1,"y":"b"},{"x":"no"}],"z":1}"#.into(), vec![1]),
        (shaped(2), vec![]),
        (r#"{"t":"a","l":[{"x":1}],"m":{"a":1,"b":2},"z":"no"}"#.into(), vec![4]),
        (r#"{"t":"a","m":{"a":1,"b":"no"},"l":"no","z":1.5}"#.into(), vec![1, 2, 4]),
        (r#"{ "z":"no",  "l":[{"x":"no"}] ,"t":"a", "m":{"a":5} }"#.into(), vec![1, 4]),
        (r#"{"z":"no","z":7,"t":"a"}"#.into(), vec![]),
        (shaped(3), vec![]),
    ];
    let bodies: Vec<&str> = cases.iter().map(|(body, _): &(String, Vec<usize>)| body.as_str()).collect();
    for strict in [false, true] {
        let decoded = decode(shapes(strict), &bodies);
        assert!(decoded.dead_letters.is_empty());
        for (row, (body, unfit)) in cases.iter().enumerate() {
            let marked: Vec<usize> = decoded.unfit.iter().filter(|unfit| unfit.row == row).map(|unfit| unfit.column).collect();
            assert_eq!(marked, *unfit, "{body}");
            // The same body without the members that do not fit.
            let mut value: serde_json::Map<String, serde_json::Value> = serde_json::from_str(body).unwrap();
            unfit.iter().for_each(|column| drop(value.remove(shapes(false)[*column].name())));
            let alone = decode(shapes(false), &[serde_json::to_string(&value).unwrap()]).rows;
            for column in [0, 1, 2, 4].into_iter().filter(|column| !strict || !unfit.contains(column)) {
                assert_eq!(show(decoded.rows.column(column), row), show(alone.column(column), 0), "{body}");
            }
        }
    }
}

struct Pairs(&'static [(&'static str, &'static str)]);

impl Headers for Pairs {
    fn visit(&self, each: &mut dyn FnMut(&str, &str)) {
        self.0.iter().for_each(|(name, value)| each(name, value));
    }
}

#[test]
fn parts_of_the_message() {
    let pair = Fields::from(vec![Field::new("key", DataType::Utf8, false), nullable("value", DataType::Utf8)]);
    let map = DataType::Map(Arc::new(Field::new("entries", DataType::Struct(pair), false)), false);
    let fields = |headers: DataType, payload: DataType| {
        vec![
            Field::new("_sequence", DataType::Int16, false),
            nullable("_subject", DataType::Utf8View),
            nullable("_timestamp", DataType::Timestamp(TimeUnit::Millisecond, Some("+01:00".into()))),
            nullable("_headers", headers),
            nullable("_payload", payload),
        ]
    };
    let headers = Pairs(&[("Nats-Msg-Id", "7"), ("h", "a\"b"), ("h", "c")]);
    let message = |sequence, with, payload| Message {
        sequence,
        subject: "orders.placed",
        timestamp_ns: Some(1_700_000_000_123_456_789),
        headers: if with { Some(&headers as &dyn Headers) } else { None },
        payload,
    };
    let run = |fields| {
        let messages = [
            message(32_767, true, br#"{"_sequence":"from the body","_subject":1}"#.as_slice()),
            message(32_768, true, b"{}"),
            message(1, false, b"{}"),
            message(2, true, b"broken"),
        ];
        Decoder::new(&config(fields, (0..5).collect())).unwrap().decode(0, messages).unwrap()
    };
    let decoded = run(fields(DataType::Utf8, DataType::Utf8));
    let row = |row: usize| -> Vec<String> { decoded.rows.columns().iter().map(|column| show(column, row)).collect() };
    let json = r#"{"Nats-Msg-Id":"7","h":"a\"b, c"}"#;
    let body = r#"{"_sequence":"from the body","_subject":1}"#;
    assert_eq!(marks(&decoded), [(1, 0, "out_of_range")]);
    assert_eq!(row(0), ["32767", "orders.placed", "2023-11-14T23:13:20.123+01:00", json, body]);
    assert_eq!(row(1)[1..], row(0)[1..4].iter().cloned().chain(["{}".to_owned()]).collect::<Vec<_>>());
    assert_eq!(row(2), ["1", "orders.placed", "2023-11-14T23:13:20.123+01:00", "NULL", "{}"]);
    let kinds: Vec<&str> = decoded.dead_letters.iter().map(|letter| letter.kind).collect();
    assert_eq!(kinds, ["not_json"]);
    assert_eq!(decoded.dead_letters[0].headers.as_deref(), Some(json));
    assert_eq!(decoded.dead_letters[0].payload, b"broken".as_slice());
    let decoded = run(fields(map, DataType::Binary));
    assert_eq!(show(decoded.rows.column(3), 0), "{Nats-Msg-Id: 7, h: a\"b, c}");
    assert_eq!(show(decoded.rows.column(4), 2), "7b7d");

    let mut strict = fields(DataType::Utf8, DataType::Utf8);
    strict[3] = Field::new("_headers", DataType::Utf8, false);
    for (columns, unfit) in [(vec![0], vec![]), (vec![0, 3], vec![(0, 3, "missing")])] {
        let decoder = Decoder::new(&config(strict.clone(), columns)).unwrap();
        let decoded = decoder.decode(0, [message(1, false, b"{}".as_slice()), message(2, true, b"{}")]).unwrap();
        assert_eq!((marks(&decoded), decoded.sequences.values().as_ref()), (unfit, [1, 2].as_slice()));
    }
}

#[test]
fn bodies_of_megabytes() {
    let long = "x".repeat(5 << 20);
    let good = format!(r#"{{"a":1,"b":"{long}","skipped":"{long}"}}"#);
    let bad = format!(r#"{{"b":"{long}","a":"{long}"}}"#);
    let decoded = decode(ab(), &[good.as_str(), &bad, &good[..good.len() - 1]]);
    let texts = decoded.rows.column(1).as_any().downcast_ref::<StringArray>().unwrap();
    assert_eq!(texts.value(0), long);
    assert_eq!(decoded.dead_letters.len(), 1);
    assert_eq!(decoded.dead_letters[0].payload, &good.as_bytes()[..good.len() - 1]);
    assert!(decoded.unfit[0].error.len() < 300, "an error does not repeat the value");
}
