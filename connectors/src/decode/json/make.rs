//! Which column takes the JSON values of a type.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};

use super::column::cast::Cast;
use super::column::nested::{self, Elements};
use super::column::{Column, bytes, scalar, temporal};

/// Elements of arrays that are to be expected for each row.
const ELEMENTS: usize = 2;

/// An empty column for about `capacity` values.
///
/// # Errors
/// What is wrong with a type that cannot be read from JSON.
pub(super) fn make(data_type: &DataType, capacity: usize) -> Result<Box<dyn Column>, String> {
    let plain = bytes::make(data_type, capacity)
        .or_else(|| scalar::make(data_type, capacity))
        .or_else(|| temporal::make_plain(data_type, capacity));
    if let Some(column) = plain {
        return Ok(column);
    }
    match data_type {
        DataType::Timestamp(unit, zone) => temporal::make_timestamp(*unit, zone.clone(), capacity),
        DataType::Struct(fields) => {
            let children = fields.iter().map(|field| make_field(field, capacity)).collect::<Result<_, _>>()?;
            Ok(Box::new(nested::Struct::new(fields.clone(), children, capacity)))
        }
        DataType::List(item) => Ok(Box::new(nested::List::<i32>::new(elements(item, capacity * ELEMENTS)?, capacity))),
        DataType::LargeList(item) => Ok(Box::new(nested::List::<i64>::new(elements(item, capacity * ELEMENTS)?, capacity))),
        DataType::FixedSizeList(item, size) => {
            let each = usize::try_from(*size).map_err(|_| "its size is negative".to_owned())?;
            Ok(Box::new(nested::FixedSizeList::new(elements(item, capacity * each)?, *size, capacity)))
        }
        DataType::Map(entries, sorted) => {
            let (key, value) = nested::Map::pair(entries, *sorted)?;
            let (keys, values) = (make_field(&key, capacity * ELEMENTS)?, elements(&value, capacity * ELEMENTS)?);
            Ok(Box::new(nested::Map::new(Arc::clone(entries), keys, values, capacity)))
        }
        DataType::Dictionary(_, values) => Ok(Box::new(Cast::new(make(values, capacity)?, data_type.clone()))),
        _ => Err("values of this type cannot be read from JSON".into()),
    }
}

/// Of a nested field: its column, with the field's name in what is wrong with it.
fn make_field(field: &Field, capacity: usize) -> Result<Box<dyn Column>, String> {
    make(field.data_type(), capacity).map_err(|reason| format!("{}: {reason}", field.name()))
}

fn elements(item: &FieldRef, capacity: usize) -> Result<Elements, String> {
    Ok(Elements::new(Arc::clone(item), make_field(item, capacity)?))
}
