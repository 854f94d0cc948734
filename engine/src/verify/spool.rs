//! Rows on disk for the duration of a verification. They are written once, and read again for each scan of a query. Not durable.

use std::fmt;
use std::fs::{self, File};
use std::io::{BufReader, BufWriter};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use alluvium_connectors::durable;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::ipc::reader::StreamReader;
use datafusion::arrow::ipc::writer::StreamWriter;
use datafusion::arrow::record_batch::RecordBatch;

use crate::error::Error;

/// What the names of the folders begin with; the process follows.
const PREFIX: &str = "alluvium-verify-";

/// Removes folders of processes that were killed, where the system tells which processes there are.
fn remove_old() {
    let processes = Path::new("/proc");
    if !processes.join("self").exists() {
        return;
    }
    for entry in fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let process = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split('-').next()?.parse::<u32>().ok());
        if process.is_some_and(|process| !processes.join(process.to_string()).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// A new folder in the temporary folder. Dropping it removes the folder with its contents.
#[derive(Debug)]
pub(super) struct SpoolFolder {
    path: PathBuf,
    next: AtomicU64,
}

impl SpoolFolder {
    pub(super) fn create() -> Result<SpoolFolder, Error> {
        remove_old();
        let path = std::env::temp_dir().join(format!("{PREFIX}{}-{}", std::process::id(), durable::unique()));
        fs::create_dir_all(&path).map_err(|error| Error::io("creating", &path, error))?;
        Ok(SpoolFolder { path, next: AtomicU64::new(0) })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn writer(&self, schema: &SchemaRef) -> Result<SpoolWriter, Error> {
        let path = self.path.join(format!("{}.arrows", self.next.fetch_add(1, Ordering::Relaxed)));
        let file = File::create_new(&path).map_err(|error| Error::io("creating", &path, error))?;
        let writer =
            StreamWriter::try_new(BufWriter::with_capacity(1 << 20, file), schema).map_err(|error| failed(&path, error))?;
        Ok(SpoolWriter { path, schema: schema.clone(), writer, rows: 0 })
    }
}

impl Drop for SpoolFolder {
    fn drop(&mut self) {
        // If this fails, the system removes it with its other temporary files.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// A spool that is being written.
pub(super) struct SpoolWriter {
    path: PathBuf,
    schema: SchemaRef,
    writer: StreamWriter<BufWriter<File>>,
    rows: u64,
}

impl fmt::Debug for SpoolWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpoolWriter").field("path", &self.path).field("rows", &self.rows).finish_non_exhaustive()
    }
}

impl SpoolWriter {
    /// Adds rows. Their columns must have the types of the spool's schema; the rest of their schema does not count.
    pub(super) fn write(&mut self, rows: &RecordBatch) -> Result<(), Error> {
        if rows.num_rows() == 0 {
            return Ok(());
        }
        let rows = RecordBatch::try_new(self.schema.clone(), rows.columns().to_vec())
            .map_err(|error| Error::bug(format!("rows of other columns than were planned: {error}")))?;
        self.rows += rows.num_rows() as u64;
        self.writer.write(&rows).map_err(|error| failed(&self.path, error))
    }

    pub(super) fn finish(mut self) -> Result<Spool, Error> {
        self.writer.finish().map_err(|error| failed(&self.path, error))?;
        Ok(Spool { path: self.path, schema: self.schema, rows: self.rows })
    }
}

/// Rows on disk, in the order in which they were written.
#[derive(Debug)]
pub(super) struct Spool {
    path: PathBuf,
    schema: SchemaRef,
    rows: u64,
}

impl Spool {
    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// Reads all rows.
    pub(super) fn read(&self) -> Result<impl Iterator<Item = Result<RecordBatch, ArrowError>> + Send + use<>, ArrowError> {
        let file =
            File::open(&self.path).map_err(|error| ArrowError::IoError(format!("opening {}", self.path.display()), error))?;
        StreamReader::try_new(BufReader::with_capacity(1 << 20, file), None)
    }
}

fn failed(path: &Path, error: ArrowError) -> Error {
    match error {
        ArrowError::IoError(_, error) => Error::io("writing", path, error),
        error => Error::bug(format!("writing {}: {error}", path.display())),
    }
}
