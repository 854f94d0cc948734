//! The columns that an object fills: those of a body or of a STRUCT.

use arrow::datatypes::Field;

use super::column::Column;
use super::members::{Members, Target};
use super::{depth, object, plain};
use crate::decode::fault::Fault;
use crate::decode::reading::Reading;
use crate::decode::value::{Value, split_first, write_json};

/// A column and what the current object has given for it.
pub(in crate::decode) struct Slot {
    name: String,
    nullable: bool,
    /// The JSON text that is read as NULL, in addition to `null`.
    null_text: Option<Box<str>>,
    /// The same, without quotes.
    null_value: Option<Box<str>>,
    /// The text that stands for a value that the writer did not have, without quotes.
    unknown_text: Option<&'static str>,
    column: Box<dyn Column>,
    seen: Seen,
    fault: Option<Fault>,
}

impl Slot {
    pub(in crate::decode) fn new(field: &Field, reading: &Reading, column: Box<dyn Column>) -> Slot {
        let null_text = reading.null_text.as_deref().map(|text| serde_json::Value::from(text).to_string().into());
        Slot {
            name: field.name().clone(),
            nullable: field.is_nullable(),
            null_text,
            null_value: reading.null_text.as_deref().map(Box::from),
            unknown_text: reading.unknown_text,
            column,
            seen: UNSEEN,
            fault: None,
        }
    }

    /// Whether the JSON text of a scalar is the one that is read as NULL.
    fn is_null_text(&self, scalar: &Value<'_>) -> bool {
        let mut json = Vec::new();
        write_json(std::slice::from_ref(scalar), &mut json);
        self.null_text.as_deref().is_some_and(|text| text.as_bytes() == json)
    }

    #[inline]
    fn is_null(&self, raw: &str) -> bool {
        raw == "null" || self.null_text.as_deref().is_some_and(|text| text == raw)
    }
}

/// How well the name of a member matches its column.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Nothing,
    /// A member whose name differs in case.
    Similar,
    /// A member with exactly the column's name.
    Exact,
}

/// What the current object has given for a slot so far.
#[derive(Clone, Copy)]
struct Seen {
    rank: Rank,
    null: bool,
}

const UNSEEN: Seen = Seen { rank: Rank::Nothing, null: true };

/// Columns that each take one value per object. After a fault their lengths differ until they are truncated.
pub(in crate::decode) struct Fields {
    members: Members,
    slots: Vec<Slot>,
}

impl Fields {
    /// Creates the columns. `names` are the names of all columns, each with the index of its slot if it has one.
    pub(in crate::decode) fn new(names: Vec<(String, Option<usize>)>, slots: Vec<Slot>) -> Fields {
        Fields { members: Members::new(names), slots }
    }

    /// Returns the columns in the order of the slots.
    pub(in crate::decode) fn columns(&mut self) -> impl Iterator<Item = &mut Box<dyn Column>> {
        self.slots.iter_mut().map(|slot| &mut slot.column)
    }

    /// The slots that no object has had a member for, and names of members that belong to no column.
    pub(in crate::decode) fn absent(&self) -> (Vec<usize>, Vec<String>) {
        self.members.absent(self.slots.len())
    }

    /// Truncates every column to `length`.
    pub(in crate::decode) fn truncate(&mut self, length: usize) {
        self.columns().for_each(|column| column.truncate(length));
    }

    /// Appends an object: one value to every column. All columns must have `length` values. Fails if any member does not fit; some columns
    /// may have grown then.
    pub(super) fn append(&mut self, text: &str, length: usize) -> Result<(), Fault> {
        let faulty = self.take(text, length, false)?;
        self.complete(faulty)
    }

