//! The columns that a schema gives a source, whatever its format: their names as SQL reads them, the type of what may be of several types, and
//! notes on what is read as JSON text. The formats say what a type of theirs is as a column.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields};

use super::envelope::Part;
use super::sql_type::SqlType;

/// The most parts of a schema that columns are made of.
const MOST_PARTS: usize = 20_000;
/// The most parts within each other.
const MAX_DEPTH: usize = 64;

/// The columns that a schema has.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Derived {
    /// In the order of the schema.
    pub fields: Vec<Field>,
    /// What is read as JSON text or not at all, and why: `items: ...`.
    pub notes: Vec<String>,
}

impl Derived {
    /// Returns the columns of bodies that may be of several schemas: those of each. One is NOT NULL if it is so in all of them.
    pub(super) fn merged(all: Vec<Derived>) -> Derived {
        let mut notes: Vec<String> = Vec::new();
        for note in all.iter().flat_map(|one| &one.notes) {
            if !notes.contains(note) {
                notes.push(note.clone());
            }
        }
        let count = all.len();
        let mut columns: Vec<(String, Vec<FieldRef>)> = Vec::new();
        for field in all.into_iter().flat_map(|one| one.fields) {
            match columns.iter_mut().find(|(name, _)| name == field.name()) {
                Some((_, fields)) => fields.push(Arc::new(field)),
                None => columns.push((field.name().clone(), vec![Arc::new(field)])),
            }
        }
        let fields = columns.into_iter().map(|(name, fields)| {
            let is_nullable = fields.len() < count || fields.iter().any(|field| field.is_nullable());
            let mut clashes = Vec::new();
            let data_type = merged_type(fields.iter().map(|field| field.data_type().clone()), &mut clashes);
            let data_type = data_type.unwrap_or_else(|types| clash(&types, &mut clashes));
            notes.extend(first_of_each(clashes).iter().map(|clash| format!("{name}{clash}")));
            Field::new(name, data_type, is_nullable)
        });
        let fields = fields.collect();
        Derived { fields, notes }
    }

    /// Returns the same columns, none of them NOT NULL.
    pub(super) fn nullable(self) -> Derived {
        Derived { fields: self.fields.into_iter().map(|field| field.with_nullable(true)).collect(), ..self }
    }
}

/// Returns the type of values that may be of several types: the wider one of two numbers, a STRUCT of the members of all. Members for which no
/// type has room are JSON text, and `clashes` gets notes on them: `.size: JSON text, ...`.
///
/// # Errors
/// Returns the types, if no type has room for all.
fn merged_type(types: impl IntoIterator<Item = DataType>, clashes: &mut Vec<String>) -> Result<DataType, Vec<DataType>> {
    let mut apart: Vec<DataType> = Vec::new();
    for data_type in types {
        match apart.iter().enumerate().find_map(|(place, one)| Some((place, wider(one, &data_type, clashes)?))) {
            Some((place, wider)) => apart[place] = wider,
            None => apart.push(data_type),
        }
    }
    match apart.len() {
        1 => Ok(apart.remove(0)),
        _ => Err(apart),
    }
}

/// JSON text in place of several types, with a note.
fn clash(types: &[DataType], clashes: &mut Vec<String>) -> DataType {
    clashes.push(format!("{CLASH}{}", listed(types)));
    DataType::Utf8
}

/// What a note says behind the path of a member.
const CLASH: &str = ": JSON text, since the schemas have several types for it: ";

/// Keeps the first note on each member: JSON text meets the next type again.
fn first_of_each(clashes: Vec<String>) -> Vec<String> {
    let mut seen = HashSet::new();
    let path = |clash: &String| clash.split_once(CLASH).map(|(path, _)| path.to_owned());
    clashes.into_iter().filter(|clash| seen.insert(path(clash))).collect()
}

/// The type that has room for the values of both.
fn wider(one: &DataType, other: &DataType, clashes: &mut Vec<String>) -> Option<DataType> {
    use DataType as D;
    Some(match (one, other) {
        (one, other) if one == other => one.clone(),
        (D::Int32 | D::UInt32, D::Int64) | (D::Int64, D::Int32 | D::UInt32) => D::Int64,
        (D::Int32, D::UInt32) | (D::UInt32, D::Int32) => D::Int64,
        // As a schema that says double reads a body of an integer.
        (D::Int32 | D::Int64, D::Float32 | D::Float64) | (D::Float32 | D::Float64, D::Int32 | D::Int64) => D::Float64,
        (D::Timestamp(one, None), D::Timestamp(other, None)) => D::Timestamp(*one.max(other), None),
        (D::Decimal128(..) | D::Decimal256(..), D::Decimal128(..) | D::Decimal256(..)) => wider_decimal(one, other)?,
        (D::UInt32, D::UInt64) | (D::UInt64, D::UInt32) => D::UInt64,
        (D::Float32, D::Float64) | (D::Float64, D::Float32) => D::Float64,
        (D::List(one), D::List(other)) => list_of(wider(one.data_type(), other.data_type(), clashes)?),
        (D::Map(one, _), D::Map(other, _)) => map_of(wider(value_of(one)?, value_of(other)?, clashes)?),
        (D::Struct(members), D::Struct(others)) => {
            let mut members: Vec<FieldRef> = members.iter().cloned().collect();
            for other in others {
                match members.iter_mut().find(|member| member.name() == other.name()) {
                    Some(member) => {
                        let mut below = Vec::new();
                        let wider = wider(member.data_type(), other.data_type(), &mut below)
                            .unwrap_or_else(|| clash(&[member.data_type().clone(), other.data_type().clone()], &mut below));
                        clashes.extend(below.iter().map(|clash| format!(".{}{clash}", member.name())));
                        *member = Arc::new(member.as_ref().clone().with_data_type(wider));
                    }
                    None => members.push(Arc::clone(other)),
                }
            }
            D::Struct(members.into())
        }
        _ => return None,
    })
}

