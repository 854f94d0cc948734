//! The JSON twins of records: `checkpoint.json` beside each view.

use std::fs;
use std::path::{Path, PathBuf};

use super::files::io;
use super::{Commit, FORMAT, Record};
use crate::error::Error;
use crate::layout::Layout;
use alluvium_connectors::durable;

/// The content of `checkpoint.json`: the commit as JSON text, and its checksum.
#[derive(serde::Serialize, serde::Deserialize)]
struct Twin {
    crc32: u32,
    commit: Box<serde_json::value::RawValue>,
}

/// How many files of the same content a commit writes at most.
const COPIES: usize = 2;

/// Writes the twin of each record's view. Each twin holds all records. They are written twice, and further views get links to these two, so
/// that a commit of many views does not write all records for each, and one damaged file is not the only one. Creates missing folders of
/// views.
///
/// # Errors
/// The disk's.
pub fn write(layout: &Layout, records: &[Record]) -> Result<(), Error> {
    let bug = |error: serde_json::Error| Error::bug(format!("a checkpoint record does not encode: {error}"));
    let commit = serde_json::value::to_raw_value(&Commit { records: records.to_vec() }).map_err(bug)?;
    let twin = Twin { crc32: crc32fast::hash(commit.get().as_bytes()), commit };
    let bytes = serde_json::to_vec(&twin).map_err(bug)?;
    let mut written: Vec<PathBuf> = Vec::new();
    for (index, record) in records.iter().enumerate() {
        let (folder, path) = (layout.view(&record.view), layout.record(&record.view));
        if !folder.is_dir() {
            durable::create_folder(&folder)?;
        }
        let copy = written.get(index % COPIES).filter(|_| index >= COPIES);
        match copy {
            Some(copy) if durable::replace_by_hard_link(&path, copy).is_ok() => durable::sync_folder(&folder)?,
            // One of the first, or one on another file system.
            _ => durable::write_atomically(&path, &bytes)?,
        }
        written.push(path);
    }
    Ok(())
}

/// Returns the commits of all readable twins. Skips damaged ones with a warning.
pub(super) fn read_all(layout: &Layout) -> Result<Vec<Commit>, Error> {
    let folder = layout.views();
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(io("reading", &folder, &error)),
    };
    let mut commits = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| io("reading", &folder, &error))?;
        let path = layout.record(&entry.file_name().to_string_lossy());
        match read(&path)? {
            None => {}
            Some(Ok(commit)) => commits.extend(commit),
            Some(Err(reason)) => {
                tracing::warn!(file = %path.display(), reason, "a record beside a view cannot be read and is ignored")
            }
        }
    }
    Ok(commits)
}

/// The commit of a twin, where this format wrote it, or what is wrong with it; none where there is no such file.
pub(super) fn read(path: &Path) -> Result<Option<Result<Option<Commit>, String>>, Error> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(parse(&bytes))),
        Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(io("reading", path, &error)),
    }
}

/// Parses a twin. Returns `None` if its records have another format.
fn parse(bytes: &[u8]) -> Result<Option<Commit>, String> {
    let twin: Twin = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if crc32fast::hash(twin.commit.get().as_bytes()) != twin.crc32 {
        return Err("the checksum does not match".into());
    }
    let commit: Commit = serde_json::from_str(twin.commit.get()).map_err(|error| error.to_string())?;
    Ok(commit.records.iter().all(|record| record.format == FORMAT).then_some(commit))
}
