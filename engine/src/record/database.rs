//! The sled database of records and what is kept beside them, written atomically and synced. After an error of its disk it refuses everything: see
//! [`super::Store`].
//!
//! On Linux sled's own `flush` calls `sync_file_range`, which power loss can undo. So the database file itself is synced after it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use alluvium_connectors::durable;
use serde::de::DeserializeOwned;

use super::crashed::Crashed;
use super::entries::{self, Entries, Failed, VIEW};
use super::files::io;
use super::letters::{DeadLetterOffset, is_of_source, kept_by};
use super::twin::{self, Twin};
use super::value::{checked, decode, encode};
use super::{Record, Write};
use crate::error::Error;
use crate::layout::Layout;

const DEAD_LETTERS: &str = "dead_letters/";
const REBUILD: &str = "rebuild/";
const CRASHED: &str = "crashed/";
/// Part of sled's message when the lock of a database that was just closed is not free yet.
const LOCKED: &str = "could not acquire lock";

/// The open database. Only the process that runs the project opens it.
pub(super) struct Database {
    layout: Layout,
    db: sled::Db,
    /// The records as they were last written.
    entries: Entries,
    /// The disk has refused something. sled then refuses everything, even when there is room again.
    refused: AtomicBool,
}

impl Database {
    /// Opens the database of a data folder, and repairs what a crash or damage left. Half-written sled snapshots are set aside. A
    /// database that cannot be read is set aside and restored from the JSON twins beside the views. A record that is older than its twin
    /// is replaced by it.
    ///
    /// # Errors
    /// The disk fails; a full disk leaves the database as it is. [`crate::error::Kind::Corrupt`] if no new database can be made.
    pub(super) fn open(layout: &Layout) -> Result<Database, Error> {
        let folder = layout.checkpoints();
        durable::create_folder(&folder)?;
        set_aside_unfinished_snapshots(&folder)?;
        let twins = twin::read_all(layout)?;
        let opened = std::panic::catch_unwind(AssertUnwindSafe(|| Self::try_open(layout, &folder)));
        let store = match opened.unwrap_or_else(|_| Err(Unopened::Damaged("sled panicked over it".into()))) {
            Ok(store) => store,
            Err(Unopened::Outside(error)) => return Err(io("opening", &folder, &error)),
            Err(Unopened::Damaged(reason)) => {
                // A full disk makes an intact database look damaged.
                see_that_files_can_be_written(layout.root())?;
                let aside = free_name(&folder);
                tracing::warn!(%reason, aside = %aside.display(), "the checkpoint database cannot be read: it is set aside and restored from the records beside the views");
                fs::rename(&folder, &aside).map_err(|error| io("moving aside", &folder, &error))?;
                durable::create_folder(&folder)?;
                Self::try_open(layout, &folder).map_err(|unopened| match unopened {
                    Unopened::Outside(error) => io("making", &folder, &error),
                    Unopened::Damaged(reason) => Error::corrupt(
                        format!("cannot make {}: {reason}", folder.display()),
                        "check the disk and the folder's permissions",
                    ),
                })?
            }
        };
        store.adopt(&twins)?;
        // sled syncs what it writes into its files, and not their names.
        durable::sync_folder(&folder)?;
        Ok(store)
    }

    fn try_open(layout: &Layout, folder: &Path) -> Result<Database, Unopened> {
        // sled creates a missing `conf` anew, and may then lose what it writes.
        if folder.join("db").exists() && !folder.join("conf").exists() {
            return Err(Unopened::Damaged("its file conf is missing".to_owned()));
        }
        // A small cache is enough: values are read at start and seldom afterwards.
        let db = sled::Config::new().path(folder).cache_capacity(16 << 20).flush_every_ms(None).open().map_err(Unopened::of)?;
        let store = Database { layout: layout.clone(), db, entries: Entries::default(), refused: AtomicBool::new(false) };
        for entry in store.db.iter() {
            let (key, value) = entry.map_err(Unopened::of)?;
            checked(&value).map_err(Unopened::Damaged)?;
            if let Some(view) = key.strip_prefix(VIEW.as_bytes()) {
                entries::read(&store.db, &String::from_utf8_lossy(view)).map_err(unopened)?;
            }
        }
        Ok(store)
    }

