//! Copies arrays so that they hold no memory beyond their own values.
//!
//! A slice keeps the whole array alive, and a string view keeps every buffer of its batch alive. So an array is made compact before it is
//! kept as state.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, GenericListArray, MapArray, OffsetSizeTrait, StructArray, UInt32Array, make_array, new_empty_array,
};
use arrow::compute::{concat, take};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use rayon::prelude::*;

use crate::error::Error;

/// Copies rows `start..start + length` of each array to memory of their own.
fn copy_range(arrays: &[ArrayRef], start: usize, length: usize) -> Result<Vec<ArrayRef>, Error> {
    let indices = UInt32Array::from_iter_values((start..start + length).map(|row| row as u32));
    arrays.iter().map(|array| Ok(shed(&take(array, &indices, None)?))).collect()
}

/// A range of rows, and their columns.
pub(crate) type Piece = (Range<usize>, Vec<ArrayRef>);

/// Copies all rows, in order, in pieces of at most `step` rows, each to memory of its own.
pub(crate) fn copy_pieces(arrays: &[ArrayRef], rows: usize, step: usize) -> Result<Vec<Piece>, Error> {
    let ranges: Vec<Range<usize>> = (0..rows).step_by(step).map(|start| start..rows.min(start + step)).collect();
    ranges.into_par_iter().map(|range| Ok((range.clone(), copy_range(arrays, range.start, range.len())?))).collect()
}

/// Concatenates the rows of all batches.
pub(crate) fn concat_rows(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<RecordBatch, Error> {
    let rows = batches.iter().map(RecordBatch::num_rows).sum();
    let columns = (0..schema.fields().len()).into_par_iter().map(|column| {
        let pieces: Vec<&dyn Array> = batches.iter().map(|batch| batch.column(column).as_ref()).collect();
        if pieces.is_empty() { Ok(new_empty_array(schema.field(column).data_type())) } else { Ok(concat(&pieces)?) }
    });
    let columns = columns.collect::<Result<_, Error>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}

/// Drops the buffers to which no view of the array points, at any depth.
pub(crate) fn shed(array: &ArrayRef) -> ArrayRef {
    match array.data_type() {
        DataType::Utf8View => Arc::new(array.as_string_view().gc()),
        DataType::BinaryView => Arc::new(array.as_binary_view().gc()),
        DataType::List(_) => shed_list(array.as_list::<i32>()),
        DataType::LargeList(_) => shed_list(array.as_list::<i64>()),
        DataType::Struct(_) => {
            let (fields, columns, nulls) = array.as_struct().clone().into_parts();
            if columns.is_empty() {
                return Arc::clone(array);
            }
            Arc::new(StructArray::new(fields, columns.iter().map(shed).collect(), nulls))
        }
        DataType::Map(_, _) => {
            let (field, offsets, entries, nulls, ordered) = array.as_map().clone().into_parts();
            let entries: ArrayRef = Arc::new(entries);
            Arc::new(MapArray::new(field, offsets, shed(&entries).as_struct().clone(), nulls, ordered))
        }
        _ => Arc::clone(array),
    }
}

fn shed_list<O: OffsetSizeTrait>(array: &GenericListArray<O>) -> ArrayRef {
    let (field, offsets, values, nulls) = array.clone().into_parts();
    Arc::new(GenericListArray::new(field, offsets, shed(&values), nulls))
}

/// Returns the number of bytes that the batch holds.
pub(crate) fn bytes(batch: &RecordBatch) -> usize {
    batch.columns().iter().map(|column| column.get_buffer_memory_size()).sum()
}

/// Gives the array a type that differs from its own at most in the names, the nullability and the metadata of nested fields.
pub(crate) fn with_type(array: &ArrayRef, data_type: &DataType) -> Result<ArrayRef, Error> {
    if array.data_type() == data_type {
        return Ok(Arc::clone(array));
    }
    let data = array.to_data().into_builder();
    let children = array
        .to_data()
        .child_data()
        .iter()
        .zip(child_types(data_type))
        .map(|(child, child_type)| Ok(with_type(&make_array(child.clone()), child_type)?.to_data()))
        .collect::<Result<Vec<_>, Error>>()?;
    Ok(make_array(data.data_type(data_type.clone()).child_data(children).build()?))
}

fn child_types(data_type: &DataType) -> Vec<&DataType> {
    match data_type {
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::ListView(field)
        | DataType::LargeListView(field)
        | DataType::FixedSizeList(field, _)
        | DataType::Map(field, _) => vec![field.data_type()],
        DataType::Struct(fields) => fields.iter().map(|field| field.data_type()).collect(),
        DataType::Dictionary(_, values) => vec![values],
        _ => Vec::new(),
    }
}
