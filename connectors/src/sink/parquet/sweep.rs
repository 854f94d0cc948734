//! Removes old snapshots, the parts that only they name, and the leftovers of a crash.
//!
//! A snapshot's age counts from the commit that superseded it, since readers may start to use it until then. Where the clock was set back
//! since, it counts from the first commit after that: a snapshot of a day to come would else be kept until that day. Parts that no snapshot names
//! may be about to be committed, so only [`sweep_orphans`] removes them, at start.
//!
//! On a disk that is nearly full no age counts: else the snapshots of a minute could stop all commits, and commits are what removes them.

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

/// The number of threads that remove files. They mostly wait for the disk.
const THREADS: usize = 8;

/// How long old snapshots are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// The number of newest snapshots to keep, including the current one, which is always kept.
    pub kept: usize,
    /// A snapshot is also kept until it has been superseded for this long.
    pub min_age: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        Self { kept: 10, min_age: Duration::from_secs(60) }
    }
}

/// The numbers of removed files and folders.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Swept {
    /// Snapshot folders.
    pub(super) snapshots: usize,
    /// Part files.
    pub(super) parts: usize,
    /// Temporary files left by a crash.
    pub(super) temporary: usize,
}

/// Removes the snapshots whose retention has ended, and the parts that only they name. `live` are the parts of the last commit, and those
/// with which a rebuild in the same folder has begun. May run concurrently with a writer and with `publish`.
///
/// # Errors
/// [`Error::Io`]; retrying is safe.
pub(super) fn sweep(root: &Path, live: &[Part], retention: Retention, now: SystemTime) -> Result<Swept, Error> {
    let folders = snapshots::folders(root)?;
    if durable::is_nearly_full(root) {
        return sweep_older_half(root, live, &folders, retention.kept);
    }
    let now_ms = now.duration_since(UNIX_EPOCH).map_or(0, |age| age.as_millis());
    let superseded = superseded_ms(&folders, now_ms);
    remove(root, live, &folders, retention.kept, |index| {
        superseded[index].is_some_and(|at| u128::from(at) + retention.min_age.as_millis() <= now_ms)
    })
}

/// Removes the older half of the snapshots, whatever their age, and at the next sweep again, until there is room: the newest ones are those
/// that readers use. Keeps the `kept` newest.
pub(super) fn sweep_older_half(root: &Path, live: &[Part], folders: &[FolderName], kept: usize) -> Result<Swept, Error> {
    let swept = remove(root, live, folders, kept.max(folders.len() / 2), |_| true)?;
    // In the end, each commit removes the oldest one.
    if swept.snapshots > 1 {
        tracing::warn!(
            folder = %root.display(),
            snapshots = swept.snapshots,
            "the disk is nearly full: the older half of the old snapshots is removed before snapshots_min_age"
        );
    }
    Ok(swept)
}

/// Removes those of the snapshots that are `old`, by their index, but for the `kept` newest and the current one; and the parts that only they
/// name.
fn remove(root: &Path, live: &[Part], folders: &[FolderName], kept: usize, old: impl Fn(usize) -> bool) -> Result<Swept, Error> {
    let keep = kept.max(1);
    if folders.len() <= keep {
        return Ok(Swept::default());
    }
    let current = snapshots::current(root)?;
    let expired = |(index, folder): &(usize, &FolderName)| {
        index + keep < folders.len() && current.as_deref() != Some(folder.name.as_str()) && old(*index)
    };
    let (gone, kept): (Vec<_>, Vec<_>) = folders.iter().enumerate().partition(expired);
    if gone.is_empty() {
        return Ok(Swept::default());
    }
    let mut candidates = HashSet::new();
    for (_, folder) in &gone {
        candidates.extend(parts_of(root, &folder.name)?);
    }
    // Most parts are also in the oldest kept snapshot, so few candidates remain.
    keep_named(root, &mut candidates, live, kept.iter().take(1).map(|(_, folder)| folder.name.as_str()))?;
    // The renames of `publish` are not synced: after a power failure `current` may still name an older snapshot until they are.
    durable::sync_folder(root)?;
    // Removes a snapshot's folder before its parts, so that an existing snapshot never lacks a part.
    for (_, folder) in &gone {
        remove_snapshot(root, &folder.name)?;
    }
    let removed = parallel::run(candidates.into_iter().collect(), THREADS, |name| {
        let path = root.join(PARTS).join(&name);
        // A link may also be that of someone who holds the file and removes it when done with it.
        let is_kept = is_linked_elsewhere(&path)?
            && kept.iter().any(|(_, folder)| root.join(SNAPSHOTS).join(&folder.name).join(&name).exists());
        let remove = !is_kept;
        if remove {
            durable::remove_file(&path)?;
        }
        Ok(remove)
    })?;
    Ok(Swept { snapshots: gone.len(), parts: removed.into_iter().filter(|removed| *removed).count(), temporary: 0 })
}

/// By snapshot, from the oldest: when it was superseded, in milliseconds since the epoch; none for the newest. Where that time is to come, the
/// clock was set back since, and the earliest of the later commits counts: each of them came after it.
fn superseded_ms(folders: &[FolderName], now_ms: u128) -> Vec<Option<u64>> {
    let mut later: Option<(u64, u64)> = None;
    let mut superseded = Vec::with_capacity(folders.len());
    for folder in folders.iter().rev() {
        superseded.push(later.map(|(next, earliest)| if u128::from(next) <= now_ms { next } else { earliest }));
        let earliest = later.map_or(folder.committed_ms, |(_, earliest)| earliest.min(folder.committed_ms));
        later = Some((folder.committed_ms, earliest));
    }
    superseded.reverse();
    superseded
}

/// Checks whether another snapshot has a link to the part. If so, the part is checked again when that snapshot is removed.
fn is_linked_elsewhere(path: &Path) -> Result<bool, Error> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => Ok(metadata.nlink() > 1),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(io_error("reading", path)(error)),
    }
}

/// Removes the leftovers of a crash: parts that were never committed, unfinished snapshots and temporary files. `live` is the same as for
/// [`sweep`]. Call this only at start, when no writer of this view is open, after publishing the last commit again.
///
/// # Errors
/// [`Error::Io`]; retrying is safe.
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

/// Removes from `candidates` the parts that `live` or a kept snapshot names.
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

/// Removes a snapshot. Removes its manifest first: a folder without one counts as unfinished.
fn remove_snapshot(root: &Path, name: &str) -> Result<(), Error> {
    let folder = root.join(SNAPSHOTS).join(name);
    durable::remove_file(&folder.join(MANIFEST))?;
    match fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error("removing", &folder)(error)),
        _ => Ok(()),
    }
}
