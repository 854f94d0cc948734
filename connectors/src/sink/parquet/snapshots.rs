//! Publishes commits to readers: snapshot folders, `current` and `manifest.json`.
//!
//! The name of a snapshot's folder depends only on its content, so that publishing it again after a crash gives the same result.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use xxhash_rust::xxh3::Xxh3;

use super::part_file::PARTS;
use super::parts::{Part, PartLayout, Snapshot};
use crate::Error;
use crate::durable::{self, io_error};
use crate::sink::contract::CommitFacts;

pub(super) const SNAPSHOTS: &str = "snapshots";
pub(super) const CURRENT: &str = "current";
/// The manifest's name in the view's folder and in each snapshot's.
pub(super) const MANIFEST: &str = "manifest.json";
/// The version of the manifest. Incremented when a field changes its meaning.
const FORMAT: u32 = 1;

/// The content of `manifest.json`: one commit of a view.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of this format: 1.
    pub format: u32,
    /// The view's name.
    pub view: String,
    /// The epoch of the commit.
    pub epoch: u64,
    /// Identifies the version of the view.
    pub fingerprint: String,
    /// The offset (next sequence) of each source that the view's rows come from.
    pub offsets: BTreeMap<String, u64>,
    /// When it was committed, in RFC 3339 and UTC.
    pub committed: String,
    /// When it was committed, in milliseconds since the epoch.
    pub committed_ms: u64,
    /// The views of the same pipeline. Their manifests with the same epoch are one consistent state.
    #[serde(default)]
    pub committed_with: Vec<String>,
    /// The number of rows of the view.
    pub rows: u64,
    /// The absolute paths of the Parquet files that together make up the view. They are kept for a while after the next commit.
    pub files: Vec<String>,
    /// Describes the same files.
    pub parts: Vec<Part>,
    /// The indexes, from 0, of the columns whose hash decides a row's part; all columns if empty. Absent where parts are appended, or where
    /// an earlier release wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hashed_by: Option<Vec<usize>>,
}

impl Manifest {
    pub(super) fn of(root: &Path, snapshot: &Snapshot) -> Result<Manifest, Error> {
        let parts = std::path::absolute(root).map_err(io_error("finding", root))?.join(PARTS);
        let folder = parts.to_str().ok_or_else(|| Error::Config {
            message: format!("the path {} is not UTF-8, so JSON cannot hold it", parts.display()),
            help: Some("use a data folder whose path is UTF-8".to_owned()),
        })?;
        let commit = &snapshot.commit;
        let committed = OffsetDateTime::from_unix_timestamp_nanos(i128::from(commit.committed_ms) * 1_000_000)
            .ok()
            .and_then(|time| time.format(&Rfc3339).ok())
            .ok_or_else(|| Error::Bug(format!("committed at {} ms", commit.committed_ms)))?;
        Ok(Manifest {
            format: FORMAT,
            view: commit.view.clone(),
            epoch: commit.epoch,
            fingerprint: commit.fingerprint.clone(),
            offsets: commit.offsets.clone(),
            committed,
            committed_ms: commit.committed_ms,
            committed_with: commit.committed_with.clone(),
            rows: snapshot.parts.iter().map(|part| part.rows).sum(),
            files: snapshot.parts.iter().map(|part| format!("{folder}/{}", part.file)).collect(),
            parts: snapshot.parts.clone(),
            hashed_by: match &snapshot.layout {
                PartLayout::Hashed { columns } => Some(columns.clone()),
                PartLayout::Append => None,
            },
        })
    }
}

/// The name of a snapshot's folder: epoch and time of the commit, for removal, and a digest of its content. Names are in the order of the
/// commits, also where the clock was set back between them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FolderName {
    pub(super) epoch: u64,
    pub(super) committed_ms: u64,
    pub(super) name: String,
}

impl FolderName {
    pub(super) fn of(snapshot: &Snapshot) -> FolderName {
        let mut digest = Xxh3::new();
        digest.update(snapshot.commit.fingerprint.as_bytes());
        for part in &snapshot.parts {
            digest.update(part.file.as_bytes());
            digest.update(b"/");
        }
        let CommitFacts { epoch, committed_ms, .. } = snapshot.commit;
        FolderName { epoch, committed_ms, name: format!("{epoch:010}-{committed_ms:013}-{:016x}", digest.digest()) }
    }

    pub(super) fn parse(name: &str) -> Option<FolderName> {
        let mut fields = name.split('-');
        let (epoch, committed_ms) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        (fields.next().is_some_and(|digest| digest.len() == 16) && fields.next().is_none()).then(|| FolderName {
            epoch,
            committed_ms,
            name: name.to_owned(),
        })
    }
}

