//! Reads the change that a payload describes: the row, as JSON text, and what happens to it.

use super::members::{Members, Target};
use super::{depth, object, plain};
use crate::decode::changes::{Changes, Shape};
use crate::decode::fault::Fault;

/// The text of a deleted row whose key is in the message.
const NO_ROW: &str = "{}";

/// The change that a payload describes.
pub(super) enum Change<'p> {
    /// No change of a row.
    Nothing,
    /// Inserts or updates this row.
    Upsert(&'p str),
    /// Deletes the row with the key of this row.
    Delete(&'p str),
    /// Changes the key of a row: deletes the first and inserts the second.
    Moved(&'p str, &'p str),
    /// Deletes all rows.
    Truncate,
}

/// Reads the changes that payloads describe.
pub(super) struct Changed {
    changes: Changes,
    /// The members of a payload to read: before, after, op, and the `payload` around them; or the one that marks a row as deleted.
    members: Members,
    /// The key columns.
    key: Members,
}

impl Changed {
    pub(super) fn new(changes: &Changes) -> Changed {
        let named = |names: &[&str]| {
            Members::new(names.iter().enumerate().map(|(index, name)| ((*name).to_owned(), Some(index))).collect())
        };
        let members = match &changes.shape {
            Shape::Row { deleted, .. } => named(&deleted.iter().map(String::as_str).collect::<Vec<_>>()),
            Shape::BeforeAfter { before, after, op } => named(&[before, after, op, "payload"]),
        };
        let key: Vec<&str> = changes.key.iter().map(String::as_str).collect();
        Changed { changes: changes.clone(), members, key: named(&key) }
    }

    /// Reads the change that a payload describes.
    pub(super) fn read<'p>(&mut self, payload: &'p str) -> Result<Change<'p>, Fault> {
        let is_empty = payload.len() <= 4 && matches!(payload.trim_ascii(), "" | "null");
        match &self.changes.shape {
            Shape::Row { key_outside: true, .. } if is_empty => Ok(Change::Delete(NO_ROW)),
            Shape::Row { deleted: Some(_), .. } | Shape::BeforeAfter { .. } if is_empty => Ok(Change::Nothing),
            Shape::Row { deleted: None, .. } if is_empty => {
                let message = "an empty body says that a row is gone, and nothing says which: its key is in the body; give option \
                               deleted 'member', or a key that is in the message, such as _subject";
                Err(Fault::of_payload("not_a_change", message.into()))
            }
            Shape::Row { deleted: None, .. } => Ok(Change::Upsert(payload)),
            Shape::Row { deleted: Some(_), .. } => {
                let [deleted, ..] = self.parts(payload)?;
                Ok(if is_gone(deleted)? { Change::Delete(payload) } else { Change::Upsert(payload) })
            }
            Shape::BeforeAfter { .. } => self.before_and_after(payload),
        }
    }

    fn before_and_after<'p>(&mut self, payload: &'p str) -> Result<Change<'p>, Fault> {
        let [mut before, mut after, mut op, inner] = self.parts(payload)?;
        if let Some(inner) = inner.filter(|_| op.is_none() && before.is_none() && after.is_none()) {
            match inner {
                "null" => return Ok(Change::Nothing),
                _ if inner.starts_with('{') => [before, after, op, _] = self.parts(inner)?,
                _ => {}
            }
        }
        let row = |value: Option<&'p str>| value.filter(|value| value.starts_with('{'));
        let (before, after) = (row(before), row(after));
        match Op::of(op, before.is_some(), after.is_some()) {
            Some(Op::Upsert) => match (before, after) {
                (_, None) => Err(not_a_change(op, "has no row after it")),
                (Some(before), Some(after)) if self.is_moved(before, after)? => Ok(Change::Moved(before, after)),
                (_, Some(after)) => Ok(Change::Upsert(after)),
            },
            Some(Op::Delete) => before.or(after).map(Change::Delete).ok_or_else(|| not_a_change(op, "has no row before it")),
            Some(Op::Truncate) if self.changes.truncates => Ok(Change::Truncate),
            Some(Op::Truncate) => Err(Fault::of_payload(
                "truncate",
                "the table was emptied, which is not applied; option truncate 'apply' applies it".into(),
            )),
            Some(Op::Nothing) => Ok(Change::Nothing),
            None => Err(not_a_change(op, "is none of create, read, update, delete and truncate")),
        }
    }

    /// Returns the values of `members` in a payload.
    fn parts<'p>(&mut self, text: &'p str) -> Result<[Option<&'p str>; 4], Fault> {
        values(text, &mut self.members)
    }

    /// Checks whether the key of a row has changed. Ignores members that only one side has.
    fn is_moved(&mut self, before: &str, after: &str) -> Result<bool, Fault> {
        let [old, new] = [values(before, &mut self.key)?, values(after, &mut self.key)?];
        let moved = old.iter().zip(&new).any(|(old, new)| old.is_some() && new.is_some() && old != new);
        if moved && (depth::is_too_deep(before) || depth::is_too_deep(after)) {
            return Err(Fault::too_deep(after, depth::MAX_DEPTH));
        }
        let whole = old.iter().zip(&new).all(|(old, new)| old.is_some() || new.is_none());
        if moved && !whole {
            let message = "the key has changed, and only a part of the one before is there".to_owned();
            return Err(Fault::of_payload("not_a_change", message));
        }
        Ok(moved)
    }
}