/// The decimal that has room for the digits before and behind the point of both.
fn wider_decimal(one: &DataType, other: &DataType) -> Option<DataType> {
    let digits = |of: &DataType| match of {
        DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) => {
            Some((i16::from(*precision), i16::from(*scale)))
        }
        _ => None,
    };
    let (one, other) = (digits(one)?, digits(other)?);
    let scale = one.1.max(other.1);
    let precision = u8::try_from((one.0 - one.1).max(other.0 - other.1) + scale).ok()?;
    let scale = i8::try_from(scale).ok()?;
    match precision {
        ..=38 => Some(DataType::Decimal128(precision, scale)),
        39..=76 => Some(DataType::Decimal256(precision, scale)),
        _ => None,
    }
}

fn value_of(entries: &Field) -> Option<&DataType> {
    match entries.data_type() {
        DataType::Struct(pair) => pair.get(1).map(|value| value.data_type()),
        _ => None,
    }
}

/// Names types for a message.
fn listed(types: &[DataType]) -> String {
    types.iter().map(|one| SqlType(one).to_string()).collect::<Vec<_>>().join(" or ")
}

/// An array.
pub(super) fn list_of(item: DataType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(item, true)))
}

/// A MAP with keys of text.
pub(super) fn map_of(value: DataType) -> DataType {
    let pair = Fields::from(vec![Field::new("key", DataType::Utf8, false), Field::new("value", value, true)]);
    DataType::Map(Arc::new(Field::new("entries", DataType::Struct(pair), false)), false)
}

/// A STRUCT, whose members are nullable as those that SQL declares.
pub(super) fn struct_of(members: Vec<Field>) -> DataType {
    DataType::Struct(members.into_iter().map(|member| member.with_nullable(true)).collect())
}

/// Returns the name of a column for a member: in lower case, as SQL reads names, unless another one of `all` differs only by case.
pub(super) fn column_name<'n>(name: &str, all: impl IntoIterator<Item = &'n str>) -> String {
    let has_twin = all.into_iter().any(|other| other != name && other.eq_ignore_ascii_case(name));
    if has_twin { name.to_owned() } else { name.to_ascii_lowercase() }
}

/// The way through a schema while columns are made of it.
#[derive(Debug, Default)]
pub(super) struct Deriving {
    path: Vec<String>,
    notes: Vec<String>,
    /// How many parts were looked at.
    parts: usize,
    depth: usize,
}

/// What makes a column of a part of a schema.
pub(super) enum Entered {
    /// It is to be looked at, and left after that.
    Yes,
    /// It is of this type.
    No(DataType),
}

impl Deriving {
    /// Enters a part of the schema.
    pub(super) fn enter(&mut self) -> Entered {
        self.parts += 1;
        if self.parts > MOST_PARTS {
            return Entered::No(DataType::Utf8);
        }
        if self.depth >= MAX_DEPTH {
            return Entered::No(self.text("it is nested too deep"));
        }
        self.depth += 1;
        Entered::Yes
    }

    /// Leaves a part that was entered.
    pub(super) fn leave(&mut self) {
        self.depth -= 1;
    }

    /// Goes on at a member of this name.
    pub(super) fn begin_member(&mut self, name: &str) {
        self.path.push(name.to_owned());
    }

    /// Leaves the member.
    pub(super) fn end_member(&mut self) {
        self.path.pop();
    }

    /// Reads what is here as JSON text.
    pub(super) fn text(&mut self, why: &str) -> DataType {
        self.notes.push(format!("{}: JSON text, since {why}", self.path.join(".")));
        DataType::Utf8
    }

    /// Returns the type of values of these types, and JSON text in place of several.
    pub(super) fn one_of(&mut self, types: Vec<DataType>) -> DataType {
        let mut clashes = Vec::new();
        let merged = merged_type(types, &mut clashes);
        self.notes.extend(first_of_each(clashes).iter().map(|clash| format!("{}{clash}", self.path.join("."))));
        merged.unwrap_or_else(|types| self.text(&format!("it may be {}", listed(&types))))
    }

    /// How many notes there are; [`Deriving::unsay`] takes back those made since.
    pub(super) fn said(&self) -> usize {
        self.notes.len()
    }

    /// Takes back all notes but the first `said`.
    pub(super) fn unsay(&mut self, said: usize) {
        self.notes.truncate(said);
    }

    /// Returns the columns of a body. Members that are named as columns of the message are none.
    ///
    /// # Errors
    /// There are none, or too many.
    pub(super) fn columns(mut self, fields: Vec<Field>, called: &str) -> Result<Derived, String> {
        if self.parts > MOST_PARTS {
            return Err(format!("it has more than {MOST_PARTS} parts, too many for columns: declare those that views read"));
        }
        let (hidden, fields): (Vec<Field>, Vec<Field>) = fields.into_iter().partition(|field| Part::of(field.name()).is_some());
        let hidden =
            hidden.iter().map(|field| format!("{}: no column, since the message fills the one of this name", field.name()));
        self.notes.extend(hidden);
        if fields.is_empty() {
            return Err(format!("it names no {called}, of which columns could be made"));
        }
        Ok(Derived { fields, notes: self.notes })
    }
}
