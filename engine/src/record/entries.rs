//! The entries of records in the database. A view has one with its whole record at some commit. If the record is long, the view has one more
//! for each commit after that, with what the commit changes.
//!
//! ```text
//! view/<view>                             the record as JSON
//! view_changes/<view>/<whole>/<epoch>     what makes the record of this epoch of the one before it; `whole` is the epoch of the whole one
//! ```
//!
//! A commit writes its entry, or the whole record and removes all changes, atomically. Changes of another whole record count for nothing.
//! This module keeps what was written last, and forgets it when a write fails: the next record is whole.

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
pub(super) struct Entries(Mutex<HashMap<String, Written>>);

/// What has been written of a view: its whole record of an epoch, and the changes after it.
struct Written {
    whole: u64,
    chain: Chain,
}

/// The entries of a commit, and what has been written when they are.
pub(super) struct Prepared {
    pub(super) operations: Vec<Operation>,
    chains: Vec<(String, Written)>,
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
            let known = self.take(&record.view).filter(|_| is_long);
            let delta = known.as_ref().map_or(Ok(None), |known| known.chain.next(&text))?;
            let written = match (known, delta) {
                (Some(Written { whole, chain }), Some(delta)) => {
                    let key = format!("{}{:0DIGITS$}", prefix(&record.view, whole), record.epoch).into_bytes();
                    prepared.operations.push((key, Some(with_checksum(delta.as_bytes()))));
                    Written { whole, chain: chain.continued(text, &delta) }
                }
                _ => {
                    prepared.operations.extend(removals(db, &record.view)?);
                    let key = format!("{VIEW}{}", record.view).into_bytes();
                    prepared.operations.push((key, Some(with_checksum(text.as_bytes()))));
                    Written { whole: record.epoch, chain: Chain::new(text) }
                }
            };
            prepared.chains.extend(is_long.then(|| (record.view.clone(), written)));
        }
        Ok(prepared)
    }

    /// Notes that the entries of a commit have been written.
    pub(super) fn written(&self, prepared: Prepared) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(prepared.chains);
    }

    /// Forgets what was written of a view.
    pub(super) fn forget(&self, view: &str) {
        self.take(view);
    }

    fn take(&self, view: &str) -> Option<Written> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(view)
    }
}

/// Returns what removes all changes of a view.
pub(super) fn removals(db: &sled::Db, view: &str) -> sled::Result<Vec<Operation>> {
    let start = format!("{CHANGES}{view}/");
    // A longer key is that of a view whose name continues with a slash.
    let length = start.len() + 2 * DIGITS + 1;
    let keys = db.scan_prefix(start).keys().filter(|key| key.as_ref().map_or(true, |key| key.len() == length));
    keys.map(|key| Ok((key?.to_vec(), None))).collect()
}

/// What the keys of the changes after a whole record begin with.
fn prefix(view: &str, whole: u64) -> String {
    format!("{CHANGES}{view}/{whole:0DIGITS$}/")
}

/// Returns the last record of a view.
pub(super) fn read(db: &sled::Db, view: &str) -> Result<Option<Record>, Failed> {
    let key = format!("{VIEW}{view}");
    loop {
        let Some(whole) = db.get(&key)? else { return Ok(None) };
        let record = expanded(db, view, &whole);
        // A commit that has written the whole record meanwhile has removed these changes.
        if db.get(&key)? == Some(whole) {
            return record.map(Some);
        }
    }
}

/// Applies the changes of a view to its whole record.
fn expanded(db: &sled::Db, view: &str, whole: &[u8]) -> Result<Record, Failed> {
    let record: Record = decode(whole).map_err(Failed::Damaged)?;
    let mut text: Option<String> = None;
    for change in db.scan_prefix(prefix(view, record.epoch)).values() {
        let delta: Delta = decode(&change?).map_err(Failed::Damaged)?;
        let before = match text {
            Some(text) => text,
            None => String::from_utf8(checked(whole).map_err(Failed::Damaged)?.to_vec())
                .map_err(|error| Failed::Damaged(error.to_string()))?,
        };
        text = Some(delta.apply(&before).map_err(Failed::Damaged)?);
    }
    text.map_or(Ok(record), |text| serde_json::from_str(&text).map_err(|error| Failed::Damaged(error.to_string())))
}
