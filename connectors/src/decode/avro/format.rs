//! Implements [`Format`] for Avro: each body is one datum of a record, and its fields are columns.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::Field;
use arrow::error::ArrowError;

use super::datum::{self, Cursor};
use super::fit;
use super::schema::{Schema, Type, TypeId};
use crate::Error;
use crate::decode::contract::{Format, Member, RowBuilder};
use crate::decode::fault::{Fault, Faults};
use crate::decode::json::JsonFormat;
use crate::decode::json::fields::Fit;
use crate::decode::json::members::Target;
use crate::decode::rows::Rows;
use crate::decode::schema_registry::{self, Registry};
use crate::decode::value::Value;

/// The format Avro.
#[derive(Debug)]
pub(in crate::decode) struct AvroFormat {
    /// The schemas of bodies, of which the first that reads a body counts. With a registry, those that columns are checked against.
    schemas: Arc<[Schema]>,
    /// Where each body names its schema.
    registry: Option<Arc<Registry<Schema>>>,
}

impl AvroFormat {
    /// Creates the format from the texts of schemas, a registry, or both: then the registry has the schema of each body, and columns are
    /// checked against the texts.
    ///
    /// # Errors
    /// Says what is wrong with a schema.
    pub(in crate::decode) fn new(schemas: &[String], registry: Option<Registry<Schema>>) -> Result<AvroFormat, String> {
        let schemas = schemas.iter().map(|text| Schema::of_text(text)).collect::<Result<Vec<_>, _>>()?;
        if schemas.iter().any(|schema| schema.records().is_empty()) {
            return Err("it is not the schema of a record".into());
        }
        Ok(AvroFormat { schemas: schemas.into(), registry: registry.map(Arc::new) })
    }
}

impl Format for AvroFormat {
    fn check(&self, field: &Field) -> Result<(), String> {
        JsonFormat.check(field)?;
        // A field of one of the schemas is enough: events of the others have none.
        let mut checked = self.schemas.iter().map(|schema| fit::check(schema, field));
        let first = checked.next().unwrap_or(Ok(()));
        if first.is_ok() || checked.any(|checked| checked.is_ok()) { Ok(()) } else { first }
    }

    fn prepare(&self, payloads: &[&[u8]]) -> Result<(), Error> {
        self.registry.as_ref().map_or(Ok(()), |registry| registry.prepare(payloads))
    }

    fn rows(&self, members: &[Member], capacity: usize) -> Result<Box<dyn RowBuilder>, String> {
        let rows = Rows::new(members, capacity)?;
        Ok(Box::new(AvroRows {
            schemas: Arc::clone(&self.schemas),
            registry: self.registry.clone(),
            plans: HashMap::new(),
            rows,
        }))
    }
}

/// The columns of the fields of a record, in their order.
type Plan = Arc<[(TypeId, Target)]>;

/// The number of the first schema of a file, beyond those that a registry gives.
const OF_FILES: u64 = 1 << 32;

/// Builds the rows of a batch from Avro data.
struct AvroRows {
    schemas: Arc<[Schema]>,
    registry: Option<Arc<Registry<Schema>>>,
    /// By the number of the schema and the type of the record.
    plans: HashMap<(u64, TypeId), Plan>,
    rows: Rows,
}

impl AvroRows {
    /// Returns where the fields of a record go.
    fn plan(&mut self, id: u64, schema: &Schema, record: TypeId) -> Result<Plan, Fault> {
        if let Some(plan) = self.plans.get(&(id, record)) {
            return Ok(Arc::clone(plan));
        }
        let Type::Record(fields) = schema.get(record) else {
            return Err(Fault::of_payload("not_avro", "the datum is not a record".into()));
        };
        let plan: Plan = fields.iter().map(|field| (field.of, self.rows.fields.target_of(&field.name))).collect();
        self.plans.insert((id, record), Arc::clone(&plan));
        Ok(plan)
    }

    /// Appends a datum, whose schema has this number.
    fn append_one<'a>(
        &mut self,
        id: u64,
        schema: &'a Schema,
        datum: &'a [u8],
        values: &mut Vec<Value<'a>>,
    ) -> Result<Fit, Fault> {
        let mut cursor = Cursor::new(datum);
        let record = match schema.get(schema.root()) {
            Type::Union(branches) => cursor.branch(branches)?,
            _ => schema.root(),
        };
        let plan = self.plan(id, schema, record)?;
        let Rows { fields, rows: length, .. } = &mut self.rows;
        fields.begin();
        let mut faulty = false;
        for (of, target) in plan.iter() {
            if target.column.is_none() {
                datum::skip(schema, *of, &mut cursor, 1)?;
                continue;
            }
            values.clear();
            datum::read(schema, *of, &mut cursor, values, 1)?;
            faulty |= !fields.give(*target, values, *length);
        }
        cursor.end()?;
        Ok(fields.end_body(faulty, *length))
    }
}

impl AvroRows {
    /// Appends a body by the first schema that reads it to its end.
    fn append_by_any<'a>(&mut self, schemas: &'a [Schema], body: &'a [u8], values: &mut Vec<Value<'a>>) -> Result<Fit, Fault> {
        let mut failed = None;
        for (id, schema) in (OF_FILES..).zip(schemas) {
            match self.append_one(id, schema, body, values) {
                Ok(fit) => return Ok(fit),
                Err(fault) => failed = failed.or(Some(fault)),
            }
            // What the attempt has left behind.
            self.rows.fields.discard(self.rows.rows);
        }
        let fault = failed.unwrap_or_else(|| Fault::of_payload("not_avro", "its schema is not known".into()));
        Err(match body {
            [0, id @ ..] if id.len() > 4 => {
                fault.with("; if the body begins with the number of a schema, give the option 'registry'")
            }
            [0xc3, 1, ..] => fault.with("; the body begins as one of Avro's single-object encoding, which is not read"),
            _ => fault,
        })
    }
}

impl RowBuilder for AvroRows {
    fn append(&mut self, payloads: &[&[u8]], faults: &mut Faults) {
        let schemas = self.registry.as_ref().map(|registry| registry.schemas(payloads));
        let of_files = Arc::clone(&self.schemas);
        let mut values = Vec::new();
        for (index, payload) in payloads.iter().enumerate() {
            let appended = match &schemas {
                Some(schemas) => match schema_registry::unframed::<Schema>(payload) {
                    Ok((id, datum)) => match schemas.get(&id) {
                        Some(Ok(schema)) => self.append_one(u64::from(id), schema, datum, &mut values),
                        Some(Err(reason)) => Err(Fault::of_payload("not_avro", reason.clone())),
                        None => Err(Fault::of_payload("not_avro", format!("schema {id} was not asked for"))),
                    },
                    Err(fault) => Err(fault),
                },
                None => self.append_by_any(&of_files, payload, &mut values),
            };
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