    /// The records of a database in another folder, or what is wrong with it.
    pub(super) fn read_only(layout: &Layout, folder: &Path) -> Result<Vec<Record>, String> {
        let opened = Self::try_open(layout, folder).map_err(|unopened| match unopened {
            Unopened::Outside(error) => error.to_string(),
            Unopened::Damaged(reason) => reason,
        });
        opened?.records().map_err(|error| error.to_string())
    }

    /// Takes each record from its twin if the twin is newer. sled is behind a twin only if it has lost something.
    fn adopt(&self, twins: &[Twin]) -> Result<(), Error> {
        let mut newest: BTreeMap<String, Record> = BTreeMap::new();
        for record in twins.iter().flat_map(|twin| &twin.commit.records) {
            if newest.get(&record.view).is_none_or(|known| known.epoch < record.epoch) {
                newest.insert(record.view.clone(), record.clone());
            }
        }
        let mut lost = Vec::new();
        for (view, record) in newest {
            let known = self.record(&view)?;
            if known.is_none_or(|known| known.epoch < record.epoch) && self.layout.record(&view).exists() {
                tracing::warn!(view, epoch = record.epoch, "the checkpoint is restored from the record beside the view");
                lost.push(record);
            }
        }
        if !lost.is_empty() {
            let dead_letter_offsets = kept_by(&lost, |key| self.dead_letter_offset(key))?;
            self.write(&Write { records: lost, dead_letter_offsets, ..Write::default() })?;
        }
        // Not before: of two twins, one may be older than the database, and the other newer.
        self.complete_twins(twins)
    }

    /// Writes the twins that a crash right after a commit left behind, or damage: an old twin names files that later commits remove. Each view
    /// is to have a whole one.
    fn complete_twins(&self, twins: &[Twin]) -> Result<(), Error> {
        let epochs: BTreeMap<&str, u64> = twins.iter().filter_map(|twin| Some((twin.view.as_str(), twin.epoch()?))).collect();
        let mut commits: BTreeMap<(u64, Vec<String>), Vec<Record>> = BTreeMap::new();
        for record in self.records()? {
            commits.entry((record.epoch, record.commit.committed_with.clone())).or_default().push(record);
        }
        for records in commits.into_values() {
            let behind = |record: &Record| epochs.get(record.view.as_str()).is_none_or(|epoch| *epoch < record.epoch);
            if records.iter().any(behind) {
                twin::write(&self.layout, &records)?;
            }
        }
        Ok(())
    }

    /// Returns the last record of a view.
    ///
    /// # Errors
    /// sled fails, or a checksum is wrong.
    pub(super) fn record(&self, view: &str) -> Result<Option<Record>, Error> {
        entries::read(&self.db, view).map_err(|failed| self.unread(view, failed))
    }

    /// Returns all records with the present format.
    ///
    /// # Errors
    /// As [`Database::record`].
    pub(super) fn records(&self) -> Result<Vec<Record>, Error> {
        let mut records = Vec::new();
        for entry in self.db.scan_prefix(VIEW) {
            let (key, _) = entry.map_err(|error| self.failed("reading", &error))?;
            let record = self.record(&String::from_utf8_lossy(&key[VIEW.len()..]))?;
            records.extend(record.filter(Record::is_readable));
        }
        Ok(records)
    }

    /// Returns the offset up to which the dead letters of `key` have been kept.
    ///
    /// # Errors
    /// As [`Database::record`].
    pub(super) fn dead_letter_offset(&self, key: &str) -> Result<Option<DeadLetterOffset>, Error> {
        self.get(&format!("{DEAD_LETTERS}{key}"))
    }

    /// Returns the offsets of all keys of a source.
    ///
    /// # Errors
    /// As [`Database::record`].
    pub(super) fn dead_letter_offsets(&self, source: &str) -> Result<BTreeMap<String, DeadLetterOffset>, Error> {
        let mut offsets = BTreeMap::new();
        for entry in self.db.scan_prefix(format!("{DEAD_LETTERS}{source}")) {
            let (key, value) = entry.map_err(|error| self.failed("reading", &error))?;
            let name = String::from_utf8_lossy(&key[DEAD_LETTERS.len()..]).into_owned();
            if is_of_source(&name, source) {
                offsets.insert(name, decode(&value).map_err(|reason| self.damaged(&key, &reason))?);
            }
        }
        Ok(offsets)
    }

    /// Returns the events that are kept from the version of a view that `key` names.
    ///
    /// # Errors
    /// As [`Database::record`].
    pub(super) fn crashed(&self, key: &str) -> Result<Crashed, Error> {
        Ok(self.get(&format!("{CRASHED}{key}"))?.unwrap_or_default())
    }

