//! Implements [`Format`] for Avro: each body is one datum of a record, and its fields are columns.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::Field;
use arrow::error::ArrowError;

use super::datum::{self, Cursor};
use super::fit;
use super::schema::{Schema, Type, TypeId};
use crate::decode::contract::{Format, Member, RowBuilder};
use crate::decode::fault::{Fault, Faults, MemberFault};
use crate::decode::json::JsonFormat;
use crate::decode::json::fields::{Fields, Fit, Slot};
use crate::decode::json::make::make;
use crate::decode::json::members::Target;
use crate::decode::value::Value;

/// The format Avro, with the schema of all bodies.
#[derive(Debug)]
pub(in crate::decode) struct AvroFormat {
    schema: Arc<Schema>,
}

impl AvroFormat {
    /// Creates the format from the text of a schema.
    ///
    /// # Errors
    /// Says what is wrong with the schema.
    pub(in crate::decode) fn new(schema: &str) -> Result<AvroFormat, String> {
        let schema = Schema::parse(schema)?;
        if schema.records().is_empty() {
            return Err("it is not the schema of a record".into());
        }
        Ok(AvroFormat { schema: Arc::new(schema) })
    }
}

impl Format for AvroFormat {
    fn check(&self, field: &Field) -> Result<(), String> {
        JsonFormat.check(field)?;
        fit::check(&self.schema, field)
    }

    fn rows(&self, members: &[Member], capacity: usize) -> Result<Box<dyn RowBuilder>, String> {
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
        let fields = Fields::new(names, slots);
        Ok(Box::new(AvroRows {
            schema: Arc::clone(&self.schema),
            plans: HashMap::new(),
            fields,
            members: members_of_slots,
            rows: 0,
        }))
    }
}

/// The columns of the fields of a record, in their order.
type Plan = Arc<[(TypeId, Target)]>;

/// Builds the rows of a batch from Avro data.
struct AvroRows {
    schema: Arc<Schema>,
    /// By the type of the record.
    plans: HashMap<TypeId, Plan>,
    fields: Fields,
    /// The member index of each slot of `fields`.
    members: Vec<usize>,
    rows: usize,
}

impl AvroRows {
    /// Returns where the fields of a record go.
    fn plan(&mut self, record: TypeId) -> Result<Plan, Fault> {
        if let Some(plan) = self.plans.get(&record) {
            return Ok(Arc::clone(plan));
        }
        let Type::Record(fields) = self.schema.get(record) else { return Err(not_a_record()) };
        let plan: Plan = fields.iter().map(|field| (field.of, self.fields.target_of(&field.name))).collect();
        self.plans.insert(record, Arc::clone(&plan));
        Ok(plan)
    }

    /// Appends a body. `schema` is that of this builder, on loan.
    fn append_one<'a>(&mut self, schema: &'a Schema, body: &'a [u8], values: &mut Vec<Value<'a>>) -> Result<Fit, Fault> {
        let mut cursor = Cursor::new(body);
        let record = match schema.get(schema.root()) {
            Type::Union(branches) => cursor.branch(branches)?,
            _ => schema.root(),
        };
        let plan = self.plan(record)?;
        self.fields.begin();
        let mut faulty = false;
        for (of, target) in plan.iter() {
            if target.column.is_none() {
                datum::skip(schema, *of, &mut cursor, 1)?;
                continue;
            }
            values.clear();
            datum::read(schema, *of, &mut cursor, values, 1)?;
            faulty |= !self.fields.give(*target, values, self.rows);
        }
        cursor.end()?;
        Ok(self.fields.end_body(faulty, self.rows))
    }
}

#[cold]
fn not_a_record() -> Fault {
    Fault::of_payload("not_avro", "the datum is not a record".into())
}

impl RowBuilder for AvroRows {
    fn append(&mut self, payloads: &[&[u8]], faults: &mut Faults) {
        let schema = Arc::clone(&self.schema);
        let mut values = Vec::new();
        for (index, payload) in payloads.iter().enumerate() {
            match self.append_one(&schema, payload, &mut values) {
                Ok(fit) => {
                    if fit == Fit::Some {
                        let members = &self.members;
                        self.fields.take_faults(|slot, fault| {
                            faults.members.push(MemberFault { payload: index, member: members[slot], fault });
                        });
                    }
                    self.rows += 1;
                }
                Err(fault) => {
                    self.fields.discard(self.rows);
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
