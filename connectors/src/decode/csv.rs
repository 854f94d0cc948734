//! Implements [`Format`] for CSV. Files pass each record on as a JSON object of texts, which is decoded by the rules of JSON. A record with
//! another number of fields than the header is passed on as an array and refused.

use arrow::array::ArrayRef;
use arrow::datatypes::Field;
use arrow::error::ArrowError;
use serde::de::IgnoredAny;

use super::contract::{Format, Member, RowBuilder};
use super::fault::{Fault, Faults};
use super::json::JsonFormat;

/// The format CSV.
#[derive(Debug)]
pub(super) struct CsvFormat;

impl Format for CsvFormat {
    fn check(&self, field: &Field) -> Result<(), String> {
        JsonFormat.check(field)
    }

    fn rows(&self, members: &[Member], capacity: usize) -> Result<Box<dyn RowBuilder>, String> {
        Ok(Box::new(CsvRows { rows: JsonFormat.rows(members, capacity)? }))
    }
}

struct CsvRows {
    rows: Box<dyn RowBuilder>,
}

impl RowBuilder for CsvRows {
    fn append(&mut self, payloads: &[&[u8]], faults: &mut Faults) {
        let before = faults.payloads.len();
        self.rows.append(payloads, faults);
        for (index, fault) in &mut faults.payloads[before..] {
            if payloads[*index].starts_with(b"[") {
                *fault = other_length(payloads[*index]);
            }
        }
    }

    fn finish(&mut self) -> Result<Vec<ArrayRef>, ArrowError> {
        self.rows.finish()
    }
}

#[cold]
fn other_length(record: &[u8]) -> Fault {
    let fields = serde_json::from_slice::<Vec<IgnoredAny>>(record).map_or(0, |fields| fields.len());
    Fault::of_payload("not_csv", format!("the number of fields, {fields}, is not that of the columns"))
}
