//! How many bytes values take, and the limits. Counts what an array holds, not what it has allocated.
//!
//! Events choose the values that an expression is computed on, so the size of a result is bounded before it is made. A result
//! larger than memory would end the process.

use std::fmt;

use arrow::array::{Array, ArrayRef, AsArray, OffsetSizeTrait};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::DataType;
use datafusion::common::DataFusionError;

/// The most bytes of one value that a function makes. A row with a larger value is left out.
pub const VALUE_BYTES: u64 = 16 << 20;
/// The most bytes that one call makes of a batch. A batch that needs more is run in parts. Fits offsets of 32 bits.
pub const BATCH_BYTES: u64 = 1 << 30;
/// The fewest bytes that an element of a list made by a function takes.
pub(crate) const ELEMENT_BYTES: u64 = 8;

/// Adds up the bytes that a call would make, and refuses more than a row or a batch may have.
#[derive(Debug)]
pub(crate) struct Budget<'a> {
    function: &'a str,
    made: u64,
}

impl<'a> Budget<'a> {
    pub(crate) fn new(function: &'a str) -> Budget<'a> {
        Budget { function, made: 0 }
    }

    /// Adds a value of this many bytes, which the function makes for a row.
    ///
    /// # Errors
    /// A value error if that is too much for the row, or for the batch so far.
    #[inline]
    pub(crate) fn take(&mut self, bytes: u64) -> Result<(), DataFusionError> {
        self.made = self.made.saturating_add(bytes);
        if bytes > VALUE_BYTES || self.made > BATCH_BYTES { Err(self.refused(bytes)) } else { Ok(()) }
    }

    /// Returns the error for a value that the function cannot make.
    pub(crate) fn error(&self, what: impl fmt::Display) -> DataFusionError {
        DataFusionError::Execution(format!("{}: {what}", self.function))
    }

    fn refused(&self, bytes: u64) -> DataFusionError {
        let mib = |bytes: u64| bytes >> 20;
        match bytes > VALUE_BYTES {
            true => self.error(format!("a value of more than {} MiB", mib(VALUE_BYTES))),
            false => self.error(format!("values of more than {} MiB in one batch", mib(BATCH_BYTES))),
        }
    }
}

/// Adds the size in bytes of each row's value to `rows`, which is as long as the array.
///
/// # Errors
/// Those of Arrow, for arrays whose layout does not match their type.
pub fn add_bytes(array: &dyn Array, rows: &mut [u64]) -> Result<(), DataFusionError> {
    let offsets = |rows: &mut [u64], offsets: &[i32]| add_lengths(rows, offsets);
    match array.data_type() {
        DataType::Null => {}
        DataType::Boolean => rows.iter_mut().for_each(|row| *row += 1),
        DataType::Utf8 => offsets(rows, array.as_string::<i32>().value_offsets()),
        DataType::Binary => offsets(rows, array.as_binary::<i32>().value_offsets()),
        DataType::LargeUtf8 => add_lengths(rows, array.as_string::<i64>().value_offsets()),
        DataType::LargeBinary => add_lengths(rows, array.as_binary::<i64>().value_offsets()),
        DataType::Utf8View => {
            rows.iter_mut().zip(array.as_string_view().lengths()).for_each(|(row, length)| *row += u64::from(length))
        }
        DataType::BinaryView => {
            rows.iter_mut().zip(array.as_binary_view().lengths()).for_each(|(row, length)| *row += u64::from(length));
        }
        DataType::List(_) => add_elements(rows, array.as_list::<i32>().offsets(), array.as_list::<i32>().values())?,
        DataType::LargeList(_) => add_elements(rows, array.as_list::<i64>().offsets(), array.as_list::<i64>().values())?,
        DataType::Map(..) => {
            let entries: ArrayRef = std::sync::Arc::new(array.as_map().entries().clone());
            add_elements(rows, array.as_map().offsets(), &entries)?;
        }
        DataType::Struct(_) => array.as_struct().columns().iter().try_for_each(|column| add_bytes(column, rows))?,
        other => match other.primitive_width() {
            Some(width) => rows.iter_mut().for_each(|row| *row += width as u64),
            None => {
                for (index, row) in rows.iter_mut().enumerate() {
                    *row += array.slice(index, 1).to_data().get_slice_memory_size()? as u64;
                }
            }
        },
    }
    Ok(())
}

fn add_lengths<O: OffsetSizeTrait>(rows: &mut [u64], offsets: &[O]) {
    for (row, bounds) in rows.iter_mut().zip(offsets.windows(2)) {
        *row += (bounds[1] - bounds[0]).as_usize() as u64;
    }
}

fn add_elements<O: OffsetSizeTrait>(
    rows: &mut [u64],
    offsets: &OffsetBuffer<O>,
    values: &ArrayRef,
) -> Result<(), DataFusionError> {
    let mut elements = vec![0; values.len()];
    add_bytes(values, &mut elements)?;
    for (row, bounds) in rows.iter_mut().zip(offsets.windows(2)) {
        *row += elements[bounds[0].as_usize()..bounds[1].as_usize()].iter().sum::<u64>();
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, ListArray, StringArray, StructArray};
    use arrow::datatypes::Int32Type;

    use super::*;

    fn bytes(array: &dyn Array) -> Vec<u64> {
        let mut rows = vec![0; array.len()];
        add_bytes(array, &mut rows).unwrap();
        rows
    }

    #[test]
    fn bytes_are_those_of_each_row() {
        let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("ab"), None, Some("abcd")]));
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
        let lists = ListArray::from_iter_primitive::<Int32Type, _, _>(vec![Some(vec![Some(1), None]), None, Some(vec![])]);
        assert_eq!(bytes(&texts), [2, 0, 4]);
        assert_eq!(bytes(&texts.slice(1, 2)), [0, 4]);
        assert_eq!(bytes(&lists), [8, 0, 0]);
        assert_eq!(bytes(&StructArray::try_from(vec![("t", texts), ("n", numbers)]).unwrap()), [10, 8, 12]);
    }

    #[test]
    fn a_budget_ends_with_a_row_or_with_a_batch() {
        let mut budget = Budget::new("repeat");
        assert_eq!(budget.take(VALUE_BYTES + 1).unwrap_err().to_string(), "Execution error: repeat: a value of more than 16 MiB");
        let mut budget = Budget::new("repeat");
        let taken = (0..1_000).take_while(|_| budget.take(VALUE_BYTES).is_ok()).count() as u64;
        assert_eq!(taken, BATCH_BYTES / VALUE_BYTES);
    }
}
