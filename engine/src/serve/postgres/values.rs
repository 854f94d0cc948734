//! Values of Arrow columns in the formats of the Postgres protocol, and its parameters as values.

use std::fmt::Write as _;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, StringArray};
use datafusion::arrow::compute::{CastOptions, cast, cast_with_options};
use datafusion::arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, TimeUnit,
    TimestampMicrosecondType,
};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::common::ScalarValue;

/// The OID and the length of the type that stands for an Arrow type.
pub(super) fn type_of(data_type: &DataType) -> (i32, i16) {
    use DataType as T;
    match data_type {
        T::Boolean => (16, 1),
        T::Binary | T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_) => (17, -1),
        T::Int8 | T::Int16 | T::UInt8 => (21, 2),
        T::Int32 | T::UInt16 => (23, 4),
        T::Int64 | T::UInt32 => (20, 8),
        T::UInt64 | T::Decimal32(..) | T::Decimal64(..) | T::Decimal128(..) | T::Decimal256(..) => (1700, -1),
        T::Float16 | T::Float32 => (700, 4),
        T::Float64 => (701, 8),
        T::Date32 | T::Date64 => (1082, 4),
        T::Time32(_) | T::Time64(_) => (1083, 8),
        T::Timestamp(_, None) => (1114, 8),
        T::Timestamp(_, Some(_)) => (1184, 8),
        T::Interval(_) | T::Duration(_) => (1186, 16),
        T::List(item) | T::LargeList(item) | T::FixedSizeList(item, _) if !item.data_type().is_nested() => {
            (array_of(type_of(item.data_type()).0), -1)
        }
        T::Dictionary(_, value) => type_of(value),
        // Structs and maps are sent as JSON.
        data_type if data_type.is_nested() => (114, -1),
        _ => (25, -1),
    }
}

fn array_of(item: i32) -> i32 {
    match item {
        16 => 1000,
        17 => 1001,
        20 => 1016,
        21 => 1005,
        23 => 1007,
        700 => 1021,
        701 => 1022,
        1082 => 1182,
        1114 => 1115,
        1184 => 1185,
        1700 => 1231,
        _ => 1009,
    }
}

/// The Arrow type that a parameter of this OID is; `None` if the client left it open, or the type is not known.
pub(super) fn type_of_oid(oid: i32) -> Option<DataType> {
    Some(match oid {
        16 => DataType::Boolean,
        17 => DataType::Binary,
        20 => DataType::Int64,
        21 => DataType::Int16,
        23 => DataType::Int32,
        700 => DataType::Float32,
        701 => DataType::Float64,
        1082 => DataType::Date32,
        1114 => DataType::Timestamp(TimeUnit::Microsecond, None),
        1184 => DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())),
        18 | 19 | 25 | 1042 | 1043 => DataType::Utf8,
        _ => return None,
    })
}

/// Writes the values of one column.
pub(super) enum Column {
    /// In the text format, whatever the type.
    Text(ArrayRef),
    /// In the binary format.
    Binary(ArrayRef),
}

impl Column {
    /// Prepares a column to be written. A type without a binary format here is an error if `binary` is asked for.
    pub(super) fn new(array: &ArrayRef, binary: bool) -> Result<Column, ArrowError> {
        use DataType as T;
        let array = match array.data_type() {
            T::Int8 | T::UInt8 => cast(array, &T::Int16)?,
            T::UInt16 => cast(array, &T::Int32)?,
            T::UInt32 => cast(array, &T::Int64)?,
            T::UInt64 => cast(array, &T::Decimal128(20, 0))?,
            T::Float16 => cast(array, &T::Float32)?,
            T::Utf8View | T::LargeUtf8 => cast(array, &T::Utf8)?,
            T::BinaryView | T::LargeBinary | T::FixedSizeBinary(_) => cast(array, &T::Binary)?,
            T::Date64 => cast(array, &T::Date32)?,
            T::Dictionary(_, value) => cast(array, value)?,
            T::Timestamp(unit, zone) if binary && *unit != TimeUnit::Microsecond => {
                cast(array, &T::Timestamp(TimeUnit::Microsecond, zone.clone()))?
            }
            _ => ArrayRef::clone(array),
        };
        if !binary {
            return Ok(Column::Text(array));
        }
        match array.data_type() {
            T::Boolean | T::Int16 | T::Int32 | T::Int64 | T::Float32 | T::Float64 | T::Utf8 | T::Binary | T::Date32 => {}
            T::Timestamp(..) | T::Decimal128(..) => {}
            other => return Err(ArrowError::NotYetImplemented(format!("the binary format of {other}: ask for the text format"))),
        }
        Ok(Column::Binary(array))
    }

