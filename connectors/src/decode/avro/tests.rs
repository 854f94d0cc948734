//! Tests Avro bodies: each type, schemas against columns, random rows beside their JSON, and bytes that are not Avro.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod columns;
mod measure;
mod random;
mod registry;
mod types;

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};

use crate::Error;
use crate::decode::tests::{decode, nullable, show};
use crate::decode::{Decoded, Decoder};
use crate::source::{BatchLimits, SourceConfig};

/// A folder with a schema, and a source whose bodies have it.
struct Bodies {
    folder: tempfile::TempDir,
    fields: Vec<Field>,
}

impl Bodies {
    fn new(schema: &str, fields: Vec<Field>) -> Bodies {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("event.avsc"), schema).unwrap();
        Bodies { folder, fields }
    }

    fn decoder(&self, options: &[(&str, &str)], columns: Vec<usize>) -> Result<Decoder, Error> {
        let options = [("format", "avro"), ("schema", "event.avsc")].iter().chain(options);
        Decoder::new(&SourceConfig {
            name: "events".into(),
            stored_as: "NATS".into(),
            location: "nats://host/S".into(),
            folder: self.folder.path().to_owned(),
            options: options.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            declared: Arc::new(Schema::new(self.fields.clone())),
            columns,
            limits: BatchLimits::default(),
        })
    }

    fn decode<B: AsRef<[u8]>>(&self, bodies: &[B]) -> Decoded {
        decode(&self.decoder(&[], (0..self.fields.len()).collect()).unwrap(), bodies)
    }

    /// What is wrong with the declaration, and what to do.
    fn refusal(&self) -> String {
        match self.decoder(&[], Vec::new()) {
            Err(Error::Config { message, .. }) => message,
            other => panic!("{other:?}"),
        }
    }
}

/// The bytes of a number.
fn long(value: i64) -> Vec<u8> {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    let mut bytes = Vec::new();
    while rest >= 0x80 {
        bytes.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
    bytes
}

fn text(value: &str) -> Vec<u8> {
    [long(value.len() as i64), value.as_bytes().to_vec()].concat()
}

const PAIR: &str = r#"{"type":"record","name":"Pair","fields":[{"name":"n","type":"long"},{"name":"word","type":"string"}]}"#;

fn pair() -> Bodies {
    Bodies::new(PAIR, vec![nullable("n", DataType::Int64), nullable("word", DataType::Utf8)])
}

#[test]
fn fields_go_to_columns_by_name() {
    let schema = r#"{"type":"record","name":"E","namespace":"a.b","fields":[
        {"name":"skipped","type":{"type":"map","values":"bytes"}},
        {"name":"WORD","type":["null","string"]},
        {"name":"n","type":"int"}]}"#;
    let fields = vec![nullable("n", DataType::Int64), nullable("word", DataType::Utf8)];
    let skipped = [long(-1), long(4), text("k"), text("v"), long(0)].concat();
    let body = |word: Vec<u8>| [skipped.clone(), word, long(-7)].concat();
    let decoded = Bodies::new(schema, fields).decode(&[body([long(1), text("x")].concat()), body(long(0))]);
    assert_eq!(show(decoded.rows.column(0), 0), "-7");
    assert_eq!(show(decoded.rows.column(1), 0), "x");
    assert_eq!(show(decoded.rows.column(1), 1), "NULL");
}