    /// Commits: writes everything atomically, and has synced it when it returns.
    ///
    /// # Errors
    /// sled or the disk fails. It is then unknown whether the commit holds, and the caller must read it again.
    pub(super) fn write(&self, write: &Write) -> Result<(), Error> {
        let mut batch = sled::Batch::default();
        let prepared = self.entries.prepare(&self.db, &write.records).map_err(|failed| self.unread("", failed))?;
        insert(&mut batch, &prepared.operations);
        for (key, offset) in &write.dead_letter_offsets {
            batch.insert(format!("{DEAD_LETTERS}{key}").as_bytes(), encode(offset)?);
        }
        for (key, crashed) in &write.crashed {
            batch.insert(format!("{CRASHED}{key}").as_bytes(), encode(crashed)?);
        }
        for view in &write.rebuilds_done {
            batch.remove(format!("{REBUILD}{view}").as_bytes());
        }
        self.apply(batch)?;
        self.entries.written(prepared);
        Ok(())
    }

    /// Records that a rebuild was requested. A commit with it in [`Write::rebuilds_done`] removes the request.
    ///
    /// # Errors
    /// As [`Database::write`].
    pub(super) fn request_rebuild(&self, view: &str) -> Result<(), Error> {
        let mut batch = sled::Batch::default();
        batch.insert(format!("{REBUILD}{view}").as_bytes(), encode(&view)?);
        self.apply(batch)
    }

    /// Returns the views whose rebuild was requested and is not done.
    ///
    /// # Errors
    /// As [`Database::record`].
    pub(super) fn rebuilds_requested(&self) -> Result<Vec<String>, Error> {
        self.db
            .scan_prefix(REBUILD)
            .map(|entry| {
                let (key, value) = entry.map_err(|error| self.failed("reading", &error))?;
                decode(&value).map_err(|reason| self.damaged(&key, &reason))
            })
            .collect()
    }

    /// Removes a view's record, its rebuild request, and the events kept from it. The offsets of its dead letters stay.
    ///
    /// # Errors
    /// As [`Database::write`].
    pub(super) fn forget(&self, view: &str) -> Result<(), Error> {
        let mut batch = sled::Batch::default();
        batch.remove(format!("{VIEW}{view}").as_bytes());
        self.entries.forget(view);
        insert(&mut batch, &entries::removals(&self.db, view).map_err(|error| self.failed("reading", &error))?);
        batch.remove(format!("{REBUILD}{view}").as_bytes());
        for entry in self.db.scan_prefix(CRASHED) {
            let (key, _) = entry.map_err(|error| self.failed("reading", &error))?;
            // The rest of the key is source/view/fingerprint, and a source may have the name of a view.
            let rest = String::from_utf8_lossy(&key[CRASHED.len()..]).into_owned();
            if rest.split('/').nth(1) == Some(view) {
                batch.remove(key);
            }
        }
        self.apply(batch)
    }

    fn apply(&self, batch: sled::Batch) -> Result<(), Error> {
        self.db.apply_batch(batch).map_err(|error| self.failed("writing", &error))?;
        self.db.flush().map_err(|error| self.failed("syncing", &error))?;
        let file = self.layout.checkpoints().join("db");
        self.sync(&file).and_then(|()| self.sync_blobs())
    }

    /// Syncs the files into which sled puts what is too large for a segment. They are few, and mostly none.
    fn sync_blobs(&self) -> Result<(), Error> {
        let folder = self.layout.checkpoints().join("blobs");
        let blobs = durable::names(&folder)?;
        blobs.iter().try_for_each(|blob| self.sync(&folder.join(blob)))?;
        if blobs.is_empty() { Ok(()) } else { self.sync(&folder) }
    }

    fn sync(&self, path: &Path) -> Result<(), Error> {
        File::open(path).and_then(|file| file.sync_all()).map_err(|error| {
            self.refused.store(true, Ordering::SeqCst);
            io("syncing", path, &error)
        })
    }

    fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, Error> {
        let value = self.db.get(key).map_err(|error| self.failed("reading", &error))?;
        value.map(|value| decode(&value).map_err(|reason| self.damaged(key.as_bytes(), &reason))).transpose()
    }

    /// Whether the disk has refused something since it was opened.
    pub(super) fn is_refused(&self) -> bool {
        self.refused.load(Ordering::SeqCst)
    }