    /// Appends a value after its length.
    pub(super) fn write(&self, row: usize, out: &mut Vec<u8>, scratch: &mut String) -> Result<(), ArrowError> {
        let (Column::Text(array) | Column::Binary(array)) = self;
        if array.is_null(row) {
            out.extend_from_slice(&(-1_i32).to_be_bytes());
            return Ok(());
        }
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        match self {
            Column::Binary(array) => binary(array, row, out),
            Column::Text(array) => {
                scratch.clear();
                text(array, row, scratch)?;
                out.extend_from_slice(scratch.as_bytes());
            }
        }
        let length = u32::try_from(out.len() - start - 4).unwrap_or(u32::MAX);
        out[start..start + 4].copy_from_slice(&length.to_be_bytes());
        Ok(())
    }
}

/// Days from 1970 to 2000, from which Postgres counts.
const EPOCH_DAYS: i32 = 10_957;
const EPOCH_US: i64 = 10_957 * 86_400_000_000;

fn binary(array: &ArrayRef, row: usize, out: &mut Vec<u8>) {
    match array.data_type() {
        DataType::Boolean => out.push(u8::from(array.as_boolean().value(row))),
        DataType::Int16 => out.extend_from_slice(&array.as_primitive::<Int16Type>().value(row).to_be_bytes()),
        DataType::Int32 => out.extend_from_slice(&array.as_primitive::<Int32Type>().value(row).to_be_bytes()),
        DataType::Int64 => out.extend_from_slice(&array.as_primitive::<Int64Type>().value(row).to_be_bytes()),
        DataType::Float32 => out.extend_from_slice(&array.as_primitive::<Float32Type>().value(row).to_be_bytes()),
        DataType::Float64 => out.extend_from_slice(&array.as_primitive::<Float64Type>().value(row).to_be_bytes()),
        DataType::Utf8 => out.extend_from_slice(array.as_string::<i32>().value(row).as_bytes()),
        DataType::Binary => out.extend_from_slice(array.as_binary::<i32>().value(row)),
        DataType::Date32 => {
            out.extend_from_slice(&(array.as_primitive::<Date32Type>().value(row).saturating_sub(EPOCH_DAYS)).to_be_bytes())
        }
        DataType::Timestamp(..) => {
            out.extend_from_slice(
                &(array.as_primitive::<TimestampMicrosecondType>().value(row).saturating_sub(EPOCH_US)).to_be_bytes(),
            );
        }
        DataType::Decimal128(_, scale) => numeric(array.as_primitive::<Decimal128Type>().value(row), *scale, out),
        // Column::new lets no other through.
        _ => {}
    }
}

/// A decimal as base-10,000 digits with the weight of the first.
fn numeric(value: i128, scale: i8, out: &mut Vec<u8>) {
    let places = usize::try_from(scale).unwrap_or(0);
    let zeros = usize::try_from(-i32::from(scale)).unwrap_or(0);
    let mut digits = value.unsigned_abs().to_string();
    digits.extend(std::iter::repeat_n('0', zeros));
    let digits = format!("{digits:0>width$}", width = places + 1);
    let (whole, part) = digits.split_at(digits.len() - places);
    let whole = format!("{whole:0>width$}", width = whole.len().div_ceil(4) * 4);
    let part = format!("{part:0<width$}", width = part.len().div_ceil(4) * 4);
    let groups = |text: &str| {
        text.as_bytes()
            .chunks(4)
            .map(|four| four.iter().fold(0_i16, |sum, digit| sum * 10 + i16::from(digit - b'0')))
            .collect::<Vec<_>>()
    };
    let (whole, mut all) = (groups(&whole), groups(&part));
    let mut weight = i16::try_from(whole.len()).unwrap_or(i16::MAX) - 1;
    all.splice(0..0, whole);
    let leading = all.iter().take_while(|group| **group == 0).count();
    all.drain(..leading);
    weight -= i16::try_from(leading).unwrap_or(0);
    while all.last() == Some(&0) {
        all.pop();
    }
    let sign: u16 = if value < 0 { 0x4000 } else { 0 };
    out.extend_from_slice(&i16::try_from(all.len()).unwrap_or(i16::MAX).to_be_bytes());
    out.extend_from_slice(&(if all.is_empty() { 0 } else { weight }).to_be_bytes());
    out.extend_from_slice(&sign.to_be_bytes());
    out.extend_from_slice(&i16::try_from(places).unwrap_or(0).to_be_bytes());
    for group in all {
        out.extend_from_slice(&group.to_be_bytes());
    }
}

