//! Going on from a checkpoint, wherever it was made.

use std::fs;

use super::{Lines, append, folder, read_to_end, refused, source};
use crate::source::{Identity, Start};

/// Files with lines of every kind, without a line feed at the end of some.
fn random_files(random: &mut fastrand::Rng) -> Vec<(String, String)> {
    let count = random.usize(1..5);
    (0..count)
        .map(|file| {
            let mut text = String::new();
            for _ in 0..random.usize(0..12) {
                text.push_str(&match random.u8(0..8) {
                    0 => String::new(),
                    1 => "broken".into(),
                    2 => format!("{{\"v\":{},\"x\":\"{}\"}}\r", random.u16(..), "é".repeat(random.usize(0..100_000))),
                    _ => format!("{{\"v\":{}}}", random.u16(..)),
                });
                text.push('\n');
            }
            if random.bool() {
                text.pop();
            }
            (format!("f{file}"), text)
        })
        .collect()
}

/// What a reader must give, from the text alone.
fn expected(files: &[(String, String)]) -> Lines {
    let mut lines = Lines { end: 1, ..Lines::default() };
    for (index, (name, text)) in files.iter().enumerate() {
        let (whole, rest) = text.rsplit_once('\n').map_or((None, text.as_str()), |(whole, rest)| (Some(whole), rest));
        let is_line = !rest.is_empty() && (index + 1 < files.len() || rest.starts_with('{'));
        let whole = whole.into_iter().flat_map(|whole| whole.split('\n'));
        for line in whole.chain(is_line.then_some(rest)) {
            let line = line.strip_suffix('\r').unwrap_or(line);
            if line == "broken" {
                lines.dead.push((lines.end, name.clone(), line.into()));
            } else if !line.is_empty() {
                let value: serde_json::Value = serde_json::from_str(line).unwrap();
                lines.rows.push((lines.end, value["v"].as_i64().unwrap()));
            }
            lines.end += 1;
        }
    }
    lines
}

#[tokio::test(flavor = "multi_thread")]
async fn at_every_boundary_of_a_batch() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    for round in 0..40 {
        let files = random_files(&mut random);
        let folder = folder(&files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect::<Vec<_>>());
        let source = source(folder.path(), random.usize(1..6));
        let (lines, positions) = read_to_end(&mut source.read(Start::First).await.unwrap()).await;
        let mut all = expected(&files);
        assert_eq!(lines.end.max(1), all.end, "round {round}");
        all.end = lines.end;
        assert_eq!(lines, all, "round {round}");
        assert_eq!(source.extent().await.unwrap().end, lines.end.max(1));
        for position in positions {
            let mut reader = source.read(Start::At(position.clone())).await.unwrap();
            assert_eq!(*reader.position(), position);
            let (rest, _) = read_to_end(&mut reader).await;
            assert_eq!(rest.rows, lines.rows.iter().copied().filter(|row| row.0 >= position.offset).collect::<Vec<_>>());
            assert_eq!(rest.dead, lines.dead.iter().filter(|dead| dead.0 >= position.offset).cloned().collect::<Vec<_>>());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_line_without_a_line_feed() {
    let folder = folder(&[("a", "{\"v\":1}\n{\"v\":2}")]);
    let file = folder.path().join("a");
    let source = source(folder.path(), 10);
    let (lines, positions) = read_to_end(&mut source.read(Start::First).await.unwrap()).await;
    assert_eq!(lines.values(), [1, 2]);
    let position = positions.last().unwrap();
    for (more, values) in [("", vec![]), ("\r\n", vec![]), ("{\"v\":3}\n", vec![3])] {
        append(&file, more);
        let mut reader = source.read(Start::At(position.clone())).await.unwrap();
        assert_eq!(read_to_end(&mut reader).await.0.values(), values);
    }
    fs::write(&file, "{\"v\":1}\n{\"v\":2} more\n").unwrap();
    let mut reader = source.read(Start::At(position.clone())).await.unwrap();
    assert!(super::stopped(&mut reader).await.contains("has grown"));
}

#[tokio::test(flavor = "multi_thread")]
async fn not_in_files_that_are_others() {
    let folder = folder(&[("a", "{\"v\":1}\n"), ("b", "{\"v\":2}\n{\"v\":3}\n")]);
    let source = source(folder.path(), 10);
    let (_, positions) = read_to_end(&mut source.read(Start::First).await.unwrap()).await;
    let position = positions.last().unwrap();
    let b = folder.path().join("b");

    append(&folder.path().join("0"), "{\"v\":0}\n");
    assert!(refused(&source, position).await.contains("sequences would shift"));
    fs::remove_file(folder.path().join("0")).unwrap();

    fs::write(&b, "{\"v\":2}\n{\"v\":4}\n").unwrap();
    assert!(refused(&source, position).await.contains("not the one that was read"));
    fs::write(&b, "{\"v\":2}\n").unwrap();
    assert!(refused(&source, position).await.contains("holds 8 now"));
    fs::remove_file(&b).unwrap();
    assert!(refused(&source, position).await.contains("is gone"));

    let mut of_stream = position.clone();
    of_stream.identity = Identity::Nats { stream: "S".into(), created: String::new(), last: None };
    assert!(refused(&source, &of_stream).await.contains("NATS"));
}
