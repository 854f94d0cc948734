//! Implements [`Format`] for JSON: each body is one object, and its members are columns.

use arrow::array::ArrayRef;
use arrow::datatypes::Field;
use arrow::error::ArrowError;

use super::fields::Fit;
use super::make::make;
use crate::decode::contract::{Format, Member, RowBuilder};
use crate::decode::fault::{Fault, Faults};
use crate::decode::reading::Reading;
use crate::decode::rows::Rows;

/// The format JSON.
#[derive(Debug)]
pub(crate) struct JsonFormat;

impl Format for JsonFormat {
    fn check(&self, field: &Field) -> Result<(), String> {
        make(field.data_type(), 0, &Reading::default()).map(|_| ())
    }

    fn rows(&self, members: &[Member], capacity: usize) -> Result<Box<dyn RowBuilder>, String> {
        Ok(Box::new(JsonRows::new(members, capacity)?))
    }
}

/// Builds the rows of a batch from JSON bodies.
pub(in crate::decode) struct JsonRows(Rows);

impl JsonRows {
    /// Creates the columns of `members`, for about `capacity` rows.
    ///
    /// # Errors
    /// Says what is wrong with a type that no column has.
    pub(in crate::decode) fn new(members: &[Member], capacity: usize) -> Result<JsonRows, String> {
        Rows::new(members, capacity).map(JsonRows)
    }

    /// Appends the values of a body. [`JsonRows::settle`] then completes the row.
    ///
    /// # Errors
    /// The body is not one object.
    #[inline]
    pub(in crate::decode) fn append_one(&mut self, payload: &[u8]) -> Result<Fit, Fault> {
        let text = simdutf8::basic::from_utf8(payload).map_err(|_| not_utf8(payload))?;
        self.0.fields.append_body(text, self.0.rows)
    }

    /// Completes the row of payload `index`, or takes back what a payload that failed has left.
    #[inline]
    pub(in crate::decode) fn settle(&mut self, index: usize, appended: Result<Fit, Fault>, faults: &mut Faults) {
        self.0.settle(index, appended, faults);
    }
}

impl RowBuilder for JsonRows {
    fn append(&mut self, payloads: &[&[u8]], faults: &mut Faults) {
        for (index, payload) in payloads.iter().enumerate() {
            let appended = self.append_one(payload);
            self.settle(index, appended, faults);
        }
    }

    fn absent(&self) -> (Vec<usize>, Vec<String>) {
        self.0.absent()
    }

    fn finish(&mut self) -> Result<Vec<ArrayRef>, ArrowError> {
        self.0.finish()
    }
}

#[cold]
pub(super) fn not_utf8(payload: &[u8]) -> Fault {
    let valid = std::str::from_utf8(payload).map_or_else(|error| error.valid_up_to(), str::len);
    Fault::of_payload("not_json", "not UTF-8".into()).at(payload.as_ptr().addr() + valid)
}
