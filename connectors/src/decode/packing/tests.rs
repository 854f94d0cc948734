//! Tests what messages hold: lines, arrays, rows of Arrow, and CloudEvents.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;

use arrow::array::{ArrayRef, DictionaryArray, Int64Array, NullArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int32Type};
use arrow::ipc::CompressionType;
use arrow::ipc::writer::{FileWriter, IpcWriteOptions, StreamWriter};

use crate::Error;
use crate::decode::tests::registry::declared;
use crate::decode::tests::{nullable, show};
use crate::decode::{Decoded, Decoder, Headers, Message};
use crate::source::SourceConfig;

fn columns() -> Vec<Field> {
    vec![
        nullable("_sequence", DataType::UInt64),
        nullable("_ordinal", DataType::Int32),
        nullable("a", DataType::Int64),
        nullable("_payload", DataType::Utf8),
    ]
}

struct HeaderList<'h>(&'h [(&'h str, &'h str)]);

impl Headers for HeaderList<'_> {
    fn visit(&self, each: &mut dyn FnMut(&str, &str)) {
        self.0.iter().for_each(|(name, value)| each(name, value));
    }
}

type Sent<'m> = (&'m [(&'m str, &'m str)], &'m [u8]);

fn decode(config: &SourceConfig, messages: &[Sent<'_>]) -> Decoded {
    let headers: Vec<HeaderList<'_>> = messages.iter().map(|(headers, _)| HeaderList(headers)).collect();
    let messages = messages.iter().zip(&headers).enumerate().map(|(index, ((_, payload), headers))| Message {
        sequence: index as u64 + 1,
        subject: "events",
        timestamp_ns: None,
        headers: (!headers.0.is_empty()).then_some(headers as &dyn Headers),
        payload,
    });
    Decoder::new(config).unwrap().decode(8, messages).unwrap()
}

fn rows(decoded: &Decoded) -> Vec<String> {
    let cells = |row| decoded.rows.columns().iter().map(move |column| show(column, row)).collect::<Vec<_>>().join(" | ");
    (0..decoded.rows.num_rows()).map(cells).collect()
}

fn letters(decoded: &Decoded) -> Vec<(u64, Option<u32>, &[u8], &str)> {
    let letters = decoded.dead_letters.iter();
    letters.map(|letter| (letter.sequence, letter.ordinal, &letter.payload[..], letter.error.as_str())).collect()
}

#[test]
fn each_line_is_an_event_with_its_place() {
    let bodies: [&[u8]; 4] = [b"{\"a\":1}\n\n{\"a\":\"x\"}\r\nno\n{\"a\":4}", b"", b"\n", b"{\"a\":5}\n"];
    let decoded = decode(&declared(columns(), &[("batch", "lines")]), &bodies.map(|body| (&[][..], body)));
    let expected = [r#"1 | 1 | 1 | {"a":1}"#, r#"1 | 2 | NULL | {"a":"x"}"#, r#"1 | 4 | 4 | {"a":4}"#, r#"4 | 1 | 5 | {"a":5}"#];
    assert_eq!(rows(&decoded), expected);
    assert_eq!((decoded.events, decoded.unfit.len(), decoded.unfit[0].row), (6, 1, 1));
    let letters = letters(&decoded);
    assert_eq!(letters[0].0, 1);
    assert_eq!((letters[0].1, letters[0].2), (Some(3), &b"no"[..]));
    assert!(letters[0].3.starts_with("not JSON") && letters[0].3.ends_with(", in event 3 of the message"), "{letters:?}");
    assert_eq!((letters[1].0, letters[1].1, letters[1].3), (2, None, "the body is empty, at byte 0"));
    let bad = "no\n".repeat(1001);
    let decoded =
        decode(&declared(columns(), &[("batch", "lines")]), &[(&[], bad.as_bytes()), (&[], &bad.as_bytes()[3..]), (&[], b"no")]);
    assert_eq!((decoded.rows.num_rows(), decoded.dead_letters.len(), decoded.events), (0, 1 + 1000 + 1, 1001 + 1000 + 1));
    let whole = &decoded.dead_letters[0];
    assert_eq!((whole.ordinal, &whole.payload[..]), (None, bad.as_bytes()));
    assert!(whole.error.starts_with("none of its 1001 events decodes; the first: not JSON"), "{}", whole.error);
    let many = "{}\n".repeat(100_001);
    let decoded = decode(&declared(columns(), &[("batch", "lines")]), &[(&[], many.as_bytes()), (&[], b"{\"a\":1}")]);
    assert_eq!((decoded.rows.num_rows(), decoded.dead_letters.len()), (1, 1));
    assert_eq!(decoded.dead_letters[0].error, "the message holds more than 100000 events");
}

#[test]
fn each_element_of_an_array_is_an_event() {
    let bodies: [&[u8]; 6] =
        [b" [{\"a\":1}, {\"a\":2.5} ,7]", b"{\"a\":3}", b"[]", b"[{\"a\":1},", b"[{\"a\":1}] x", b"[\"\xff\"]"];
    let decoded = decode(&declared(columns(), &[("batch", "array")]), &bodies.map(|body| (&[][..], body)));
    assert_eq!(rows(&decoded), [r#"1 | 1 | 1 | {"a":1}"#, r#"1 | 2 | NULL | {"a":2.5}"#, r#"2 | 1 | 3 | {"a":3}"#]);
    let letters = letters(&decoded);
    assert_eq!((letters[0].0, letters[0].1, letters[0].2), (1, Some(3), &b"7"[..]));
    let whole: Vec<_> =
        letters[1..].iter().map(|letter| (letter.0, letter.1, letter.2 == bodies[letter.0 as usize - 1])).collect();
    assert_eq!(whole, [(4, None, true), (5, None, true), (6, None, true)]);
    assert!(letters[1].3.starts_with("not a JSON array: EOF"), "{}", letters[1].3);
}

#[test]
fn many_events_pass_through_chunks_in_their_order() {
    let line = |number: usize| if number.is_multiple_of(7) { format!("bad {number}") } else { format!("{{\"a\":{number}}}") };
    let body = |from: usize, count: usize| (from..from + count).map(line).collect::<Vec<_>>().join("\n").into_bytes();
    let bodies: Vec<Vec<u8>> = [1, 300, 2, 0, 500, 1]
        .iter()
        .scan(1, |next, count| {
            *next += count;
            Some(body(*next - count, *count))
        })
        .collect();
    let messages: Vec<Sent<'_>> = bodies.iter().map(|body| (&[][..], body.as_slice())).collect();
    let decoded = decode(&declared(vec![nullable("a", DataType::Int64)], &[("batch", "lines")]), &messages);
    assert_eq!(
        rows(&decoded),
        (1..=804_usize).filter(|number| !number.is_multiple_of(7)).map(|number| number.to_string()).collect::<Vec<_>>()
    );
    let bad: Vec<Vec<u8>> =
        (1..=804_usize).filter(|number| number.is_multiple_of(7)).map(|number| line(number).into_bytes()).collect();
    // The empty body is a letter of its own.
    let letters: Vec<&[u8]> =
        decoded.dead_letters.iter().map(|letter| &letter.payload[..]).filter(|body| !body.is_empty()).collect();
    assert_eq!(letters, bad);
    let ordinals = decoded.ordinals.unwrap();
    assert_eq!([ordinals.of(0), ordinals.of(1), ordinals.of(2)], [1, 1, 2]);
}

fn arrow_rows() -> RecordBatch {
    let columns: [(&str, ArrayRef); 2] =
        [("a", Arc::new(Int64Array::from(vec![1, 2]))), ("b", Arc::new(StringArray::from(vec![Some("x\ny"), None])))];
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true))).unwrap()
}

fn stream(batches: &[RecordBatch]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = StreamWriter::try_new(&mut bytes, &batches[0].schema()).unwrap();
    batches.iter().for_each(|batch| writer.write(batch).unwrap());
    writer.finish().unwrap();
    bytes
}

#[test]
fn each_row_of_arrow_is_an_event() {
    let batch = arrow_rows();
    let mut file = Vec::new();
    let mut writer = FileWriter::try_new(&mut file, &batch.schema()).unwrap();
    writer.write(&batch).unwrap();
    writer.finish().unwrap();
    let whole = stream(&[batch.clone(), batch.slice(1, 1)]);
    let nulls: ArrayRef = Arc::new(NullArray::new(1 << 20));
    let many = stream(&[RecordBatch::try_from_iter_with_nullable([("a", nulls, true)]).unwrap()]);
    let none = stream(&[batch.slice(0, 0)]);
    let bodies: [&[u8]; 7] = [&whole, &file, &none, &whole[..whole.len() - 30], b"{\"a\":1}", b"", &many];
    let decoded = decode(&declared(columns(), &[("format", "arrow")]), &bodies.map(|body| (&[][..], body)));
    let (first, second) = (r#"1 | {"a":1,"b":"x\ny"}"#, r#"2 | {"a":2,"b":null}"#);
    let expected = [
        format!("1 | 1 | {first}"),
        format!("1 | 2 | {second}"),
        format!("1 | 3 | {second}"),
        format!("2 | 1 | {first}"),
        format!("2 | 2 | {second}"),
    ];
    assert_eq!(rows(&decoded), expected);
    let letters: Vec<_> = decoded.dead_letters.iter().map(|letter| (letter.sequence, letter.kind, letter.ordinal)).collect();
    assert_eq!(letters, [4, 5, 6, 7].map(|sequence| (sequence, "not_arrow", None)));
    assert!(decoded.dead_letters[3].error.contains("more values than its bytes can hold"), "{}", decoded.dead_letters[3].error);
}

#[test]
fn a_compressed_body_is_refused_whatever_it_declares() {
    let options = IpcWriteOptions::default().try_with_compression(Some(CompressionType::LZ4_FRAME)).unwrap();
    let text: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(10_000); 3]));
    let batch = RecordBatch::try_from_iter([("b", text)]).unwrap();
    let mut body = Vec::new();
    let mut writer = StreamWriter::try_new_with_options(&mut body, &batch.schema(), options).unwrap();
    // Without the feature, nothing compresses, and nothing decompresses.
    if writer.write(&batch).is_err() {
        return;
    }
    writer.finish().unwrap();
    drop(writer);
    let plain = stream(&[arrow_rows()]);
    let decoded = decode(&declared(columns(), &[("format", "arrow")]), &[(&[], &body), (&[], &plain)]);
    assert_eq!(rows(&decoded).len(), 2);
    assert_eq!(decoded.dead_letters[0].error, "the body is compressed, which is not read; write it without compression");
}

