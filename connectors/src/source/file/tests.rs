//! Reads files as a whole, in parts, and while they change.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs::{self, OpenOptions};
use std::io::{Cursor, Write};
use std::path::Path;
use std::time::Duration;

use arrow::array::{AsArray, Int64Array};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use tempfile::TempDir;

use super::*;
use crate::DeadLetter;
use crate::source::declaration::BatchLimits;

mod kinds;

fn config(location: &str, max_events: usize) -> SourceConfig {
    SourceConfig {
        name: "flights".into(),
        stored_as: "FILE".into(),
        location: location.into(),
        folder: Default::default(),
        options: Default::default(),
        declared: Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)])),
        columns: vec![0],
        limits: BatchLimits { max_events, ..BatchLimits::default() },
    }
}

fn source(location: &str, max_events: usize) -> FileSource {
    FileSource::new(config(location, max_events)).unwrap()
}

/// The results of a run.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    rows: Vec<(u64, i64)>,
    letters: Vec<DeadLetter>,
    positions: Vec<Position>,
}

/// Reads until the end is reported.
async fn drain(reader: &mut FileReader) -> Result<Seen, Error> {
    let mut seen = Seen::default();
    loop {
        let next = tokio::time::timeout(Duration::from_secs(10), reader.next()).await.expect("the reader hangs")?;
        match next {
            Read::CaughtUp { offset } => {
                assert_eq!(offset, reader.position().offset, "nothing is left out");
                return Ok(seen);
            }
            Read::End => return Ok(seen),
            Read::Batch(batch) => {
                assert_eq!(batch.end, batch.position.offset, "a batch ends at its position");
                assert!(batch.start < batch.end, "a batch covers something");
                let numbers: &Int64Array = batch.rows.column(0).as_primitive::<Int64Type>();
                seen.rows.extend(batch.sequences.values().iter().copied().zip(numbers.values().iter().copied()));
                let unfit = batch.unfit.iter().map(|unfit| batch.unfit_letter("events", "n", "v", unfit));
                seen.letters.extend(batch.dead_letters.iter().cloned().chain(unfit));
                seen.letters.sort_by_key(|letter| letter.sequence);
                seen.positions.push(batch.position);
            }
        }
    }
}

async fn read_all(location: &str, max_events: usize) -> Seen {
    let source = source(location, max_events);
    let seen = drain(&mut source.read(Start::First).await.unwrap()).await.unwrap();
    let end = seen.positions.last().map_or(1, |position| position.offset);
    if location != "-" {
        assert_eq!(source.extent().await.unwrap(), Extent { first: 1, end }, "the extent is what a reader reads");
    }
    seen
}

