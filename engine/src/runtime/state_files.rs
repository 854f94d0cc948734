//! Operator state on disk: one Arrow IPC file for each state table and commit, with the batches that are new since the last one.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use alluvium_connectors::{Error, durable};
use alluvium_projections::{BatchId, TableCheckpoint};
use arrow::ipc::reader::FileReader;
use arrow::ipc::writer::FileWriter;
use arrow::record_batch::RecordBatch;

use crate::checkpoint::TableRecord;

/// Where one batch lies: file name and index in it.
type Place = (Arc<str>, usize);

/// The state files of one incarnation of a view.
#[derive(Debug)]
pub(crate) struct StateFiles {
    folder: PathBuf,
    /// By table, each live batch's place, in order.
    tables: BTreeMap<String, Vec<(BatchId, Place)>>,
}

impl StateFiles {
    /// For a new incarnation: the folder is made, empty.
    ///
    /// # Errors
    /// The disk's.
    pub(crate) fn create(folder: PathBuf) -> Result<StateFiles, Error> {
        fs::create_dir_all(&folder).map_err(|error| io("making", &folder, error))?;
        Ok(StateFiles { folder, tables: BTreeMap::new() })
    }

    /// Of a recorded commit, with all its batches.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where a file is missing or is not what was written.
    pub(crate) fn open(folder: PathBuf, records: &[TableRecord]) -> Result<(StateFiles, HashMap<String, Vec<(BatchId, RecordBatch)>>), Error> {
        let mut tables = BTreeMap::new();
        let mut batches = HashMap::new();
        for record in records {
            let files = record.files.iter().map(|file| read(&folder.join(file))).collect::<Result<Vec<_>, _>>()?;
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
        Ok((StateFiles { folder, tables }, batches))
    }

    /// Writes what is new, synced, under names never used before. Gives the bytes written.
    ///
    /// # Errors
    /// The disk's.
    pub(crate) fn write(&mut self, epoch: u64, checkpoints: &[TableCheckpoint]) -> Result<u64, Error> {
        let mut written = 0;
        for checkpoint in checkpoints {
            let places = self.tables.entry(checkpoint.table.clone()).or_default();
            let mut known: HashMap<BatchId, Place> = places.drain(..).collect();
            if let Some((_, first)) = checkpoint.added.first() {
                let name: Arc<str> = format!("{}-{epoch}.arrow", checkpoint.table).into();
                let path = self.folder.join(&*name);
                written += write_file(&path, first, &checkpoint.added)?;
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
        if written > 0 {
            durable::sync_folder(&self.folder)?;
        }
        Ok(written)
    }

    /// What the checkpoint records.
    pub(crate) fn records(&self) -> Vec<TableRecord> {
        self.tables
            .iter()
            .map(|(table, places)| {
                let names: BTreeSet<&str> = places.iter().map(|(_, (file, _))| &**file).collect();
                let index: BTreeMap<&str, usize> = names.iter().enumerate().map(|(index, name)| (*name, index)).collect();
                TableRecord {
                    table: table.clone(),
                    batches: places.iter().map(|(id, (file, at))| (id.0, index[&**file], *at)).collect(),
                    files: names.into_iter().map(str::to_owned).collect(),
                }
            })
            .collect()
    }

    /// Removes the files that hold no live batch. Called after the commit that no longer names them.
    ///
    /// # Errors
    /// The disk's.
    pub(crate) fn sweep(&self) -> Result<(), Error> {
        let live: BTreeSet<&str> = self.tables.values().flatten().map(|(_, (file, _))| &**file).collect();
        for entry in fs::read_dir(&self.folder).map_err(|error| io("reading", &self.folder, error))? {
            let entry = entry.map_err(|error| io("reading", &self.folder, error))?;
            if !live.contains(&*entry.file_name().to_string_lossy()) {
                fs::remove_file(entry.path()).map_err(|error| io("removing", &entry.path(), error))?;
            }
        }
        Ok(())
    }

    /// Links every file of a recorded commit into the folder of another incarnation: its owner may go on and remove them.
    ///
    /// # Errors
    /// The disk's.
    pub(crate) fn link(from: &Path, to: &Path, records: &[TableRecord]) -> Result<(), Error> {
        fs::create_dir_all(to).map_err(|error| io("making", to, error))?;
        for file in records.iter().flat_map(|record| &record.files) {
            let target = to.join(file);
            match fs::hard_link(from.join(file), &target) {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(io("linking", &target, error)),
            }
        }
        durable::sync_folder(to)
    }
}

fn write_file(path: &Path, first: &RecordBatch, batches: &[(BatchId, RecordBatch)]) -> Result<u64, Error> {
    let failed = |error: arrow::error::ArrowError| io("writing", path, std::io::Error::other(error));
    let file = File::create(path).map_err(|error| io("making", path, error))?;
    let mut writer = FileWriter::try_new(BufWriter::new(file), &first.schema()).map_err(failed)?;
    for (_, batch) in batches {
        writer.write(batch).map_err(failed)?;
    }
    writer.finish().map_err(failed)?;
    let file = writer.into_inner().map_err(failed)?.into_inner().map_err(|error| io("writing", path, error.into_error()))?;
    file.sync_all().map_err(|error| io("syncing", path, error))?;
    Ok(file.metadata().map_err(|error| io("reading", path, error))?.len())
}

fn read(path: &Path) -> Result<Vec<RecordBatch>, Error> {
    let corrupt = |error: arrow::error::ArrowError| Error::Corrupt { path: path.to_path_buf(), message: error.to_string() };
    let file = File::open(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Error::Corrupt { path: path.to_path_buf(), message: "the file is missing".into() },
        _ => io("opening", path, error),
    })?;
    FileReader::try_new_buffered(file, None).map_err(corrupt)?.collect::<Result<Vec<_>, _>>().map_err(corrupt)
}

fn io(action: &'static str, path: &Path, error: std::io::Error) -> Error {
    Error::Io { action, path: path.to_path_buf(), error }
}