/// Whether the member that says that a row is gone says so.
fn is_gone(deleted: Option<&str>) -> Result<bool, Fault> {
    let word = deleted.unwrap_or("null").trim_matches('"').to_ascii_lowercase();
    match word.as_str() {
        "true" | "t" | "1" | "yes" | "y" | "d" | "delete" => Ok(true),
        "null" | "false" | "f" | "0" | "no" | "n" | "" => Ok(false),
        other => Err(Fault::of_payload(
            "not_a_change",
            format!("whether the row is gone is said by {other}, which is neither true nor false"),
        )),
    }
}

/// Returns the values of up to four members of an object.
fn values<'p>(text: &'p str, members: &mut Members) -> Result<[Option<&'p str>; 4], Fault> {
    let mut found = [None; 4];
    let mut each = |target: Target, raw: &'p str| {
        if let Some(place) = target.column.and_then(|index| found.get_mut(index)) {
            *place = Some(raw);
        }
        Ok(())
    };
    match plain::walk(text, members, &mut each) {
        Some(walked) => walked?,
        None => object::walk_any(text, members, &mut each)?,
    }
    Ok(found)
}

/// The operation on a row.
enum Op {
    Upsert,
    Delete,
    Truncate,
    Nothing,
}

impl Op {
    /// Parses the words of Debezium, Maxwell and others. Without a word, derives the operation from the rows that are present.
    fn of(op: Option<&str>, before: bool, after: bool) -> Option<Op> {
        let Some(word) = op.filter(|op| *op != "null") else {
            return match (before, after) {
                (_, true) => Some(Op::Upsert),
                (true, false) => Some(Op::Delete),
                (false, false) => None,
            };
        };
        let word = word.strip_prefix('"')?.strip_suffix('"')?;
        let is = |words: &[&str]| words.iter().any(|one| one.eq_ignore_ascii_case(word));
        Some(match word {
            "c" | "u" | "r" => Op::Upsert,
            "d" => Op::Delete,
            _ if is(&["insert", "update", "create", "read", "i", "snapshot", "upsert", "replace", "bootstrap-insert"]) => {
                Op::Upsert
            }
            _ if is(&["delete", "d", "remove"]) => Op::Delete,
            _ if is(&["t", "truncate", "table-truncate"]) => Op::Truncate,
            _ if is(&["m", "message", "bootstrap-start", "bootstrap-complete"]) => Op::Nothing,
            _ if is(&["c", "u", "r"]) => Op::Upsert,
            _ => return None,
        })
    }
}

#[cold]
fn not_a_change(op: Option<&str>, why: &str) -> Fault {
    let op = op.map_or_else(|| "no op".to_owned(), |op| format!("op {op}"));
    Fault::of_payload("not_a_change", format!("{op} {why}"))
}
