//! What opening the database asks of its folder: whether a failure lies in the folder or outside it, and what is set aside.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use alluvium_connectors::durable;

use super::entries::Failed;
use super::files::io;
use crate::error::Error;

/// Part of sled's message when the lock of a database that was just closed is not free yet.
const LOCKED: &str = "could not acquire lock";
/// How long the lock may take to become free. Who opens a database holds the lock of its data folder, so nobody else has it open.
const UNLOCKED_WITHIN: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(10);

/// Why the database could not be opened.
pub(super) enum Unopened {
    /// The system refused. The database stays as it is.
    Outside(std::io::Error),
    /// The database does not hold what was written.
    Damaged(String),
}

impl Unopened {
    pub(super) fn of(error: sled::Error) -> Unopened {
        match error {
            sled::Error::Io(error) if is_outside(&error) => Unopened::Outside(error),
            other => Unopened::Damaged(other.to_string()),
        }
    }
}

/// Opens a database, and tries again for a while where it is locked: tasks of sled that outlive the database free its lock when they end, and a
/// program that is being started holds it until it runs.
pub(super) fn once_unlocked<T>(open: impl Fn() -> sled::Result<T>) -> sled::Result<T> {
    let began = Instant::now();
    loop {
        match open() {
            Err(sled::Error::Io(error)) if error.to_string().contains(LOCKED) && began.elapsed() < UNLOCKED_WITHIN => {
                std::thread::sleep(PAUSE);
            }
            opened => return opened,
        }
    }
}

pub(super) fn unopened(failed: Failed) -> Unopened {
    match failed {
        Failed::Sled(error) => Unopened::of(error),
        Failed::Damaged(reason) => Unopened::Damaged(reason),
        Failed::Unencoded(error) => Unopened::Damaged(error.to_string()),
    }
}

/// Whether the system refused, whatever the file holds: no room, no permission, no descriptor, or a failing disk.
pub(super) fn is_outside(error: &std::io::Error) -> bool {
    use rustix::io::Errno;
    use std::io::ErrorKind as E;
    // Compare kinds: sled copies errors without their numbers.
    let codes = [Errno::MFILE, Errno::NFILE, Errno::IO, Errno::NOMEM];
    codes.iter().any(|code| std::io::Error::from_raw_os_error(code.raw_os_error()).kind() == error.kind())
        || error.to_string().contains(LOCKED)
        || matches!(
            error.kind(),
            E::StorageFull
                | E::QuotaExceeded
                | E::FileTooLarge
                | E::PermissionDenied
                | E::ReadOnlyFilesystem
                | E::ResourceBusy
                | E::OutOfMemory
                | E::WriteZero
        )
}

/// Checks that files can be written: writes about as much as a new database takes, and removes it again.
pub(super) fn see_that_files_can_be_written(folder: &Path) -> Result<(), Error> {
    let path = folder.join(format!(".room.{}.tmp", durable::unique()));
    let written = durable::write_new(&path, &vec![0x5a; 1 << 20]);
    let removed = durable::remove_file(&path);
    written.and(removed).map_err(Error::from)
}

/// Sets aside `snap.*.generating`. A kill while sled writes a snapshot leaves this file, and sled would take it for a damaged snapshot.
pub(super) fn set_aside_unfinished_snapshots(folder: &Path) -> Result<(), Error> {
    for path in unfinished_snapshots(folder)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let aside = folder.with_file_name(format!("{name}.aside"));
        tracing::warn!(
            file = name,
            "the checkpoint database was killed while it wrote this file, which is set aside: nothing is lost"
        );
        fs::rename(&path, &aside).map_err(|error| io("moving aside", &path, &error))?;
    }
    Ok(())
}

/// The files of a database folder that [`Database::open`] sets aside.
pub(super) fn unfinished_snapshots(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let names = durable::names(folder)?;
    let unfinished = names.iter().filter(|name| name.starts_with("snap.") && name.ends_with(".generating"));
    Ok(unfinished.map(|name| folder.join(name)).collect())
}

pub(super) fn free_name(folder: &Path) -> PathBuf {
    let mut number = 1;
    loop {
        let name = folder.with_file_name(format!("checkpoints.damaged-{number}"));
        if !name.exists() {
            return name;
        }
        number += 1;
    }
}
