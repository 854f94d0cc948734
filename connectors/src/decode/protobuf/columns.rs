//! The columns of a message: one for each of its fields. What has no type as a column is JSON text, and a note says why.

use arrow::datatypes::{DataType, Field as Column, TimeUnit};

use super::schema::{Field, Kind, Schema, Shape, StandsFor};
use crate::decode::derived::{Derived, Deriving, Entered, column_name, list_of, map_of, struct_of};

/// Returns the columns of bodies that are of one of several schemas. A field whose default stands for a missing value is NOT NULL.
///
/// # Errors
/// A message has no fields, or too many.
pub(in crate::decode) fn columns<'s>(schemas: impl IntoIterator<Item = &'s Schema>) -> Result<Derived, String> {
    let of_one = |schema: &'s Schema| {
        let mut columns = Columns { schema, around: vec![0], deriving: Deriving::default() };
        let fields = columns.members(&schema.root().fields);
        columns.deriving.columns(fields, "fields")
    };
    Ok(Derived::merged(schemas.into_iter().map(of_one).collect::<Result<_, _>>()?))
}

struct Columns<'s> {
    schema: &'s Schema,
    /// The messages that the value is in.
    around: Vec<usize>,
    deriving: Deriving,
}

impl Columns<'_> {
    fn members(&mut self, fields: &[Field]) -> Vec<Column> {
        let mut members = Vec::with_capacity(fields.len());
        for field in fields {
            let name = column_name(&field.name, fields.iter().map(|other| other.name.as_str()));
            self.deriving.begin_member(&name);
            let is_nullable = field.shape == Shape::Optional || !field.rivals.is_empty();
            members.push(Column::new(name, self.of(field), is_nullable));
            self.deriving.end_member();
        }
        members
    }

    fn of(&mut self, field: &Field) -> DataType {
        match field.shape {
            Shape::Optional | Shape::Plain => self.of_value(field.kind),
            Shape::List => list_of(self.of_value(field.kind)),
            Shape::Map => {
                let schema = self.schema;
                let value = match field.kind {
                    Kind::Message(entry) => schema.message(entry).fields.get(1),
                    _ => None,
                };
                map_of(value.map_or(DataType::Utf8, |value| self.of_value(value.kind)))
            }
        }
    }

    fn of_value(&mut self, kind: Kind) -> DataType {
        match kind {
            Kind::Bool => DataType::Boolean,
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => DataType::Int32,
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => DataType::Int64,
            Kind::Uint32 | Kind::Fixed32 => DataType::UInt32,
            Kind::Uint64 | Kind::Fixed64 => DataType::UInt64,
            Kind::Float => DataType::Float32,
            Kind::Double => DataType::Float64,
            Kind::Text | Kind::Enum(_) => DataType::Utf8,
            Kind::Bytes => DataType::Binary,
            Kind::Message(of) => self.of_message(of),
        }
    }

    fn of_message(&mut self, of: usize) -> DataType {
        if self.around.contains(&of) {
            return self.deriving.text("the message contains itself");
        }
        if let Entered::No(data_type) = self.deriving.enter() {
            return data_type;
        }
        let message = self.schema.message(of);
        self.around.push(of);
        let data_type = match message.stands_for {
            StandsFor::Timestamp => DataType::Timestamp(TimeUnit::Nanosecond, None),
            StandsFor::Duration => DataType::Utf8,
            StandsFor::Set => self.deriving.text("it may be any value"),
            StandsFor::First => match message.fields.first() {
                Some(field) if matches!(field.shape, Shape::Optional | Shape::Plain) => self.of_value(field.kind),
                _ => self.deriving.text("the schema does not name its members"),
            },
            StandsFor::Object if message.fields.is_empty() => self.deriving.text("the message has no fields"),
            StandsFor::Object => struct_of(self.members(&message.fields)),
        };
        self.around.pop();
        self.deriving.leave();
        data_type
    }
}
