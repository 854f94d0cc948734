//! Operator state on disk. Each commit writes one Arrow IPC file for each state table, with the batches that are new since the last one.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, BufWriter, Cursor, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use alluvium_connectors::{Error, durable};
use alluvium_projections::{BatchId, TableCheckpoint};
use arrow::ipc::reader::FileReader;
use arrow::ipc::writer::FileWriter;
use arrow::record_batch::RecordBatch;

use crate::record::TableRecord;

/// The batches of each state table, in the form from which a projection is restored.
pub(crate) type TableBatches = HashMap<String, Vec<(BatchId, RecordBatch)>>;

/// Where a batch is stored: a file name, and the index in that file.
type Place = (Arc<str>, usize);

/// The state files of one incarnation of a view.
#[derive(Debug)]
pub(crate) struct StateFiles {
    folder: PathBuf,
    /// By table: the place of each live batch, in order.
    tables: BTreeMap<String, Vec<(BatchId, Place)>>,
    /// The CRC-32 of each file that holds a live batch.
    checksums: HashMap<Arc<str>, u32>,
}

impl StateFiles {
    /// Creates the empty folder of a new incarnation.
    ///
    /// # Errors
    /// The disk fails.
    pub(crate) fn create(folder: PathBuf) -> Result<StateFiles, Error> {
        durable::create_folder(&folder)?;
        Ok(StateFiles { folder, tables: BTreeMap::new(), checksums: HashMap::new() })
    }

    /// Opens the state files of a recorded commit, and reads all their batches.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if a file is missing or does not hold what was written.
    pub(crate) fn open(folder: PathBuf, records: &[TableRecord]) -> Result<(StateFiles, TableBatches), Error> {
        // It may hold nothing, and have been lost by a copy.
        durable::create_folder(&folder)?;
        let mut tables = BTreeMap::new();
        let mut batches = HashMap::new();
        let mut checksums = HashMap::new();
        for record in records {
            let mut files = Vec::with_capacity(record.files.len());
            for (index, file) in record.files.iter().enumerate() {
                let (content, checksum) = read(&folder.join(file), record.checksums.get(index).copied())?;
                checksums.insert(Arc::from(file.as_str()), checksum);
                files.push(content);
            }
            let mut places = Vec::with_capacity(record.batches.len());
            let mut loaded = Vec::with_capacity(record.batches.len());
            for (id, file, index) in &record.batches {
                let batch = files.get(*file).and_then(|file| file.get(*index)).ok_or_else(|| Error::Corrupt {
                    path: folder.join(record.files.get(*file).map_or("", String::as_str)),
                    message: format!("it lacks batch {index} of state table {}", record.table),
                })?;
                places.push((BatchId(*id), (Arc::from(record.files[*file].as_str()), *index)));
                loaded.push((BatchId(*id), batch.clone()));
            }
            tables.insert(record.table.clone(), places);
            batches.insert(record.table.clone(), loaded);
        }
        Ok((StateFiles { folder, tables, checksums }, batches))
    }

    /// Writes new batches under names never used before, and syncs them. Returns the number of bytes written.
    ///
    /// # Errors
    /// The disk fails.
    pub(crate) fn write(&mut self, epoch: u64, checkpoints: &[TableCheckpoint]) -> Result<u64, Error> {
        let mut written = 0;
        for checkpoint in checkpoints {
            let places = self.tables.entry(checkpoint.table.clone()).or_default();
            let mut known: HashMap<BatchId, Place> = places.drain(..).collect();
            if let Some((_, first)) = checkpoint.added.first() {
                let name: Arc<str> = format!("{}-{epoch}.arrow", checkpoint.table).into();
                let path = self.folder.join(&*name);
                let (bytes, checksum) = write_file(&path, first, &checkpoint.added)?;
                written += bytes;
                self.checksums.insert(Arc::clone(&name), checksum);
                for (index, (id, _)) in checkpoint.added.iter().enumerate() {
                    known.insert(*id, (Arc::clone(&name), index));
                }
            }
            for id in &checkpoint.live {
                let place = known.remove(id).ok_or_else(|| {
                    Error::Bug(format!("state table {} names batch {} that was never written", checkpoint.table, id.0))
                })?;
                places.push((*id, place));
            }
        }
        let live: HashSet<&str> = self.tables.values().flatten().map(|(_, (file, _))| &**file).collect();
        self.checksums.retain(|file, _| live.contains(&**file));
        if written > 0 {
            durable::sync_folder(&self.folder)?;
        }
        Ok(written)
    }

