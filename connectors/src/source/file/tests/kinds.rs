//! CSV, Parquet and Arrow files; files that do not match their declared kind; names of files relative to the project's folder.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs::File;

use arrow::array::{ArrayRef, Int64Array, StringArray};
use arrow::ipc::writer::{FileWriter, StreamWriter};
use arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;

use super::*;

fn kind(stored_as: &str, location: &str, max_events: usize, options: &[(&str, &str)]) -> SourceConfig {
    let options = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    SourceConfig { stored_as: stored_as.into(), options, ..config(location, max_events) }
}

async fn read_kind(config: SourceConfig) -> Seen {
    let source = FileSource::new(config).unwrap();
    let seen = drain(&mut source.read(Start::First).await.unwrap()).await.unwrap();
    let end = seen.positions.last().map_or(1, |position| position.offset);
    assert_eq!(source.extent().await.unwrap(), Extent { first: 1, end }, "the extent is what a reader reads");
    seen
}

/// Reads in batches of several sizes, and resumes from each position.
async fn check_kind(stored_as: &str, location: &str, options: &[(&str, &str)], rows: &[(u64, i64)]) {
    for max_events in [1, 2, 3, 1000] {
        let whole = read_kind(kind(stored_as, location, max_events, options)).await;
        assert_eq!(whole.rows, rows, "{stored_as}");
        for position in &whole.positions {
            let source = FileSource::new(kind(stored_as, location, 2, options)).unwrap();
            let rest = drain(&mut source.read(Start::At(position.clone())).await.unwrap()).await.unwrap();
            let expected: Vec<_> = rows.iter().copied().filter(|row| row.0 >= position.offset).collect();
            assert_eq!(rest.rows, expected, "{stored_as} from {position:?}");
        }
    }
}

fn rows(numbers: std::ops::Range<i64>) -> RecordBatch {
    let text: ArrayRef = Arc::new(StringArray::from_iter_values(numbers.clone().map(|n| format!("line\n{n}"))));
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(numbers));
    RecordBatch::try_from_iter([("t", text), ("N", numbers)]).unwrap()
}

fn write_parquet(path: &str, numbers: std::ops::Range<i64>) {
    let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), rows(0..0).schema(), None).unwrap();
    for n in numbers {
        writer.write(&rows(n..n + 1)).unwrap();
        writer.flush().unwrap();
    }
    writer.close().unwrap();
}

#[tokio::test]
async fn csv_is_read_by_its_header_and_in_its_dialect() {
    let folder = TempDir::new().unwrap();
    write(&folder, "a.csv", "t,n\nx,0\n\"two\nlines, \"\"quoted\"\"\",1\r\n");
    write(&folder, "b.csv", "n,t\n2,x\n");
    check_kind("CSV", path(&folder), &[], &numbered(0..3)).await;
    check_kind("FILE", path(&folder), &[("format", "csv")], &numbered(0..3)).await;

    let other = TempDir::new().unwrap();
    write(&other, "a.tsv", "0\t'x'\n1\t''\n");
    let options = [("delimiter", "\\t"), ("quote", "'"), ("header", "false")];
    let mut config = kind("CSV", path(&other), 10, &options);
    config.declared = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true), Field::new("t", DataType::Utf8, true)]));
    assert_eq!(read_kind(config).await.rows, numbered(0..2));
}

#[tokio::test]
async fn bad_records_of_csv_are_dead_letters_and_empty_fields_are_null() {
    let folder = TempDir::new().unwrap();
    let file = write(&folder, "a.csv", "n,t\n0,x\nmany,x\n2\n,x\n4,x\n");
    let seen = read_kind(kind("CSV", &file, 10, &[])).await;
    // The values hold 0 both for NULL and for a value that does not fit.
    assert_eq!(seen.rows, [(1, 0), (2, 0), (4, 0), (5, 4)]);
    let letters: Vec<_> = seen.letters.iter().map(|letter| (letter.sequence, letter.kind)).collect();
    assert_eq!(letters, [(2, "wrong_type"), (3, "not_csv")]);
    assert_eq!(seen.letters[1].error, "the number of fields, 1, is not that of the columns");
    let seen = read_kind(kind("CSV", &file, 10, &[("null_text", "many")])).await;
    assert_eq!(seen.letters.iter().map(|letter| letter.sequence).collect::<Vec<_>>(), [3, 4]);
}

