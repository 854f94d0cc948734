//! The sled database of records and what is kept beside them, written atomically and synced. After an error of its disk it refuses everything: see
//! [`super::Store`].
//!
//! On Linux sled's own `flush` calls `sync_file_range`, which power loss can undo. So the database file itself is synced after it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use alluvium_connectors::durable;
use serde::de::DeserializeOwned;

use super::crashed::Crashed;
use super::entries::{self, Entries, Failed, VIEW};
use super::files::io;
use super::flush::flush;
use super::group::{Group, Operation};
use super::letters::{DeadLetterOffset, is_of_source, kept_by};
use super::opening::{
    Unopened, free_name, is_outside, once_unlocked, see_that_files_can_be_written, set_aside_unfinished_snapshots,
    unfinished_snapshots, unopened,
};
use super::twin::{self, Twin};
use super::value::{checked, decode, encode};
use super::{Record, Write};
use crate::error::Error;
use crate::layout::Layout;

const DEAD_LETTERS: &str = "dead_letters/";
const REBUILD: &str = "rebuild/";
const CRASHED: &str = "crashed/";

/// The open database. Only the process that runs the project opens it.
pub(super) struct Database {
    layout: Layout,
    db: sled::Db,
    /// Through it goes each write.
    group: Group<Failure>,
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
        let config = sled::Config::new().path(folder).cache_capacity(16 << 20).flush_every_ms(None);
        let db = once_unlocked(|| config.open()).map_err(Unopened::of)?;
        let (group, entries) = (Group::new(), Entries::default());
        let store = Database { layout: layout.clone(), db, group, entries, refused: AtomicBool::new(false) };
        for entry in store.db.iter() {
            let (key, value) = entry.map_err(Unopened::of)?;
            checked(&value).map_err(Unopened::Damaged)?;
            if let Some(view) = key.strip_prefix(VIEW.as_bytes()) {
                entries::read(&store.db, &String::from_utf8_lossy(view)).map_err(unopened)?;
            }
        }
        Ok(store)
    }

    /// The records of a copy of the database, or what is wrong with it. What [`Database::open`] would set aside is removed from the copy.
    pub(super) fn of_copy(layout: &Layout, folder: &Path) -> Result<Vec<Record>, String> {
        for path in unfinished_snapshots(folder).map_err(|error| error.to_string())? {
            fs::remove_file(&path).map_err(|error| io("removing", &path, &error).to_string())?;
        }
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
        let mut prepared = self.entries.prepare(&self.db, &write.records).map_err(|failed| self.unread("", failed))?;
        let mut operations = std::mem::take(&mut prepared.operations);
        for (key, offset) in &write.dead_letter_offsets {
            operations.push((format!("{DEAD_LETTERS}{key}").into_bytes(), Some(encode(offset)?)));
        }
        for (key, crashed) in &write.crashed {
            operations.push((format!("{CRASHED}{key}").into_bytes(), Some(encode(crashed)?)));
        }
        operations.extend(write.rebuilds_done.iter().map(|view| (format!("{REBUILD}{view}").into_bytes(), None)));
        self.apply(operations)?;
        self.entries.written(prepared);
        Ok(())
    }

    /// Records that a rebuild was requested. A commit with it in [`Write::rebuilds_done`] removes the request.
    ///
    /// # Errors
    /// As [`Database::write`].
    pub(super) fn request_rebuild(&self, view: &str) -> Result<(), Error> {
        self.apply(vec![(format!("{REBUILD}{view}").into_bytes(), Some(encode(&view)?))])
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
        self.entries.forget(view);
        let mut operations = vec![(format!("{VIEW}{view}").into_bytes(), None), (format!("{REBUILD}{view}").into_bytes(), None)];
        operations.extend(entries::removals(&self.db, view).map_err(|error| self.failed("reading", &error))?);
        for entry in self.db.scan_prefix(CRASHED) {
            let (key, _) = entry.map_err(|error| self.failed("reading", &error))?;
            // The rest of the key is source/view/fingerprint, and a source may have the name of a view.
            let rest = String::from_utf8_lossy(&key[CRASHED.len()..]).into_owned();
            if rest.split('/').nth(1) == Some(view) {
                operations.push((key.to_vec(), None));
            }
        }
        self.apply(operations)
    }

    fn apply(&self, operations: Vec<Operation>) -> Result<(), Error> {
        let write = |all: &[&Operation]| match self.is_refused() {
            // What was written before may be lost, and a later sync would not say so.
            true => Err(Failure::Refused),
            // Before the next writer has its turn.
            false => self.write_and_sync(all).inspect_err(|failure| self.note(failure)),
        };
        self.group.write(operations, write).map_err(|failure| match failure {
            Failure::Sled(doing, error) => self.failed(doing, &error),
            Failure::Listing(error) => match &*error {
                alluvium_connectors::Error::Io { action, path, error } => io(action, path, error),
                other => Error::corrupt(other.to_string(), "see the disk"),
            },
            Failure::Sync(path, error) => io("syncing", &path, &error),
            Failure::Refused => Error::unavailable(
                format!("the disk of {} has refused a write", self.layout.checkpoints().display()),
                "see the disk; the last commit is whole",
            ),
        })
    }

    /// Notes that the disk has refused something, if that is what failed.
    fn note(&self, failure: &Failure) {
        let refused = match failure {
            Failure::Sled(_, sled::Error::Io(error)) => is_outside(error),
            Failure::Sled(..) => false,
            // Blobs may not be synced.
            Failure::Listing(_) | Failure::Sync(..) | Failure::Refused => true,
        };
        if refused {
            self.refused.store(true, Ordering::SeqCst);
        }
    }

    fn write_and_sync(&self, operations: &[&Operation]) -> Result<(), Failure> {
        let mut batch = sled::Batch::default();
        for (key, value) in operations {
            match value {
                Some(value) => batch.insert(key.as_slice(), value.as_slice()),
                None => batch.remove(key.as_slice()),
            }
        }
        self.db.apply_batch(batch).map_err(|error| Failure::Sled("writing", error))?;
        flush(&self.db).map_err(|error| Failure::Sled("syncing", error))?;
        sync(&self.layout.checkpoints().join("db"))?;
        self.sync_blobs()
    }

    /// Syncs the files into which sled puts what is too large for a segment. They are few, and mostly none.
    fn sync_blobs(&self) -> Result<(), Failure> {
        let folder = self.layout.checkpoints().join("blobs");
        let blobs = durable::names(&folder).map_err(|error| Failure::Listing(Arc::new(error)))?;
        blobs.iter().try_for_each(|blob| sync(&folder.join(blob)))?;
        if blobs.is_empty() { Ok(()) } else { sync(&folder) }
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

/// Why a write failed.
#[derive(Debug, Clone)]
enum Failure {
    /// sled refused, while it did this.
    Sled(&'static str, sled::Error),
    /// A folder could not be read.
    Listing(Arc<alluvium_connectors::Error>),
    /// This file was not synced.
    Sync(PathBuf, Arc<std::io::Error>),
    /// The disk has refused a write before.
    Refused,
}

fn sync(path: &Path) -> Result<(), Failure> {
    File::open(path).and_then(|file| file.sync_all()).map_err(|error| Failure::Sync(path.to_owned(), Arc::new(error)))
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
