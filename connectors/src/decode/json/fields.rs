//! The columns that an object fills: those of a body, and those of a STRUCT.

use super::column::Column;
use super::members::{Members, Target};
use super::{depth, object, plain};
use crate::decode::fault::Fault;

/// A column filled from members: decoded, or checked for NOT NULL only.
pub(super) struct Slot {
    name: String,
    nullable: bool,
    column: Option<Box<dyn Column>>,
    seen: Seen,
    fault: Option<Fault>,
}

impl Slot {
    pub(super) fn new(name: String, nullable: bool, column: Option<Box<dyn Column>>) -> Slot {
        Slot { name, nullable, column, seen: UNSEEN, fault: None }
    }
}

/// How well the member that a slot's value came from fits it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Nothing,
    /// A member whose name differs in case.
    Similar,
    /// A member of just the column's name.
    Exact,
}

/// What the object being read has given for a slot so far.
#[derive(Clone, Copy)]
struct Seen {
    rank: Rank,
    null: bool,
}

const UNSEEN: Seen = Seen { rank: Rank::Nothing, null: true };

/// Columns side by side, one value in each for an object. After a fault they are of unequal length, until truncated.
pub(super) struct Fields {
    members: Members,
    slots: Vec<Slot>,
}

impl Fields {
    /// `names`: of all columns, with the index of those that have a slot.
    pub(super) fn new(names: Vec<(String, Option<usize>)>, slots: Vec<Slot>) -> Fields {
        Fields { members: Members::new(names), slots }
    }

    /// The decoded columns of the slots, in their order.
    pub(super) fn columns(&mut self) -> impl Iterator<Item = &mut Box<dyn Column>> {
        self.slots.iter_mut().filter_map(|slot| slot.column.as_mut())
    }

    /// Cuts every column to `length`.
    pub(super) fn truncate(&mut self, length: usize) {
        self.columns().for_each(|column| column.truncate(length));
    }

    /// Appends a value to every column, which all have `length` now; or to some, and fails.
    /// `whole`: the text is a body, whose nesting is to be checked.
    pub(super) fn append(&mut self, text: &str, length: usize, whole: bool) -> Result<(), Fault> {
        let slots = self.slots.as_mut_slice();
        for slot in slots.iter_mut() {
            slot.seen = UNSEEN;
        }
        let mut faulty = false;
        // Two closures of one call, so that the one for plainly written texts is compiled into their loop.
        let plainly = plain::walk(text, &mut self.members, |target, raw| take(slots, target, raw, length, whole, &mut faulty));
        let walked = match plainly {
            Some(walked) => walked,
            None => object::walk_any(text, &mut self.members, |target, raw| take(slots, target, raw, length, whole, &mut faulty)),
        };
        if faulty {
            // All are taken, so that none is left for the next object.
            let faults = slots.iter_mut().filter_map(|slot| slot.fault.take().map(|fault| fault.in_member(&slot.name)));
            let first = faults.reduce(|first, _| first);
            walked?;
            if let Some(fault) = first {
                return Err(fault);
            }
        } else {
            walked?;
        }
        for slot in slots.iter_mut() {
            if !slot.seen.null {
                continue;
            }
            if !slot.nullable {
                return Err(Fault::missing().in_member(&slot.name));
            }
            if slot.seen.rank == Rank::Nothing
                && let Some(column) = &mut slot.column
            {
                column.append_null();
            }
        }
        Ok(())
    }
}

/// Takes the value of a member of an object into its slot; says in `faulty` where it does not fit.
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
    /// Takes the value of a member. A value that does not fit is kept as the slot's fault, and false returned: a member that
    /// comes later may still win over it.
    #[inline]
    fn take(&mut self, target: Target, raw: &str, length: usize) -> bool {
        let rank = if target.exact { Rank::Exact } else { Rank::Similar };
        let before = self.seen.rank;
        if before > rank {
            return true;
        }
        self.seen = Seen { rank, null: raw == "null" };
        let Some(column) = &mut self.column else { return true };
        if before != Rank::Nothing {
            column.truncate(length);
            self.fault = None;
        }
        if self.seen.null {
            column.append_null();
        } else if let Err(fault) = column.append(raw) {
            self.fault = Some(fault);
            return false;
        }
        true
    }
}
