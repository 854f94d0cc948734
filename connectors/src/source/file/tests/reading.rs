//! What is read, in which order, and how it grows.

use std::fs;
use std::io::Write;
use std::path::Path;

use super::{Lines, append, config, folder, next, read_rows, read_to_end, source, stopped};
use crate::Error;
use crate::source::file::FileSource;
use crate::source::{Extent, Read, Start};

async fn all(location: &Path, max_events: usize) -> Lines {
    let source = source(location, max_events);
    let mut reader = source.read(Start::First).await.unwrap();
    let (lines, _) = read_to_end(&mut reader).await;
    let extent = source.extent().await.unwrap();
    assert_eq!(extent, Extent { first: 1, end: lines.end.max(1) }, "counting and reading agree");
    lines
}

fn line(value: i64) -> String {
    format!("{{\"v\":{value}}}\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_read_in_the_order_of_their_names() {
    let text = |values: &[i64]| values.iter().map(|value| line(*value)).collect::<String>();
    let folder = folder(&[
        ("b.jsonl", &text(&[4, 5])),
        ("a.jsonl", &text(&[1, 2, 3])),
        ("c10", &text(&[6])),
        ("c9", &text(&[7])),
        (".hidden", "broken\n"),
        ("empty", ""),
    ]);
    fs::create_dir(folder.path().join("below")).unwrap();
    fs::write(folder.path().join("below/a.jsonl"), "broken\n").unwrap();
    for max_events in [1, 2, 3, 100] {
        let lines = all(folder.path(), max_events).await;
        assert_eq!(lines.rows, (1..=7).map(|value| (value as u64, value)).collect::<Vec<_>>());
        assert!(lines.dead.is_empty());
    }
    assert_eq!(all(&folder.path().join("b.jsonl"), 10).await.values(), [4, 5]);
    assert_eq!(all(&folder.path().join("*.jsonl"), 10).await.values(), [1, 2, 3, 4, 5]);
    assert_eq!(all(&folder.path().join("c{9,1?}"), 10).await.values(), [6, 7]);
    let deep = all(&folder.path().join("**/a.jsonl"), 10).await;
    assert_eq!((deep.values(), deep.dead.len()), (vec![1, 2, 3], 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_of_every_kind() {
    let long = format!("{{\"v\":7,\"x\":\"{}\"}}\n", "x".repeat(5 << 20));
    let bad_long = format!("{{\"v\":\"{}\n", "y".repeat(5 << 20));
    let folder = folder(&[
        ("a", "\u{feff}{\"v\":1}\r\n\n  \r\n{\"v\":2}\r\nbroken\r\n{\"v\":\"x\"}\n"),
        ("b", "{\"v\":3}"),
        ("c", &format!("cut off\n{{\"v\":4}}\n{long}{bad_long}{{\"v\":5}}\n\n")),
        ("d", "{\"v\":"),
        ("e", "\n{\"v\":6}"),
    ]);
    for max_events in [1, 2, 1000] {
        let lines = all(folder.path(), max_events).await;
        assert_eq!(lines.rows, [(1, 1), (4, 2), (7, 3), (9, 4), (10, 7), (12, 5), (16, 6)]);
        let dead: Vec<_> = lines.dead.iter().map(|(sequence, file, body)| (*sequence, file.as_str(), body.len())).collect();
        assert_eq!(dead, [(5, "a", 6), (6, "a", 9), (8, "c", 7), (11, "c", bad_long.len() - 1), (14, "d", 5)]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_appended_is_read_once() {
    let folder = folder(&[]);
    let file = folder.path().join("a");
    let mut reader = source(folder.path(), 10).read(Start::First).await.unwrap();
    assert!(matches!(next(&mut reader).await.unwrap(), Read::CaughtUp { offset: 1 }));
    append(&file, "{\"v\":1}\n{\"v\":2");
    assert_eq!(read_rows(&mut reader, 1).await.rows, [(1, 1)]);
    append(&file, "2}");
    // A whole object is a line before its line feed is there, and then the line feed is no line.
    assert_eq!(read_rows(&mut reader, 1).await.rows, [(2, 22)]);
    append(&file, " \r");
    append(&file, "\n{\"v\":3}\n");
    assert_eq!(read_rows(&mut reader, 1).await.rows, [(3, 3)]);
    append(&folder.path().join("b"), "{\"v\":4}");
    assert_eq!(read_rows(&mut reader, 1).await.rows, [(4, 4)]);
    append(&folder.path().join("c"), "{\"v\":5}\n");
    assert_eq!(read_rows(&mut reader, 1).await.rows, [(5, 5)]);
    // Told again and again while nothing happens.
    for _ in 0..3 {
        assert!(matches!(next(&mut reader).await.unwrap(), Read::CaughtUp { offset: 6 }));
    }
    assert_eq!(all(folder.path(), 10).await.values(), [1, 22, 3, 4, 5]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_shift_sequences_stops_reading() {
    type Change = fn(&Path);
    let changes: [(Change, &str); 7] = [
        (|folder| append(&folder.join("a"), "{\"v\":9}\n"), "sequences would shift"),
        (|folder| append(&folder.join("ab"), "{\"v\":9}\n"), "has appeared"),
        (|folder| append(&folder.join("0"), ""), "has appeared"),
        (|folder| fs::remove_file(folder.join("a")).unwrap(), "is gone"),
        (|folder| fs::remove_file(folder.join("b")).unwrap(), "is gone"),
        (|folder| fs::write(folder.join("b"), "").unwrap(), "holds 0 now"),
        (
            |folder| {
                fs::write(folder.join(".new"), "{\"v\":3}\n{\"v\":8}\n").unwrap();
                fs::rename(folder.join(".new"), folder.join("b")).unwrap();
            },
            "not the one that was read",
        ),
    ];
    for (change, expected) in changes {
        let folder = folder(&[("a", "{\"v\":1}\n{\"v\":2}\n"), ("b", "{\"v\":3}\n{\"v\":4}\n")]);
        let mut reader = source(folder.path(), 10).read(Start::First).await.unwrap();
        read_to_end(&mut reader).await;
        change(folder.path());
        let message = stopped(&mut reader).await;
        assert!(message.contains(expected), "{message}");
    }
    // Replaced by a file with the same beginning: read on.
    let folder = folder(&[("a", "{\"v\":1}\n")]);
    let mut reader = source(folder.path(), 10).read(Start::First).await.unwrap();
    read_to_end(&mut reader).await;
    fs::write(folder.path().join(".new"), "{\"v\":1}\n{\"v\":2}\n").unwrap();
    fs::rename(folder.path().join(".new"), folder.path().join("a")).unwrap();
    assert_eq!(read_rows(&mut reader, 1).await.rows, [(2, 2)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_future_loses_nothing() {
    let folder = folder(&[("a", &(1..=20_000).map(line).collect::<String>())]);
    let mut reader = source(folder.path(), 100).read(Start::First).await.unwrap();
    let mut lines = Lines::default();
    loop {
        // Polled once and dropped, most of the time.
        match futures::FutureExt::now_or_never(reader.next()) {
            None => tokio::task::yield_now().await,
            Some(Ok(Read::Batch(batch))) => lines.take(&batch),
            Some(_) => break,
        }
    }
    assert_eq!(lines.values(), (1..=20_000).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_read_to_its_end_and_passed_over_when_resumed() {
    let text = "{\"v\":1}\n\n{\"v\":2}\r\nbroken\n{\"v\":3}";
    let source = FileSource::new(config("-", 2)).unwrap();
    let open = |text: &'static str| {
        let (stream, mut writer) = std::io::pipe().unwrap();
        // In two writes, so that a line comes in halves.
        std::thread::spawn(move || {
            let (first, second) = text.split_at(text.len() / 2);
            let _ = writer.write_all(first.as_bytes()).and_then(|()| writer.write_all(second.as_bytes()));
        });
        Box::new(stream)
    };
    let mut reader = source.read_stream(open(text), Start::First).await.unwrap();
    let (lines, positions) = read_to_end(&mut reader).await;
    assert_eq!(lines.rows, [(1, 1), (3, 2), (5, 3)]);
    assert_eq!(lines.dead, [(4, "-".into(), "broken".into())]);
    assert!(matches!(next(&mut reader).await.unwrap(), Read::End), "and stays ended");
    for position in &positions {
        let mut again = source.read_stream(open(text), Start::At(position.clone())).await.unwrap();
        let (rest, _) = read_to_end(&mut again).await;
        let expected: Vec<_> = lines.rows.iter().copied().filter(|(sequence, _)| *sequence >= position.offset).collect();
        assert_eq!(rest.rows, expected, "{position:?}");
    }
    for (other, expected) in [("{\"v\":1}\n", "holds 1 now"), ("{\"v\":1}\n\n{\"v\":2}\nb\n{\"v\":4}", "is not the one")] {
        let at = Start::At(positions.last().unwrap().clone());
        match source.read_stream(open(other), at).await {
            Err(Error::StreamChanged { message, .. }) => assert!(message.contains(expected), "{message}"),
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(source.extent().await, Err(Error::Config { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn declarations_that_cannot_be_read_are_refused() {
    let message = |config| match FileSource::new(config) {
        Err(Error::Config { message, help }) => format!("{message} {}", help.unwrap_or_default()),
        other => panic!("{other:?}"),
    };
    for (name, expected) in [("formt", "did you mean 'format'?"), ("subject", "one option")] {
        let mut config = config("-", 1);
        config.options.insert(name.into(), "secret".into());
        let message = message(config);
        assert!(message.contains(name) && message.contains(expected) && !message.contains("secret"), "{message}");
    }
    assert!(message(config("", 1)).contains("empty"));
    assert!(message(config("a[", 1)).contains("not a glob"));
    let missing = source(Path::new("/nowhere/at/all"), 1);
    assert!(matches!(missing.read(Start::First).await, Err(Error::Config { .. })));
    assert!(matches!(missing.extent().await, Err(Error::Config { .. })));
}
