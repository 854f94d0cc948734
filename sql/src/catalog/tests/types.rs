//! Column types, and the columns that are filled from the message.

use arrow::datatypes::{DataType, Field, TimeUnit};

use super::*;

fn source_of(columns: &str) -> Result<Catalog, Errors> {
    Catalog::load(&[file("s.sql", &format!("CREATE EXTERNAL TABLE s ({columns}) STORED AS FILE LOCATION '-'"))])
}

fn list(item: DataType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(item, true)))
}

fn map(key: DataType, value: DataType) -> DataType {
    let entries = vec![Field::new("key", key, false), Field::new("value", value, true)];
    DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entries.into()), false)), false)
}

fn structure(fields: &[(&str, DataType)]) -> DataType {
    DataType::Struct(fields.iter().map(|(name, data_type)| Field::new(*name, data_type.clone(), true)).collect())
}

#[test]
fn every_type_of_a_column() {
    let nanos = |zone: Option<&str>| DataType::Timestamp(TimeUnit::Nanosecond, zone.map(Into::into));
    for (sql, expected) in [
        ("BOOLEAN", DataType::Boolean),
        ("TINYINT", DataType::Int8),
        ("SMALLINT", DataType::Int16),
        ("INT", DataType::Int32),
        ("INTEGER", DataType::Int32),
        ("BIGINT", DataType::Int64),
        ("INT UNSIGNED", DataType::UInt32),
        ("BIGINT UNSIGNED", DataType::UInt64),
        ("UBIGINT", DataType::UInt64),
        ("REAL", DataType::Float32),
        ("DOUBLE", DataType::Float64),
        ("DOUBLE PRECISION", DataType::Float64),
        ("DECIMAL(12, 2)", DataType::Decimal128(12, 2)),
        ("NUMERIC(50, 2)", DataType::Decimal256(50, 2)),
        ("VARCHAR", DataType::Utf8),
        ("VARCHAR(20)", DataType::Utf8),
        ("CHARACTER VARYING(20)", DataType::Utf8),
        ("TEXT", DataType::Utf8),
        ("STRING", DataType::Utf8),
        ("BYTEA", DataType::Binary),
        ("DATE", DataType::Date32),
        ("TIME", DataType::Time64(TimeUnit::Nanosecond)),
        ("TIME(6)", DataType::Time64(TimeUnit::Microsecond)),
        ("TIMESTAMP", nanos(None)),
        ("TIMESTAMP(3)", DataType::Timestamp(TimeUnit::Millisecond, None)),
        ("TIMESTAMPTZ", nanos(Some("+00:00"))),
        ("TIMESTAMP WITH TIME ZONE", nanos(Some("+00:00"))),
        ("INT[]", list(DataType::Int32)),
        ("ARRAY<INT>", list(DataType::Int32)),
        ("VARCHAR[][]", list(list(DataType::Utf8))),
        ("STRUCT<a INT, b VARCHAR>", structure(&[("a", DataType::Int32), ("b", DataType::Utf8)])),
        ("STRUCT(a INT, b VARCHAR)", structure(&[("a", DataType::Int32), ("b", DataType::Utf8)])),
        ("STRUCT(a STRUCT(b DECIMAL(5, 1)))", structure(&[("a", structure(&[("b", DataType::Decimal128(5, 1))]))])),
        ("STRUCT<a ARRAY<STRUCT<b INT>>>", structure(&[("a", list(structure(&[("b", DataType::Int32)])))])),
        ("STRUCT<a INT>[]", list(structure(&[("a", DataType::Int32)]))),
        (
            "STRUCT<a INT, b STRUCT<c INT>>[]",
            list(structure(&[("a", DataType::Int32), ("b", structure(&[("c", DataType::Int32)]))])),
        ),
        (
            "STRUCT<a STRUCT<b STRUCT<c INT>>>[]",
            list(structure(&[("a", structure(&[("b", structure(&[("c", DataType::Int32)]))]))])),
        ),
        ("STRUCT<a STRUCT<b INT>[]>[]", list(structure(&[("a", list(structure(&[("b", DataType::Int32)])))]))),
        ("ARRAY<STRUCT<a ARRAY<INT>>>[]", list(list(structure(&[("a", list(DataType::Int32))])))),
        ("MAP(VARCHAR, INT)", map(DataType::Utf8, DataType::Int32)),
        ("MAP<VARCHAR, ARRAY<INT>>", map(DataType::Utf8, list(DataType::Int32))),
        ("MAP(VARCHAR, STRUCT(a INT))", map(DataType::Utf8, structure(&[("a", DataType::Int32)]))),
    ] {
        let catalog = source_of(&format!("c {sql}, d INT NOT NULL")).unwrap_or_else(|error| panic!("{sql}: {error}"));
        let schema = &catalog.sources["s"].schema;
        assert_eq!(schema.field(0).data_type(), &expected, "{sql}");
        assert!(schema.field(0).is_nullable() && !schema.field(1).is_nullable(), "{sql}");
    }
}

