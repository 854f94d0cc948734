//! Implements [`Format`] for Protobuf: each body is one message, and its fields are columns.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::Field;
use arrow::error::ArrowError;
use bumpalo::Bump;

use super::fit;
use super::message::Reading;
use super::registered::{Framed, RegisteredFile};
use super::schema::Schema;
use crate::Error;
use crate::decode::contract::{Format, Member, RowBuilder};
use crate::decode::fault::{Fault, Faults};
use crate::decode::json::JsonFormat;
use crate::decode::json::members::Target;
use crate::decode::rows::Rows;
use crate::decode::schema_registry::{Found, Registry};

/// The format Protobuf.
#[derive(Debug)]
pub(in crate::decode) struct ProtobufFormat {
    /// The schema of all bodies; with a registry, the one that columns are checked against.
    schema: Option<Arc<Schema>>,
    /// Where each body names its schema.
    registry: Option<Arc<Registry<RegisteredFile>>>,
}

impl ProtobufFormat {
    /// Creates the format from a schema. `content` is that of the file at `path`; `message` is the name of the message that a body is. With a
    /// registry, the registry has the schema of each body, and columns are checked against this one.
    ///
    /// # Errors
    /// Says what is wrong with the schema or the name.
    pub(in crate::decode) fn new(
        path: &Path,
        content: &[u8],
        message: Option<&str>,
        registry: Option<Registry<RegisteredFile>>,
    ) -> Result<ProtobufFormat, String> {
        let schema = Some(Arc::new(Schema::read(path, content, message)?));
        Ok(ProtobufFormat { schema, registry: registry.map(Arc::new) })
    }

    /// Creates the format for bodies whose schemas are in a registry.
    pub(in crate::decode) fn of_registry(registry: Registry<RegisteredFile>) -> ProtobufFormat {
        ProtobufFormat { schema: None, registry: Some(Arc::new(registry)) }
    }
}

impl Format for ProtobufFormat {
    fn check(&self, field: &Field) -> Result<(), String> {
        JsonFormat.check(field)?;
        self.schema.as_ref().map_or(Ok(()), |schema| fit::check(schema, field))
    }

    fn prepare(&self, payloads: &[&[u8]]) -> Result<(), Error> {
        self.registry.as_ref().map_or(Ok(()), |registry| registry.prepare(payloads))
    }

    fn rows(&self, members: &[Member], capacity: usize) -> Result<Box<dyn RowBuilder>, String> {
        let mut rows = Rows::new(members, capacity)?;
        let of_file = self.schema.as_ref().map(|schema| Arc::new(Plan::new(schema, &mut rows)));
        Ok(Box::new(ProtobufRows { of_file, registry: self.registry.clone(), plans: HashMap::new(), rows }))
    }
}

/// Where the fields of a message go.
struct Plan {
    schema: Arc<Schema>,
    /// The column of each field.
    targets: Vec<Target>,
    /// Whether a column reads each field.
    wanted: Vec<bool>,
}

impl Plan {
    fn new(schema: &Arc<Schema>, rows: &mut Rows) -> Plan {
        let targets: Vec<Target> = schema.root().fields.iter().map(|field| rows.fields.target_of(&field.name)).collect();
        let wanted = targets.iter().map(|target| target.column.is_some()).collect();
        Plan { schema: Arc::clone(schema), targets, wanted }
    }
}

/// The number of a schema, and the bytes that name a message in it.
type MessageKey = (u32, Vec<u8>);

/// Builds the rows of a batch from Protobuf messages.
struct ProtobufRows {
    of_file: Option<Arc<Plan>>,
    registry: Option<Arc<Registry<RegisteredFile>>>,
    plans: HashMap<MessageKey, Result<Arc<Plan>, String>>,
    rows: Rows,
}

impl ProtobufRows {
    /// Appends messages of one schema. The first is that of payload `first`.
    fn append_run<'b>(&mut self, plan: &Plan, first: usize, bodies: impl Iterator<Item = &'b [u8]>, faults: &mut Faults) {
        let pieces = Bump::new();
        let mut reading = Reading::new(&plan.schema, &pieces);
        let mut values = Vec::new();
        for (index, body) in bodies.enumerate() {
            let (fields, length) = (&mut self.rows.fields, self.rows.rows);
            fields.begin();
            let mut faulty = false;
            let read = reading.body(body, &plan.wanted, &mut values, |place, value| {
                faulty |= !fields.give(plan.targets[place], value, length);
            });
            let appended = read.map(|()| fields.end_body(faulty, length));
            self.rows.settle(first + index, appended, faults);
        }
    }

    /// Returns the plan of the message that a body is.
    fn plan(&mut self, framed: &Framed<'_>, schemas: &HashMap<u32, Found<RegisteredFile>>) -> Result<Arc<Plan>, Fault> {
        let key = (framed.id, framed.places.to_vec());
        let plan = match self.plans.get(&key) {
            Some(plan) => plan.clone(),
            None => {
                let schema = match schemas.get(&framed.id) {
                    Some(Ok(file)) => file.plan(&framed.path()),
                    Some(Err(reason)) => Err(reason.clone()),
                    None => Err(format!("schema {} was not asked for", framed.id)),
                };
                let plan = schema.map(|schema| Arc::new(Plan::new(&schema, &mut self.rows)));
                self.plans.insert(key, plan.clone());
                plan
            }
        };
        plan.map_err(|reason| Fault::of_payload("not_protobuf", reason))
    }

    /// Appends bodies that name their schemas. Those of one message that follow each other are read together.
    fn append_framed(&mut self, registry: &Registry<RegisteredFile>, payloads: &[&[u8]], faults: &mut Faults) {
        let schemas = registry.schemas(payloads);
        let framed: Vec<Result<Framed<'_>, Fault>> = payloads.iter().map(|payload| Framed::of(payload)).collect();
        let mut framed = framed.into_iter().enumerate().peekable();
        while let Some((first, next)) = framed.next() {
            let (head, plan) = match next.and_then(|head| self.plan(&head, &schemas).map(|plan| (head, plan))) {
                Ok(found) => found,
                Err(fault) => {
                    self.rows.settle(first, Err(fault), faults);
                    continue;
                }
            };
            let mut run = vec![head.message];
            while let Some((_, Ok(other))) =
                framed.next_if(|(_, next)| next.as_ref().is_ok_and(|next| (next.id, next.places) == (head.id, head.places)))
            {
                run.push(other.message);
            }
            self.append_run(&plan, first, run.into_iter(), faults);
        }
    }
}

impl RowBuilder for ProtobufRows {
    fn append(&mut self, payloads: &[&[u8]], faults: &mut Faults) {
        match (self.registry.clone(), self.of_file.clone()) {
            (Some(registry), _) => self.append_framed(&registry, payloads, faults),
            (None, Some(plan)) => self.append_run(&plan, 0, payloads.iter().copied(), faults),
            (None, None) => {}
        }
    }

    fn absent(&self) -> (Vec<usize>, Vec<String>) {
        self.rows.absent()
    }

    fn finish(&mut self) -> Result<Vec<ArrayRef>, ArrowError> {
        self.rows.finish()
    }
}