#[test]
fn a_union_of_records_is_one_event_or_another() {
    let schema = format!(
        r#"["null", {PAIR}, {{"type":"record","name":"Other","fields":[{{"name":"n","type":"string"}},{{"name":"pair","type":"Pair"}}]}}]"#
    );
    let fields = vec![nullable("n", DataType::Int64), nullable("word", DataType::Utf8), nullable("pair", DataType::Utf8)];
    let one = [long(1), long(5), text("w")].concat();
    let other = [long(2), text("6"), long(8), text("v")].concat();
    let decoded = Bodies::new(&schema, fields).decode(&[one, other, long(0), long(3)]);
    let shown: Vec<Vec<String>> =
        (0..2).map(|row| decoded.rows.columns().iter().map(|column| show(column, row)).collect()).collect();
    assert_eq!(shown, [["5", "w", "NULL"], ["6", "NULL", r#"{"n":8,"word":"v"}"#]]);
    let errors: Vec<&str> = decoded.dead_letters.iter().map(|letter| letter.error.as_str()).collect();
    assert_eq!(errors[0], "the datum is not a record");
    assert_eq!(errors[1], "the number of a union's branch is 3, of 3: the writer had another schema, at byte 0");
}

#[test]
fn a_value_that_does_not_fit_is_marked() {
    let bodies = Bodies::new(PAIR, vec![nullable("n", DataType::Int8), Field::new("word", DataType::Int64, false)]);
    let body = |n: i64, word: &str| [long(n), text(word)].concat();
    let sent = [body(1, "2"), body(300, "3"), body(4, "five"), body(6, "")];
    let decoded = bodies.decode(&sent);
    let marks: Vec<_> = decoded.unfit.iter().map(|unfit| (unfit.row, unfit.column, unfit.kind)).collect();
    assert_eq!(marks, [(1, 0, "out_of_range"), (2, 1, "wrong_type"), (3, 1, "wrong_type")]);
    assert!(decoded.unfit[0].error.contains("300"), "{}", decoded.unfit[0].error);
    let decoder = bodies.decoder(&[("on_bad_member.n", "null"), ("null_text", "")], vec![0, 1]).unwrap();
    let decoded = decode(&decoder, &sent);
    let marks: Vec<_> = decoded.unfit.iter().map(|unfit| (unfit.row, unfit.column, unfit.kind)).collect();
    assert_eq!((marks, decoded.nulled), (vec![(2, 1, "wrong_type"), (3, 1, "missing")], 1));
}

#[test]
fn a_body_that_is_not_of_the_schema_is_a_dead_letter() {
    let good = [long(1), text("x")].concat();
    let mut bodies = vec![good.clone()];
    let cases: [(Vec<u8>, &str); 7] = [
        (Vec::new(), "cut off: the body ends within the datum, at byte 0"),
        (long(1), "cut off"),
        ([good.clone(), vec![0]].concat(), "more follows after the datum: the writer had another schema, at byte 3"),
        ([long(1), long(-1)].concat(), "a length is negative"),
        ([long(1), long(2), vec![0xff, 0xfe]].concat(), "a text is not UTF-8"),
        (vec![0xff; 11], "a number has more than 64 bits"),
        ([long(1), long(i64::MAX)].concat(), "cut off"),
    ];
    bodies.extend(cases.iter().map(|(body, _)| body.clone()));
    bodies.push(good);
    let decoded = pair().decode(&bodies);
    assert_eq!(decoded.sequences.values().to_vec(), [1, 9]);
    for (letter, (_, expected)) in decoded.dead_letters.iter().zip(&cases) {
        assert!(letter.error.starts_with(expected) && letter.kind == "not_avro", "{}", letter.error);
    }
}

#[test]
fn what_nobody_reads_decides_nothing() {
    let bodies = pair();
    let wrong = [long(1), long(2), vec![0xff, 0xfe]].concat();
    for columns in [vec![], vec![0], vec![1], vec![0, 1]] {
        let decoded = decode(&bodies.decoder(&[], columns).unwrap(), &[&wrong]);
        assert_eq!(decoded.dead_letters[0].error, "a text is not UTF-8, at byte 2");
    }
}

#[test]
fn depth_and_counts_are_bounded() {
    let list = r#"{"type":"record","name":"L","fields":[{"name":"next","type":["null","L"]}]}"#;
    let bodies = Bodies::new(list, vec![nullable("next", DataType::Utf8)]);
    let nested = |depth: usize| [long(1).repeat(depth), long(0)].concat();
    let decoded = bodies.decode(&[nested(3), nested(10_000)]);
    assert_eq!(show(decoded.rows.column(0), 0), r#"{"next":{"next":{"next":null}}}"#);
    assert_eq!(decoded.dead_letters[0].kind, "too_deep");
    let nothing = r#"{"type":"record","name":"N","fields":[{"name":"a","type":{"type":"array","items":"null"}}]}"#;
    let bodies = Bodies::new(nothing, vec![nullable("a", DataType::Utf8)]);
    let decoded =
        bodies.decode(&[[long(2), long(0)].concat(), [long(i64::MAX), long(0)].concat(), [long(i64::MIN), long(0)].concat()]);
    assert_eq!(show(decoded.rows.column(0), 0), "[null,null]");
    assert_eq!(decoded.dead_letters.len(), 2);
}

#[test]
fn a_schema_cannot_make_values_of_nothing() {
    // Each record holds the one before twice: a body of no byte would be 2^40 values.
    let mut schema =
        r#"{"type":"record","name":"R0","fields":[{"name":"a","type":"null"},{"name":"b","type":"null"}]}"#.to_owned();
    for level in 1..=40 {
        let before = level - 1;
        schema = format!(
            r#"{{"type":"record","name":"R{level}","fields":[{{"name":"a","type":{schema}}},{{"name":"b","type":"R{before}"}}]}}"#
        );
    }
    for columns in [vec![], vec![0]] {
        let bodies = Bodies::new(&schema, vec![nullable("a", DataType::Utf8)]);
        let decoded = decode(&bodies.decoder(&[], columns).unwrap(), &[b""]);
        assert_eq!(decoded.dead_letters[0].error, "it has too many values without a byte");
    }
}

#[test]
fn a_body_is_read_by_the_first_schema_that_reads_it_to_its_end() {
    let bodies = Bodies::new(
        PAIR,
        vec![nullable("n", DataType::Int64), nullable("word", DataType::Utf8), nullable("more", DataType::Utf8)],
    );
    let newer = PAIR.replace("]}", r#",{"name":"more","type":["null","string"]}]}"#);
    std::fs::write(bodies.folder.path().join("newer.avsc"), newer).unwrap();
    let both = bodies.decoder(&[("schema", "newer.avsc, event.avsc")], vec![0, 1, 2]).unwrap();
    let old = [long(1), text("a")].concat();
    let new = [long(2), text("b"), long(1), text("c")].concat();
    let decoded = decode(&both, &[old.clone(), vec![0xff], new, old]);
    let shown: Vec<_> = (0..3).map(|row| [0, 1, 2].map(|column| show(decoded.rows.column(column), row))).collect();
    assert_eq!(shown, [["1", "a", "NULL"], ["2", "b", "c"], ["1", "a", "NULL"]]);
    assert_eq!(decoded.sequences.values().to_vec(), [1, 3, 4]);
}

#[test]
fn a_body_with_a_header_says_so() {
    let decoded = pair().decode(&[vec![0, 0, 0, 0, 7, 2, 2, b'x'], vec![0xc3, 1, 1, 2, 3]]);
    let errors: Vec<_> = decoded.dead_letters.iter().map(|letter| letter.error.as_str()).collect();
    assert!(errors[0].contains("give the option 'registry'") && errors[1].contains("single-object encoding"), "{errors:?}");
}

#[test]
fn the_text_of_null_is_that_of_any_scalar() {
    let schema = r#"{"type":"record","name":"R","fields":[{"name":"b","type":"bytes"}]}"#;
    let bodies = Bodies::new(schema, vec![nullable("b", DataType::Binary)]);
    let decoded = decode(&bodies.decoder(&[("null_text", "")], vec![0]).unwrap(), &[vec![0], vec![2, 1]]);
    assert_eq!([0, 1].map(|row| show(decoded.rows.column(0), row)), ["NULL", "01"]);
}

#[test]
fn columns_that_no_body_can_fill_are_refused() {
    let field = |data_type| vec![nullable("word", data_type)];
    let says = |fields: Vec<Field>, said: &str| {
        let refusal = Bodies::new(PAIR, fields).refusal();
        assert!(refusal.contains(said), "{refusal}");
    };
    says(
        vec![nullable("wrod", DataType::Int64)],
        "column wrod of type BIGINT: the schema has no field of this name; did you mean word?",
    );
    says(vec![nullable("x", DataType::Int64)], "it has n, word");
    says(field(DataType::Struct(vec![nullable("a", DataType::Int64)].into())), "the field of the schema is a string");
    says(vec![nullable("n", DataType::Binary)], "the field of the schema is a long");
    let refused = |schema: &str| Bodies::new(schema, field(DataType::Utf8)).refusal();
    assert!(refused("{").contains("event.avsc: it is not JSON"));
    assert!(refused(r#""string""#).contains("it is not the schema of a record"));
    let of = |of: &str| refused(&format!(r#"{{"type":"record","name":"R","fields":[{{"name":"word","type":{of}}}]}}"#));
    assert!(of(r#"{"type":"enum","name":"E","symbols":["A",1]}"#).contains("a symbol of enum E is not text"));
    assert!(of(r#"{"type":"fixed","name":"R","size":1}"#).contains("R is declared twice"));
    assert!(of(r#"["null",["int"]]"#).contains("a union is a branch of another"));
    assert!(
        refused(r#"{"type":"record","name":"R","fields":[{"name":"a","type":"Unknown"}]}"#).contains("Unknown is not declared")
    );
    let missing = pair();
    std::fs::remove_file(missing.folder.path().join("event.avsc")).unwrap();
    assert!(missing.refusal().contains("event.avsc: No such file"));
}
