//! Encodes the row groups of a large part in parallel. Its rows are in memory, and a single encoder would keep only one core busy.

use std::fs::File;
use std::path::Path;

use arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::{ArrowColumnChunk, ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterPropertiesPtr;
use parquet::file::writer::SerializedFileWriter;
use rayon::prelude::*;

use super::checked::Checksummed;
use super::shape::Shape;
use crate::Error;
use crate::durable::io_error;

/// The maximum size of a row group in bytes.
pub(super) const ROW_GROUP_BYTES: usize = 256 << 20;

/// The minimum number of rows for which a separate row group and thread pay off.
const LEAST_ROWS: usize = 64 << 10;
/// The maximum number of rows of a row group: few enough that little remains to be written to disk at the end.
const MOST_ROWS: usize = 256 << 10;

/// Checks whether to split this many rows into several row groups.
pub(super) fn are_several(rows: usize) -> bool {
    rows >= 2 * LEAST_ROWS && rayon::current_num_threads() > 1
}

/// Writes rows of the view into an empty file.
pub(super) fn write(
    path: &Path,
    file: Checksummed<File>,
    shape: &Shape,
    properties: &WriterPropertiesPtr,
    rows: &[RecordBatch],
) -> Result<Checksummed<File>, Error> {
    let failed = |error| write_error(path, error);
    let (mut writer, factory) = ArrowWriter::try_new(file, shape.stored().clone(), Some(properties.as_ref().clone()))
        .and_then(ArrowWriter::into_serialized_writer)
        .map_err(failed)?;
    let total: usize = rows.iter().map(RecordBatch::num_rows).sum();
    let cores = rayon::current_num_threads();
    let pieces = cut(rows, total.div_ceil(cores).clamp(LEAST_ROWS, MOST_ROWS));
    let mut encoded: Vec<Encoded> = Vec::new();
    for pieces in pieces.chunks(cores) {
        let before = std::mem::take(&mut encoded);
        let encode = || pieces.par_iter().map(|rows| encode(path, shape, &factory, rows)).collect::<Result<Vec<_>, Error>>();
        // Writes and syncs the encoded row groups while the next ones are encoded.
        let (next, appended) = rayon::join(encode, || {
            append(path, &mut writer, before)?;
            writer.flush().and_then(|()| writer.inner().inner().sync_data()).map_err(io_error("syncing", path))
        });
        appended?;
        encoded = next?.into_iter().flatten().collect();
    }
    append(path, &mut writer, encoded)?;
    writer.into_inner().map_err(failed)
}

/// The encoded columns of a row group.
type Encoded = Vec<ArrowColumnChunk>;

/// Appends row groups to the file.
fn append(path: &Path, writer: &mut SerializedFileWriter<Checksummed<File>>, groups: Vec<Encoded>) -> Result<(), Error> {
    let failed = |error| write_error(path, error);
    for group in groups {
        let mut row_group = writer.next_row_group().map_err(failed)?;
        for column in group {
            column.append_to_row_group(&mut row_group).map_err(failed)?;
        }
        row_group.close().map_err(failed)?;
    }
    Ok(())
}

/// Encodes rows as one row group, or as several if they exceed [`ROW_GROUP_BYTES`].
fn encode(path: &Path, shape: &Shape, factory: &ArrowRowGroupWriterFactory, rows: &[RecordBatch]) -> Result<Vec<Encoded>, Error> {
    let failed = |error: ParquetError| write_error(path, error);
    let close = |columns: Vec<ArrowColumnWriter>| {
        columns.into_iter().map(ArrowColumnWriter::close).collect::<Result<Vec<_>, _>>().map_err(failed)
    };
    let mut groups: Vec<Encoded> = Vec::new();
    let mut columns: Vec<ArrowColumnWriter> = Vec::new();
    for batch in rows {
        if columns.iter().map(ArrowColumnWriter::get_estimated_total_bytes).sum::<usize>() >= ROW_GROUP_BYTES {
            groups.push(close(std::mem::take(&mut columns))?);
        }
        if columns.is_empty() {
            columns = factory.create_column_writers(groups.len()).map_err(failed)?;
        }
        let batch = shape.to_stored(batch)?;
        let mut leaves = columns.iter_mut();
        for (field, array) in batch.schema_ref().fields().iter().zip(batch.columns()) {
            for (leaf, column) in compute_leaves(field, array).map_err(failed)?.iter().zip(&mut leaves) {
                column.write(leaf).map_err(failed)?;
            }
        }
    }
    if !columns.is_empty() {
        groups.push(close(columns)?);
    }
    Ok(groups)
}

/// Splits the rows into pieces of `rows` rows each; the last piece may be smaller.
fn cut(batches: &[RecordBatch], rows: usize) -> Vec<Vec<RecordBatch>> {
    let mut pieces = vec![Vec::new()];
    let mut room = rows;
    for batch in batches {
        let mut start = 0;
        while start < batch.num_rows() {
            if room == 0 {
                pieces.push(Vec::new());
                room = rows;
            }
            let length = room.min(batch.num_rows() - start);
            if let Some(piece) = pieces.last_mut() {
                piece.push(batch.slice(start, length));
            }
            start += length;
            room -= length;
        }
    }
    pieces
}

/// Converts an error of the Parquet writer.
pub(super) fn write_error(path: &Path, error: ParquetError) -> Error {
    match error {
        ParquetError::External(source) => match source.downcast::<std::io::Error>() {
            Ok(error) => Error::Io { action: "writing", path: path.to_owned(), error: *error },
            Err(source) => Error::Bug(format!("writing {}: {source}", path.display())),
        },
        error => Error::Bug(format!("writing {}: {error}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::Arc;

    use arrow::array::{Array, AsArray, Int64Array};
    use arrow::datatypes::Int64Type;

    use super::*;

    #[test]
    fn pieces_hold_all_rows_in_order() {
        let mut rng = fastrand::Rng::with_seed(7);
        for _ in 0..500 {
            let mut next = 0;
            let batches: Vec<RecordBatch> = (0..rng.usize(0..6))
                .map(|_| {
                    let length = rng.i64(0..9);
                    let values = Int64Array::from_iter_values(next..next + length);
                    next += length;
                    RecordBatch::try_from_iter([("n", Arc::new(values) as Arc<dyn Array>)]).unwrap()
                })
                .collect();
            let each = rng.usize(1..7);
            let pieces = cut(&batches, each);
            let length = |piece: &Vec<RecordBatch>| piece.iter().map(RecordBatch::num_rows).sum::<usize>();
            assert!(pieces[..pieces.len() - 1].iter().all(|piece| length(piece) == each));
            let rows = pieces.iter().flatten().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec());
            assert_eq!(rows.collect::<Vec<_>>(), (0..next).collect::<Vec<_>>());
        }
    }
}
