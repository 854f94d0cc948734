//! Which declared columns a message can fill: a column needs a field of its name, with a type some of whose values fit.

use arrow::datatypes::{DataType, Field as Column};

use super::schema::{Field, Kind, Message, Schema, Shape, StandsFor};
use crate::decode::schema_file::no_field;

/// Checks whether the bodies of a schema have values for a column.
///
/// # Errors
/// Says which field is missing or has another type.
pub(super) fn check(schema: &Schema, column: &Column) -> Result<(), String> {
    let root = schema.root();
    match named(root, column.name()) {
        Some(field) => fits(schema, field, column.data_type(), 0),
        None => Err(no_field(column.name(), root.fields.iter().map(|field| field.name.as_str()))),
    }
}

fn named<'m>(message: &'m Message, name: &str) -> Option<&'m Field> {
    let exact = message.fields.iter().find(|field| field.name == name);
    exact.or_else(|| message.fields.iter().find(|field| field.name.eq_ignore_ascii_case(name)))
}

/// Checks whether some value of a field fits into `data_type`.
fn fits(schema: &Schema, field: &Field, data_type: &DataType, depth: usize) -> Result<(), String> {
    if depth > 32 {
        return Ok(());
    }
    let unlike = |what: &str| Err(format!("the field of the schema is {what}"));
    match (field.shape, data_type) {
        (_, DataType::Dictionary(_, values)) => fits(schema, field, values, depth),
        (_, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View) => Ok(()),
        (Shape::List, DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _)) => {
            value_fits(schema, field.kind, item.data_type(), depth + 1)
        }
        (Shape::List, _) => unlike("repeated"),
        (Shape::Map, DataType::Map(..) | DataType::Struct(_)) => Ok(()),
        (Shape::Map, _) => unlike("a map"),
        _ => value_fits(schema, field.kind, data_type, depth),
    }
}

fn value_fits(schema: &Schema, kind: Kind, data_type: &DataType, depth: usize) -> Result<(), String> {
    use DataType as D;
    let unlike = || Err(format!("the field of the schema is {}", name_of(schema, kind)));
    let fit = match (kind, data_type) {
        (_, D::Utf8 | D::LargeUtf8 | D::Utf8View) => true,
        (Kind::Message(of), data_type) => {
            let message = schema.message(of);
            match (message.stands_for, data_type) {
                (StandsFor::Timestamp, D::Timestamp(..)) | (StandsFor::Duration, D::Interval(_)) | (StandsFor::Set, _) => true,
                (StandsFor::First, data_type) => match message.fields.first() {
                    Some(field) => return fits(schema, field, data_type, depth + 1),
                    None => true,
                },
                (StandsFor::Object, D::Map(..)) => true,
                (StandsFor::Object, D::Struct(members)) => {
                    for member in members {
                        let name = member.name();
                        let Some(field) = named(message, name) else { return Err(format!("the schema has no field {name}")) };
                        fits(schema, field, member.data_type(), depth + 1).map_err(|why| format!("{name}: {why}"))?;
                    }
                    true
                }
                _ => false,
            }
        }
        (Kind::Text, data_type) => !data_type.is_nested(),
        (Kind::Bytes, data_type) => is_binary(data_type),
        (Kind::Enum(_), _) => false,
        (Kind::Bool, data_type) => *data_type == D::Boolean,
        (Kind::Float | Kind::Double, data_type) => data_type.is_numeric() || matches!(data_type, D::Timestamp(..)),
        (_, data_type) => !data_type.is_nested() && !is_binary(data_type) && !matches!(data_type, D::Interval(_)),
    };
    if fit { Ok(()) } else { unlike() }
}

fn is_binary(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_))
}

/// Returns what a schema calls a type.
fn name_of(schema: &Schema, kind: Kind) -> &'static str {
    match kind {
        Kind::Bool => "a bool",
        Kind::Float => "a float",
        Kind::Double => "a double",
        Kind::Text => "a string",
        Kind::Bytes => "bytes",
        Kind::Enum(_) => "an enum, which is read as text",
        Kind::Message(of) => match schema.message(of).stands_for {
            StandsFor::Timestamp => "a Timestamp",
            StandsFor::Duration => "a Duration",
            _ => "a message",
        },
        _ => "an integer",
    }
}
