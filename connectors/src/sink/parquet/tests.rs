#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod crash;
mod equal_to_model;
mod keys;
mod large;
mod measure;
mod readers;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Int64Array, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;

use super::parts::Snapshot;
use super::snapshots::publish;
use super::sweep::{Swept, sweep, sweep_older_half, sweep_orphans};
use super::writer::{ViewWriter, read_parts};
use super::{Part, PartLayout, PartRows, Retention, read_manifest, read_snapshot};
use crate::sink::contract::{CommitFacts, Delta};

/// Reads the content of a writer as of its last write.
trait Held {
    fn rows(&self) -> u64;
    fn read_all(&self) -> PartRows;
}

impl Held for ViewWriter {
    fn rows(&self) -> u64 {
        self.parts().iter().map(|part| part.rows).sum()
    }

    fn read_all(&self) -> PartRows {
        PartRows::new(Arc::clone(&self.files), self.parts().to_vec())
    }
}

/// A key, a word and a number.
pub(super) fn simple_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("key", DataType::Int64, false),
        Field::new("word", DataType::Utf8, true),
        Field::new("n", DataType::Int64, true),
    ]))
}

pub(super) fn simple_rows(rows: impl IntoIterator<Item = (i64, i64)>) -> RecordBatch {
    let rows: Vec<_> = rows.into_iter().collect();
    RecordBatch::try_new(
        simple_schema(),
        vec![
            Arc::new(rows.iter().map(|row| row.0).collect::<Int64Array>()),
            Arc::new(StringArray::from_iter_values(rows.iter().map(|row| format!("word {}", row.0 % 7)))),
            Arc::new(rows.iter().map(|row| row.1).collect::<Int64Array>()),
        ],
    )
    .unwrap()
}

pub(super) fn snapshot(epoch: u64, committed_ms: u64, parts: &[Part]) -> Snapshot {
    let commit = CommitFacts {
        view: "v".to_owned(),
        epoch,
        offsets: BTreeMap::from([("orders".to_owned(), epoch * 10)]),
        fingerprint: "f".to_owned(),
        committed_ms,
        committed_with: vec!["v".to_owned()],
    };
    Snapshot { commit, layout: PartLayout::Append, parts: parts.to_vec() }
}

pub(super) fn change(rows: RecordBatch, weight: i64) -> Delta {
    let weights = Some(Int64Array::from(vec![weight; rows.num_rows()]));
    Delta { rows, weights }
}

/// Reads files like any reader of Parquet, and returns (rows, sum of `n`).
pub(super) fn rows_and_sum(files: &[std::path::PathBuf]) -> Result<(u64, i64), String> {
    let (mut rows, mut sum) = (0, 0);
    for file in files {
        let file = std::fs::File::open(file).map_err(|error| format!("{}: {error}", file.display()))?;
        let reader =
            parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| error.to_string())?;
        for batch in reader.build().map_err(|error| error.to_string())? {
            let batch = batch.map_err(|error| error.to_string())?;
            rows += batch.num_rows() as u64;
            let numbers = batch.column_by_name("n").unwrap().as_any().downcast_ref::<Int64Array>().unwrap().clone();
            sum += numbers.iter().flatten().sum::<i64>();
        }
    }
    Ok((rows, sum))
}
