//! Writes Arrow rows as lines. Each row becomes a JSON object with all its columns, and is decoded by the rules of JSON. Nothing is lost:
//! floats are written with all digits, NaN and infinities as text, bytes as base64.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Float64Type, Int64Type};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::written::{write_as, write_float, write_text};

/// Appends a line for each row of a batch.
///
/// # Errors
/// A column has a type that cannot be written.
pub(crate) fn write_lines(batch: &RecordBatch, lines: &mut Vec<u8>) -> Result<(), ArrowError> {
    let columns: Vec<ArrayRef> = batch.columns().iter().map(written_as).collect::<Result<_, _>>()?;
    let members = members(batch.schema_ref().fields(), &columns)?;
    for row in 0..batch.num_rows() {
        write_object(&members, row, lines)?;
        lines.push(b'\n');
    }
    Ok(())
}

/// Writes the value of a row as JSON.
type WriteCell<'a> = dyn Fn(usize, &mut Vec<u8>) -> Result<(), ArrowError> + 'a;
type Cell<'a> = Box<WriteCell<'a>>;

/// `"name":` and the value of each member of an object.
type Members<'a> = Vec<(Vec<u8>, Cell<'a>)>;

fn members<'a>(fields: &[Arc<Field>], columns: &'a [ArrayRef]) -> Result<Members<'a>, ArrowError> {
    fields
        .iter()
        .zip(columns)
        .map(|(field, column)| {
            let mut name = Vec::new();
            write_text(field.name().as_bytes(), &mut name);
            name.push(b':');
            Ok((name, cell(column.as_ref())?))
        })
        .collect()
}

fn write_object(members: &Members<'_>, row: usize, json: &mut Vec<u8>) -> Result<(), ArrowError> {
    json.push(b'{');
    for (index, (name, write)) in members.iter().enumerate() {
        if index > 0 {
            json.push(b',');
        }
        json.extend_from_slice(name);
        write(row, json)?;
    }
    json.push(b'}');
    Ok(())
}

/// Casts a column to a type that [`cell`] can write.
fn written_as(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let data_type = written_type(column.data_type());
    if data_type == *column.data_type() { Ok(Arc::clone(column)) } else { cast(column, &data_type) }
}

fn written_type(data_type: &DataType) -> DataType {
    let of_field = |field: &Arc<Field>| Arc::new(field.as_ref().clone().with_data_type(written_type(field.data_type())));
    match data_type {
        DataType::Dictionary(_, values) => written_type(values),
        DataType::RunEndEncoded(_, values) => written_type(values.data_type()),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => DataType::LargeUtf8,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => DataType::LargeBinary,
        DataType::Float16 | DataType::Float32 => DataType::Float64,
        DataType::Duration(_) => DataType::Int64,
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            DataType::LargeList(of_field(item))
        }
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(of_field).collect()),
        DataType::Map(entries, sorted) => DataType::Map(of_field(entries), *sorted),
        other => other.clone(),
    }
}

fn cell(column: &dyn Array) -> Result<Cell<'_>, ArrowError> {
    let write: Cell<'_> = match column.data_type() {
        DataType::LargeUtf8 => {
            let texts = column.as_string::<i64>();
            Box::new(move |row, json| {
                write_text(texts.value(row).as_bytes(), json);
                Ok(())
            })
        }
        DataType::LargeBinary => {
            let values = column.as_binary::<i64>();
            Box::new(move |row, json| {
                write_text(STANDARD.encode(values.value(row)).as_bytes(), json);
                Ok(())
            })
        }
        DataType::Float64 => {
            let values = column.as_primitive::<Float64Type>();
            Box::new(move |row, json| {
                write_float(values.value(row), json);
                Ok(())
            })
        }
        DataType::Int64 => {
            let values = column.as_primitive::<Int64Type>();
            Box::new(move |row, json| {
                write_as(json, format_args!("{}", values.value(row)));
                Ok(())
            })
        }
        DataType::Struct(fields) => {
            let members = members(fields, column.as_struct().columns())?;
            Box::new(move |row, json| write_object(&members, row, json))
        }
        DataType::LargeList(_) => {
            let list = column.as_list::<i64>();
            let element = cell(list.values().as_ref())?;
            Box::new(move |row, json| {
                let range = list.value_offsets()[row]..list.value_offsets()[row + 1];
                write_between(b"[]", range.map(|index| index as usize), json, &element)
            })
        }
        DataType::Map(..) => {
            let map = column.as_map();
            let (keys, value) = (map_keys(map.keys())?, cell(map.values().as_ref())?);
            Box::new(move |row, json| {
                let range = map.value_offsets()[row]..map.value_offsets()[row + 1];
                write_between(b"{}", range.map(|index| index as usize), json, &|entry, json| {
                    write_text(keys.as_string::<i64>().value(entry).as_bytes(), json);
                    json.push(b':');
                    value(entry, json)
                })
            })
        }
        data_type => {
            let quoted = !(data_type.is_numeric() || *data_type == DataType::Boolean);
            let options = FormatOptions::new();
            let values = ArrayFormatter::try_new(column, &options.with_display_error(true))?;
            Box::new(move |row, json| {
                if quoted {
                    write_as(json, format_args!("\"{}\"", values.value(row)));
                } else {
                    write_as(json, format_args!("{}", values.value(row)));
                }
                Ok(())
            })
        }
    };
    let Some(nulls) = column.logical_nulls() else { return Ok(write) };
    Ok(Box::new(move |row, json| {
        if nulls.is_valid(row) {
            return write(row, json);
        }
        json.extend_from_slice(b"null");
        Ok(())
    }))
}