#[tokio::test]
async fn csv_is_read_on_as_it_grows() {
    let folder = TempDir::new().unwrap();
    let file = write(&folder, "a.csv", "n\n0\n1");
    let source = FileSource::new(kind("CSV", &file, 10, &[])).unwrap();
    let mut reader = source.read(Start::First).await.unwrap();
    assert_eq!(drain(&mut reader).await.unwrap().rows, numbered(0..2));
    append(&file, "\n2\n");
    assert_eq!(drain(&mut reader).await.unwrap().rows, [(3, 2)]);
    append(&file, "3\n");
    assert_eq!(drain(&mut reader).await.unwrap().rows, [(4, 3)]);
    let position = reader.position().clone();
    append(&file, "4\n5");
    let mut again = source.read(Start::At(position)).await.unwrap();
    assert_eq!(drain(&mut again).await.unwrap().rows, [(5, 4), (6, 5)]);
    append(&file, "0\n");
    assert!(changed(drain(&mut again).await).contains("is not the one that was read"));
}

#[tokio::test]
async fn parquet_and_arrow_files_are_rows() {
    let folder = TempDir::new().unwrap();
    let at = |name: &str| format!("{}/{name}", path(&folder));
    write_parquet(&at("a.parquet"), 0..3);
    write_parquet(&at("b.parquet"), 3..5);
    check_kind("PARQUET", &at("*.parquet"), &[], &numbered(0..5)).await;
    check_kind("FILE", &at("*.parquet"), &[], &numbered(0..5)).await;

    let schema = rows(0..0).schema();
    let mut writer = FileWriter::try_new(File::create(at("a.arrow")).unwrap(), &schema).unwrap();
    writer.write(&rows(0..2)).unwrap();
    writer.write(&rows(2..3)).unwrap();
    writer.finish().unwrap();
    let mut writer = StreamWriter::try_new(File::create(at("b.arrow")).unwrap(), &schema).unwrap();
    writer.write(&rows(3..7)).unwrap();
    writer.finish().unwrap();
    check_kind("ARROW", &at("*.arrow"), &[], &numbered(0..7)).await;
}

