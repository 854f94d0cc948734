//! The rows of a batch: the columns of the members, filled by JSON's text or by the typed values of other formats.

use arrow::array::ArrayRef;
use arrow::error::ArrowError;

use super::contract::Member;
use super::fault::{Fault, Faults, MemberFault};
use super::json::fields::{Fields, Fit, Slot};
use super::json::make::make;

/// The columns to decode, and the number of rows so far.
pub(super) struct Rows {
    pub(super) fields: Fields,
    /// The member index of each slot of `fields`.
    members: Vec<usize>,
    pub(super) rows: usize,
}

impl Rows {
    /// Creates the columns of `members`, for about `capacity` rows.
    ///
    /// # Errors
    /// Says what is wrong with a type that no column has.
    pub(super) fn new(members: &[Member], capacity: usize) -> Result<Rows, String> {
        let (mut slots, mut names, mut members_of_slots) = (Vec::new(), Vec::new(), Vec::new());
        for (index, Member { field, decoded, reading }) in members.iter().enumerate() {
            names.push((field.name().clone(), decoded.then_some(slots.len())));
            if *decoded {
                let column =
                    make(field.data_type(), capacity, reading).map_err(|reason| format!("{}: {reason}", field.name()))?;
                slots.push(Slot::new(field, reading, column));
                members_of_slots.push(index);
            }
        }
        Ok(Rows { fields: Fields::new(names, slots), members: members_of_slots, rows: 0 })
    }

    /// Completes the row of payload `index`, or takes back what a payload that failed has left.
    #[inline]
    pub(super) fn settle(&mut self, index: usize, appended: Result<Fit, Fault>, faults: &mut Faults) {
        match appended {
            Ok(Fit::All) => self.rows += 1,
            Ok(Fit::Some) => {
                let members = &self.members;
                self.fields.take_faults(|slot, fault| {
                    faults.members.push(MemberFault { payload: index, member: members[slot], fault });
                });
                self.rows += 1;
            }
            Err(fault) => {
                self.fields.discard(self.rows);
                faults.payloads.push((index, fault));
            }
        }
    }

    /// The members that no payload has had, and names that are no member's.
    pub(super) fn absent(&self) -> (Vec<usize>, Vec<String>) {
        let (slots, unknown) = self.fields.absent();
        (slots.into_iter().map(|slot| self.members[slot]).collect(), unknown)
    }

    /// Returns the columns.
    ///
    /// # Errors
    /// A column does not match its type, which is a bug.
    pub(super) fn finish(&mut self) -> Result<Vec<ArrayRef>, ArrowError> {
        self.fields.columns().map(|column| column.finish()).collect()
    }
}
