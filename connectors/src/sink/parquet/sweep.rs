//! What is removed, and when: old snapshots, the parts that only they named, and what a crash left.
//!
//! A snapshot's age counts from the commit that superseded it, since until then a reader may just have begun with it. Parts
//! that no snapshot ever named are touched only by [`sweep_orphans`], at start: they may be about to be committed.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::parallel;
use super::part_file::PARTS;
use super::parts::Part;
use super::snapshots::{self, FolderName, MANIFEST, SNAPSHOTS};
use crate::Error;
use crate::durable::{self, io_error};

/// Removing a file waits for the disk.
const THREADS: usize = 8;

/// How long old snapshots are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// So many of the newest stay, the current one among them; at least that one.
    pub kept: usize,
    /// One that was superseded more recently stays as well.
    pub min_age: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        Self { kept: 10, min_age: Duration::from_secs(60) }
    }
}

/// What was removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Swept {
    /// Snapshot folders.
    pub(super) snapshots: usize,
    /// Part files.
    pub(super) parts: usize,
    /// Temporary files of a crash.
    pub(super) temporary: usize,
}

/// Removes the snapshots that need not be kept any more, and the parts that only they named. `live` are the parts of the last
/// commit, and of a version of the view that is being rebuilt in the same folder. It may run beside a writer and beside
/// `publish`, on another thread than the one that commits.
///
/// # Errors
/// [`Error::Io`]; trying again is safe.
pub(super) fn sweep(root: &Path, live: &[Part], retention: Retention, now: SystemTime) -> Result<Swept, Error> {
    let folders = snapshots::folders(root)?;
    let keep = retention.kept.max(1);
    if folders.len() <= keep {
        return Ok(Swept::default());
    }
    let now_ms = now.duration_since(UNIX_EPOCH).map_or(0, |age| age.as_millis());
    let current = snapshots::current(root)?;
    let expired = |(index, folder): &(usize, &FolderName)| {
        let superseded_ms = folders.get(index + 1).map(|next| u128::from(next.committed_ms));
        index + keep < folders.len()
            && current.as_deref() != Some(folder.name.as_str())
            && superseded_ms.is_some_and(|at| at + retention.min_age.as_millis() <= now_ms)
    };
    let (gone, kept): (Vec<_>, Vec<_>) = folders.iter().enumerate().partition(expired);
    if gone.is_empty() {
        return Ok(Swept::default());
    }
    let mut candidates = HashSet::new();
    for (_, folder) in &gone {
        candidates.extend(parts_of(root, &folder.name)?);
    }
    // Most parts are in the next snapshot too: what is left after it is few.
    keep_named(root, &mut candidates, live, kept.iter().take(1).map(|(_, folder)| folder.name.as_str()))?;
    // A snapshot's folder goes before its parts, so that a part is never missing from a snapshot that is still there.
    for (_, folder) in &gone {
        remove_snapshot(root, &folder.name)?;
    }
    let removed = parallel::run(candidates.into_iter().collect(), THREADS, |name| {
        let path = root.join(PARTS).join(name);
        let remove = !is_linked_elsewhere(&path)?;
        if remove {
            durable::remove_file(&path)?;
        }
        Ok(remove)
    })?;
    Ok(Swept { snapshots: gone.len(), parts: removed.into_iter().filter(|removed| *removed).count(), temporary: 0 })
}

/// Whether some snapshot holds a link to the part. It is looked at again when that one is removed.
fn is_linked_elsewhere(path: &Path) -> Result<bool, Error> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => Ok(metadata.nlink() > 1),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(io_error("reading", path)(error)),
    }
}

/// Removes what a crash left: parts that were never committed, snapshots that were never finished, temporary files. Only at
/// start, when no writer of this view is open; `live` as for [`sweep`]. The last commit is to be published again before.
///
/// # Errors
/// [`Error::Io`]; trying again is safe.
pub(super) fn sweep_orphans(root: &Path, live: &[Part]) -> Result<Swept, Error> {
    let mut swept = Swept { temporary: durable::remove_temporary(root)?, ..Swept::default() };
    let current = snapshots::current(root)?;
    for name in durable::names(&root.join(SNAPSHOTS))? {
        let folder = root.join(SNAPSHOTS).join(&name);
        if folder.join(MANIFEST).exists() || current.as_deref() == Some(name.as_str()) {
            swept.temporary += durable::remove_temporary(&folder)?;
        } else {
            remove_snapshot(root, &name)?;
            swept.snapshots += 1;
        }
    }
    let mut orphans: HashSet<String> = durable::names(&root.join(PARTS))?.into_iter().collect();
    let kept = snapshots::folders(root)?;
    keep_named(root, &mut orphans, live, kept.iter().map(|folder| folder.name.as_str()))?;
    for name in &orphans {
        durable::remove_file(&root.join(PARTS).join(name))?;
    }
    swept.parts = orphans.len();
    Ok(swept)
}

/// Takes out of `candidates` what `live` or a kept snapshot names.
fn keep_named<'a>(
    root: &Path,
    candidates: &mut HashSet<String>,
    live: &[Part],
    kept: impl Iterator<Item = &'a str>,
) -> Result<(), Error> {
    for part in live {
        candidates.remove(&part.file);
    }
    for folder in kept {
        if candidates.is_empty() {
            break;
        }
        for name in parts_of(root, folder)? {
            candidates.remove(&name);
        }
    }
    Ok(())
}

fn parts_of(root: &Path, folder: &str) -> Result<Vec<String>, Error> {
    let mut names = durable::names(&root.join(SNAPSHOTS).join(folder))?;
    names.retain(|name| name.ends_with(".parquet"));
    Ok(names)
}

/// The manifest goes first: a folder without one is known to be unfinished.
fn remove_snapshot(root: &Path, name: &str) -> Result<(), Error> {
    let folder = root.join(SNAPSHOTS).join(name);
    durable::remove_file(&folder.join(MANIFEST))?;
    match fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error("removing", &folder)(error)),
        _ => Ok(()),
    }
}
