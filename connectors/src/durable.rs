//! Writes files that survive a crash and a power failure: writes, syncs and renames a file, then syncs its folder.
//!
//! This is not a storage layer: it has no names, formats or locks of its own. It trusts that `fsync` of files and folders works as POSIX
//! specifies, and that a rename within a folder is atomic. Temporary files are named `.<name>.<random>.tmp`; the owner of a folder removes
//! those left by a crash with [`remove_temporary`].

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::Error;

#[cfg(test)]
mod tests;

/// Returns sixteen random hexadecimal digits, for names that are never reused.
#[must_use]
pub fn unique() -> String {
    format!("{:016x}", RandomState::new().hash_one(std::process::id()))
}

/// A disk is nearly full when less than this share of it is free, ...
const FREE_SHARE: u64 = 32;
/// ... and less than these bytes: a large disk has room for many commits in a small share of it.
const FREE_BYTES: u64 = 2 << 30;

/// Whether the disk that holds `path` is nearly full: less than 3% (a 32nd) and less than 2 GiB of it is free. False where the system does
/// not say.
#[must_use]
pub fn is_nearly_full(path: &Path) -> bool {
    rustix::fs::statvfs(path).is_ok_and(|disk| leaves_little(disk.f_bavail, disk.f_blocks, disk.f_frsize))
}

/// `free` and `all` are numbers of blocks of `size` bytes.
fn leaves_little(free: u64, all: u64, size: u64) -> bool {
    free < all / FREE_SHARE && free.saturating_mul(size) < FREE_BYTES
}

/// Wraps an I/O error in [`Error::Io`].
pub(crate) fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |error| Error::Io { action, path, error }
}

/// Replaces `path` by a file with these bytes. After a crash it holds either the old bytes or the new ones; once this has returned, the
/// new ones.
///
/// # Errors
/// [`Error::Io`]; retrying is safe.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let temporary = temporary_name(path);
    let written = write_new(&temporary, bytes)
        .and_then(|()| fs::rename(&temporary, path).map_err(io_error("renaming", &temporary)))
        .and_then(|()| sync_folder(folder_of(path)));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// Writes and syncs a file that must not exist yet. Its name is durable only after [`sync_folder`].
///
/// # Errors
/// [`Error::Io`]; a partly written file is left in place.
pub fn write_new(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let mut file = create_new(path)?;
    file.write_all(bytes).map_err(io_error("writing", path))?;
    file.sync_all().map_err(io_error("syncing", path))
}

/// Appends to a file that exists, and syncs it. After a crash it may hold a part of the bytes.
///
/// # Errors
/// [`Error::Io`]; a part of the bytes may then be in the file.
pub fn append(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let mut file = OpenOptions::new().append(true).open(path).map_err(io_error("opening", path))?;
    file.write_all(bytes).map_err(io_error("writing", path))?;
    file.sync_all().map_err(io_error("syncing", path))
}

/// Creates a file that must not exist yet and opens it for writing.
///
/// # Errors
/// [`Error::Io`].
pub fn create_new(path: &Path) -> Result<File, Error> {
    OpenOptions::new().write(true).create_new(true).open(path).map_err(io_error("creating", path))
}

/// Makes the creation, renaming and removal of names in this folder durable.
///
/// # Errors
/// [`Error::Io`].
pub fn sync_folder(path: &Path) -> Result<(), Error> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(io_error("syncing", path))
}

/// Creates a folder and its parents, and makes the new names durable, also that of a folder that exists: whoever made it may have died, or
/// failed, before its name was.
///
/// # Errors
/// [`Error::Io`].
pub fn create_folder(path: &Path) -> Result<(), Error> {
    let above = folder_of(path);
    if path.is_dir() {
        return sync_folder(above);
    }
    create_folder(above)?;
    match fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(io_error("creating", path)(error)),
        _ => {}
    }
    sync_folder(above)
}

/// Makes `link` a symbolic link to `target`, atomically replacing an existing link. Durable after [`sync_folder`].
///
/// # Errors
/// [`Error::Io`]; retrying is safe.
pub fn replace_link(link: &Path, target: &Path) -> Result<(), Error> {
    let temporary = temporary_name(link);
    std::os::unix::fs::symlink(target, &temporary).map_err(io_error("linking", &temporary))?;
    fs::rename(&temporary, link).map_err(|error| {
        let _ = fs::remove_file(&temporary);
        io_error("replacing", link)(error)
    })
}

/// Replaces `path` by a hard link to `file` with an atomic rename. Durable after [`sync_folder`].
///
/// # Errors
/// [`Error::Io`]; retrying is safe.
pub fn replace_by_hard_link(path: &Path, file: &Path) -> Result<(), Error> {
    let temporary = temporary_name(path);
    fs::hard_link(file, &temporary).map_err(io_error("linking", file))?;
    fs::rename(&temporary, path).map_err(|error| {
        let _ = fs::remove_file(&temporary);
        io_error("replacing", path)(error)
    })?;
    // If both names already refer to the same file, the rename does nothing and leaves the temporary name.
    remove_file(&temporary)
}

/// Removes a file. Succeeds if the file does not exist. Durable after [`sync_folder`].
///
/// # Errors
/// [`Error::Io`].
pub fn remove_file(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error("removing", path)(error)),
        _ => Ok(()),
    }
}

/// Returns the names in a folder in arbitrary order. Returns no names if the folder does not exist.
///
/// # Errors
/// [`Error::Io`].
pub fn names(folder: &Path) -> Result<Vec<String>, Error> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(io_error("listing", folder))?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.map_err(io_error("listing", folder))?.file_name();
        // We never create names that are not UTF-8.
        names.extend(name.into_string().ok());
    }
    Ok(names)
}

/// Removes the temporary files that a crash left in a folder, and returns their number. Nothing may write in the folder meanwhile.
///
/// # Errors
/// [`Error::Io`].
pub fn remove_temporary(folder: &Path) -> Result<usize, Error> {
    let mut removed = 0;
    for name in names(folder)? {
        if name.starts_with('.') && name.ends_with(".tmp") {
            remove_file(&folder.join(name))?;
            removed += 1;
        }
    }
    Ok(removed)
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

fn temporary_name(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or(OsStr::new("file")).to_string_lossy();
    folder_of(path).join(format!(".{name}.{}.tmp", unique()))
}