    fn failed(&self, doing: &'static str, error: &sled::Error) -> Error {
        if let sled::Error::Io(error) = error
            && is_outside(error)
        {
            self.refused.store(true, Ordering::SeqCst);
            return io(doing, &self.layout.checkpoints(), error);
        }
        Error::corrupt(
            format!("{doing} the checkpoint database {}: {error}", self.layout.checkpoints().display()),
            "start again: the database is then restored from the records beside the views",
        )
    }

    fn unread(&self, view: &str, failed: Failed) -> Error {
        match failed {
            Failed::Sled(error) => self.failed("reading", &error),
            Failed::Damaged(reason) => self.damaged(format!("{VIEW}{view}").as_bytes(), &reason),
            Failed::Unencoded(error) => Error::bug(format!("a checkpoint record does not encode: {error}")),
        }
    }

    fn damaged(&self, key: &[u8], reason: &str) -> Error {
        Error::corrupt(
            format!(
                "the checkpoint database {} is damaged at {}: {reason}",
                self.layout.checkpoints().display(),
                String::from_utf8_lossy(key)
            ),
            "start again: the database is then restored from the records beside the views",
        )
    }
}

/// Why the database could not be opened.
enum Unopened {
    /// The system refused. The database stays as it is.
    Outside(std::io::Error),
    /// The database does not hold what was written.
    Damaged(String),
}

impl Unopened {
    fn of(error: sled::Error) -> Unopened {
        match error {
            sled::Error::Io(error) if is_outside(&error) => Unopened::Outside(error),
            other => Unopened::Damaged(other.to_string()),
        }
    }
}

fn unopened(failed: Failed) -> Unopened {
    match failed {
        Failed::Sled(error) => Unopened::of(error),
        Failed::Damaged(reason) => Unopened::Damaged(reason),
        Failed::Unencoded(error) => Unopened::Damaged(error.to_string()),
    }
}

/// Whether the system refused, whatever the file holds: no room, no permission, no descriptor, or a failing disk.
fn is_outside(error: &std::io::Error) -> bool {
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
fn see_that_files_can_be_written(folder: &Path) -> Result<(), Error> {
    let path = folder.join(format!(".room.{}.tmp", durable::unique()));
    let written = durable::write_new(&path, &vec![0x5a; 1 << 20]);
    let removed = durable::remove_file(&path);
    written.and(removed).map_err(Error::from)
}

fn insert(batch: &mut sled::Batch, operations: &[entries::Operation]) {
    for (key, value) in operations {
        match value {
            Some(value) => batch.insert(key.as_slice(), value.as_slice()),
            None => batch.remove(key.as_slice()),
        }
    }
}

/// Sets aside `snap.*.generating`. A kill while sled writes a snapshot leaves this file, and sled would take it for a damaged snapshot.
fn set_aside_unfinished_snapshots(folder: &Path) -> Result<(), Error> {
    let entries = fs::read_dir(folder).map_err(|error| io("reading", folder, &error))?;
    for entry in entries {
        let entry = entry.map_err(|error| io("reading", folder, &error))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            let aside = folder.with_file_name(format!("{name}.aside"));
            tracing::warn!(
                file = name,
                "the checkpoint database was killed while it wrote this file, which is set aside: nothing is lost"
            );
            fs::rename(entry.path(), &aside).map_err(|error| io("moving aside", &entry.path(), &error))?;
        }
    }
    Ok(())
}

fn free_name(folder: &Path) -> PathBuf {
    let mut number = 1;
    loop {
        let name = folder.with_file_name(format!("checkpoints.damaged-{number}"));
        if !name.exists() {
            return name;
        }
        number += 1;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;
    use crate::error::Kind;

    #[test]
    fn a_database_that_the_disk_refuses_is_not_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path());
        fs::create_dir_all(layout.checkpoints()).unwrap();
        // Every write to this file fails with a full disk.
        std::os::unix::fs::symlink("/dev/full", layout.checkpoints().join("conf")).unwrap();
        let error = Database::open(&layout).err().expect("a full disk");
        assert_eq!(error.kind(), Kind::Unavailable, "{error}");
        assert!(error.help().is_some_and(|help| help.contains("make room")), "{error}: {:?}", error.help());
        assert!(layout.checkpoints().join("conf").exists());
        assert!(!folder.path().join("checkpoints.damaged-1").exists());
    }
}
