//! Changes of rows as Debezium and others write them, and as plain rows.

use arrow::array::AsArray;
use arrow::datatypes::{Int8Type, TimeUnit};
use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::*;
use crate::decode::Message;

/// A source of changes with these options and columns, followed by the column `_change`.
fn of(options: &[(&str, &str)], mut fields: Vec<Field>) -> SourceConfig {
    fields.push(Field::new("_change", DataType::Int8, false));
    let columns = (0..fields.len()).collect();
    let options = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    SourceConfig { options, ..config(fields, columns) }
}

fn customers() -> Vec<Field> {
    vec![Field::new("id", DataType::Int64, false), Field::new("name", DataType::Utf8, false)]
}

/// The sequence, kind and other columns of each row, then the kinds of dead letters by sequence, then the values that do not fit.
fn read(config: SourceConfig, bodies: &[&str]) -> (Vec<String>, Vec<String>) {
    let decoder = Decoder::new(&config).unwrap();
    let messages = bodies.iter().enumerate().map(|(index, body)| Message {
        sequence: index as u64 + 1,
        subject: "$KV.b.key",
        timestamp_ns: None,
        headers: None,
        payload: body.as_bytes(),
    });
    let decoded = decoder.decode(bodies.len(), messages).unwrap();
    let rows = &decoded.rows;
    let (kinds, others) = rows.columns().split_last().unwrap();
    let kinds = kinds.as_primitive::<Int8Type>();
    let format = FormatOptions::new().with_null("null");
    let shown: Vec<_> = others.iter().map(|column| ArrayFormatter::try_new(column, &format).unwrap()).collect();
    let line = |row: usize| {
        let kind = ["upsert", "delete", "truncate"][kinds.value(row) as usize];
        // Only the key of a deleted row is read.
        let read = if kind == "upsert" { shown.len() } else { 1 };
        let values: Vec<_> = shown[..read].iter().map(|values| values.value(row).to_string()).collect();
        format!("{} {kind} {}", decoded.sequences.value(row), values.join(" "))
    };
    let letters = decoded.dead_letters.iter().map(|letter| format!("{} {}", letter.sequence, letter.kind));
    let unfit = decoded.unfit.iter().map(|unfit| {
        let sequence = decoded.sequences.value(unfit.row);
        format!("{sequence} {} {}", unfit.kind, config.declared.field(unfit.column).name())
    });
    ((0..rows.num_rows()).map(line).collect(), letters.chain(unfit).collect())
}

#[test]
fn debezium_tells_of_rows() {
    let (rows, letters) = read(
        of(&[("format", "debezium"), ("key", "id")], customers()),
        &[
            r#"{"before":null,"after":{"id":1,"name":"a"},"source":{"snapshot":"true"},"op":"r","ts_ms":1}"#,
            r#"{"schema":{"type":"struct"},"payload":{"before":null,"after":{"id":2,"name":"b"},"op":"c"}}"#,
            r#"{"before":null,"after":{"id":1,"name":"c"},"op":"u"}"#,
            // The database may send only the key of a deleted row.
            r#"{"before":{"id":2,"name":null},"after":null,"op":"d"}"#,
            "",
            "null",
            r#"{"before":{"id":1,"name":"c"},"after":{"id":3,"name":"c"},"op":"u"}"#,
            r#"{"op":"t","before":null,"after":null}"#,
            r#"{"op":"m","message":{"prefix":"x"}}"#,
            r#"{"op":"x","after":{"id":1,"name":"a"}}"#,
            r#"{"status":"BEGIN"}"#,
            r#"{"before":null,"after":null,"op":"u"}"#,
            r#"{"before":null,"after":{"id":4},"op":"c"}"#,
            r#"{"before":{"name":"x"},"after":null,"op":"d"}"#,
            r#"{"after":{"id":5,"name":"__debezium_unavailable_value"},"op":"u"}"#,
            "not JSON",
            r#"{ "op": "c", "after": { "name": "d", "id": 6 } }"#,
        ],
    );
    let expected = [
        "1 upsert 1 a",
        "2 upsert 2 b",
        "3 upsert 1 c",
        "4 delete 2",
        "7 upsert 3 c",
        "7 delete 1",
        "13 upsert 4 ",
        "14 delete 0",
        "15 upsert 5 ",
        "17 upsert 6 d",
    ];
    assert_eq!(rows, expected);
    let expected = [
        "8 truncate",
        "10 not_a_change",
        "11 not_a_change",
        "12 not_a_change",
        "16 not_json",
        "13 missing name",
        "14 missing id",
        "15 not_sent name",
    ];
    assert_eq!(letters, expected);
}

