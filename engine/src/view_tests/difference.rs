//! The difference between the rows that a view has and those that a test expects.

use std::collections::{BTreeMap, BTreeSet};

use alluvium_sql::nearest;
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::DataType;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use serde_json::Value;

use super::yaml::text;

/// Floating-point values that differ by less, relative to the larger one, are equal, as in the law.
const TOLERANCE: f64 = 1e-9;

/// A row that a test expects: the columns to compare.
pub type Expected = BTreeMap<String, Value>;

/// How a view differs. Each row is written as `column=value` pairs.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Rows that are expected, and that the view does not have.
    pub missing: Vec<String>,
    /// Rows that the view has, and that are not expected.
    pub unexpected: Vec<String>,
}

impl Difference {
    /// Whether the view has just the rows that are expected.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.missing.is_empty() && self.unexpected.is_empty()
    }
}

/// Compares the rows of a view with the expected ones, as multisets. Columns that no expected row names are not compared.
///
/// # Errors
/// A column that the view does not have, or a value that its type cannot hold, in words.
pub fn difference(rows: &[RecordBatch], schema: &arrow::datatypes::Schema, expected: &[Expected]) -> Result<Difference, String> {
    let named: BTreeSet<&str> = expected.iter().flat_map(|row| row.keys().map(String::as_str)).collect();
    let names = || schema.fields().iter().map(|field| field.name().as_str());
    for name in &named {
        if !names().any(|column| column == *name) {
            let near = nearest(name, names()).map_or_else(String::new, |near| format!("; did you mean {near}?"));
            return Err(format!("there is no column {name}{near}"));
        }
    }
    let columns: Vec<usize> = (0..schema.fields().len())
        .filter(|index| named.is_empty() || named.contains(schema.field(*index).name().as_str()))
        .collect();
    let mut open: Vec<&Expected> = expected.iter().collect();
    let mut difference = Difference::default();
    for batch in rows {
        for row in 0..batch.num_rows() {
            let mut found = None;
            for (index, wanted) in open.iter().enumerate() {
                if is_row(batch, row, &columns, wanted)? {
                    found = Some(index);
                    break;
                }
            }
            match found {
                Some(index) => drop(open.swap_remove(index)),
                None => difference.unexpected.push(shown(batch, row, &columns)),
            }
        }
    }
    difference.missing = open
        .into_iter()
        .map(|row| row.iter().map(|(name, value)| format!("{name}={}", text(value))).collect())
        .map(joined)
        .collect();
    Ok(difference)
}

fn joined(pairs: Vec<String>) -> String {
    pairs.join(" ")
}

fn is_row(batch: &RecordBatch, row: usize, columns: &[usize], wanted: &Expected) -> Result<bool, String> {
    let schema = batch.schema();
    for column in columns {
        let name = schema.field(*column).name();
        let value = wanted.get(name).unwrap_or(&Value::Null);
        if !is_value(batch.column(*column), row, value).map_err(|why| format!("column {name}: {why}"))? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether the value at `row` is that of a test.
fn is_value(array: &ArrayRef, row: usize, wanted: &Value) -> Result<bool, String> {
    if array.is_null(row) || wanted.is_null() {
        return Ok(array.is_null(row) && wanted.is_null());
    }
    match (array.data_type(), wanted) {
        (DataType::List(_), Value::Array(elements)) => {
            let held = array.as_list::<i32>().value(row);
            if held.len() != elements.len() {
                return Ok(false);
            }
            for (index, element) in elements.iter().enumerate() {
                if !is_value(&held, index, element)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        (DataType::Struct(fields), Value::Object(members)) => {
            let held = array.as_struct();
            if let Some(name) = members.keys().find(|name| fields.find(name).is_none()) {
                return Err(format!("there is no field {name}"));
            }
            for (index, field) in fields.iter().enumerate() {
                if !is_value(held.column(index), row, members.get(field.name()).unwrap_or(&Value::Null))? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        (DataType::List(_) | DataType::Struct(_), other) => Err(format!("{other} is no {}", array.data_type())),
        _ => is_plain_value(array, row, &text(wanted)),
    }
}

fn is_plain_value(array: &ArrayRef, row: usize, wanted: &str) -> Result<bool, String> {
    let options = CastOptions { safe: false, ..CastOptions::default() };
    let wanted: ArrayRef = std::sync::Arc::new(StringArray::from(vec![wanted]));
    let wanted = cast_with_options(&wanted, array.data_type(), &options).map_err(|error| error.to_string())?;
    if array.data_type().is_floating() {
        let as_double = |array: &ArrayRef, row: usize| {
            let one = cast_with_options(&array.slice(row, 1), &DataType::Float64, &options).map_err(|error| error.to_string())?;
            Ok::<f64, String>(one.as_primitive::<arrow::datatypes::Float64Type>().value(0))
        };
        let (held, wanted) = (as_double(array, row)?, as_double(&wanted, 0)?);
        let is_close = (held - wanted).abs() <= TOLERANCE * held.abs().max(wanted.abs());
        return Ok(held == wanted || is_close || (held.is_nan() && wanted.is_nan()));
    }
    Ok(array.slice(row, 1).to_data() == wanted.to_data())
}

fn shown(batch: &RecordBatch, row: usize, columns: &[usize]) -> String {
    let schema = batch.schema();
    let options = FormatOptions::default().with_null("null").with_display_error(true);
    let pair = |column: &usize| {
        let name = schema.field(*column).name();
        match ArrayFormatter::try_new(batch.column(*column), &options) {
            Ok(formatter) => format!("{name}={}", formatter.value(row)),
            Err(error) => format!("{name}=({error})"),
        }
    };
    joined(columns.iter().map(pair).collect())
}
