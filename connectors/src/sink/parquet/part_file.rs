//! Names, writes and reads one Parquet file of a view.
//!
//! Names are `<epoch>-<random>-<n>.parquet`. Each writer has its own random digits, so that the names of two writers in one folder never
//! collide. A written file is synced; its name is durable once [`PartFiles::sync`] has returned.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesPtr};

use super::checked::{CheckedFile, Checksummed, checksums};
use super::parts::Part;
use super::row_groups::{self, ROW_GROUP_BYTES, write_error};
use super::shape::Shape;
use crate::Error;
use crate::durable::{self, io_error};

/// Parts of at most this many rows are written uncompressed and without dictionaries, which would cost more than they save.
const PLAIN_ROWS: usize = 4_096;
/// Parts of at most this many bytes are read into memory as a whole.
const READ_WHOLE_BYTES: u64 = 16 << 20;
const ROW_GROUP_ROWS: usize = 1 << 20;
const READ_ROWS: usize = 64 << 10;

/// Writes and reads the files in the folder `parts/` of a view.
#[derive(Debug)]
pub(super) struct PartFiles {
    folder: PathBuf,
    shape: Arc<Shape>,
    /// The random digits in this writer's names.
    writer: String,
    next: AtomicU64,
    plain: WriterPropertiesPtr,
    packed: WriterPropertiesPtr,
}

impl PartFiles {
    pub(super) fn new(root: &Path, shape: Arc<Shape>) -> PartFiles {
        let plain = WriterProperties::builder()
            .set_compression(Compression::UNCOMPRESSED)
            .set_dictionary_enabled(false)
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_offset_index_disabled(true)
            .build();
        let packed = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
            .set_max_row_group_bytes(Some(ROW_GROUP_BYTES))
            .build();
        PartFiles {
            folder: root.join(PARTS),
            shape,
            writer: durable::unique(),
            next: AtomicU64::new(0),
            plain: Arc::new(plain),
            packed: Arc::new(packed),
        }
    }

    pub(super) fn shape(&self) -> &Shape {
        &self.shape
    }

    pub(super) fn path(&self, part: &Part) -> PathBuf {
        self.folder.join(&part.file)
    }

    /// Makes the names of all parts written so far durable.
    pub(super) fn sync(&self) -> Result<(), Error> {
        durable::sync_folder(&self.folder)
    }

    /// Writes stored rows as a new part and syncs it.
    pub(super) fn write(&self, epoch: u64, prefix: u32, bits: u8, rows: &[RecordBatch]) -> Result<Part, Error> {
        self.write_from(epoch, prefix, bits, rows.iter().map(RecordBatch::num_rows).sum(), rows.iter().cloned().map(Ok))
    }

    /// Like [`PartFiles::write`], for about `expected` rows that need not all be in memory.
    pub(super) fn write_from(
        &self,
        epoch: u64,
        prefix: u32,
        bits: u8,
        expected: usize,
        rows: impl Iterator<Item = Result<RecordBatch, Error>>,
    ) -> Result<Part, Error> {
        self.make(epoch, prefix, bits, |path| self.write_file(path, expected, rows))
    }

    /// Writes rows of the view as a new part that covers all hashes, and syncs it. Uses all cores if there are many rows.
    pub(super) fn write_rows(&self, epoch: u64, rows: &[RecordBatch]) -> Result<Part, Error> {
        let count: usize = rows.iter().map(RecordBatch::num_rows).sum();
        if !row_groups::are_several(count) {
            let stored = rows.iter().map(|rows| self.shape.to_stored(rows));
            return self.write_from(epoch, 0, 0, count, stored);
        }
        self.make(epoch, 0, 0, |path| {
            let file = Checksummed::new(durable::create_new(path)?);
            let (file, crc32) = row_groups::write(path, file, &self.shape, &self.packed, rows)?.finish();
            Ok(Written { rows: count as u64, bytes: synced(path, &file)?, crc32 })
        })
    }

    /// Creates a part. `write` writes the new file and returns what it wrote. If it fails, the file is removed.
    fn make(
        &self,
        epoch: u64,
        prefix: u32,
        bits: u8,
        write: impl FnOnce(&Path) -> Result<Written, Error>,
    ) -> Result<Part, Error> {
        let name = format!("{epoch:010}-{}-{}.parquet", self.writer, self.next.fetch_add(1, Ordering::Relaxed));
        let path = self.folder.join(&name);
        let written = write(&path);
        if written.is_err() {
            let _ = fs::remove_file(&path);
        }
        let Written { rows, bytes, crc32 } = written?;
        Ok(Part { file: name, rows, bytes, prefix, bits, crc32 })
    }

