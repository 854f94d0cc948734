//! Implements [`Format`] for JSON: each body is one object, and its members are columns.

use arrow::array::ArrayRef;
use arrow::datatypes::Field;
use arrow::error::ArrowError;

use super::fields::{Fields, Fit, Slot};
use super::make::make;
use crate::decode::contract::{Format, Member, RowBuilder};
use crate::decode::fault::{Fault, Faults, MemberFault};
use crate::decode::reading::Reading;

/// The format JSON.
#[derive(Debug)]
pub(crate) struct JsonFormat;

impl Format for JsonFormat {
    fn check(&self, field: &Field) -> Result<(), String> {
        make(field.data_type(), 0, &Reading::default()).map(|_| ())
    }

    fn rows(&self, members: &[Member], capacity: usize) -> Result<Box<dyn RowBuilder>, String> {
        let mut slots = Vec::new();
        let mut names = Vec::new();
        let mut members_of_slots = Vec::new();
        for (index, Member { field, decoded, reading }) in members.iter().enumerate() {
            names.push((field.name().clone(), decoded.then_some(slots.len())));
            if *decoded {
                let column =
                    make(field.data_type(), capacity, reading).map_err(|reason| format!("{}: {reason}", field.name()))?;
                slots.push(Slot::new(field, reading, column));
                members_of_slots.push(index);
            }
        }
        Ok(Box::new(JsonRows { fields: Fields::new(names, slots), members: members_of_slots, rows: 0 }))
    }
}

/// Builds the rows of a batch from JSON bodies.
struct JsonRows {
    fields: Fields,
    /// The member index of each slot of `fields`.
    members: Vec<usize>,
    rows: usize,
}

impl JsonRows {
    #[inline]
    fn append_one(&mut self, payload: &[u8]) -> Result<Fit, Fault> {
        let text = simdutf8::basic::from_utf8(payload).map_err(|_| not_utf8(payload))?;
        self.fields.append_body(text, self.rows)
    }
}

impl RowBuilder for JsonRows {
    fn append(&mut self, payloads: &[&[u8]], faults: &mut Faults) {
        for (index, payload) in payloads.iter().enumerate() {
            match self.append_one(payload) {
                Ok(Fit::All) => self.rows += 1,
                Ok(Fit::Some) => {
                    let members = &self.members;
                    self.fields.take_faults(|slot, fault| {
                        faults.members.push(MemberFault { payload: index, member: members[slot], fault });
                    });
                    self.rows += 1;
                }
                Err(fault) => {
                    self.fields.truncate(self.rows);
                    faults.payloads.push((index, fault));
                }
            }
        }
    }

    fn absent(&self) -> (Vec<usize>, Vec<String>) {
        let (slots, unknown) = self.fields.absent();
        (slots.into_iter().map(|slot| self.members[slot]).collect(), unknown)
    }

    fn finish(&mut self) -> Result<Vec<ArrayRef>, ArrowError> {
        self.fields.columns().map(|column| column.finish()).collect()
    }
}

#[cold]
pub(super) fn not_utf8(payload: &[u8]) -> Fault {
    let valid = std::str::from_utf8(payload).map_or_else(|error| error.valid_up_to(), str::len);
    Fault::of_payload("not_json", "not UTF-8".into()).at(payload.as_ptr().addr() + valid)
}