/// Makes a committed snapshot visible to readers: creates a folder of hard links, moves `current` to it and replaces `manifest.json`.
///
/// It can be repeated after a crash at any point, so publishing the last commit again at each start repairs everything. The two renames
/// are not synced: after a power failure readers may see the snapshot of an earlier commit, until the next start. A sweep syncs them before it
/// removes a snapshot.
///
/// # Errors
/// [`Error::Io`]; [`Error::Corrupt`] if a part is missing. Retrying is safe.
pub(super) fn publish(root: &Path, snapshot: &Snapshot) -> Result<(), Error> {
    let manifest = Manifest::of(root, snapshot)?;
    let snapshots = root.join(SNAPSHOTS);
    if !snapshots.is_dir() {
        durable::create_folder(&snapshots)?;
    }
    let name = FolderName::of(snapshot).name;
    let folder = snapshots.join(&name);
    link_parts(root, &folder, &snapshot.parts)?;
    let bytes = encode(&manifest)?;
    let own = folder.join(MANIFEST);
    // Also syncs the folder: from here on it has all of its links, even after a power failure.
    durable::write_atomically(&own, &bytes)?;
    // Makes the folder's name durable, so that `current` never names a folder that a power failure has taken.
    durable::sync_folder(&snapshots)?;
    durable::replace_link(&root.join(CURRENT), &Path::new(SNAPSHOTS).join(&name))?;
    durable::replace_by_hard_link(&root.join(MANIFEST), &own)
}

/// The member that holds the CRC-32 of all that stands before it. It is the last one.
const CHECKSUM: &str = ",\"crc32\":";

fn encode(manifest: &Manifest) -> Result<Vec<u8>, Error> {
    let mut bytes = serde_json::to_vec(manifest).map_err(|error| Error::Bug(format!("writing a manifest: {error}")))?;
    // The closing bracket.
    bytes.pop();
    let checksum = crc32fast::hash(&bytes);
    bytes.extend_from_slice(format!("{CHECKSUM}{checksum}}}").as_bytes());
    Ok(bytes)
}

/// Whether the checksum holds; a release that wrote none is believed.
fn is_as_written(bytes: &[u8]) -> bool {
    let mark = CHECKSUM.as_bytes();
    let Some(at) = bytes.windows(mark.len()).rposition(|window| window == mark) else { return true };
    let (before, after) = (&bytes[..at], &bytes[at + mark.len()..]);
    let recorded = after.strip_suffix(b"}").and_then(|digits| std::str::from_utf8(digits).ok()?.parse::<u32>().ok());
    recorded == Some(crc32fast::hash(before))
}

/// Links the parts into a snapshot's folder, which may already have some of the links.
fn link_parts(root: &Path, folder: &Path, parts: &[Part]) -> Result<(), Error> {
    let present: HashSet<String> = match fs::create_dir(folder) {
        Ok(()) => HashSet::new(),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => durable::names(folder)?.into_iter().collect(),
        Err(error) => return Err(io_error("creating", folder)(error)),
    };
    let files = root.join(PARTS);
    for part in parts.iter().filter(|part| !present.contains(&part.file)) {
        let (file, link) = (files.join(&part.file), folder.join(&part.file));
        match fs::hard_link(&file, &link) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let message = "the last commit contains this file, but it is missing".to_owned();
                return Err(Error::Corrupt { path: file, message });
            }
            linked => linked.map_err(io_error("linking", &file))?,
        }
    }
    Ok(())
}

/// Reads `manifest.json`. Returns `None` for a view that was never published.
///
/// # Errors
/// [`Error::Io`], [`Error::Corrupt`].
pub fn read_manifest(root: &Path) -> Result<Option<Manifest>, Error> {
    read(&root.join(MANIFEST))
}

/// Reads the manifest of the commit of `epoch`. Returns `None` if its snapshot is no longer kept.
///
/// # Errors
/// [`Error::Io`], [`Error::Corrupt`].
pub fn read_snapshot(root: &Path, epoch: u64) -> Result<Option<Manifest>, Error> {
    let newest = folders(root)?.into_iter().rfind(|folder| folder.epoch == epoch);
    newest.map_or(Ok(None), |folder| read(&root.join(SNAPSHOTS).join(folder.name).join(MANIFEST)))
}

/// Returns the existing snapshots, oldest first.
pub(super) fn folders(root: &Path) -> Result<Vec<FolderName>, Error> {
    let mut folders: Vec<_> = durable::names(&root.join(SNAPSHOTS))?.iter().filter_map(|name| FolderName::parse(name)).collect();
    folders.sort();
    Ok(folders)
}

/// Returns the name of the snapshot that `current` points to.
pub(super) fn current(root: &Path) -> Result<Option<String>, Error> {
    let link = root.join(CURRENT);
    match fs::read_link(&link) {
        Ok(target) => Ok(target.file_name().map(|name| name.to_string_lossy().into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io_error("reading", &link)(error)),
    }
}

fn read(path: &PathBuf) -> Result<Option<Manifest>, Error> {
    let bytes = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        bytes => bytes.map_err(io_error("reading", path))?,
    };
    let damaged = |message| Error::Corrupt { path: path.clone(), message };
    let manifest: Manifest = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
    if !is_as_written(&bytes) {
        return Err(damaged("its checksum does not hold".to_owned()));
    }
    if manifest.format > FORMAT {
        return Err(damaged(format!("it has format {}, but this program supports at most {FORMAT}", manifest.format)));
    }
    Ok(Some(manifest))
}
