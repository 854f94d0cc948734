//! The checkpoint store: the [`Database`], which it opens again after the disk has refused something.
//!
//! sled refuses everything after the first error of its disk. The next call after such an error therefore closes the database and opens
//! it as at start, so that pipelines can go on when there is room again. The opened database holds what was committed: a caller whose
//! write failed does not know whether the write holds, and reads its record again.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::{PoisonError, RwLock};

use super::crashed::Crashed;
use super::database::Database;
use super::letters::DeadLetterOffset;
use super::{Record, Write, twin};
use crate::error::Error;
use crate::layout::Layout;

/// The checkpoint store. Only the process that runs the project opens it.
pub struct Store {
    layout: Layout,
    /// `None` while it could not be opened again.
    database: RwLock<Option<Database>>,
    twins: twin::Twins,
}

impl Store {
    /// Opens the store of a data folder, and repairs what a crash or damage left. Half-written sled snapshots are set aside. An unreadable
    /// database is set aside and restored from the JSON twins beside the views. A record that is older than its twin is replaced by it.
    ///
    /// # Errors
    /// The disk fails; a full disk leaves the database as it is. [`crate::error::Kind::Corrupt`] if no new database can be made.
    pub fn open(layout: &Layout) -> Result<Store, Error> {
        let database = RwLock::new(Some(Database::open(layout)?));
        Ok(Store { layout: layout.clone(), database, twins: twin::Twins::default() })
    }

    /// Returns the last record of a view.
    ///
    /// # Errors
    /// sled fails or a checksum is wrong; after an error of the disk, those of [`Store::open`].
    pub fn record(&self, view: &str) -> Result<Option<Record>, Error> {
        self.with(|database| database.record(view))
    }

    /// Returns all records with the present format.
    ///
    /// # Errors
    /// As [`Store::record`].
    pub fn records(&self) -> Result<Vec<Record>, Error> {
        self.with(Database::records)
    }

    /// Returns the offset up to which the dead letters of `key` have been kept.
    ///
    /// # Errors
    /// As [`Store::record`].
    pub fn dead_letter_offset(&self, key: &str) -> Result<Option<DeadLetterOffset>, Error> {
        self.with(|database| database.dead_letter_offset(key))
    }

    /// Returns the offsets of all keys of a source.
    ///
    /// # Errors
    /// As [`Store::record`].
    pub fn dead_letter_offsets(&self, source: &str) -> Result<BTreeMap<String, DeadLetterOffset>, Error> {
        self.with(|database| database.dead_letter_offsets(source))
    }

    /// Returns the events that are kept from the version of a view that `key` names. The key is that of its dead letters on a source.
    ///
    /// # Errors
    /// As [`Store::record`].
    pub fn crashed(&self, key: &str) -> Result<Crashed, Error> {
        self.with(|database| database.crashed(key))
    }

    /// Commits: writes everything atomically, and has synced it when it returns.
    ///
    /// # Errors
    /// As [`Store::record`], or the disk fails. It is then unknown whether the commit holds, and the caller must read it again.
    pub fn write(&self, write: &Write) -> Result<(), Error> {
        self.with(|database| database.write(write))
    }

    /// Writes the JSON twins of a commit beside its views. If the store has written the commit before, it appends what has changed.
    /// [`Store::open`] writes them if a crash came first.
    ///
    /// # Errors
    /// The disk fails.
    pub fn write_twins(&self, records: &[Record]) -> Result<(), Error> {
        // While they are written, no database is opened: that writes twins, too.
        let _database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        self.twins.write(&self.layout, records)
    }

    /// Records that a rebuild was requested. A commit with it in [`Write::rebuilds_done`] removes the request.
    ///
    /// # Errors
    /// As [`Store::write`].
    pub fn request_rebuild(&self, view: &str) -> Result<(), Error> {
        self.with(|database| database.request_rebuild(view))
    }

    /// Returns the views whose rebuild was requested and is not done.
    ///
    /// # Errors
    /// As [`Store::record`].
    pub fn rebuilds_requested(&self) -> Result<Vec<String>, Error> {
        self.with(Database::rebuilds_requested)
    }

    /// Removes a view's record, its rebuild request, and the events kept from it. The offsets of its dead letters stay.
    ///
    /// # Errors
    /// As [`Store::write`].
    pub fn forget(&self, view: &str) -> Result<(), Error> {
        self.with(|database| database.forget(view))
    }

    /// Runs `work` on the database. If the disk has refused something, opens the database again first.
    fn with<T>(&self, work: impl FnOnce(&Database) -> Result<T, Error>) -> Result<T, Error> {
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(database) = database.as_ref().filter(|database| !database.is_refused()) {
            return work(database);
        }
        drop(database);
        let mut database = self.database.write().unwrap_or_else(PoisonError::into_inner);
        if database.as_ref().is_none_or(Database::is_refused) {
            // Close it before opening it again, since it holds a lock on its file.
            close(database.take());
            // Opening may write them.
            self.twins.clear();
            *database = Some(Database::open(&self.layout)?);
            tracing::info!("the checkpoint database is opened again, after an error of its disk");
        }
        match database.as_ref() {
            Some(database) => work(database),
            None => Err(Error::bug("the checkpoint database is not open")),
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        close(self.database.get_mut().unwrap_or_else(PoisonError::into_inner).take());
    }
}

/// Closes the database. sled panics if its last sync fails then; each commit was synced before, so nothing is lost.
fn close(database: Option<Database>) {
    if std::panic::catch_unwind(AssertUnwindSafe(|| drop(database))).is_err() {
        tracing::warn!("the disk has refused the last sync of the checkpoint database; all commits were synced before");
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_offsets_of_a_source_are_those_of_its_views_and_columns() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&Layout::new(folder.path())).unwrap();
        let keys = ["orders", "orders/best/f00", "orders?total", "orders_old", "order"];
        let offset = DeadLetterOffset { offset: 7, stream: "ORDERS 1".to_owned() };
        let dead_letter_offsets = keys.iter().map(|key| ((*key).to_owned(), offset.clone())).collect();
        store.write(&Write { dead_letter_offsets, ..Write::default() }).unwrap();
        let found: Vec<String> = store.dead_letter_offsets("orders").unwrap().into_keys().collect();
        assert_eq!(found, keys[..3]);
    }

    #[test]
    fn a_view_that_is_forgotten_takes_only_its_own_crashed_events_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&Layout::new(folder.path())).unwrap();
        let crashed = Crashed { events: BTreeMap::from([(7, 1)]) };
        // A source and a view are both named orders, and a third name contains it.
        let keys = ["orders/best/f0", "orders/orders/f1", "payments/orders/f2", "payments/reorders/f3"];
        let all = keys.iter().map(|key| ((*key).to_owned(), crashed.clone())).collect();
        store.write(&Write { crashed: all, ..Write::default() }).unwrap();
        store.forget("orders").unwrap();
        let kept: Vec<&str> = keys.into_iter().filter(|key| store.crashed(key).unwrap() == crashed).collect();
        assert_eq!(kept, ["orders/best/f0", "payments/reorders/f3"]);
    }
}
