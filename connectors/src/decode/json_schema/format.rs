//! Implements [`Format`] for JSON whose bodies are checked against a schema. Rows are those of JSON; a body that does not conform is a dead
//! letter.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::Field;
use arrow::error::ArrowError;

use super::columns;
use super::schema::Schema;
use crate::Error;
use crate::decode::contract::{Format, Member, RowBuilder};
use crate::decode::fault::{Fault, Faults};
use crate::decode::json::{JsonFormat, JsonRows};
use crate::decode::schema_registry::{self, Registry};

/// The word of dead letters for a body that fails a rule of its schema.
const NOT_CONFORMING: &str = "not_conforming";

/// JSON that is checked.
#[derive(Debug)]
pub(in crate::decode) struct JsonSchemaFormat {
    /// The schema of all bodies. With a registry, the one that columns are checked against.
    schema: Option<Arc<Schema>>,
    /// Where each body names its schema.
    registry: Option<Arc<Registry<Schema>>>,
}

impl JsonSchemaFormat {
    /// Creates the format from a schema, a registry, or both: then the registry has the schema of each body.
    pub(in crate::decode) fn new(schema: Option<Schema>, registry: Option<Registry<Schema>>) -> JsonSchemaFormat {
        JsonSchemaFormat { schema: schema.map(Arc::new), registry: registry.map(Arc::new) }
    }
}

impl Format for JsonSchemaFormat {
    fn check(&self, field: &Field) -> Result<(), String> {
        JsonFormat.check(field)?;
        self.schema.as_ref().map_or(Ok(()), |schema| columns::fits(schema, field))
    }

    fn prepare(&self, payloads: &[&[u8]]) -> Result<(), Error> {
        self.registry.as_ref().map_or(Ok(()), |registry| registry.prepare(payloads))
    }

    fn rows(&self, members: &[Member], capacity: usize) -> Result<Box<dyn RowBuilder>, String> {
        let rows = JsonRows::new(members, capacity)?;
        Ok(Box::new(CheckedRows { schema: self.schema.clone(), registry: self.registry.clone(), rows }))
    }
}

/// Builds the rows of a batch from bodies that conform.
struct CheckedRows {
    schema: Option<Arc<Schema>>,
    registry: Option<Arc<Registry<Schema>>>,
    rows: JsonRows,
}

impl RowBuilder for CheckedRows {
    fn append(&mut self, payloads: &[&[u8]], faults: &mut Faults) {
        let schemas = self.registry.as_ref().map(|registry| registry.schemas(payloads));
        for (index, payload) in payloads.iter().enumerate() {
            let found = match &schemas {
                None => Ok((self.schema.clone(), *payload)),
                Some(schemas) => schema_registry::unframed::<Schema>(payload).and_then(|(id, body)| match schemas.get(&id) {
                    Some(Ok(schema)) => Ok((Some(Arc::clone(schema)), body)),
                    Some(Err(reason)) => Err(Fault::of_payload(NOT_CONFORMING, reason.clone())),
                    None => Err(Fault::of_payload(NOT_CONFORMING, format!("schema {id} was not asked for"))),
                }),
            };
            let appended = found.and_then(|(schema, body)| {
                let schema = schema.ok_or_else(|| Fault::of_payload(NOT_CONFORMING, "its schema is not known".into()))?;
                // What is not JSON is left to the columns, which say where it breaks.
                let value = serde_json::from_slice(body);
                if let Ok(value) = &value {
                    schema.check(value).map_err(|violation| Fault::of_payload(NOT_CONFORMING, violation.to_string()))?;
                }
                let fit = self.rows.append_one(body)?;
                match value {
                    Ok(_) => Ok(fit),
                    Err(error) => Err(Fault::of_payload(NOT_CONFORMING, format!("it cannot be checked: {error}"))),
                }
            });
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
