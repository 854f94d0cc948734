//! The checkpoint store: the [`Database`], opened again after the disk has refused something.
//!
//! sled refuses everything after the first error of its disk. So that a pipeline that is tried again goes on when there is room
//! again, the next call after such an error closes the database and opens it as a start does. What that finds is what was
//! committed: a caller whose write failed does not know whether it holds, and reads its record again.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::{PoisonError, RwLock};

use super::crashed::Crashed;
use super::database::Database;
use super::letters::DeadLetterOffset;
use super::{Record, Write, twin};
use crate::error::Error;
use crate::layout::Layout;

/// The checkpoint store; held by the one process that runs the folder.
pub struct Store {
    layout: Layout,
    /// None where it could not be opened again yet.
    database: RwLock<Option<Database>>,
}

impl Store {
    /// Opens the store of a data folder, mending what a crash or damage left: half-written sled snapshots are set aside, an
    /// unreadable database is set aside and made anew from the JSON records beside the views, and a record that is older there
    /// than its twin is replaced by it.
    ///
    /// # Errors
    /// The disk's (a full one, for instance, leaves the database as it is), and [`crate::error::Kind::Corrupt`] where a record can
    /// be had from neither place.
    pub fn open(layout: &Layout) -> Result<Store, Error> {
        Ok(Store { layout: layout.clone(), database: RwLock::new(Some(Database::open(layout)?)) })
    }

    /// The last record of a view.
    ///
    /// # Errors
    /// sled's, a checksum that does not hold, and after an error of the disk those of [`Store::open`].
    pub fn record(&self, view: &str) -> Result<Option<Record>, Error> {
        self.with(|database| database.record(view))
    }

    /// All records whose format is ours.
    ///
    /// # Errors
    /// As [`Store::record`].
    pub fn records(&self) -> Result<Vec<Record>, Error> {
        self.with(Database::records)
    }

    /// Up to where dead letters named `key` have been kept.
    ///
    /// # Errors
    /// As [`Store::record`].
    pub fn dead_letter_offset(&self, key: &str) -> Result<Option<DeadLetterOffset>, Error> {
        self.with(|database| database.dead_letter_offset(key))
    }

    /// The same for all that letters of a source are counted under.
    ///
    /// # Errors
    /// As [`Store::record`].
    pub fn dead_letter_offsets(&self, source: &str) -> Result<BTreeMap<String, DeadLetterOffset>, Error> {
        self.with(|database| database.dead_letter_offsets(source))
    }

    /// The events that are kept from a version of a view, named as its dead letters on a source are.
    ///
    /// # Errors
    /// As [`Store::record`].
    pub fn crashed(&self, key: &str) -> Result<Crashed, Error> {
        self.with(|database| database.crashed(key))
    }

    /// The commit: atomic, and synced when it returns.
    ///
    /// # Errors
    /// As [`Store::record`], and the disk's; then it is not known whether the commit holds, and the caller must read it again.
    pub fn write(&self, write: &Write) -> Result<(), Error> {
        self.with(|database| database.write(write))
    }

    /// Writes the JSON twins of a commit beside its views. [`Store::open`] does so where a crash came before it.
    ///
    /// # Errors
    /// The disk's.
    pub fn write_twins(&self, records: &[Record]) -> Result<(), Error> {
        twin::write(&self.layout, records)
    }

    /// Remembers that a rebuild was asked for, until a commit says that it is done.
    ///
    /// # Errors
    /// As [`Store::write`].
    pub fn request_rebuild(&self, view: &str) -> Result<(), Error> {
        self.with(|database| database.request_rebuild(view))
    }

    /// The views whose rebuild was asked for and is not done.
    ///
    /// # Errors
    /// As [`Store::record`].
    pub fn rebuilds_requested(&self) -> Result<Vec<String>, Error> {
        self.with(Database::rebuilds_requested)
    }

    /// Forgets a view.
    ///
    /// # Errors
    /// As [`Store::write`].
    pub fn forget(&self, view: &str) -> Result<(), Error> {
        self.with(|database| database.forget(view))
    }

    /// Works with the database, which is opened again first where the disk has refused something.
    fn with<T>(&self, work: impl FnOnce(&Database) -> Result<T, Error>) -> Result<T, Error> {
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(database) = database.as_ref().filter(|database| !database.is_refused()) {
            return work(database);
        }
        drop(database);
        let mut database = self.database.write().unwrap_or_else(PoisonError::into_inner);
        if database.as_ref().is_none_or(Database::is_refused) {
            // Closed before it is opened: it holds a lock on its file. sled panics where the last sync on closing fails.
            let closed = database.take();
            let _ = std::panic::catch_unwind(AssertUnwindSafe(|| drop(closed)));
            *database = Some(Database::open(&self.layout)?);
            tracing::info!("the checkpoint database is opened again, after an error of its disk");
        }
        match database.as_ref() {
            Some(database) => work(database),
            None => Err(Error::bug("the checkpoint database is not open")),
        }
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
}