    /// Appends an object of a format with types of its own, like [`Fields::append`]. `members` are names and values in turn.
    pub(super) fn append_values(&mut self, members: &[Value<'_>], length: usize) -> Result<(), Fault> {
        let faulty = self.give_all(members, length);
        self.complete(faulty)
    }

    /// Appends a body of a format with types of its own, like [`Fields::append_body`]. `members` are names and values in turn.
    pub(in crate::decode) fn append_body_values(&mut self, members: &[Value<'_>], length: usize) -> Fit {
        let faulty = self.give_all(members, length);
        self.end_body(faulty, length)
    }

    /// Takes the values of members. Returns true if one does not fit.
    fn give_all(&mut self, mut members: &[Value<'_>], length: usize) -> bool {
        self.begin();
        let (mut faulty, mut before) = (false, usize::MAX);
        while let Some(([Value::Text(name)], rest)) = split_first(members) {
            let Some((value, rest)) = split_first(rest) else { break };
            let (target, index) = self.members.find(before, name);
            before = index;
            faulty |= !self.give(target, value, length);
            members = rest;
        }
        faulty
    }

    /// Completes an object that must fit as a whole.
    fn complete(&mut self, faulty: bool) -> Result<(), Fault> {
        if faulty {
            // Takes every fault, so that none remains for the next object.
            let faults = self.slots.iter_mut().filter_map(|slot| slot.fault.take().map(|fault| fault.in_member(&slot.name)));
            if let Some(fault) = faults.reduce(|first, _| first) {
                return Err(fault);
            }
        }
        for slot in self.slots.iter_mut().filter(|slot| slot.seen.null) {
            if !slot.nullable {
                return Err(Fault::missing().in_member(&slot.name));
            }
            slot.fill();
        }
        Ok(())
    }

    /// Appends a body: one value to every column. All columns must have `length` values. A member that does not fit becomes NULL;
    /// [`Fields::take_faults`] returns its fault. Fails if the body is not a valid object; some columns may have grown then.
    #[inline]
    pub(super) fn append_body(&mut self, text: &str, length: usize) -> Result<Fit, Fault> {
        let faulty = self.take(text, length, true)?;
        Ok(self.end_body(faulty, length))
    }

    /// Returns the target of a member, as if all objects began with it.
    pub(in crate::decode) fn target_of(&mut self, name: &str) -> Target {
        self.members.find(usize::MAX, name).0
    }

    /// Begins an object whose members are given by [`Fields::give`]. All columns must have the same length.
    #[inline]
    pub(in crate::decode) fn begin(&mut self) {
        for slot in &mut self.slots {
            slot.seen = UNSEEN;
        }
    }

    /// Takes the value of a member. Returns false if it does not fit. `length` is that of all columns before the object.
    #[inline]
    pub(in crate::decode) fn give(&mut self, target: Target, value: &[Value<'_>], length: usize) -> bool {
        match target.column.and_then(|index| self.slots.get_mut(index)) {
            Some(slot) => slot.give(target, value, length),
            None => true,
        }
    }

    /// Discards the faults of an object that is not ended. Its columns have to be truncated.
    #[cold]
    pub(in crate::decode) fn discard(&mut self, length: usize) {
        self.take_faults(|_, _| {});
        self.truncate(length);
    }

    /// Ends a body: columns without a value become NULL, and so do those whose value did not fit. `faulty` says whether there are any.
    #[inline]
    pub(in crate::decode) fn end_body(&mut self, mut faulty: bool, length: usize) -> Fit {
        if faulty {
            self.clear_faulty(length);
        }
        for slot in self.slots.iter_mut().filter(|slot| slot.seen.null) {
            if !slot.nullable {
                slot.fault = Some(Fault::missing());
                faulty = true;
            }
            slot.fill();
        }
        if faulty { Fit::Some } else { Fit::All }
    }

    /// Calls `each` with the index and the fault of each slot that has one, and clears the faults.
    #[cold]
    pub(in crate::decode) fn take_faults(&mut self, mut each: impl FnMut(usize, Fault)) {
        for (index, slot) in self.slots.iter_mut().enumerate() {
            if let Some(fault) = slot.fault.take() {
                each(index, fault.in_member(&slot.name));
            }
        }
    }

    /// Replaces the values that did not fit by NULL.
    #[cold]
    fn clear_faulty(&mut self, length: usize) {
        for slot in self.slots.iter_mut().filter(|slot| slot.fault.is_some()) {
            slot.column.truncate(length);
            slot.column.append_null();
        }
    }

    /// Takes the values of an object's members. Returns true if one does not fit: its slot then holds the fault, and its column may
    /// contain parts of the value. After an error no slot holds a fault. `whole` means that the text is a body, whose depth is checked.
    #[inline]
    fn take(&mut self, text: &str, length: usize, whole: bool) -> Result<bool, Fault> {
        let slots = self.slots.as_mut_slice();
        for slot in slots.iter_mut() {
            slot.seen = UNSEEN;
        }
        let mut faulty = false;
        // Two closures with the same body, so that the compiler inlines the first one into the loop of the fast path.
        let plainly = plain::walk(text, &mut self.members, |target, raw| take(slots, target, raw, length, whole, &mut faulty));
        let walked = match plainly {
            Some(walked) => walked,
            None => object::walk_any(text, &mut self.members, |target, raw| take(slots, target, raw, length, whole, &mut faulty)),
        };
        if walked.is_err() && faulty {
            self.take_faults(|_, _| {});
        }
        walked.map(|()| faulty)
    }
}

/// Whether the members of a body fit their columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::decode) enum Fit {
    All,
    /// Some do not.
    Some,
}

/// Checks whether a value is exactly this text.
#[inline]
fn is_text(raw: &str, text: &str) -> bool {
    raw.len() == text.len() + 2 && raw.as_bytes().first() == Some(&b'"') && raw.get(1..raw.len() - 1) == Some(text)
}

/// Takes a member's value into its slot. Sets `faulty` if it does not fit.
#[inline(always)]
fn take(slots: &mut [Slot], target: Target, raw: &str, length: usize, whole: bool, faulty: &mut bool) -> Result<(), Fault> {
    if whole && depth::is_nested(raw) && depth::is_too_deep(raw) {
        return Err(Fault::too_deep(raw, depth::MAX_DEPTH));
    }
    if let Some(slot) = target.column.and_then(|index| slots.get_mut(index)) {
        *faulty |= !slot.take(target, raw, length);
    }
    Ok(())
}

impl Slot {
    /// Appends NULL if no member gave a value.
    #[inline]
    fn fill(&mut self) {
        if self.seen.rank == Rank::Nothing {
            self.column.append_null();
        }
    }

    /// Takes a value of a format with types of its own, like [`Slot::take`].
    #[inline]
    fn give(&mut self, target: Target, value: &[Value<'_>], length: usize) -> bool {
        let rank = if target.exact { Rank::Exact } else { Rank::Similar };
        let before = self.seen.rank;
        if before > rank {
            return true;
        }
        let null = match value {
            [Value::Null] => true,
            [Value::Text(text)] => self.null_value.as_deref() == Some(*text),
            // What `null_text` names is a text.
            [Value::Boolean(_) | Value::Integer(_) | Value::Unsigned(_)] => false,
            [scalar] if self.null_text.is_some() => self.is_null_text(scalar),
            _ => false,
        };
        self.seen = Seen { rank, null };
        if before != Rank::Nothing {
            self.column.truncate(length);
            self.fault = None;
        }
        if null {
            self.column.append_null();
        } else if let Err(fault) = self.column.append_value(value) {
            self.fault = Some(fault);
            return false;
        }
        true
    }

    /// Takes the value of a member. If it does not fit, stores the fault in the slot and returns false. A later member may still replace
    /// it.
    #[inline]
    fn take(&mut self, target: Target, raw: &str, length: usize) -> bool {
        let rank = if target.exact { Rank::Exact } else { Rank::Similar };
        let before = self.seen.rank;
        if before > rank {
            return true;
        }
        self.seen = Seen { rank, null: self.is_null(raw) };
        if before != Rank::Nothing {
            self.column.truncate(length);
            self.fault = None;
        }
        if self.seen.null {
            self.column.append_null();
        } else if self.unknown_text.is_some_and(|text| is_text(raw, text)) {
            self.fault = Some(Fault::unknown().at(raw.as_ptr().addr()));
            return false;
        } else if let Err(fault) = self.column.append(raw) {
            self.fault = Some(fault);
            return false;
        }
        true
    }
}