#[tokio::test]
async fn a_file_that_cannot_be_what_it_is_declared_as_is_refused_before_anything_is_read() {
    let folder = TempDir::new().unwrap();
    let at = |name: &str| format!("{}/{name}", path(&folder));
    write(&folder, "a.ndjson", &lines(0..3));
    write(&folder, "a.csv", "n,t\n0,x\n1,y\n");
    write_parquet(&at("a.parquet"), 0..3);
    let whole = fs::read(at("a.parquet")).unwrap();
    fs::write(at("half.parquet"), &whole[..whole.len() / 2]).unwrap();
    for (stored_as, file, said) in [
        ("FILE", "a.csv", "holds no JSON: its first line is \"n,t\""),
        ("JSON", "a.parquet", "is a Parquet file"),
        ("CSV", "a.ndjson", "has a header that names no declared column"),
        ("CSV", "a.parquet", "is a Parquet file"),
        ("PARQUET", "a.csv", "is not a Parquet file"),
        ("FILE", "half.parquet", "is no whole Parquet file"),
        ("ARROW", "a.parquet", "is not an Arrow IPC file"),
        // The first file matches its declared kind.
        ("JSON", "a.*", "a.csv holds no JSON"),
    ] {
        let source = FileSource::new(kind(stored_as, &at(file), 10, &[])).unwrap();
        match source.read(Start::First).await {
            Err(Error::Config { message, .. }) => assert!(message.contains(said), "{message}"),
            other => panic!("{stored_as} of {file}: {other:?}"),
        }
    }
    for (stored_as, location, options, said) in [
        ("CSV", "-", &[][..], "standard input is read as lines of JSON"),
        ("JSON", "a", &[("format", "csv")], "option 'format' is 'csv', and the source is STORED AS JSON"),
        ("CSV", "a", &[("format", "json")], "option 'format' is 'json', and the source is STORED AS CSV"),
        ("CSV", "a", &[("delimiter", "||")], "option 'delimiter' is '||'"),
        ("FILE", "a", &[("header", "true")], "option 'header' is one of CSV files"),
    ] {
        match FileSource::new(kind(stored_as, location, 10, options)) {
            Err(Error::Config { message, .. }) => assert!(message.contains(said), "{message}"),
            other => panic!("{said}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_file_is_known_by_its_path_from_the_project_on() {
    let folder = TempDir::new().unwrap();
    fs::create_dir(folder.path().join("in")).unwrap();
    write(&folder, "in/a", &lines(0..2));
    write(&folder, "in/b", &lines(2..4));
    // A position of an earlier release, which named files relative to the working directory.
    for (from, location) in [
        ("", path(&folder).to_owned() + "/in"),
        ("", path(&folder).to_owned() + "/./in"),
        (path(&folder), "./in".into()),
        (path(&folder), "in/*".into()),
    ] {
        let before = read_kind(SourceConfig { folder: from.into(), ..config(&location, 1) }).await;
        assert_eq!(before.rows, numbered(0..4));
        for location in ["in", "./in", "in/*", "././in/*"] {
            let source = FileSource::new(SourceConfig { folder: folder.path().into(), ..config(location, 1) }).unwrap();
            for position in &before.positions {
                let mut reader = source.read(Start::At(position.clone())).await.unwrap();
                let rest = drain(&mut reader).await.unwrap();
                assert_eq!(rest.rows.len() as u64, 5 - position.offset);
                if let Some(last) = rest.positions.last() {
                    assert_eq!(serde_json::to_value(last).unwrap()["identity"]["file"], "in/b");
                }
            }
        }
    }
}

/// An Avro file of the numbers, with a block for each two, and where its blocks end.
fn avro(numbers: &[i8]) -> (Vec<u8>, Vec<usize>) {
    let mark = [7; 16];
    let schema = r#"{"type":"record","name":"R","fields":[{"name":"n","type":"int"}]}"#;
    let mut file = [&b"Obj\x01\x02\x16avro.schema\x82\x01"[..], schema.as_bytes(), &[0], &mark].concat();
    let mut ends = vec![file.len()];
    for block in numbers.chunks(2) {
        let length = (block.len() * 2) as u8;
        file.extend([length, length]);
        file.extend(block.iter().map(|number| (*number as u8) * 2));
        file.extend(mark);
        ends.push(file.len());
    }
    (file, ends)
}

#[tokio::test]
async fn avro_is_read_on_as_its_blocks_become_whole() {
    let folder = TempDir::new().unwrap();
    let (whole, ends) = avro(&[0, 1, 2, 3]);
    let path = write(&folder, "a.avro", "");
    let source = FileSource::new(kind("AVRO", &path, 1000, &[])).unwrap();
    let mut reader = source.read(Start::First).await.unwrap();
    // Within the magic, within the head, behind the head, within the first block, behind it, within its mark, and to the end.
    let steps =
        [(0, 0), (2, 0), (40, 0), (ends[0], 0), (ends[0] + 3, 0), (ends[1] - 4, 0), (ends[1], 2), (ends[2] - 1, 2), (ends[2], 4)];
    let (mut rows, mut before) = (Vec::new(), 0);
    for (length, expected) in steps {
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(&whole[before..length]).unwrap();
        before = length;
        while rows.len() < expected {
            rows.extend(drain(&mut reader).await.unwrap().rows);
        }
        assert_eq!(rows, numbered(0..expected as i64), "{length}");
        assert_eq!(source.extent().await.unwrap().end, expected as u64 + 1, "{length}");
    }
    // A reader that begins anew finds the same.
    assert_eq!(read_kind(kind("AVRO", &path, 1000, &[])).await.rows, rows);
    // What others follow is not written any more, whether a reader waits for the rest or begins anew.
    fs::write(&path, &whole[..ends[2] - 1]).unwrap();
    let pattern = format!("{}/*.avro", folder.path().display());
    let waiting = FileSource::new(kind("AVRO", &pattern, 1000, &[])).unwrap();
    let mut waiting = waiting.read(Start::First).await.unwrap();
    assert_eq!(drain(&mut waiting).await.unwrap().rows, numbered(0..2));
    fs::write(folder.path().join("b.avro"), &whole).unwrap();
    let anew = FileSource::new(kind("AVRO", &pattern, 1000, &[])).unwrap();
    for mut reader in [waiting, anew.read(Start::First).await.unwrap()] {
        let error = loop {
            match drain(&mut reader).await {
                Ok(seen) => assert!(seen.rows.iter().all(|row| row.0 <= 2), "{seen:?}"),
                Err(error) => break error,
            }
        };
        assert!(error.to_string().contains("it is cut off, and later files follow"), "{error}");
    }
}
