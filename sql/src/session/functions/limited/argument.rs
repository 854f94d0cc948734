//! An argument of a call, by row: as numbers, texts or sizes in bytes. A constant argument is kept once.

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, LargeStringArray, OffsetSizeTrait, StringArray, StringViewArray};
use arrow::buffer::OffsetBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use datafusion::common::{Result, internal_err};
use datafusion::logical_expr::ColumnarValue;

use crate::sizes::add_bytes;

/// An array. It has a single value if the argument is constant.
#[derive(Debug)]
pub(super) struct Argument {
    pub(super) array: ArrayRef,
    constant: bool,
}

impl Argument {
    pub(super) fn of(value: &ColumnarValue) -> Result<Argument> {
        Ok(match value {
            ColumnarValue::Array(array) => Argument { array: array.clone(), constant: false },
            ColumnarValue::Scalar(scalar) => Argument { array: scalar.to_array()?, constant: true },
        })
    }

    /// Casts the argument to another type. Values that do not fit become NULL.
    pub(super) fn cast(&self, to: &DataType) -> Result<Argument> {
        Ok(Argument { array: cast(&self.array, to)?, constant: self.constant })
    }

    /// Returns the index of a row's value.
    pub(super) fn at(&self, row: usize) -> usize {
        if self.constant { 0 } else { row }
    }

    pub(super) fn numbers(&self) -> Result<Numbers> {
        let array = self.cast(&DataType::Int64)?.array.as_primitive::<Int64Type>().clone();
        Ok(Numbers { array, constant: self.constant })
    }

    pub(super) fn texts(&self) -> Result<Texts> {
        let array = match self.array.data_type() {
            DataType::Utf8 => Text::Utf8(self.array.as_string().clone()),
            DataType::LargeUtf8 => Text::Large(self.array.as_string().clone()),
            DataType::Utf8View => Text::View(self.array.as_string_view().clone()),
            DataType::Null => Text::Utf8(StringArray::new_null(self.array.len())),
            other => return internal_err!("text expected, found {other}"),
        };
        Ok(Texts { array, constant: self.constant })
    }

    /// Returns the size of each value in bytes.
    pub(super) fn bytes(&self) -> Result<Sizes> {
        let mut rows = vec![0; self.array.len()];
        add_bytes(&self.array, &mut rows)?;
        Ok(Sizes { rows, constant: self.constant })
    }

    /// Returns how many elements each list has, counting those of nested lists one by one.
    pub(super) fn leaves(&self) -> Result<Sizes> {
        let mut rows = vec![0; self.array.len()];
        add_leaves(&self.array, &mut rows);
        Ok(Sizes { rows, constant: self.constant })
    }

    /// Checks whether the elements of the innermost lists are texts.
    pub(super) fn is_of_texts(&self) -> bool {
        let mut data_type = self.array.data_type();
        while let DataType::List(field) | DataType::LargeList(field) | DataType::FixedSizeList(field, _) = data_type {
            data_type = field.data_type();
        }
        matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
    }
}

fn add_leaves(array: &dyn Array, rows: &mut [u64]) {
    match array.data_type() {
        DataType::List(_) => add_elements(rows, array.as_list::<i32>().offsets(), array.as_list::<i32>().values()),
        DataType::LargeList(_) => add_elements(rows, array.as_list::<i64>().offsets(), array.as_list::<i64>().values()),
        DataType::FixedSizeList(_, length) => rows.iter_mut().for_each(|row| *row += u64::try_from(*length).unwrap_or_default()),
        _ => rows.iter_mut().for_each(|row| *row += 1),
    }
}

fn add_elements<O: OffsetSizeTrait>(rows: &mut [u64], offsets: &OffsetBuffer<O>, values: &ArrayRef) {
    let mut elements = vec![0; values.len()];
    add_leaves(values, &mut elements);
    for (row, bounds) in rows.iter_mut().zip(offsets.windows(2)) {
        *row += elements[bounds[0].as_usize()..bounds[1].as_usize()].iter().sum::<u64>();
    }
}

/// Whole numbers, by row.
#[derive(Debug)]
pub(super) struct Numbers {
    array: Int64Array,
    constant: bool,
}

impl Numbers {
    #[inline]
    pub(super) fn get(&self, row: usize) -> Option<i64> {
        let at = if self.constant { 0 } else { row };
        self.array.is_valid(at).then(|| self.array.value(at))
    }

    /// Returns a number as a count: 0 for NULL and for numbers below 0.
    #[inline]
    pub(super) fn count(&self, row: usize) -> u64 {
        self.get(row).and_then(|number| u64::try_from(number).ok()).unwrap_or_default()
    }
}

/// Sizes, by row.
#[derive(Debug)]
pub(super) struct Sizes {
    rows: Vec<u64>,
    constant: bool,
}

impl Sizes {
    #[inline]
    pub(super) fn of(&self, row: usize) -> u64 {
        self.rows[if self.constant { 0 } else { row }]
    }
}

/// Texts, by row.
#[derive(Debug)]
pub(super) struct Texts {
    array: Text,
    constant: bool,
}

#[derive(Debug)]
enum Text {
    Utf8(StringArray),
    Large(LargeStringArray),
    View(StringViewArray),
}

impl Texts {
    #[inline]
    pub(super) fn get(&self, row: usize) -> Option<&str> {
        let at = if self.constant { 0 } else { row };
        match &self.array {
            Text::Utf8(array) => array.is_valid(at).then(|| array.value(at)),
            Text::Large(array) => array.is_valid(at).then(|| array.value(at)),
            Text::View(array) => array.is_valid(at).then(|| array.value(at)),
        }
    }
}
