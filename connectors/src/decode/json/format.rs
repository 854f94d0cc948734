//! JSON as a format: each body is one object, and its members are columns.

use arrow::array::ArrayRef;
use arrow::datatypes::Field;
use arrow::error::ArrowError;

use super::fields::{Fields, Slot};
use super::make::make;
use crate::decode::contract::{Format, Member, RowBuilder, Use};
use crate::decode::fault::Fault;

/// JSON bodies.
#[derive(Debug)]
pub(crate) struct JsonFormat;

impl Format for JsonFormat {
    fn check(&self, field: &Field) -> Result<(), String> {
        make(field.data_type(), 0).map(|_| ())
    }

    fn rows(&self, members: &[Member], capacity: usize) -> Result<Box<dyn RowBuilder>, String> {
        let mut slots = Vec::new();
        let mut names = Vec::new();
        for Member { field, used } in members {
            let column = match used {
                Use::Decoded => Some(make(field.data_type(), capacity).map_err(|reason| format!("{}: {reason}", field.name()))?),
                Use::Checked | Use::Named => None,
            };
            names.push((field.name().clone(), (*used != Use::Named).then_some(slots.len())));
            if *used != Use::Named {
                slots.push(Slot::new(field.name().clone(), field.is_nullable(), column));
            }
        }
        Ok(Box::new(JsonRows { fields: Fields::new(names, slots), rows: 0 }))
    }
}

/// Rows being made of JSON bodies.
struct JsonRows {
    fields: Fields,
    rows: usize,
}

impl JsonRows {
    #[inline]
    fn append_one(&mut self, payload: &[u8]) -> Result<(), Fault> {
        let text = simdutf8::basic::from_utf8(payload).map_err(|_| not_utf8(payload))?;
        self.fields.append(text, self.rows, true)
    }
}

impl RowBuilder for JsonRows {
    fn append(&mut self, payloads: &[&[u8]], faults: &mut Vec<(usize, Fault)>) {
        for (index, payload) in payloads.iter().enumerate() {
            match self.append_one(payload) {
                Ok(()) => self.rows += 1,
                Err(fault) => {
                    self.fields.truncate(self.rows);
                    faults.push((index, fault));
                }
            }
        }
    }

    fn truncate(&mut self, rows: usize) {
        self.rows = self.rows.min(rows);
        self.fields.truncate(self.rows);
    }

    fn finish(&mut self) -> Result<Vec<ArrayRef>, ArrowError> {
        self.fields.columns().map(|column| column.finish()).collect()
    }
}

#[cold]
fn not_utf8(payload: &[u8]) -> Fault {
    let valid = std::str::from_utf8(payload).map_or_else(|error| error.valid_up_to(), str::len);
    Fault::of_payload("not_json", "not UTF-8".into()).at(payload.as_ptr().addr() + valid)
}
