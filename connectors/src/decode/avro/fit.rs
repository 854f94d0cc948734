//! Which declared columns a schema can fill: a column needs a field of its name, with a type some of whose values fit.

use arrow::datatypes::{DataType, Field, TimeUnit};

use super::schema::{Schema, Type, TypeId};
use crate::decode::schema_file::no_field;

/// Checks whether the bodies of a schema have values for a column.
///
/// # Errors
/// Says which field is missing or has another type.
pub(super) fn check(schema: &Schema, column: &Field) -> Result<(), String> {
    let records = schema.records();
    let of_record = |record: &TypeId| match schema.get(*record) {
        Type::Record(fields) => fields.as_slice(),
        _ => &[],
    };
    let fields = || records.iter().flat_map(of_record);
    let named = |exactly: bool| {
        fields().filter(move |field| match exactly {
            true => field.name == *column.name(),
            false => field.name.eq_ignore_ascii_case(column.name()),
        })
    };
    let mut found = named(true).chain(named(false)).peekable();
    if found.peek().is_none() {
        return Err(no_field(column.name(), fields().map(|field| field.name.as_str())));
    }
    let mut reason = None;
    for field in found {
        match fits(schema, field.of, column.data_type(), 0) {
            Ok(()) => return Ok(()),
            Err(why) => reason = reason.or(Some(why)),
        }
    }
    reason.map_or(Ok(()), Err)
}

/// Checks whether some value of type `id` fits into `data_type`. A member of a STRUCT may be missing, since a record may have branches.
fn fits(schema: &Schema, id: TypeId, data_type: &DataType, depth: usize) -> Result<(), String> {
    if depth > 32 {
        return Ok(());
    }
    let of = schema.get(id);
    let unlike = || Err(format!("the field of the schema is {}", name_of(schema, id)));
    match (of, data_type) {
        (Type::Union(branches), _) => {
            let mut reason = unlike();
            for branch in branches.iter().filter(|branch| !matches!(schema.get(**branch), Type::Null)) {
                match fits(schema, *branch, data_type, depth + 1) {
                    Ok(()) => return Ok(()),
                    Err(why) if branches.len() == 2 => reason = Err(why),
                    Err(_) => {}
                }
            }
            reason
        }
        (_, DataType::Dictionary(_, values)) => fits(schema, id, values, depth),
        (_, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View) => Ok(()),
        (Type::Record(fields), DataType::Struct(members)) => {
            for member in members {
                let found = fields.iter().find(|field| field.name == *member.name());
                let found = found.or_else(|| fields.iter().find(|field| field.name.eq_ignore_ascii_case(member.name())));
                let Some(found) = found else { return Err(format!("the schema has no field {}", member.name())) };
                fits(schema, found.of, member.data_type(), depth + 1).map_err(|why| format!("{}: {why}", member.name()))?;
            }
            Ok(())
        }
        (Type::Array(item), DataType::List(element) | DataType::LargeList(element) | DataType::FixedSizeList(element, _)) => {
            fits(schema, *item, element.data_type(), depth + 1)
        }
        (Type::Map(_) | Type::Record(_), DataType::Map(..)) | (Type::Map(_), DataType::Struct(_)) => Ok(()),
        (of, data_type) if scalar_fits(of, data_type) => Ok(()),
        _ => unlike(),
    }
}

fn scalar_fits(of: &Type, data_type: &DataType) -> bool {
    use DataType as D;
    let number = matches!(of, Type::Integer(_) | Type::Float | Type::Double | Type::Decimal(..));
    match data_type {
        D::Boolean => matches!(of, Type::Boolean | Type::Integer(_) | Type::Text | Type::Enum(_)),
        D::Date32 | D::Date64 => matches!(of, Type::Date | Type::Integer(_) | Type::Text),
        D::Time32(_) | D::Time64(_) => matches!(of, Type::Time(_) | Type::Integer(_) | Type::Text),
        D::Timestamp(..) => number || matches!(of, Type::Timestamp(..) | Type::Date | Type::Text),
        D::Interval(_) => matches!(of, Type::Duration | Type::Text),
        D::Binary | D::LargeBinary | D::BinaryView | D::FixedSizeBinary(_) => {
            matches!(of, Type::Bytes | Type::Fixed(_) | Type::Text)
        }
        D::Struct(_) | D::List(_) | D::LargeList(_) | D::FixedSizeList(..) | D::Map(..) => false,
        _ => number || matches!(of, Type::Text),
    }
}

/// Returns what a schema calls a type.
fn name_of(schema: &Schema, id: TypeId) -> String {
    let unit = |unit: &TimeUnit| match unit {
        TimeUnit::Second => "seconds",
        TimeUnit::Millisecond => "millis",
        TimeUnit::Microsecond => "micros",
        TimeUnit::Nanosecond => "nanos",
    };
    match schema.get(id) {
        Type::Null => "null".into(),
        Type::Boolean => "boolean".into(),
        Type::Integer(32) => "an int".into(),
        Type::Integer(_) => "a long".into(),
        Type::Float => "a float".into(),
        Type::Double => "a double".into(),
        Type::Bytes => "bytes".into(),
        Type::Text => "a string".into(),
        Type::Fixed(size) => format!("a fixed of {size} bytes"),
        Type::Enum(_) => "an enum".into(),
        Type::Record(_) => "a record".into(),
        Type::Array(_) => "an array".into(),
        Type::Map(_) => "a map".into(),
        Type::Union(branches) => branches.iter().map(|branch| name_of(schema, *branch)).collect::<Vec<_>>().join(" or "),
        Type::Decimal(_, digits) => format!("a decimal of scale {}", digits.scale),
        Type::Date => "a date".into(),
        Type::Time(of) => format!("a time-{}", unit(of)),
        Type::Timestamp(of, _) => format!("a timestamp-{}", unit(of)),
        Type::Duration => "a duration".into(),
        Type::Uuid => "a uuid".into(),
    }
}