fn write(folder: &TempDir, name: &str, text: &str) -> String {
    let path = folder.path().join(name);
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

fn append(path: &str, text: &str) {
    OpenOptions::new().append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

fn lines(numbers: std::ops::Range<i64>) -> String {
    numbers.map(|n| format!("{{\"n\":{n}}}\n")).collect()
}

fn path(folder: &TempDir) -> &str {
    folder.path().to_str().unwrap()
}

fn changed(result: Result<impl fmt::Debug, Error>) -> String {
    match result {
        Err(Error::StreamChanged { message, .. }) => message,
        other => panic!("expected StreamChanged, found {other:?}"),
    }
}

fn numbered(numbers: std::ops::Range<i64>) -> Vec<(u64, i64)> {
    numbers.map(|n| (n as u64 + 1, n)).collect()
}

#[tokio::test]
async fn lines_are_numbered_over_all_files_in_the_order_of_names() {
    let folder = TempDir::new().unwrap();
    write(&folder, "b.ndjson", &lines(3..5));
    write(&folder, "a.ndjson", &lines(0..3));
    write(&folder, "c.ndjson", "");
    write(&folder, "d.ndjson", &lines(5..9));
    write(&folder, ".hidden", &lines(50..52));
    fs::create_dir(folder.path().join("aa")).unwrap();
    write(&folder, "aa/x.ndjson", &lines(50..52));
    assert_eq!(read_all(path(&folder), 1000).await.rows, numbered(0..9));
    assert_eq!(read_all(path(&folder), 1).await.rows, numbered(0..9));
    let file = format!("{}/a.ndjson", path(&folder));
    assert_eq!(read_all(&file, 1000).await.rows, numbered(0..3));
}

#[tokio::test]
async fn a_glob_selects_and_goes_down_as_far_as_it_says() {
    let folder = TempDir::new().unwrap();
    fs::create_dir_all(folder.path().join("2026/01")).unwrap();
    write(&folder, "2026/01/a.ndjson", &lines(0..2));
    write(&folder, "2026/b.ndjson", &lines(2..3));
    write(&folder, "2026/b.txt", "no");
    let read = |pattern: &str| format!("{}/{pattern}", path(&folder));
    assert_eq!(read_all(&read("**/*.ndjson"), 10).await.rows, numbered(0..3));
    assert_eq!(read_all(&read("2026/*.ndjson"), 10).await.rows, [(1, 2)]);
    assert_eq!(read_all(&read("*/*/{a,b}.ndjson"), 10).await.rows, numbered(0..2));
    assert_eq!(read_all(&read("*.ndjson"), 10).await.rows, []);
}

#[tokio::test]
async fn resuming_anywhere_gives_the_rest() {
    let folder = TempDir::new().unwrap();
    write(&folder, "a", "{\"n\":0}\r\n\n  \nbroken\n{\"n\":4}");
    write(&folder, "b", "");
    write(&folder, "c", "{\"n\":5}\n{\"n\":6}\n\r\n{\"n\":8}");
    let whole = read_all(path(&folder), 1000).await;
    assert_eq!(whole.rows, [(1, 0), (5, 4), (6, 5), (7, 6), (9, 8)]);
    assert_eq!(whole.letters[0].sequence, 4);
    for max_events in 1..9 {
        let parts = read_all(path(&folder), max_events).await;
        assert_eq!((&parts.rows, &parts.letters), (&whole.rows, &whole.letters));
        for position in &parts.positions {
            let mut reader = source(path(&folder), 3).read(Start::At(position.clone())).await.unwrap();
            let rest = drain(&mut reader).await.unwrap();
            let expected: Vec<_> = whole.rows.iter().copied().filter(|row| row.0 >= position.offset).collect();
            assert_eq!(rest.rows, expected, "from {position:?}");
            assert_eq!(reader.position().offset, 10);
        }
    }
}

#[tokio::test]
async fn a_broken_line_is_a_dead_letter_of_its_file() {
    let folder = TempDir::new().unwrap();
    let a = write(&folder, "a", "{\"n\":1}\n");
    let b = write(&folder, "b", "{\"n\":2}\r\n[1]\r\n{\"n\":\"x\"}\n{\"n\":3\n");
    assert!(a < b);
    let seen = read_all(path(&folder), 2).await;
    let letters: Vec<_> = seen.letters.iter().map(|letter| (letter.sequence, letter.kind, &letter.payload[..])).collect();
    let expected: [(u64, &str, &[u8]); 3] =
        [(3, "not_one_object", b"[1]"), (4, "wrong_type", b"{\"n\":\"x\"}"), (5, "not_json", b"{\"n\":3")];
    assert_eq!(letters, expected);
    assert_eq!((&seen.letters[1].column, &seen.letters[1].view), (&Some("n".into()), &Some("v".into())));
    assert!(seen.letters.iter().all(|letter| letter.subject == b && letter.timestamp_ns.is_none()));
}

#[tokio::test]
async fn a_byte_order_mark_at_the_start_of_a_file_is_no_part_of_its_first_line() {
    let folder = TempDir::new().unwrap();
    write(&folder, "a", &format!("\u{feff}{}", lines(0..3)));
    write(&folder, "b", &format!("{}\u{feff}{}", lines(3..4), lines(9..10)));
    // A line without a line end, which is taken because it is one whole object.
    let last = write(&folder, "c", "\u{feff}{\"n\":5}");
    for max_events in [1, 1000] {
        let seen = read_all(path(&folder), max_events).await;
        assert_eq!(seen.rows, [(1, 0), (2, 1), (3, 2), (4, 3), (6, 5)]);
        assert_eq!(seen.letters.len(), 1, "elsewhere in a file it is a fault");
        assert_eq!(seen.letters[0].sequence, 5);
    }
    let one = source(path(&folder), 1);
    let mut reader = one.read(Start::First).await.unwrap();
    let Read::Batch(first) = reader.next().await.unwrap() else { panic!("a batch") };
    assert_eq!(first.origin.unwrap().letter(1).unwrap().payload, b"{\"n\":0}".as_slice());
    drop(reader);
    // The previous line is recognized when reading resumes after it.
    let mut reader = one.read(Start::At(first.position)).await.unwrap();
    assert_eq!(drain(&mut reader).await.unwrap().rows[0], (2, 1));
    append(&last, "\n{\"n\":6}\n");
    assert_eq!(drain(&mut reader).await.unwrap().rows, [(7, 6)]);

    let mut reader = piped("\u{feff}{\"n\":0}\n{\"n\":1}\n", FilePosition::default());
    assert_eq!(drain(&mut reader).await.unwrap().rows, numbered(0..2));
}

#[tokio::test]
async fn lines_longer_than_a_chunk_and_random_cuts() {
    let folder = TempDir::new().unwrap();
    let long = "x".repeat(3 * chunk::CHUNK_BYTES);
    write(&folder, "a", &format!("{{\"n\":0}}\n{{\"n\":1,\"t\":\"{long}\"}}\n{{\"n\":2}}\n"));
    assert_eq!(read_all(path(&folder), 1000).await.rows, numbered(0..3));
    write(&folder, "a", &lines(0..20_000));
    let seed = 0xa11u64;
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..20 {
        let mut config = config(path(&folder), random.usize(100..30_000));
        config.limits.max_bytes = random.usize(500..400_000);
        let source = FileSource::new(config).unwrap();
        let seen = drain(&mut source.read(Start::First).await.unwrap()).await.unwrap();
        assert!(seen.rows == numbered(0..20_000), "seed {seed}");
    }
}

#[tokio::test]
async fn what_is_appended_and_what_appears_later_is_read_on() {
    let folder = TempDir::new().unwrap();
    let mut reader = source(path(&folder), 10).read(Start::First).await.unwrap();
    assert_eq!(drain(&mut reader).await.unwrap().rows, []);
    let a = write(&folder, "a", "{\"n\":0}\n{\"n\"");
    let rows = async |reader: &mut FileReader, count: usize| {
        let mut rows = Vec::new();
        while rows.len() < count {
            rows.extend(drain(reader).await.unwrap().rows);
        }
        rows
    };
    assert_eq!(rows(&mut reader, 1).await, [(1, 0)]);
    append(&a, ":1}");
    assert_eq!(rows(&mut reader, 1).await, [(2, 1)]);
    append(&a, "\r\n{\"n\":2}\nbroken");
    assert_eq!(rows(&mut reader, 1).await, [(3, 2)]);
    let c = write(&folder, "c", "{\"n\":4}\n");
    assert_eq!(rows(&mut reader, 1).await, [(5, 4)]);
    let position = reader.position().clone();
    write(&folder, "b", "{\"n\":9}\n");
    assert!(changed(drain_to_error(&mut reader).await).contains("b appeared"));
    assert!(changed(source(path(&folder), 10).read(Start::At(position.clone())).await).contains("held 4 lines"));
    fs::remove_file(folder.path().join("b")).unwrap();
    append(&c, &lines(5..7));
    let mut reader = source(path(&folder), 10).read(Start::At(position)).await.unwrap();
    assert_eq!(rows(&mut reader, 2).await, [(6, 5), (7, 6)]);
    append(&a, "more");
    assert!(changed(drain_to_error(&mut reader).await).contains("bytes when"));
}

async fn drain_to_error(reader: &mut FileReader) -> Result<Seen, Error> {
    loop {
        drain(reader).await?;
    }
}

#[tokio::test]
async fn a_file_that_is_not_the_one_that_was_read_is_refused() {
    let folder = TempDir::new().unwrap();
    let file = write(&folder, "a", &lines(0..9));
    let position = read_all(&file, 100).await.positions.pop().unwrap();
    let resume = async || source(&file, 100).read(Start::At(position.clone())).await;
    fs::write(&file, lines(0..8)).unwrap();
    assert!(changed(resume().await).contains("bytes of it have been read"));
    fs::write(&file, lines(0..8) + "{\"n\":7}\n").unwrap();
    assert!(changed(resume().await).contains("line 9 of"));
    fs::write(&file, lines(0..10)).unwrap();
    let mut reader = resume().await.unwrap();
    assert_eq!(drain(&mut reader).await.unwrap().rows, [(10, 9)]);
    fs::write(&file, lines(1..5)).unwrap();
    assert!(changed(drain_to_error(&mut reader).await).contains("bytes of it have been read"));
    fs::remove_file(&file).unwrap();
    assert!(matches!(resume().await, Err(Error::Config { .. })));
}

#[tokio::test]
async fn a_line_that_was_taken_may_not_be_continued() {
    let folder = TempDir::new().unwrap();
    let file = write(&folder, "a", "{\"n\":0}\n{\"n\":1}");
    let mut reader = source(&file, 100).read(Start::First).await.unwrap();
    assert_eq!(drain(&mut reader).await.unwrap().rows, numbered(0..2));
    let position = reader.position().clone();
    append(&file, "{\"n\":2}\n");
    assert!(changed(drain_to_error(&mut reader).await).contains("has been continued"));
    let mut reader = source(&file, 100).read(Start::At(position.clone())).await.unwrap();
    assert!(changed(drain_to_error(&mut reader).await).contains("has been continued"));
    fs::write(&file, "{\"n\":0}\n{\"n\":1} \n{\"n\":2}\n").unwrap();
    let mut reader = source(&file, 100).read(Start::At(position)).await.unwrap();
    assert_eq!(drain(&mut reader).await.unwrap().rows, [(3, 2)]);
}

/// A reader that reads `text` as its standard input.
fn piped(text: &'static str, place: FilePosition) -> FileReader {
    let source = source("-", 2);
    let position = place.to_record().unwrap();
    let (sender, items) = mpsc::channel(3);
    let sender = Sender::new(source.config, source.decoder, place, sender, Handle::current());
    std::thread::spawn(move || pipe::run(sender, Cursor::new(text)));
    FileReader { decoding: Decoding::new(position, items) }
}

#[tokio::test]
async fn standard_input_ends_and_is_resumed_by_passing_over() {
    let text = "{\"n\":0}\n{\"n\":1}\n\nno\n{\"n\":4}";
    let mut reader = piped(text, FilePosition::default());
    let mut whole = Seen::default();
    while whole.rows.len() < 3 {
        let more = drain(&mut reader).await.unwrap();
        whole.rows.extend(more.rows);
        whole.positions.extend(more.positions);
        whole.letters.extend(more.letters);
    }
    assert_eq!(whole.rows, [(1, 0), (2, 1), (5, 4)]);
    assert_eq!((whole.letters[0].sequence, whole.letters[0].subject.as_str()), (4, "-"));
    assert_eq!(whole.positions.iter().map(|position| position.offset).collect::<Vec<_>>(), [3, 5, 6]);
    assert!(matches!(reader.next().await, Ok(Read::End)) && matches!(reader.next().await, Ok(Read::End)));
    for position in whole.positions {
        let place = FilePosition::of("flights", &position).unwrap();
        let mut reader = piped(text, place.clone());
        let mut rest = Vec::new();
        loop {
            match reader.next().await.unwrap() {
                Read::Batch(batch) => rest.extend(batch.sequences.values().iter().copied()),
                Read::CaughtUp { .. } => {}
                Read::End => break,
            }
        }
        assert_eq!(rest, [1, 2, 5].into_iter().filter(|n| *n >= position.offset).collect::<Vec<u64>>());
        changed(drain_to_error(&mut piped("{\"n\":0}\n{\"n\":9}\n\nnay\n{\"n\":5}", place.clone())).await);
        changed(drain_to_error(&mut piped("{\"n\":0}\n", place)).await);
    }
}

#[tokio::test]
async fn dropping_next_loses_nothing() {
    let folder = TempDir::new().unwrap();
    write(&folder, "a", &lines(0..500));
    let mut reader = source(path(&folder), 7).read(Start::First).await.unwrap();
    let mut rows = Vec::new();
    while rows.len() < 500 {
        let next = tokio::select! {
            biased;
            () = tokio::task::yield_now() => continue,
            next = reader.next() => next.unwrap(),
        };
        if let Read::Batch(batch) = next {
            rows.extend(batch.sequences.values().iter().copied());
        }
    }
    assert_eq!(rows, (1..=500).collect::<Vec<u64>>());
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(text).unwrap();
    packer.finish().unwrap()
}

/// The same events in each form that a file may have.
fn ways(numbers: std::ops::Range<i64>) -> Vec<(&'static str, Vec<u8>)> {
    let lines = lines(numbers.clone());
    let values: Vec<String> = numbers.clone().map(|n| format!("{{\"n\":{n}}}")).collect();
    let pretty = numbers.map(|n| format!("{{\n  \"text\": \"}}, \\\" [\",\n  \"n\": {n}\n}}")).collect::<Vec<_>>();
    let array = format!("[{}]", values.join(",\n"));
    vec![
        ("gzip", gzip(lines.as_bytes())),
        ("gzip twice", [gzip(&lines.as_bytes()[..20]), gzip(&lines.as_bytes()[20..])].concat()),
        ("zstd", zstd::encode_all(lines.as_bytes(), 1).unwrap()),
        ("array", array.clone().into_bytes()),
        ("array, packed", gzip(array.as_bytes())),
        ("pretty", pretty.join("\n").into_bytes()),
        ("pretty array", format!("\u{feff} [\n{}\n]\n", pretty.join(",\n")).into_bytes()),
    ]
}

#[tokio::test]
async fn files_are_packed_arrays_or_printed_over_several_lines() {
    for (way, bytes) in ways(0..2_000) {
        let folder = TempDir::new().unwrap();
        write(&folder, "a", &lines(0..1_000));
        fs::write(folder.path().join("b"), &bytes).unwrap();
        write(&folder, "c", &lines(3_000..3_010));
        let expected: Vec<(u64, i64)> = (1..).zip((0..1_000).chain(0..2_000).chain(3_000..3_010)).collect();
        let whole = read_all(path(&folder), 400).await;
        assert_eq!((whole.rows.len(), whole.letters.len()), (expected.len(), 0), "{way}");
        assert_eq!(whole.rows, expected, "{way}");
        assert_eq!(source(path(&folder), 10).extent().await.unwrap().end, 3_011, "{way}");
        for position in &whole.positions {
            let mut reader = source(path(&folder), 1_000).read(Start::At(position.clone())).await.unwrap();
            let rest = drain(&mut reader).await.unwrap().rows;
            assert_eq!(rest, expected[position.offset as usize - 1..], "{way} from {position:?}");
        }
    }
}

#[tokio::test]
async fn an_array_grows_and_a_file_that_is_another_is_refused() {
    let folder = TempDir::new().unwrap();
    let file = write(&folder, "a", "[{\"n\":0},\n{\"n\":1");
    let mut reader = source(&file, 10).read(Start::First).await.unwrap();
    assert_eq!(drain(&mut reader).await.unwrap().rows, [(1, 0)]);
    append(&file, "},");
    let mut rows = Vec::new();
    while rows.is_empty() {
        rows = drain(&mut reader).await.unwrap().rows;
    }
    assert_eq!(rows, [(2, 1)]);
    let position = reader.position().clone();
    drop(reader);
    append(&file, "{\"n\":2}\n]\n");
    let mut reader = source(&file, 10).read(Start::At(position.clone())).await.unwrap();
    assert_eq!(drain(&mut reader).await.unwrap().rows, [(3, 2)]);
    drop(reader);
    write(&folder, "a", "[{\"n\":0},\n{\"n\":7},{\"n\":2}]");
    assert!(changed(source(&file, 10).read(Start::At(position)).await).contains("line 2 of"));
}

#[tokio::test]
async fn what_cannot_be_read_says_so() {
    let folder = TempDir::new().unwrap();
    let said = async |bytes: &[u8]| {
        let file = folder.path().join("a");
        fs::write(&file, bytes).unwrap();
        match source(file.to_str().unwrap(), 10).read(Start::First).await {
            Ok(mut reader) => drain_to_error(&mut reader).await.map(|_| ()).unwrap_err().to_string(),
            Err(error) => error.to_string(),
        }
    };
    assert!(said(b"PAR1\x15\x04").await.contains("is no whole Parquet file"));
    assert!(said(b"BZh91AY").await.contains("is compressed with bzip2"));
    let packed = gzip(lines(0..100_000).as_bytes());
    assert!(said(&packed[..packed.len() - 100]).await.contains("cut off or damaged"));
    let packed = zstd::encode_all(lines(0..100_000).as_bytes(), 1).unwrap();
    assert!(said(&packed[..packed.len() - 100]).await.contains("cut off or damaged"));
}

#[test]
fn a_wrong_declaration_is_refused_with_what_to_write() {
    let refused = |location: &str, option: Option<(&str, &str)>| {
        let mut config = config(location, 10);
        config.options.extend(option.map(|(name, value)| (name.to_owned(), value.to_owned())));
        match FileSource::new(config) {
            Err(Error::Config { message, help }) => format!("{message}; {}", help.unwrap_or_default()),
            other => panic!("expected a refusal, found {other:?}"),
        }
    };
    assert!(refused("a", Some(("formt", "json"))).contains("did you mean 'format'?"));
    assert!(refused("a", Some(("subject", "x"))).contains("option 'subject' is not known"));
    assert!(refused("a", Some(("format", "xml"))).contains("'xml' is not known"));
    assert!(refused("", None).contains("LOCATION is empty"));
    assert!(refused("a/[b", None).contains("write a pattern"));
    assert!(!Path::new("a/[b").exists());
}