#[test]
fn a_body_that_is_refused_costs_the_next_one_nothing() {
    // Few bytes with a long text for each of many rows.
    let keys: DictionaryArray<Int32Type> = std::iter::repeat_n("y".repeat(400_000).as_str(), 1000).collect();
    let large = stream(&[RecordBatch::try_from_iter([("b", Arc::new(keys) as ArrayRef)]).unwrap()]);
    let plain = stream(&[arrow_rows()]);
    let decoded = decode(&declared(columns(), &[("format", "arrow")]), &[(&[], &plain), (&[], &large), (&[], &plain)]);
    assert_eq!(rows(&decoded).len(), 4);
    assert_eq!(decoded.dead_letters.len(), 1);
    assert!(decoded.dead_letters[0].error.starts_with("the text of its rows has more than"), "{}", decoded.dead_letters[0].error);
}

#[test]
fn the_letter_of_a_row_holds_its_event() {
    for (options, body, part) in [
        (("batch", "lines"), b"{\"a\":1}\n{\"a\":2}".to_vec(), "{\"a\":2}"),
        (("batch", "array"), b"[{\"a\":1},{\"a\":2}]".to_vec(), "{\"a\":2}"),
        (("format", "arrow"), stream(&[arrow_rows()]), "{\"a\":2,\"b\":null}"),
    ] {
        let decoded = decode(&declared(columns(), &[options]), &[(&[], &body)]);
        let message = Message { sequence: 1, subject: "events", timestamp_ns: None, headers: None, payload: &body };
        let letter = message.letter("events", "expression", "it fails".into());
        let letter = decoded.ordinals.unwrap().slice(1, 1).narrow(letter, 0);
        assert_eq!((letter.ordinal, letter.error.as_str()), (Some(2), "it fails, in event 2 of the message"));
        assert_eq!(letter.payload, part.as_bytes());
    }
}

