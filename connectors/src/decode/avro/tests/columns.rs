//! The columns of schemas.

use crate::decode::columns;
use crate::decode::tests::subjects::{of_files, shown};

/// The columns of a record with these fields, and the notes.
fn of(fields: &str) -> (Vec<String>, Vec<String>) {
    of_schemas(&[&format!(r#"{{"type": "record", "name": "R", "namespace": "shop", "fields": [{fields}]}}"#)]).unwrap()
}

fn of_schemas(texts: &[&str]) -> Result<(Vec<String>, Vec<String>), String> {
    let folder = tempfile::tempdir().unwrap();
    let names: Vec<String> = (0..texts.len()).map(|place| format!("{place}.avsc")).collect();
    let files: Vec<(&str, &str)> = names.iter().map(String::as_str).zip(texts.iter().copied()).collect();
    let derived = columns(&of_files(folder.path(), &files, &[("format", "avro")])).map_err(|error| error.to_string())?.unwrap();
    Ok((shown(&derived), derived.notes))
}

fn field(name: &str, of: &str) -> String {
    format!(r#"{{"name": "{name}", "type": {of}}}"#)
}

#[test]
fn each_field_is_a_column_of_its_type() {
    let logical = |of: &str, logical: &str| format!(r#"{{"type": "{of}", "logicalType": "{logical}"}}"#);
    let decimal = |precision: u32, scale: u32| {
        format!(r#"{{"type": "bytes", "logicalType": "decimal", "precision": {precision}, "scale": {scale}}}"#)
    };
    for (of_field, column) in [
        ("\"boolean\"".to_owned(), "BOOLEAN NOT NULL"),
        ("\"int\"".to_owned(), "INT NOT NULL"),
        ("\"long\"".to_owned(), "BIGINT NOT NULL"),
        ("\"float\"".to_owned(), "REAL NOT NULL"),
        ("\"double\"".to_owned(), "DOUBLE NOT NULL"),
        ("\"bytes\"".to_owned(), "BYTEA NOT NULL"),
        ("\"string\"".to_owned(), "VARCHAR NOT NULL"),
        (r#"{"type": "fixed", "name": "F", "size": 4}"#.to_owned(), "BYTEA NOT NULL"),
        (r#"{"type": "enum", "name": "E", "symbols": ["A", "B"]}"#.to_owned(), "VARCHAR NOT NULL"),
        (logical("string", "uuid"), "VARCHAR NOT NULL"),
        (logical("int", "date"), "DATE NOT NULL"),
        (logical("int", "time-millis"), "TIME(3) NOT NULL"),
        (logical("long", "time-micros"), "TIME(6) NOT NULL"),
        (logical("long", "timestamp-millis"), "TIMESTAMP(3) NOT NULL"),
        (logical("long", "timestamp-micros"), "TIMESTAMP(6) NOT NULL"),
        (logical("long", "local-timestamp-millis"), "TIMESTAMP(3) NOT NULL"),
        (logical("long", "timestamp-nanos"), "TIMESTAMP NOT NULL"),
        (decimal(12, 2), "DECIMAL(12, 2) NOT NULL"),
        (decimal(50, 6), "DECIMAL(50, 6) NOT NULL"),
        (
            r#"{"type": "fixed", "name": "D", "size": 4, "logicalType": "decimal", "precision": 9}"#.to_owned(),
            "DECIMAL(9, 0) NOT NULL",
        ),
        (r#"["null", "long"]"#.to_owned(), "BIGINT"),
        (r#"["string", "null"]"#.to_owned(), "VARCHAR"),
        (r#"["int", "long"]"#.to_owned(), "BIGINT NOT NULL"),
        (r#"{"type": "array", "items": ["null", "int"]}"#.to_owned(), "INT[] NOT NULL"),
        (r#"{"type": "map", "values": "double"}"#.to_owned(), "MAP(VARCHAR, DOUBLE) NOT NULL"),
        (
            format!(
                r#"["null", {{"type": "record", "name": "P", "fields": [{}, {}]}}]"#,
                field("X", "\"int\""),
                field("y", "\"string\"")
            ),
            "STRUCT<x INT, y VARCHAR>",
        ),
    ] {
        assert_eq!(of(&field("c", &of_field)), (vec![format!("c {column}")], Vec::new()), "{of_field}");
    }
}

#[test]
fn what_has_no_type_is_json_text_and_a_note_says_why() {
    let (columns, notes) = of(&[
        field("either", r#"["int", "string"]"#),
        field("node", r#"{"type": "record", "name": "N", "fields": [{"name": "v", "type": "int"}, {"name": "next", "type": ["null", "N"]}]}"#),
        field("me", r#"["null", "R"]"#),
        field("nothing", "\"null\""),
        field("empty", r#"{"type": "record", "name": "Empty", "fields": []}"#),
        field("vast", r#"{"type": "bytes", "logicalType": "decimal", "precision": 99, "scale": 2}"#),
        field("_sequence", "\"long\""),
        field("Alike", "\"int\""),
        field("alike", "\"int\""),
    ]
    .join(", "));
    let expected = [
        "either VARCHAR NOT NULL",
        "node STRUCT<v INT, next VARCHAR> NOT NULL",
        "me VARCHAR",
        "nothing VARCHAR",
        "empty VARCHAR NOT NULL",
        "vast VARCHAR NOT NULL",
        "Alike INT NOT NULL",
        "alike INT NOT NULL",
    ];
    assert_eq!(columns, expected);
    let expected = [
        "either: JSON text, since it may be INT or VARCHAR",
        "node.next: JSON text, since the schema refers to itself",
        "me: JSON text, since the schema refers to itself",
        "nothing: JSON text, since it is always null",
        "empty: JSON text, since the record has no fields",
        "vast: JSON text, since a DECIMAL has from 1 to 76 digits, and no more of them behind the point",
        "_sequence: no column, since the message fills the one of this name",
    ];
    assert_eq!(notes, expected);
}

#[test]
fn several_records_and_several_files_give_the_columns_of_all() {
    let record =
        |name: &str, fields: &[String]| format!(r#"{{"type": "record", "name": "{name}", "fields": [{}]}}"#, fields.join(", "));
    let placed = record("Placed", &[field("id", "\"long\""), field("total", "\"double\"")]);
    let paid = record("Paid", &[field("id", "\"long\""), field("by", "\"string\"")]);
    let expected = ["id BIGINT NOT NULL", "total DOUBLE", "by VARCHAR"];
    assert_eq!(of_schemas(&[&format!("[{placed}, {paid}]")]).unwrap().0, expected);
    assert_eq!(of_schemas(&[&placed, &paid]).unwrap().0, expected);
    let refused = of_schemas(&["\"string\""]).unwrap_err();
    assert!(refused.contains("0.avsc: it is not the schema of a record"), "{refused}");
    let refused = of_schemas(&[&record("R", &[])]).unwrap_err();
    assert!(refused.contains("it names no fields, of which columns could be made"), "{refused}");
    // Each record has two fields of the next type: two to the 40th parts.
    let mut woven = "\"int\"".to_owned();
    for depth in 0..40 {
        woven = record(
            &format!("R{depth}"),
            &[
                field("a", &woven),
                field("b", &format!("\"{}\"", if depth == 0 { "int".to_owned() } else { format!("R{}", depth - 1) })),
            ],
        );
    }
    let refused = of_schemas(&[&woven]).unwrap_err();
    assert!(refused.contains("too many for columns"), "{refused}");
}
