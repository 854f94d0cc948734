//! The JSON twins of records: `checkpoint.json` beside each view. Its first line is a commit with all of its records. Each further line
//! makes the commit after it of the one before, so that a commit appends what changed. Line feeds stand only at the ends of lines.
//!
//! A crash while a line is appended leaves the commit before it, which is also what a reader beside a running engine may see.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::value::RawValue;

use super::chain::Chain;
use super::delta::Delta;
use super::files::io;
use super::{Commit, Record};
use crate::error::Error;
use crate::layout::Layout;
use alluvium_connectors::durable;

/// What the twin of a view holds.
pub(super) struct Twin {
    /// The view whose folder it is in.
    pub(super) view: String,
    pub(super) commit: Arc<Commit>,
}

impl Twin {
    /// The epoch of the view's own record.
    pub(super) fn epoch(&self) -> Option<u64> {
        self.commit.records.iter().find(|record| record.view == self.view).map(|record| record.epoch)
    }
}

/// The first line of `checkpoint.json`: a commit as JSON text, and its checksum.
#[derive(serde::Serialize, serde::Deserialize)]
struct FirstLine {
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
        let known = self.lock().remove(&views).filter(|known| known.is_there(&paths));
        let delta = known.as_ref().map_or(Ok(None), |known| known.chain.next(text.get())).map_err(unencoded)?;
        let written = match (known, delta) {
            (Some(known), Some(delta)) => known.append(&paths, text.get(), &delta)?,
            _ => None,
        };
        let written = match written {
            Some(written) => written,
            None => {
                let whole = text.get().to_owned();
                write_whole(layout, records, text)?;
                // Another set of views with one of these has other twins now.
                self.lock().retain(|known, _| !known.iter().any(|view| views.contains(view)));
                let files = paths.iter().map(|path| Place::of(path)).collect::<Result<_, _>>()?;
                Written { chain: Chain::new(whole), files }
            }
        };
        self.lock().insert(views, written);
        Ok(())
    }

    /// Forgets what was written: the next commit of each pipeline writes its twins anew.
    pub(super) fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Vec<String>, Written>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Written {
    /// Whether the files are those that were written, and as they were written.
    fn is_there(&self, paths: &[PathBuf]) -> bool {
        paths.iter().zip(&self.files).all(|(path, file)| Place::of(path).is_ok_and(|found| found == *file))
    }

    /// Appends a line to each of the files, once. A crash may leave a part of it. Returns `None` if a file has been replaced meanwhile.
    fn append(self, paths: &[PathBuf], text: &str, delta: &str) -> Result<Option<Written>, Error> {
        let line = format!("{delta}\n");
        let mut done: HashSet<(u64, u64)> = HashSet::new();
        for (path, file) in paths.iter().zip(&self.files) {
            if done.insert((file.device, file.inode)) {
                durable::append(path, line.as_bytes())?;
            }
        }
        let files: Vec<Place> = paths.iter().map(|path| Place::of(path)).collect::<Result<_, _>>()?;
        let grown = |(now, before): (&Place, &Place)| {
            (now.device, now.inode, now.length) == (before.device, before.inode, before.length + line.len() as u64)
        };
        let all = files.iter().zip(&self.files).all(grown);
        Ok(all.then(|| Written { chain: self.chain.continued(text.to_owned(), delta), files }))
    }
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
    let twin = FirstLine { crc32: crc32fast::hash(commit.get().as_bytes()), commit };
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

/// Returns all readable twins. Skips damaged ones with a warning. Of files with several names it reads one.
pub(super) fn read_all(layout: &Layout) -> Result<Vec<Twin>, Error> {
    let mut known: HashMap<(u64, u64), Option<Arc<Commit>>> = HashMap::new();
    let mut twins = Vec::new();
    for view in durable::names(&layout.views())? {
        let path = layout.record(&view);
        let file = fs::metadata(&path).ok().map(|found| (found.dev(), found.ino()));
        let commit = match file.and_then(|file| known.get(&file)) {
            Some(commit) => commit.clone(),
            None => {
                let commit = match read(&path)? {
                    None => None,
                    Some(Ok(commit)) => commit.map(Arc::new),
                    Some(Err(reason)) => {
                        tracing::warn!(file = %path.display(), reason, "a record beside a view cannot be read and is ignored");
                        None
                    }
                };
                known.extend(file.map(|file| (file, commit.clone())));
                commit
            }
        };
        twins.extend(commit.map(|commit| Twin { view, commit }));
    }
    Ok(twins)
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
    let twin: FirstLine = serde_json::from_slice(first).map_err(|error| error.to_string())?;
    if crc32fast::hash(twin.commit.get().as_bytes()) != twin.crc32 {
        return Err("the checksum does not match".into());
    }
    let mut text = twin.commit.get().to_owned();
    let mut lines = rest.get(1..).unwrap_or_default().split_inclusive(|byte| *byte == b'\n').peekable();
    while let Some(line) = lines.next() {
        let delta = serde_json::from_slice::<Delta>(line).map_err(|error| error.to_string());
        match delta.and_then(|delta| delta.apply(&text)) {
            Ok(after) => text = after,
            // A crash has left a part of the last line. The database holds that commit, and the next start writes the twin anew.
            Err(_) if lines.peek().is_none() => {}
            Err(reason) => return Err(reason),
        }
    }
    let commit: Commit = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    Ok(commit.records.iter().all(Record::is_readable).then_some(commit))
}