fn text(array: &ArrayRef, row: usize, out: &mut String) -> Result<(), ArrowError> {
    let write = |error: std::fmt::Error| ArrowError::ExternalError(Box::new(error));
    match array.data_type() {
        DataType::Boolean => out.push(if array.as_boolean().value(row) { 't' } else { 'f' }),
        DataType::Utf8 => out.push_str(array.as_string::<i32>().value(row)),
        DataType::Binary => {
            out.push_str("\\x");
            for byte in array.as_binary::<i32>().value(row) {
                write!(out, "{byte:02x}").map_err(write)?;
            }
        }
        DataType::Float32 => {
            float(f64::from(array.as_primitive::<Float32Type>().value(row)), &array.as_primitive::<Float32Type>().value(row), out)
        }
        DataType::Float64 => {
            float(array.as_primitive::<Float64Type>().value(row), &array.as_primitive::<Float64Type>().value(row), out)
        }
        DataType::List(item) if !item.data_type().is_nested() => list(&array.as_list::<i32>().value(row), out)?,
        data_type if data_type.is_nested() => json(array, row, out)?,
        data_type => {
            let options = FormatOptions::default()
                .with_timestamp_format(Some("%Y-%m-%d %H:%M:%S%.f"))
                .with_timestamp_tz_format(Some("%Y-%m-%d %H:%M:%S%.f%:z"));
            let start = out.len();
            write!(out, "{}", ArrayFormatter::try_new(array, &options)?.value(row)).map_err(write)?;
            if matches!(data_type, DataType::Timestamp(_, Some(_))) && out[start..].ends_with("+00:00") {
                out.truncate(out.len() - 3);
            }
        }
    }
    Ok(())
}

fn float(value: f64, shown: &dyn std::fmt::Display, out: &mut String) {
    match value {
        value if value.is_nan() => out.push_str("NaN"),
        f64::INFINITY => out.push_str("Infinity"),
        f64::NEG_INFINITY => out.push_str("-Infinity"),
        _ => {
            // Writing to a text cannot fail.
            let _ = write!(out, "{shown}");
        }
    }
}

/// An array in Postgres' syntax.
fn list(items: &ArrayRef, out: &mut String) -> Result<(), ArrowError> {
    let Column::Text(items) = Column::new(items, false)? else { return Ok(()) };
    out.push('{');
    let mut item = String::new();
    for row in 0..items.len() {
        if row > 0 {
            out.push(',');
        }
        if items.is_null(row) {
            out.push_str("NULL");
            continue;
        }
        item.clear();
        text(&items, row, &mut item)?;
        let plain = !item.is_empty()
            && !item.eq_ignore_ascii_case("null")
            && !item.contains(|c: char| "{}\",\\".contains(c) || c.is_whitespace());
        if plain {
            out.push_str(&item);
        } else {
            out.push('"');
            out.push_str(&item.replace('\\', "\\\\").replace('"', "\\\""));
            out.push('"');
        }
    }
    out.push('}');
    Ok(())
}

fn json(array: &ArrayRef, row: usize, out: &mut String) -> Result<(), ArrowError> {
    let one = datafusion::arrow::array::RecordBatch::try_from_iter([("v", array.slice(row, 1))])?;
    let mut bytes = Vec::new();
    let mut writer = datafusion::arrow::json::LineDelimitedWriter::new(&mut bytes);
    writer.write(&one)?;
    writer.finish()?;
    let line = String::from_utf8_lossy(&bytes);
    out.push_str(line.trim().strip_prefix("{\"v\":").and_then(|line| line.strip_suffix('}')).unwrap_or("null"));
    Ok(())
}

