//! Decodes MessagePack into Arrow rows: each body is one map, and its entries are columns. Values are appended to the columns of JSON, so
//! that all rules for values are the same.
//!
//! | MessagePack | becomes |
//! | --- | --- |
//! | nil, booleans, integers, floats, `str` | what their JSON text becomes |
//! | `bin`, and extensions that are not known | BINARY; base64 text in a VARCHAR |
//! | the extension `timestamp` | timestamps |
//! | arrays, maps | arrays, and STRUCT or MAP; JSON text in a VARCHAR |
//!
//! A key that is no text becomes the text of its value, such as `5`.
//!
//! | module | what it holds |
//! | --- | --- |
//! | `read` | reads one body as values |

mod read;
#[cfg(test)]
mod tests;

use arrow::array::ArrayRef;
use arrow::datatypes::Field;
use arrow::error::ArrowError;
use bumpalo::Bump;

use super::contract::{Format, Member, RowBuilder};
use super::fault::Faults;
use super::json::JsonFormat;
use super::rows::Rows;

/// The format MessagePack.
#[derive(Debug)]
pub(super) struct MessagePackFormat;

impl Format for MessagePackFormat {
    fn check(&self, field: &Field) -> Result<(), String> {
        JsonFormat.check(field)
    }

    fn rows(&self, members: &[Member], capacity: usize) -> Result<Box<dyn RowBuilder>, String> {
        Ok(Box::new(MessagePackRows(Rows::new(members, capacity)?)))
    }
}

/// Builds the rows of a batch from MessagePack bodies.
struct MessagePackRows(Rows);

impl RowBuilder for MessagePackRows {
    fn append(&mut self, payloads: &[&[u8]], faults: &mut Faults) {
        let names = Bump::new();
        let mut values = Vec::new();
        for (index, payload) in payloads.iter().enumerate() {
            values.clear();
            let read = read::body(payload, &names, &mut values);
            let appended = read.map(|()| self.0.fields.append_body_values(&values[1..], self.0.rows));
            self.0.settle(index, appended, faults);
        }
    }

    fn absent(&self) -> (Vec<usize>, Vec<String>) {
        self.0.absent()
    }

    fn finish(&mut self) -> Result<Vec<ArrayRef>, ArrowError> {
        self.0.finish()
    }
}
