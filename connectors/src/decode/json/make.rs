//! Creates the column builder for a type.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};

use super::column::cast::Cast;
use super::column::nested::{self, Elements};
use super::column::{Column, bytes, decimals, scalar, temporal};
use crate::decode::reading::Reading;

/// The expected number of array elements per row, for allocation.
const ELEMENTS: usize = 2;

/// Creates an empty column for about `capacity` values.
///
/// # Errors
/// Says what is wrong with a type that cannot be read from JSON.
pub(in crate::decode) fn make(data_type: &DataType, capacity: usize, reading: &Reading) -> Result<Box<dyn Column>, String> {
    let plain = bytes::make(data_type, capacity)
        .or_else(|| if reading.unscaled_decimals { decimals::make_unscaled(data_type, capacity) } else { None })
        .or_else(|| scalar::make(data_type, capacity))
        .or_else(|| temporal::make_plain(data_type, capacity));
    if let Some(column) = plain {
        return Ok(column);
    }
    match data_type {
        DataType::Timestamp(unit, zone) => temporal::make_timestamp(*unit, zone.clone(), reading.epoch, capacity),
        DataType::Struct(fields) => {
            let children = fields.iter().map(|field| make_field(field, capacity, reading)).collect::<Result<_, _>>()?;
            Ok(Box::new(nested::Struct::new(fields.clone(), children, reading, capacity)))
        }
        DataType::List(item) => Ok(Box::new(nested::List::<i32>::new(elements(item, capacity * ELEMENTS, reading)?, capacity))),
        DataType::LargeList(item) => {
            Ok(Box::new(nested::List::<i64>::new(elements(item, capacity * ELEMENTS, reading)?, capacity)))
        }
        DataType::FixedSizeList(item, size) => {
            let each = usize::try_from(*size).map_err(|_| "its size is negative".to_owned())?;
            Ok(Box::new(nested::FixedSizeList::new(elements(item, capacity * each, reading)?, *size, capacity)))
        }
        DataType::Map(entries, sorted) => {
            let (key, value) = nested::Map::pair(entries, *sorted)?;
            let (keys, values) =
                (make_field(&key, capacity * ELEMENTS, reading)?, elements(&value, capacity * ELEMENTS, reading)?);
            Ok(Box::new(nested::Map::new(Arc::clone(entries), keys, values, capacity)))
        }
        DataType::Dictionary(_, values) => Ok(Box::new(Cast::new(make(values, capacity, reading)?, data_type.clone()))),
        _ => Err("values of this type cannot be read from JSON".into()),
    }
}

/// Creates the column of a nested field. An error names the field.
fn make_field(field: &Field, capacity: usize, reading: &Reading) -> Result<Box<dyn Column>, String> {
    make(field.data_type(), capacity, reading).map_err(|reason| format!("{}: {reason}", field.name()))
}

fn elements(item: &FieldRef, capacity: usize, reading: &Reading) -> Result<Elements, String> {
    Ok(Elements::new(Arc::clone(item), make_field(item, capacity, reading)?))
}