/// A parameter as a value of a type.
pub(super) fn parameter(bytes: Option<&[u8]>, binary: bool, data_type: &DataType) -> Result<ScalarValue, String> {
    let Some(bytes) = bytes else { return ScalarValue::try_from(data_type).map_err(|error| error.to_string()) };
    let wrong = || format!("a parameter is not a {}", crate::query::sql_types::sql_name(data_type));
    if binary {
        return from_binary(bytes, data_type).ok_or_else(wrong);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| wrong())?;
    let text = match data_type {
        DataType::Boolean if text == "t" => "true",
        DataType::Boolean if text == "f" => "false",
        DataType::Binary => {
            return text.strip_prefix("\\x").and_then(unhex).map(|bytes| ScalarValue::Binary(Some(bytes))).ok_or_else(wrong);
        }
        _ => text,
    };
    let options = CastOptions { safe: false, ..CastOptions::default() };
    let array = cast_with_options(&StringArray::from(vec![text]), data_type, &options).map_err(|_| wrong())?;
    ScalarValue::try_from_array(&array, 0).map_err(|_| wrong())
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    digits.len().is_multiple_of(2).then_some(())?;
    digits.chunks(2).map(|two| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok()).collect()
}

fn from_binary(bytes: &[u8], data_type: &DataType) -> Option<ScalarValue> {
    // The client sends the width that its type has, which need not be that of the column.
    let whole = || match bytes.len() {
        2 => bytes.try_into().ok().map(|bytes| i64::from(i16::from_be_bytes(bytes))),
        4 => bytes.try_into().ok().map(|bytes| i64::from(i32::from_be_bytes(bytes))),
        8 => bytes.try_into().ok().map(i64::from_be_bytes),
        _ => None,
    };
    // A client sends the type that it was told, which need not be the column's.
    let told = type_of(data_type).0;
    if told == NUMERIC {
        return ScalarValue::Utf8(Some(numeric_text(bytes)?)).cast_to(data_type).ok();
    }
    let canonical = type_of_oid(told)?;
    let value = match &canonical {
        DataType::Boolean => Some(ScalarValue::Boolean(Some(*bytes.first()? != 0))),
        DataType::Float32 => Some(ScalarValue::Float32(Some(f32::from_be_bytes(bytes.try_into().ok()?)))),
        DataType::Float64 => Some(ScalarValue::Float64(Some(f64::from_be_bytes(bytes.try_into().ok()?)))),
        DataType::Utf8 => Some(ScalarValue::Utf8(Some(String::from_utf8(bytes.to_vec()).ok()?))),
        DataType::Binary => Some(ScalarValue::Binary(Some(bytes.to_vec()))),
        DataType::Date32 => Some(ScalarValue::Date32(Some(i32::try_from(whole()?).ok()?.checked_add(EPOCH_DAYS)?))),
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            Some(ScalarValue::TimestampMicrosecond(Some(whole()?.checked_add(EPOCH_US)?), zone.clone()))
        }
        data_type if data_type.is_integer() => ScalarValue::Int64(Some(whole()?)).cast_to(data_type).ok(),
        _ => None,
    }?;
    value.cast_to(data_type).ok()
}

const NUMERIC: i32 = 1700;

/// A NUMERIC of the binary format as text; `None` for NaN and the infinities.
fn numeric_text(bytes: &[u8]) -> Option<String> {
    let number = |at: usize| Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]));
    let (count, weight, sign, scale) = (usize::from(number(0)?), number(2)?.cast_signed(), number(4)?, usize::from(number(6)?));
    if !matches!(sign, 0 | 0x4000) || weight > 100 || scale > 100 || count > 100 {
        return None;
    }
    let group = |exponent: i32| -> Option<u16> {
        match usize::try_from(i32::from(weight) - exponent) {
            Ok(index) if index < count => number(8 + 2 * index),
            _ => Some(0),
        }
    };
    let mut text = String::from(if sign == 0 { "" } else { "-" });
    for exponent in (0..=i32::from(weight).max(0)).rev() {
        write!(text, "{:04}", group(exponent)?).ok()?;
    }
    let mut part = String::new();
    for exponent in 1..=i32::try_from(scale.div_ceil(4)).ok()? {
        write!(part, "{:04}", group(-exponent)?).ok()?;
    }
    part.truncate(scale);
    Some(if part.is_empty() { text } else { format!("{text}.{part}") })
}
