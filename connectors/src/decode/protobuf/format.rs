//! Implements [`Format`] for Protobuf: each body is one message, and its fields are columns.

use std::path::Path;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::Field;
use arrow::error::ArrowError;
use bumpalo::Bump;

use super::fit;
use super::message::Reading;
use super::schema::Schema;
use crate::decode::contract::{Format, Member, RowBuilder};
use crate::decode::fault::Faults;
use crate::decode::json::JsonFormat;
use crate::decode::json::members::Target;
use crate::decode::rows::Rows;

/// The format Protobuf, with the schema of all bodies.
#[derive(Debug)]
pub(in crate::decode) struct ProtobufFormat {
    schema: Arc<Schema>,
}

impl ProtobufFormat {
    /// Creates the format from a schema. `content` is that of the file at `path`; `message` is the name of the message that a body is.
    ///
    /// # Errors
    /// Says what is wrong with the schema or the name.
    pub(in crate::decode) fn new(path: &Path, content: &[u8], message: Option<&str>) -> Result<ProtobufFormat, String> {
        Ok(ProtobufFormat { schema: Arc::new(Schema::read(path, content, message)?) })
    }
}

impl Format for ProtobufFormat {
    fn check(&self, field: &Field) -> Result<(), String> {
        JsonFormat.check(field)?;
        fit::check(&self.schema, field)
    }

    fn rows(&self, members: &[Member], capacity: usize) -> Result<Box<dyn RowBuilder>, String> {
        let mut rows = Rows::new(members, capacity)?;
        let targets = self.schema.root().fields.iter().map(|field| rows.fields.target_of(&field.name)).collect();
        Ok(Box::new(ProtobufRows { schema: Arc::clone(&self.schema), targets, rows }))
    }
}

/// Builds the rows of a batch from Protobuf messages.
struct ProtobufRows {
    schema: Arc<Schema>,
    /// The column of each field of a body.
    targets: Vec<Target>,
    rows: Rows,
}

impl RowBuilder for ProtobufRows {
    fn append(&mut self, payloads: &[&[u8]], faults: &mut Faults) {
        let schema = Arc::clone(&self.schema);
        let pieces = Bump::new();
        let mut reading = Reading::new(&schema, &pieces);
        let mut values = Vec::new();
        for (index, payload) in payloads.iter().enumerate() {
            let (fields, targets, length) = (&mut self.rows.fields, &self.targets, self.rows.rows);
            fields.begin();
            let mut faulty = false;
            let read = reading.body(payload, &mut values, |place, value| {
                faulty |= targets[place].column.is_some() && !fields.give(targets[place], value, length);
            });
            let appended = read.map(|()| fields.end_body(faulty, length));
            self.rows.settle(index, appended, faults);
        }
    }

    fn absent(&self) -> (Vec<usize>, Vec<String>) {
        self.rows.absent()
    }

    fn finish(&mut self) -> Result<Vec<ArrayRef>, ArrowError> {
        self.rows.finish()
    }
}