fn cloud_events(fields: Vec<Field>, messages: &[Sent<'_>]) -> Decoded {
    decode(&declared(fields, &[("format", "cloudevents")]), messages)
}

fn event_columns() -> Vec<Field> {
    ["id", "source", "type", "subject", "time", "dataschema", "datacontenttype", "traceparent", "total", "name"]
        .map(|name| nullable(name, DataType::Utf8))
        .to_vec()
}

#[test]
fn attributes_and_members_of_data_are_columns() {
    let structured = br#"{"specversion":"1.0","id":"e1","source":"/shop","type":"order","subject":null,"time":"2024-05-01T10:00:00Z",
        "dataschema":"urn:s","datacontenttype":"application/json","traceparent":"00-1","data":{"id":7,"subject":"s","total":1.50,"name":"n"}}"#;
    let binary = br#"{"id":7,"total":2}"#;
    let headers: &[(&str, &str)] = &[
        ("ce-specversion", "1.0"),
        ("ce-id", "e2"),
        ("CE-Source", "/caf%C3%A9%+5"),
        ("ce-type", "order"),
        ("ce-traceparent", "00-2"),
        ("Content-Type", "application/vnd.order+json; charset=utf-8"),
        ("Nats-Msg-Id", "m"),
    ];
    let batch: &[(&str, &str)] = &[("content-type", "application/cloudevents-batch+json")];
    let several = br#"[{"specversion":"1.0","id":"e3","source":"s","type":"t","data":[1]},{"specversion":"1.0","id":"e4"},
        {"specversion":"1.0","id":"e5","source":"s","type":"t"}]"#;
    let sent: [Sent<'_>; 4] = [(&[], structured), (headers, binary), (batch, several), (&[], several)];
    let decoded = cloud_events(event_columns(), &sent);
    let nulls = "NULL | NULL | NULL | NULL | NULL | NULL | NULL";
    let expected = [
        "e1 | /shop | order | s | 2024-05-01T10:00:00Z | urn:s | application/json | 00-1 | 1.50 | n".to_owned(),
        "e2 | /caf\u{e9}%+5 | order | NULL | NULL | NULL | application/vnd.order+json; charset=utf-8 | 00-2 | 2 | NULL"
            .to_owned(),
        format!("e3 | s | t | {nulls}"),
        format!("e5 | s | t | {nulls}"),
        format!("e3 | s | t | {nulls}"),
        format!("e5 | s | t | {nulls}"),
    ];
    assert_eq!(rows(&decoded), expected);
    let letters = letters(&decoded);
    assert_eq!(letters.len(), 2);
    assert_eq!((letters[0].0, letters[0].1, letters[0].2), (3, Some(2), &br#"{"specversion":"1.0","id":"e4"}"#[..]));
    assert_eq!(letters[0].3, "not a CloudEvent: it has no source, no type, in event 2 of the message");
    assert_eq!(decoded.dead_letters[0].kind, "not_cloudevent");
}

#[test]
fn the_data_is_a_column_of_its_own() {
    let event = |data: &str| format!(r#"{{"specversion":"1.0","id":"e","source":"s","type":"t"{data}}}"#).into_bytes();
    let headers: &[(&str, &str)] =
        &[("ce-specversion", "1.0"), ("ce-id", "e"), ("ce-source", "s"), ("ce-type", "t"), ("content-type", "text/plain")];
    let cases = [
        (event(r#","data":{"id":1}"#), r#"e | {"id":1}"#),
        (event(r#","data":"text""#), "e | text"),
        (event(r#","data":[1,2]"#), "e | [1,2]"),
        (event(r#","data_base64":"/wA=""#), "e | /wA="),
        (event(r#","data":null"#), "e | NULL"),
        (event(""), "e | NULL"),
    ];
    let fields = || vec![nullable("id", DataType::Utf8), nullable("data", DataType::Utf8)];
    for (body, expected) in &cases {
        assert_eq!(rows(&cloud_events(fields(), &[(&[], body)])), [*expected]);
    }
    let binary: [&[u8]; 3] = [b"a \"text\"", b"\xff\x00", b""];
    let decoded = cloud_events(fields(), &binary.map(|body| (headers, body)));
    assert_eq!(rows(&decoded), [r#"e | a "text""#, "e | /wA=", "e | NULL"]);
    let bytes = vec![nullable("data", DataType::Binary)];
    assert_eq!(rows(&cloud_events(bytes, &[(&[], &cases[3].0)])), ["ff00"]);
}

#[test]
fn what_is_no_cloud_event_is_a_dead_letter() {
    let headers: &[(&str, &str)] = &[("ce-specversion", "1.0"), ("ce-id", "e"), ("ce-source", "s"), ("ce-type", "t")];
    let sent: [(Sent<'_>, &str); 8] = [
        ((&[], b"{\"a\":1}"), "not a CloudEvent: it has no specversion, no id, no source, no type"),
        ((&[], br#"{"specversion":"0.3","id":"e","source":"s","type":"t"}"#), "its specversion is 0.3"),
        ((&[], b"5"), "the body is not an object"),
        ((&[], b""), "the body is empty"),
        ((&headers[..2], b"{}"), "not a CloudEvent: it has no source, no type"),
        ((headers, b"{}} ,{\"id\":\"x\""), "not JSON"),
        ((headers, b"\xff"), "not UTF-8"),
        ((&[("content-type", "application/cloudevents-batch+json")], b"{}"), "not a JSON array"),
    ];
    let decoded = cloud_events(event_columns(), &sent.map(|(sent, _)| sent));
    assert_eq!((decoded.rows.num_rows(), decoded.dead_letters.len()), (0, sent.len()));
    for (letter, (_, expected)) in decoded.dead_letters.iter().zip(&sent) {
        assert!(letter.error.starts_with(expected), "{} is not {expected}", letter.error);
    }
}

#[test]
fn options_that_do_not_go_together_are_refused() {
    let refusal = |config: &SourceConfig| match Decoder::new(config) {
        Err(Error::Config { message, .. }) => message,
        other => panic!("{other:?}"),
    };
    for (options, said) in [
        (&[("batch", "rows")][..], "option 'batch' is 'rows'"),
        (&[("batch", "lines"), ("format", "arrow")], "does not go with format 'arrow'"),
        (&[("batch", "array"), ("format", "cloudevents")], "does not go with format 'cloudevents'"),
        (&[("batch", "array"), ("format", "msgpack")], "does not go with format 'msgpack'"),
    ] {
        let refused = refusal(&declared(vec![nullable("a", DataType::Int64)], options));
        assert!(refused.contains(said), "{refused}");
    }
    let mut of_files = declared(vec![nullable("a", DataType::Int64)], &[("batch", "lines")]);
    of_files.stored_as = "JSON".into();
    assert!(refusal(&of_files).contains("is one of messages"));
}

#[test]
fn letters_of_one_message_copy_large_headers_a_few_times_only() {
    let large = "x".repeat(10_000);
    let headers: &[(&str, &str)] = &[("large", &large)];
    let body = "no\n".repeat(500) + "{\"a\":1}\n";
    let decoded = decode(&declared(columns(), &[("batch", "lines")]), &[(headers, body.as_bytes()), (headers, body.as_bytes())]);
    assert_eq!((decoded.dead_letters.len(), decoded.rows.num_rows()), (1_000, 2));
    for letters in decoded.dead_letters.chunks(500) {
        let (whole, others) = letters.split_at(7);
        assert!(whole.iter().all(|letter| letter.headers.as_ref().is_some_and(|headers| headers.contains(&large))));
        let refer = |letter: &crate::DeadLetter| {
            letter.error.contains("; the headers are in the first letters of the message, in event ")
        };
        assert!(others.iter().all(|letter| letter.headers.is_none() && refer(letter)), "{}", others[0].error);
    }
    // Small ones are in each.
    let small: &[(&str, &str)] = &[("small", "x")];
    let decoded = decode(&declared(columns(), &[("batch", "lines")]), &[(small, body.as_bytes())]);
    assert!(decoded.dead_letters.iter().all(|letter| letter.headers.is_some()));
}
