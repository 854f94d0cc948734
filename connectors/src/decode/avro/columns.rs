//! The columns of a schema: one for each field of its record, or of each of its records, where the root is a union of them. What has no type as
//! a column is JSON text, and a note says why.

use arrow::datatypes::{DataType, Field, TimeUnit};

use super::schema::{self, Digits, Schema, Type, TypeId};
use crate::decode::derived::{Derived, Deriving, Entered, column_name, list_of, map_of, struct_of};

/// The most digits of a DECIMAL.
const MAX_PRECISION: u32 = 76;

/// Returns the columns of bodies that are of one of several schemas. A field that every body has, and that is never null, is NOT NULL.
///
/// # Errors
/// A schema has no fields, or too many.
pub(in crate::decode) fn columns<'s>(schemas: impl IntoIterator<Item = &'s Schema>) -> Result<Derived, String> {
    let mut records = Vec::new();
    for schema in schemas {
        let of_one = schema.records().into_iter();
        records.extend(of_one.filter_map(|record| Some((schema, record, fields_of(schema, record)?))));
    }
    // A field has one name as a column, whichever of the records has it.
    let names: Vec<&str> = records.iter().flat_map(|(_, _, fields)| fields.iter().map(|field| field.name.as_str())).collect();
    let mut all = Vec::with_capacity(records.len());
    for (schema, record, fields) in &records {
        let mut columns = Columns { schema, around: vec![*record], deriving: Deriving::default() };
        let fields = columns.members(fields, &names);
        all.push(columns.deriving.columns(fields, "fields")?);
    }
    match all.len() {
        0 => Err("it is not the schema of a record".into()),
        _ => Ok(Derived::merged(all)),
    }
}

fn fields_of(schema: &Schema, record: TypeId) -> Option<&[schema::Field]> {
    match schema.get(record) {
        Type::Record(fields) => Some(fields),
        _ => None,
    }
}

struct Columns<'s> {
    schema: &'s Schema,
    /// The records that the value is in.
    around: Vec<TypeId>,
    deriving: Deriving,
}

impl Columns<'_> {
    /// `names`: those of all fields beside them.
    fn members(&mut self, fields: &[schema::Field], names: &[&str]) -> Vec<Field> {
        let mut members = Vec::with_capacity(fields.len());
        for field in fields {
            let name = column_name(&field.name, names.iter().copied());
            self.deriving.begin_member(&name);
            let is_nullable = self.is_nullable(field.of);
            members.push(Field::new(name, self.of(field.of), is_nullable));
            self.deriving.end_member();
        }
        members
    }

    fn is_nullable(&self, id: TypeId) -> bool {
        match self.schema.get(id) {
            Type::Null => true,
            Type::Union(branches) => branches.iter().any(|branch| matches!(self.schema.get(*branch), Type::Null)),
            _ => false,
        }
    }

    fn of(&mut self, id: TypeId) -> DataType {
        if self.around.contains(&id) {
            return self.deriving.text("the schema refers to itself");
        }
        if let Entered::No(data_type) = self.deriving.enter() {
            return data_type;
        }
        self.around.push(id);
        let data_type = self.entered(id);
        self.around.pop();
        self.deriving.leave();
        data_type
    }

    fn entered(&mut self, id: TypeId) -> DataType {
        // The schema is not borrowed from `self`.
        let schema = self.schema;
        match schema.get(id) {
            Type::Null => self.deriving.text("it is always null"),
            Type::Boolean => DataType::Boolean,
            Type::Integer(32) => DataType::Int32,
            Type::Integer(_) => DataType::Int64,
            Type::Float => DataType::Float32,
            Type::Double => DataType::Float64,
            Type::Bytes | Type::Fixed(_) => DataType::Binary,
            Type::Text | Type::Enum(_) | Type::Uuid | Type::Duration => DataType::Utf8,
            Type::Date => DataType::Date32,
            Type::Time(unit @ (TimeUnit::Second | TimeUnit::Millisecond)) => DataType::Time32(*unit),
            Type::Time(unit) => DataType::Time64(*unit),
            Type::Timestamp(unit, _) => DataType::Timestamp(*unit, None),
            Type::Decimal(_, digits) => match decimal(*digits) {
                Some(data_type) => data_type,
                None => self.deriving.text("a DECIMAL has from 1 to 76 digits, and no more of them behind the point"),
            },
            Type::Array(item) => list_of(self.of(*item)),
            Type::Map(value) => map_of(self.of(*value)),
            Type::Record(fields) if fields.is_empty() => self.deriving.text("the record has no fields"),
            Type::Record(fields) => {
                let names: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
                struct_of(self.members(fields, &names))
            }
            Type::Union(branches) => {
                let branches = branches.iter().filter(|branch| !matches!(schema.get(**branch), Type::Null));
                let types: Vec<DataType> = branches.map(|branch| self.of(*branch)).collect();
                match types.len() {
                    0 => self.deriving.text("it is always null"),
                    _ => self.deriving.one_of(types),
                }
            }
        }
    }
}

fn decimal(digits: Digits) -> Option<DataType> {
    let precision = digits.precision.filter(|precision| (1..=MAX_PRECISION).contains(precision) && digits.scale <= *precision)?;
    let (precision, scale) = (u8::try_from(precision).ok()?, i8::try_from(digits.scale).ok()?);
    Some(match precision {
        ..=38 => DataType::Decimal128(precision, scale),
        _ => DataType::Decimal256(precision, scale),
    })
}