    /// Returns what the commit records of each table.
    pub(crate) fn records(&self) -> Vec<TableRecord> {
        self.tables
            .iter()
            .map(|(table, places)| {
                let names: BTreeSet<&str> = places.iter().map(|(_, (file, _))| &**file).collect();
                let index: BTreeMap<&str, usize> = names.iter().enumerate().map(|(index, name)| (*name, index)).collect();
                TableRecord {
                    table: table.clone(),
                    checksums: names.iter().filter_map(|name| self.checksums.get(*name).copied()).collect(),
                    batches: places.iter().map(|(id, (file, at))| (id.0, index[&**file], *at)).collect(),
                    files: names.into_iter().map(str::to_owned).collect(),
                }
            })
            .collect()
    }

    /// Removes the files without a live batch, but for those that `held` names. To be called after the commit that no longer names them.
    ///
    /// # Errors
    /// The disk fails.
    pub(crate) fn sweep(&self, held: &[TableRecord]) -> Result<(), Error> {
        let mut live: BTreeSet<&str> = self.tables.values().flatten().map(|(_, (file, _))| &**file).collect();
        live.extend(held.iter().flat_map(|record| &record.files).map(String::as_str));
        for entry in fs::read_dir(&self.folder).map_err(|error| io_error("reading", &self.folder, error))? {
            let entry = entry.map_err(|error| io_error("reading", &self.folder, error))?;
            if !live.contains(&*entry.file_name().to_string_lossy()) {
                fs::remove_file(entry.path()).map_err(|error| io_error("removing", &entry.path(), error))?;
            }
        }
        Ok(())
    }

    /// Hard-links every file of a recorded commit into the folder of another incarnation, so that its owner may go on and remove them.
    ///
    /// # Errors
    /// The disk fails.
    pub(crate) fn link(from: &Path, to: &Path, records: &[TableRecord]) -> Result<(), Error> {
        durable::create_folder(to)?;
        for file in records.iter().flat_map(|record| &record.files) {
            let target = to.join(file);
            match fs::hard_link(from.join(file), &target) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(missing(&from.join(file))),
                Err(error) => return Err(io_error("linking", &target, error)),
            }
        }
        durable::sync_folder(to)
    }
}

/// A file, and the CRC-32 of the bytes written to it.
struct Checksummed {
    file: File,
    checksum: crc32fast::Hasher,
}

impl Write for Checksummed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.checksum.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Writes batches to a file and syncs it. Returns the file's length in bytes and its CRC-32.
fn write_file(path: &Path, first: &RecordBatch, batches: &[(BatchId, RecordBatch)]) -> Result<(u64, u32), Error> {
    let failed = |error: arrow::error::ArrowError| io_error("writing", path, io::Error::other(error));
    let file = File::create(path).map_err(|error| io_error("making", path, error))?;
    let file = Checksummed { file, checksum: crc32fast::Hasher::new() };
    let mut writer = FileWriter::try_new(BufWriter::new(file), &first.schema()).map_err(failed)?;
    for (_, batch) in batches {
        writer.write(batch).map_err(failed)?;
    }
    writer.finish().map_err(failed)?;
    let written =
        writer.into_inner().map_err(failed)?.into_inner().map_err(|error| io_error("writing", path, error.into_error()))?;
    written.file.sync_all().map_err(|error| io_error("syncing", path, error))?;
    let length = written.file.metadata().map_err(|error| io_error("reading", path, error))?.len();
    Ok((length, written.checksum.finalize()))
}

/// Reads a file, checks its CRC-32 against the recorded one if there is one, and returns its batches and its CRC-32.
fn read(path: &Path, recorded: Option<u32>) -> Result<(Vec<RecordBatch>, u32), Error> {
    let corrupt = |message: String| Error::Corrupt { path: path.to_path_buf(), message };
    let bytes = fs::read(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => missing(path),
        _ => io_error("reading", path, error),
    })?;
    let checksum = crc32fast::hash(&bytes);
    if recorded.is_some_and(|recorded| recorded != checksum) {
        return Err(corrupt(format!("its {} bytes are not those that were written", bytes.len())));
    }
    let batches = FileReader::try_new(Cursor::new(bytes), None).and_then(Iterator::collect);
    Ok((batches.map_err(|error| corrupt(error.to_string()))?, checksum))
}

fn missing(path: &Path) -> Error {
    Error::Corrupt { path: path.to_path_buf(), message: "the file is missing".into() }
}

fn io_error(action: &'static str, path: &Path, error: io::Error) -> Error {
    Error::Io { action, path: path.to_path_buf(), error }
}