    fn write_file(
        &self,
        path: &Path,
        expected: usize,
        rows: impl Iterator<Item = Result<RecordBatch, Error>>,
    ) -> Result<Written, Error> {
        if expected > PLAIN_ROWS {
            let file = Checksummed::new(durable::create_new(path)?);
            let (file, rows) = self.encode(path, file, &self.packed, rows)?;
            let (file, crc32) = file.finish();
            return Ok(Written { rows, bytes: synced(path, &file)?, crc32 });
        }
        let (bytes, rows) = self.encode(path, Vec::with_capacity(16 << 10), &self.plain, rows)?;
        let mut file = durable::create_new(path)?;
        file.write_all(&bytes).map_err(io_error("writing", path))?;
        file.sync_all().map_err(io_error("syncing", path))?;
        Ok(Written { rows, bytes: bytes.len() as u64, crc32: checksums(&bytes) })
    }

    fn encode<W: Write + Send>(
        &self,
        path: &Path,
        sink: W,
        properties: &WriterPropertiesPtr,
        rows: impl Iterator<Item = Result<RecordBatch, Error>>,
    ) -> Result<(W, u64), Error> {
        let failed = |error| write_error(path, error);
        let mut writer =
            ArrowWriter::try_new(sink, Arc::clone(self.shape.stored()), Some(properties.as_ref().clone())).map_err(failed)?;
        let mut count = 0;
        for batch in rows {
            let batch = batch?;
            count += batch.num_rows() as u64;
            writer.write(&batch).map_err(failed)?;
        }
        Ok((writer.into_inner().map_err(failed)?, count))
    }

    /// Returns the stored rows of a part, in order. They are checked against the part's checksums.
    pub(super) fn read(&self, part: &Part) -> Result<StoredRows, Error> {
        let path = self.path(part);
        let file = CheckedFile::open(&path, part)?;
        let damaged = |error: ParquetError| Error::Corrupt { path: path.clone(), message: error.to_string() };
        let options = ArrowReaderOptions::new();
        let reader = if part.bytes <= READ_WHOLE_BYTES {
            ParquetRecordBatchReaderBuilder::try_new_with_options(file.whole()?, options)
                .map_err(damaged)?
                .with_batch_size(READ_ROWS)
                .build()
        } else {
            ParquetRecordBatchReaderBuilder::try_new_with_options(file, options)
                .map_err(damaged)?
                .with_batch_size(READ_ROWS)
                .build()
        };
        let reader = reader.map_err(damaged)?;
        Ok(StoredRows { shape: Arc::clone(&self.shape), path, reader, left: part.rows, ended: false })
    }
}

/// What was put into a new file.
struct Written {
    rows: u64,
    bytes: u64,
    crc32: Vec<u32>,
}

/// Syncs a file and returns its length in bytes.
fn synced(path: &Path, file: &File) -> Result<u64, Error> {
    file.sync_all().map_err(io_error("syncing", path))?;
    Ok(file.metadata().map_err(io_error("reading", path))?.len())
}

/// The name of the folder of a view's parts.
pub(super) const PARTS: &str = "parts";

/// Reads a part batch by batch, and checks that it has as many rows as were written.
#[derive(Debug)]
pub(super) struct StoredRows {
    shape: Arc<Shape>,
    path: PathBuf,
    reader: ParquetRecordBatchReader,
    left: u64,
    ended: bool,
}

impl StoredRows {
    fn step(&mut self) -> Result<Option<RecordBatch>, Error> {
        let damaged = |message: String| Error::Corrupt { path: self.path.clone(), message };
        match self.reader.next() {
            Some(batch) => {
                let batch = batch.map_err(|error| damaged(error.to_string()))?;
                let rows = batch.num_rows() as u64;
                self.left =
                    self.left.checked_sub(rows).ok_or_else(|| damaged("it has more rows than were written".to_owned()))?;
                let batch = RecordBatch::try_new(Arc::clone(self.shape.stored()), batch.columns().to_vec());
                batch.map(Some).map_err(|error| damaged(format!("its columns do not match the view: {error}")))
            }
            None if self.left > 0 => Err(damaged(format!("{} of its rows are missing", self.left))),
            None => Ok(None),
        }
    }
}

impl Iterator for StoredRows {
    type Item = Result<RecordBatch, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let step = self.step().transpose();
        self.ended = !matches!(step, Some(Ok(_)));
        step
    }
}