#[test]
fn a_table_that_is_emptied_says_so_where_that_is_asked_for() {
    let options = [("format", "debezium"), ("key", "id"), ("truncate", "apply")];
    let (rows, letters) = read(of(&options, customers()), &[r#"{"op":"t"}"#]);
    assert_eq!((rows, letters), (vec!["1 truncate 0".to_owned()], vec![]));
}

#[test]
fn debezium_writes_decimals_and_times_in_its_own_way() {
    let fields = vec![
        Field::new("id", DataType::Int64, false),
        Field::new("d", DataType::Decimal128(12, 2), true),
        Field::new("day", DataType::Date32, true),
        Field::new("ms", DataType::Timestamp(TimeUnit::Millisecond, None), true),
        Field::new("us", DataType::Timestamp(TimeUnit::Microsecond, None), true),
        Field::new("s", DataType::Timestamp(TimeUnit::Second, None), true),
        Field::new("t", DataType::Time64(TimeUnit::Microsecond), true),
        Field::new("z", DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())), true),
    ];
    let row = |d: &str| {
        format!(
            r#"{{"op":"c","after":{{"id":1,"d":{d},"day":19000,"ms":1641600000123,"us":1641600000123456,"s":1641600000000,"t":3661000001,"z":"2022-01-08T01:00:00.5+01:00"}}}}"#
        )
    };
    let expected = |d: &str| {
        format!(
            "1 upsert 1 {d} 2022-01-08 2022-01-08T00:00:00.123 2022-01-08T00:00:00.123456 2022-01-08T00:00:00 01:01:01.000001 2022-01-08T00:00:00.500Z"
        )
    };
    let key = [("format", "debezium"), ("key", "id")];
    for (decimals, written, d) in
        [("precise", "\"BNI=\"", "12.34"), ("string", "\"-12.34\"", "-12.34"), ("double", "12.3", "12.30")]
    {
        let options = [&key[..], &[("decimals", decimals)]].concat();
        assert_eq!(read(of(&options, fields.clone()), &[&row(written)]), (vec![expected(d)], vec![]));
    }
    let (_, letters) = read(of(&key, fields), &[&row("\"12.34\"")]);
    assert_eq!(letters, ["1 wrong_type d"]);
    let time = vec![Field::new("t", DataType::Time64(TimeUnit::Nanosecond), true)];
    assert!(Decoder::new(&of(&key, time)).unwrap_err().to_string().contains("whose unit Debezium does not write"));
}

#[test]
fn others_name_their_members_otherwise() {
    let maxwell = [("envelope", "change"), ("key", "id"), ("op", "type"), ("after", "data"), ("before", "old")];
    let (rows, letters) = read(
        of(&maxwell, customers()),
        &[
            r#"{"table":"t","type":"bootstrap-insert","data":{"id":1,"name":"a"}}"#,
            r#"{"table":"t","type":"update","data":{"id":2,"name":"a"},"old":{"id":1}}"#,
            r#"{"table":"t","type":"update","data":{"id":2,"name":"b"},"old":{"name":"a"}}"#,
            r#"{"table":"t","type":"delete","data":{"id":2,"name":"b"}}"#,
        ],
    );
    assert_eq!(rows, ["1 upsert 1 a", "2 upsert 2 a", "2 delete 1", "3 upsert 2 b", "4 delete 2"]);
    assert!(letters.is_empty());
    let composite = [&maxwell[..1], &[("key", "id, name")], &maxwell[2..]].concat();
    let (_, letters) = read(of(&composite, customers()), &[r#"{"type":"update","data":{"id":2,"name":"b"},"old":{"id":1}}"#]);
    assert_eq!(letters, ["1 not_a_change"], "of the old key a part is missing");
    // Without an operation, the rows decide.
    let (rows, _) = read(
        of(&[("envelope", "change"), ("key", "id")], customers()),
        &[r#"{"after":{"id":1,"name":"a"}}"#, r#"{"before":{"id":1}}"#],
    );
    assert_eq!(rows, ["1 upsert 1 a", "2 delete 1"]);
}

#[test]
fn rows_come_and_go() {
    let (rows, letters) = read(
        of(&[("envelope", "upsert"), ("key", "id"), ("deleted", "__deleted")], customers()),
        &[
            r#"{"id":1,"name":"a","__deleted":"false"}"#,
            r#"{"id":1,"__deleted":"TRUE"}"#,
            "",
            r#"{"id":2,"name":"b"}"#,
            r#"{"id":2,"__deleted":"2026-01-01"}"#,
        ],
    );
    assert_eq!(rows, ["1 upsert 1 a", "2 delete 1", "4 upsert 2 b"]);
    assert_eq!(letters, ["5 not_a_change"]);
    let (rows, letters) = read(of(&[("envelope", "upsert"), ("key", "id")], customers()), &[r#"{"id":1,"name":"a"}"#, ""]);
    assert_eq!((rows, letters), (vec!["1 upsert 1 a".to_owned()], vec!["2 not_a_change".to_owned()]));
}

#[test]
fn a_bucket_has_its_keys_in_subjects() {
    let fields = vec![Field::new("_subject", DataType::Utf8, false), Field::new("n", DataType::Int64, false)];
    let bucket = SourceConfig { stored_as: "NATS".into(), ..of(&[("format", "kv"), ("key", "_subject")], fields) };
    let (rows, letters) = read(bucket, &[r#"{"n":1}"#, "", r#"{"n":"x"}"#]);
    assert_eq!(rows, ["1 upsert $KV.b.key 1", "2 delete $KV.b.key", "3 upsert $KV.b.key 0"]);
    assert_eq!(letters, ["3 wrong_type n"]);
}

#[test]
fn options_that_do_not_go_together_are_refused() {
    for (options, said) in [
        (&[("key", "id")][..], "option 'key' is one of sources of changes"),
        (&[("format", "debezium"), ("envelope", "change")], "do not go together"),
        (&[("format", "debezium"), ("op", "o")], "option 'op' does not go"),
        (&[("envelope", "upsert"), ("truncate", "apply")], "option 'truncate' does not go"),
        (&[("envelope", "diff")], "envelope 'diff' is not known"),
        (&[("format", "debezium"), ("truncate", "yes")], "option 'truncate' is 'yes'"),
        (&[("format", "debezium"), ("decimals", "exact")], "option 'decimals' is 'exact'"),
    ] {
        let error = Decoder::new(&of(options, customers())).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
    let options = [("format".to_owned(), "debezium".to_owned())].into();
    let undeclared = SourceConfig { options, ..config(customers(), vec![0]) };
    assert!(Decoder::new(&undeclared).unwrap_err().to_string().contains("is not said in its SQL"));
}