fn map_keys(keys: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    cast(keys, &DataType::LargeUtf8)
}

fn write_between(
    brackets: &[u8; 2],
    entries: impl Iterator<Item = usize>,
    json: &mut Vec<u8>,
    write: &WriteCell<'_>,
) -> Result<(), ArrowError> {
    json.push(brackets[0]);
    for (index, entry) in entries.enumerate() {
        if index > 0 {
            json.push(b',');
        }
        write(entry, json)?;
    }
    json.push(brackets[1]);
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use arrow::array::{
        BinaryArray, BooleanArray, Date32Array, Decimal128Array, DictionaryArray, Float32Array, Float64Array, ListArray,
        StringViewArray, StructArray, TimestampMicrosecondArray, UInt64Array,
    };
    use arrow::datatypes::{Int32Type, UInt8Type};

    use super::*;

    #[test]
    fn each_row_is_an_object() {
        let list = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), None]), None]);
        let flag: ArrayRef = Arc::new(BooleanArray::from(vec![Some(true), None]));
        let inner = StructArray::from(vec![(Arc::new(Field::new("b", DataType::Boolean, true)), flag)]);
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("i", Arc::new(UInt64Array::from(vec![Some(u64::MAX), None]))),
            ("f", Arc::new(Float32Array::from(vec![0.1, f32::NAN]))),
            ("g", Arc::new(Float64Array::from(vec![-0.0, 1e300]))),
            ("d", Arc::new(Decimal128Array::from(vec![-150, 7]).with_precision_and_scale(10, 2).unwrap())),
            ("t", Arc::new(StringViewArray::from(vec![Some("a\"é\n"), None]))),
            ("x", Arc::new(BinaryArray::from(vec![&b"\x00\xff"[..], b""]))),
            ("c", Arc::new(DictionaryArray::<UInt8Type>::from_iter(["low", "high"]))),
            ("y", Arc::new(Date32Array::from(vec![0, 20_000]))),
            ("z", Arc::new(TimestampMicrosecondArray::from(vec![1, 0]).with_timezone("+00:00"))),
            ("l", Arc::new(list)),
            ("s", Arc::new(inner)),
        ];
        let batch =
            RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true))).unwrap();
        let mut lines = Vec::new();
        write_lines(&batch, &mut lines).unwrap();
        let expected = concat!(
            r#"{"i":18446744073709551615,"f":0.10000000149011612,"g":-0,"d":-1.50,"t":"a\"é\n","x":"AP8=","c":"low","y":"1970-01-01","#,
            r#""z":"1970-01-01T00:00:00.000001Z","l":[1,null],"s":{"b":true}}"#,
            "\n",
            r#"{"i":null,"f":"NaN","g":1e300,"d":0.07,"t":null,"x":"","c":"high","y":"2024-10-04","#,
            r#""z":"1970-01-01T00:00:00Z","l":null,"s":{"b":null}}"#,
            "\n"
        );
        assert_eq!(String::from_utf8(lines).unwrap(), expected);
    }
}
