//! Reading files: order, following, resuming at every place, and refusing what would shift sequences.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod reading;
mod resuming;

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::AsArray;
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use tempfile::TempDir;

use super::{FileReader, FileSource};
use crate::Error;
use crate::source::{BatchLimits, Position, Read, SourceConfig, Start};

/// So long at most for what must come.
const LIMIT: Duration = Duration::from_secs(20);

fn config(location: &str, max_events: usize) -> SourceConfig {
    let declared = Schema::new(vec![
        Field::new("v", DataType::Int64, false),
        Field::new("_sequence", DataType::UInt64, false),
        Field::new("_subject", DataType::Utf8, true),
    ]);
    SourceConfig {
        name: "lines".into(),
        stored_as: "FILE".into(),
        location: location.into(),
        options: BTreeMap::new(),
        declared: Arc::new(declared),
        columns: vec![0, 1, 2],
        limits: BatchLimits { max_events, ..BatchLimits::default() },
    }
}

fn source(location: &Path, max_events: usize) -> FileSource {
    FileSource::new(config(location.to_str().unwrap(), max_events)).unwrap()
}

/// A folder with these files.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        fs::write(folder.path().join(name), content).unwrap();
    }
    folder
}

fn append(path: &Path, text: &str) {
    OpenOptions::new().append(true).create(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

/// What was read: (sequence, value) of each row, and (sequence, file's name, body) of each dead letter.
#[derive(Debug, Default, Clone, PartialEq)]
struct Lines {
    rows: Vec<(u64, i64)>,
    dead: Vec<(u64, String, String)>,
    end: u64,
}

impl Lines {
    fn take(&mut self, batch: &crate::Batch) {
        if self.end > 0 {
            assert_eq!(batch.start, self.end, "batches follow each other without a gap");
        }
        assert!(batch.start < batch.end);
        assert_eq!(batch.end, batch.position.offset);
        self.end = batch.end;
        let values = batch.rows.column(0).as_primitive::<Int64Type>();
        for (sequence, value) in batch.sequences.values().iter().zip(values.values()) {
            self.rows.push((*sequence, *value));
        }
        let own = batch.rows.column(1).as_primitive::<arrow::datatypes::UInt64Type>();
        assert_eq!(own.values(), batch.sequences.values());
        for letter in &batch.dead_letters {
            let name = Path::new(&letter.subject).file_name().map(|name| name.to_str().unwrap().to_owned());
            let body = String::from_utf8_lossy(&letter.payload).into_owned();
            self.dead.push((letter.sequence, name.unwrap_or_default(), body));
        }
    }

    fn values(&self) -> Vec<i64> {
        self.rows.iter().map(|(_, value)| *value).collect()
    }
}

async fn next(reader: &mut FileReader) -> Result<Read, Error> {
    tokio::time::timeout(LIMIT, reader.next()).await.expect("something within the limit")
}

/// Reads until the end is reported, and notes the position after each batch.
async fn read_to_end(reader: &mut FileReader) -> (Lines, Vec<Position>) {
    let mut lines = Lines::default();
    let mut positions = vec![reader.position().clone()];
    loop {
        match next(reader).await.unwrap() {
            Read::Batch(batch) => {
                lines.take(&batch);
                assert_eq!(batch.position, *reader.position());
                positions.push(batch.position);
            }
            Read::CaughtUp { offset } => {
                assert_eq!(offset, reader.position().offset);
                return (lines, positions);
            }
            Read::End => return (lines, positions),
        }
    }
}

/// Reads until `count` rows are there, through reports of the end.
async fn read_rows(reader: &mut FileReader, count: usize) -> Lines {
    let mut lines = Lines::default();
    while lines.rows.len() < count {
        if let Read::Batch(batch) = next(reader).await.unwrap() {
            lines.take(&batch);
        }
    }
    lines
}

/// The message with which reading stops.
async fn stopped(reader: &mut FileReader) -> String {
    loop {
        match next(reader).await {
            Ok(Read::End) => panic!("ended"),
            Ok(_) => {}
            Err(Error::StreamChanged { message, .. }) => return message,
            Err(other) => panic!("{other}"),
        }
    }
}

async fn refused(source: &FileSource, position: &Position) -> String {
    match source.read(Start::At(position.clone())).await {
        Err(Error::StreamChanged { message, .. }) => message,
        other => panic!("expected to be refused, got {other:?}"),
    }
}
