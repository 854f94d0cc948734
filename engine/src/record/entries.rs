//! The entries of records in the database. A view has one with its whole record at some commit. If the record is long, the view has one more
//! for each commit after that, with what the commit changes.
//!
//! ```text
//! view/<view>                       the record as JSON
//! view_changes/<view>/<epoch>       what makes the record of this epoch of the one before it
//! ```
//!
//! A commit writes its entry, or the whole record and removes all changes, atomically. This module keeps what was written last, and forgets
//! it when a write fails: the next one is whole.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::Record;
use super::chain::Chain;
use super::delta::Delta;
use super::group::Operation;
use super::value::{checked, decode, with_checksum};

/// The prefix of whole records.
pub(super) const VIEW: &str = "view/";
/// Sorts behind all whole records: sled stores neighbors together and writes them together, and records are large.
const CHANGES: &str = "view_changes/";
/// A shorter record is always written whole: sled writes neighbors of an entry again now and then, which costs more than such a record.
const SHORTEST: usize = 8 << 10;
/// Digits of an epoch in a key.
const DIGITS: usize = 20;
/// How often a record is read that a commit replaces meanwhile.
const TRIES: u32 = 20;

/// Why a record was neither read nor prepared.
pub(super) enum Failed {
    /// sled refused.
    Sled(sled::Error),
    /// The database does not hold what was written.
    Damaged(String),
    /// A record does not encode.
    Unencoded(serde_json::Error),
}

impl From<sled::Error> for Failed {
    fn from(error: sled::Error) -> Failed {
        Failed::Sled(error)
    }
}

impl From<serde_json::Error> for Failed {
    fn from(error: serde_json::Error) -> Failed {
        Failed::Unencoded(error)
    }
}

/// What has been written of each view since the database was opened.
#[derive(Default)]
pub(super) struct Entries(Mutex<HashMap<String, Chain>>);

/// The entries of a commit, and what has been written when they are.
pub(super) struct Prepared {
    pub(super) operations: Vec<Operation>,
    chains: Vec<(String, Chain)>,
}

impl Entries {
    /// Makes the entries of records. Until [`Entries::written`] is told of them, the next ones are whole.
    ///
    /// # Errors
    /// [`Failed::Sled`], [`Failed::Unencoded`].
    pub(super) fn prepare(&self, db: &sled::Db, records: &[Record]) -> Result<Prepared, Failed> {
        let mut prepared = Prepared { operations: Vec::new(), chains: Vec::with_capacity(records.len()) };
        for record in records {
            let text = serde_json::to_string(record)?;
            let is_long = text.len() >= SHORTEST;
            let known = self.forget(&record.view).filter(|_| is_long);
            let delta = known.as_ref().map_or(Ok(None), |chain| chain.next(&text))?;
            let chain = match (known, delta) {
                (Some(chain), Some(delta)) => {
                    let key = format!("{CHANGES}{}/{:0DIGITS$}", record.view, record.epoch).into_bytes();
                    prepared.operations.push((key, Some(with_checksum(delta.as_bytes()))));
                    chain.continued(text, &delta)
                }
                _ => {
                    prepared.operations.extend(removals(db, &record.view)?);
                    let key = format!("{VIEW}{}", record.view).into_bytes();
                    prepared.operations.push((key, Some(with_checksum(text.as_bytes()))));
                    Chain::new(text)
                }
            };
            prepared.chains.extend(is_long.then(|| (record.view.clone(), chain)));
        }
        Ok(prepared)
    }

    /// Notes that the entries of a commit have been written.
    pub(super) fn written(&self, prepared: Prepared) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(prepared.chains);
    }

    /// Forgets what was written of a view.
    pub(super) fn forget(&self, view: &str) -> Option<Chain> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(view)
    }
}

/// Returns what removes all changes of a view.
pub(super) fn removals(db: &sled::Db, view: &str) -> sled::Result<Vec<Operation>> {
    changes(db, view).map(|change| change.map(|(key, _)| (key.to_vec(), None))).collect()
}

fn changes(db: &sled::Db, view: &str) -> impl Iterator<Item = sled::Result<(sled::IVec, sled::IVec)>> {
    let prefix = format!("{CHANGES}{view}/");
    let length = prefix.len() + DIGITS;
    // A longer key is that of a view whose name continues with a slash.
    db.scan_prefix(prefix).filter(move |entry| entry.as_ref().map_or(true, |(key, _)| key.len() == length))
}

/// Returns the last record of a view.
pub(super) fn read(db: &sled::Db, view: &str) -> Result<Option<Record>, Failed> {
    let key = format!("{VIEW}{view}");
    let mut tries = 0;
    loop {
        let Some(whole) = db.get(&key)? else { return Ok(None) };
        let text = expanded(db, view, &whole);
        tries += 1;
        // If a commit has written the whole record meanwhile, these changes belong to another one.
        if tries == TRIES || db.get(&key)? == Some(whole) {
            let text = text?;
            return serde_json::from_str(&text).map(Some).map_err(|error| Failed::Damaged(error.to_string()));
        }
    }
}

/// Applies the changes of a view to its whole record.
fn expanded(db: &sled::Db, view: &str, whole: &[u8]) -> Result<String, Failed> {
    let whole = checked(whole).map_err(Failed::Damaged)?;
    let mut text = String::from_utf8(whole.to_vec()).map_err(|error| Failed::Damaged(error.to_string()))?;
    for change in changes(db, view) {
        let (_, value) = change?;
        let delta: Delta = decode(&value).map_err(Failed::Damaged)?;
        text = delta.apply(&text).map_err(Failed::Damaged)?;
    }
    Ok(text)
}
