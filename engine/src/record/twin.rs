//! The JSON twins of records: `checkpoint.json` beside each view. Its first line is a commit with all of its records. Each further line
//! makes the commit after it of the one before, so that a commit appends what changed. Line feeds stand only at the ends of lines.
//!
//! A crash while a line is appended leaves the commit before it, which is also what a reader beside a running engine may see.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::value::RawValue;

use super::chain::Chain;
use super::delta::Delta;
use super::files::io;
use super::{Commit, FORMAT, Record};
use crate::error::Error;
use crate::layout::Layout;
use alluvium_connectors::durable;

/// The first line of `checkpoint.json`: a commit as JSON text, and its checksum.
#[derive(serde::Serialize, serde::Deserialize)]
struct Twin {
    crc32: u32,
    commit: Box<RawValue>,
}

/// How many files of the same content a commit writes at most.
const COPIES: usize = 2;

/// The twins of a run. Each commit of a pipeline appends a line to them, or writes them anew.
#[derive(Default)]
pub(super) struct Twins(Mutex<HashMap<Vec<String>, Written>>);

/// The twins of the views of a pipeline, as they were last written.
struct Written {
    chain: Chain,
    files: Vec<Place>,
}

/// Tells whether a file is still the one that was written, and as it was written.
#[derive(PartialEq, Eq)]
struct Place {
    device: u64,
    inode: u64,
    length: u64,
    /// In seconds and nanoseconds.
    modified: (i64, i64),
}

impl Place {
    fn of(path: &Path) -> Result<Place, Error> {
        let found = fs::metadata(path).map_err(|error| io("reading", path, &error))?;
        let modified = (found.mtime(), found.mtime_nsec());
        Ok(Place { device: found.dev(), inode: found.ino(), length: found.len(), modified })
    }
}

impl Twins {
    /// Writes the twin of each record's view, as [`write`] does; appends to the twins of the commit before if it can. If it fails, the next
    /// call writes all twins anew.
    ///
    /// # Errors
    /// The disk's.
    pub(super) fn write(&self, layout: &Layout, records: &[Record]) -> Result<(), Error> {
        let views: Vec<String> = records.iter().map(|record| record.view.clone()).collect();
        let paths: Vec<PathBuf> = views.iter().map(|view| layout.record(view)).collect();
        let text = encode(records)?;
        let known = self.lock().remove(&views);
        let are_there =
            |files: &[Place]| paths.iter().zip(files).all(|(path, file)| Place::of(path).is_ok_and(|found| found == *file));
        let chain = match known.filter(|known| are_there(&known.files)) {
            Some(Written { chain, files }) => match chain.next(text.get()).map_err(unencoded)? {
                Some(delta) => {
                    append(&paths, &files, &format!("{delta}\n"))?;
                    Some(chain.continued(text.get().to_owned(), &delta))
                }
                None => None,
            },
            None => None,
        };
        let chain = match chain {
            Some(chain) => chain,
            None => {
                let whole = text.get().to_owned();
                write_whole(layout, records, text)?;
                Chain::new(whole)
            }
        };
        let files = paths.iter().map(|path| Place::of(path)).collect::<Result<_, _>>()?;
        self.lock().insert(views, Written { chain, files });
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Vec<String>, Written>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Appends a line to each of the files, once. A crash may leave a part of it, without the end of the line.
fn append(paths: &[PathBuf], files: &[Place], line: &str) -> Result<(), Error> {
    let mut done: HashSet<(u64, u64)> = HashSet::new();
    for (path, file) in paths.iter().zip(files) {
        if done.insert((file.device, file.inode)) {
            durable::append(path, line.as_bytes())?;
        }
    }
    Ok(())
}

/// Writes the twin of each record's view. Each twin holds all records. They are written twice, and further views get links to these two, so
/// that a commit of many views does not write all records for each, and one damaged file is not the only one. Creates missing folders of
/// views.
///
/// # Errors
/// The disk's.
pub fn write(layout: &Layout, records: &[Record]) -> Result<(), Error> {
    write_whole(layout, records, encode(records)?)
}

fn encode(records: &[Record]) -> Result<Box<RawValue>, Error> {
    serde_json::value::to_raw_value(&CommitOf { records }).map_err(unencoded)
}

/// A [`Commit`] to write.
#[derive(serde::Serialize)]
struct CommitOf<'a> {
    records: &'a [Record],
}

fn unencoded(error: serde_json::Error) -> Error {
    Error::bug(format!("a checkpoint record does not encode: {error}"))
}

fn write_whole(layout: &Layout, records: &[Record], commit: Box<RawValue>) -> Result<(), Error> {
    let twin = Twin { crc32: crc32fast::hash(commit.get().as_bytes()), commit };
    let mut bytes = serde_json::to_vec(&twin).map_err(unencoded)?;
    bytes.push(b'\n');
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
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let (first, rest) = bytes.split_at(end);
    let twin: Twin = serde_json::from_slice(first).map_err(|error| error.to_string())?;
    if crc32fast::hash(twin.commit.get().as_bytes()) != twin.crc32 {
        return Err("the checksum does not match".into());
    }
    let mut text = twin.commit.get().to_owned();
    for line in rest.get(1..).unwrap_or_default().split_inclusive(|byte| *byte == b'\n') {
        // What a crash has left of a line is not a part of the twin. The database is not behind it.
        let Some(line) = line.strip_suffix(b"\n") else { break };
        text = serde_json::from_slice::<Delta>(line).map_err(|error| error.to_string())?.apply(&text)?;
    }
    let commit: Commit = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    Ok(commit.records.iter().all(|record| record.format == FORMAT).then_some(commit))
}