#[test]
fn types_that_are_refused_say_what_to_write() {
    for (column, column_at, help) in [
        ("c JSON", 28, "VARCHAR"),
        ("c UUID", 28, "VARCHAR"),
        ("c BLOB", 28, "BYTEA"),
        ("c DATETIME", 28, "TIMESTAMP"),
        ("c TIMESTAMP(4)", 28, "TIMESTAMP(6)"),
        ("c BIGNIT", 28, "did you mean BIGINT?"),
        ("_sequence VARCHAR", 26, "write _sequence BIGINT UNSIGNED"),
        ("_subject INT", 26, "write _subject VARCHAR"),
        ("_timestamp BIGINT", 26, "write _timestamp TIMESTAMP"),
        ("_headers INT", 26, "MAP(VARCHAR, VARCHAR)"),
        ("_payload DATE", 26, "VARCHAR or BYTEA"),
        ("_sequenze BIGINT", 26, "did you mean _sequence?"),
    ] {
        let errors = source_of(column).unwrap_err();
        let error = &errors.0[0];
        assert_eq!(error.at.line_column(), (1, column_at), "{column}: {error}");
        assert!(error.help.as_deref().unwrap().contains(help), "{column}: {:?}", error.help);
    }
}

#[test]
fn message_columns_of_fitting_types() {
    let columns =
        "_sequence BIGINT UNSIGNED, _subject VARCHAR, _timestamp TIMESTAMPTZ, _headers MAP(VARCHAR, VARCHAR[]), _payload BYTEA";
    assert_eq!(source_of(columns).unwrap().sources["s"].schema.fields().len(), 5);
}

#[test]
fn a_source_without_columns_of_the_body_has_those_of_its_schema() {
    use std::collections::BTreeMap;

    use arrow::datatypes::{DataType, Field};

    use crate::schemas::{SchemaColumns, SchemaRefusal, Schemas};

    let columns =
        |name: &str, stored_as: &str, options: &BTreeMap<String, String>| -> Result<Option<SchemaColumns>, SchemaRefusal> {
            assert_eq!((name, stored_as), ("t", "NATS"));
            match options.get("schema").map(String::as_str) {
                None => Ok(None),
                Some("a.json") => {
                    let fields = vec![
                        Field::new("id", DataType::Int64, false),
                        Field::new("at", DataType::Timestamp(arrow::datatypes::TimeUnit::Nanosecond, None), true),
                    ];
                    Ok(Some(SchemaColumns { fields, notes: vec!["any: JSON text".to_owned()] }))
                }
                Some(_) => Err(("option 'schema': there is no such file".to_owned(), None)),
            }
        };
    let load = |declared: &str, options: &str| {
        let text = format!("CREATE EXTERNAL TABLE t {declared} STORED AS NATS LOCATION 'nats://h/S' OPTIONS ({options});\n");
        Catalog::load_beside(&[file("a.sql", &text)], &Schemas { digest: &|_| None, columns: &columns })
    };
    for (declared, expected) in
        [("", vec!["id", "at"]), ("(_sequence BIGINT UNSIGNED)", vec!["id", "at", "_sequence"]), ("(id INT)", vec!["id"])]
    {
        let catalog = load(declared, "schema 'a.json', watermark 'at - 1 second'");
        let catalog = if declared == "(id INT)" { load(declared, "schema 'a.json'") } else { catalog }.unwrap();
        let source = &catalog.sources["t"];
        assert_eq!(source.schema.fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>(), expected);
        assert_eq!(source.of_schema, if declared == "(id INT)" { 0 } else { 2 });
        assert_eq!(source.notes.is_empty(), declared == "(id INT)");
        assert_eq!(source.watermark.is_some(), declared != "(id INT)");
    }
    let errors = load("", "schema 'b.json'").unwrap_err();
    assert_eq!(errors.0.len(), 1);
    let error = &errors.0[0];
    assert_eq!(error.message, "option 'schema': there is no such file");
    assert_eq!(&error.at.file.text[error.at.offset..error.at.offset + error.at.length], "'b.json'");
    assert!(load("", "format 'json'").unwrap_err().0[0].message.contains("has no columns"));
}
