//! The stored types of a view's rows, the equality of rows, and the hash that decides a row's part.
//!
//! Two rows are equal if their arrow-row encodings over all stored columns are equal. Before that, all NaNs are replaced by the same NaN;
//! 0.0 and -0.0 differ. The hash is xxh3-64 of the encoding of the key columns and is the same on every machine. Part files depend on it:
//! if a release of arrow changes the encoding of rows, views must be rebuilt.

use std::sync::Arc;

use arrow::array::{Array, ArrayData, ArrayRef, AsArray, make_array};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{
    DataType, Field, Fields, Float16Type, Float32Type, Float64Type, IntervalUnit, Schema, SchemaRef, TimeUnit,
};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use arrow::row::{RowConverter, Rows, SortField};
use parquet::arrow::ArrowSchemaConverter;
use xxhash_rust::xxh3::xxh3_64;

use super::parts::PartLayout;
use crate::Error;

/// Converts, compares and hashes the rows of a view.
#[derive(Debug)]
pub(super) struct Shape {
    /// The schema of the view's query.
    view: SchemaRef,
    /// The schema of the Parquet files.
    stored: SchemaRef,
    rows: RowConverter,
    /// The columns that decide the part; `None` if all do.
    key: Option<(Vec<usize>, RowConverter)>,
    /// The columns that contain floating-point numbers at any depth.
    floats: Vec<usize>,
    comparable: Vec<usize>,
}

impl Shape {
    /// Creates the shape. Checks that Parquet can hold every column.
    pub(super) fn new(view: SchemaRef, layout: &PartLayout) -> Result<Shape, Error> {
        let mut fields = Vec::with_capacity(view.fields().len());
        for field in view.fields() {
            let refused = |why: String, help: String| Error::Config {
                message: format!("column {}: {why}", field.name()),
                help: Some(help),
            };
            if let Some((why, cast)) = refusal(field.data_type()) {
                return Err(refused(why, format!("write {cast} in the view's SELECT", cast = cast.replace("{}", field.name()))));
            }
            let stored = Arc::new(field.as_ref().clone().with_data_type(stored_type(field.data_type())));
            ArrowSchemaConverter::new().convert(&Schema::new(vec![Arc::clone(&stored)])).map_err(|error| {
                refused(
                    format!("Parquet cannot hold {}: {error}", field.data_type()),
                    format!("write CAST({} AS ...) with another type in the view's SELECT", field.name()),
                )
            })?;
            fields.push(stored);
        }
        let converter = |columns: &[usize]| {
            RowConverter::new(columns.iter().map(|column| SortField::new(fields[*column].data_type().clone())).collect())
                .map_err(|error| Error::Bug(format!("rows of this view cannot be compared: {error}")))
        };
        let all: Vec<usize> = (0..fields.len()).collect();
        let key = match layout {
            PartLayout::Hashed { columns } if !columns.is_empty() => {
                if let Some(column) = columns.iter().find(|column| **column >= fields.len()) {
                    return Err(Error::Bug(format!("key column {column} of {} columns", fields.len())));
                }
                Some((columns.clone(), converter(columns)?))
            }
            _ => None,
        };
        let rows = converter(&all)?;
        let floats = all.iter().copied().filter(|column| has_floats(fields[*column].data_type())).collect();
        let comparable: Vec<usize> = match &key {
            Some((columns, _)) => columns.clone(),
            None => all.clone(),
        };
        let comparable = comparable.into_iter().filter(|column| !fields[*column].data_type().is_nested()).collect();
        Ok(Shape { view, stored: Arc::new(Schema::new(Fields::from(fields))), rows, key, floats, comparable })
    }

    pub(super) fn stored(&self) -> &SchemaRef {
        &self.stored
    }

    /// Converts rows of the view to stored rows.
    pub(super) fn to_stored(&self, rows: &RecordBatch) -> Result<RecordBatch, Error> {
        let mut stored = convert(rows, &self.stored)?;
        if !self.floats.is_empty() {
            let mut columns = stored.columns().to_vec();
            for column in &self.floats {
                columns[*column] = with_one_nan(&columns[*column]).map_err(|error| Error::Bug(error.to_string()))?;
            }
            stored = RecordBatch::try_new(Arc::clone(&self.stored), columns).map_err(|error| Error::Bug(error.to_string()))?;
        }
        Ok(stored)
    }

    /// Returns the key columns (all columns if there is no key) whose values can be compared without encoding them.
    pub(super) fn comparable_keys(&self) -> &[usize] {
        &self.comparable
    }

    /// Converts stored rows to rows of the view.
    pub(super) fn to_view(&self, stored: &RecordBatch) -> Result<RecordBatch, Error> {
        convert(stored, &self.view)
    }

    /// Encodes stored rows for comparison.
    pub(super) fn encode(&self, stored: &RecordBatch) -> Result<Rows, Error> {
        self.rows.convert_columns(stored.columns()).map_err(|error| Error::Bug(format!("rows cannot be compared: {error}")))
    }

    /// Returns the hashes that decide the parts of stored rows. `encoded` is the result of [`Shape::encode`], if the caller has it.
    pub(super) fn hashes(&self, stored: &RecordBatch, encoded: Option<&Rows>) -> Result<Vec<u64>, Error> {
        let hash = |rows: &Rows| rows.iter().map(|row| xxh3_64(row.as_ref())).collect();
        match (&self.key, encoded) {
            (None, Some(encoded)) => Ok(hash(encoded)),
            (None, None) => Ok(hash(&self.encode(stored)?)),
            (Some((columns, converter)), _) => {
                let columns: Vec<ArrayRef> = columns.iter().map(|column| Arc::clone(stored.column(*column))).collect();
                let rows = converter
                    .convert_columns(&columns)
                    .map_err(|error| Error::Bug(format!("keys cannot be compared: {error}")))?;
                Ok(hash(&rows))
            }
        }
    }
}

/// Returns the hash that decides the part of the rows with these values in the columns of [`super::Manifest::hashed_by`], in their order. Each
/// array has the type of its Parquet column, and one row. `None` if equal values can have different encodings, as 0.0 and -0.0 do: the rows can
/// then be in any part.
///
/// # Errors
/// [`Error::Bug`] for a type that no row can be compared by.
pub fn hash_of_key(values: &[ArrayRef]) -> Result<Option<u64>, Error> {
    if values.iter().any(|value| value.data_type().is_nested() || has_floats(value.data_type())) {
        return Ok(None);
    }
    let wrong = |error: ArrowError| Error::Bug(format!("keys cannot be compared: {error}"));
    let fields = values.iter().map(|value| SortField::new(value.data_type().clone())).collect();
    let rows = RowConverter::new(fields).and_then(|converter| converter.convert_columns(values)).map_err(wrong)?;
    Ok((rows.num_rows() == 1).then(|| xxh3_64(rows.row(0).as_ref())))
}

/// Returns why a type cannot be stored, and a cast to write instead, with `{}` for the column. Returns `None` if it can be stored.
fn refusal(data_type: &DataType) -> Option<(String, &'static str)> {
    match data_type {
        DataType::Interval(IntervalUnit::MonthDayNano) => Some((
            "Parquet has no INTERVAL of months, days and nanoseconds".to_owned(),
            "CAST({} AS VARCHAR), or the interval as a number such as date_part('epoch', {}),",
        )),
        DataType::Union(..) => Some(("Parquet has no UNION".to_owned(), "CAST({} AS VARCHAR)")),
        DataType::Struct(fields) if fields.is_empty() => {
            Some(("Parquet has no STRUCT without members".to_owned(), "CAST({} AS VARCHAR)"))
        }
        DataType::Struct(fields) => fields.iter().find_map(|field| refusal(field.data_type())),
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::Map(item, _) => refusal(item.data_type()),
        DataType::Dictionary(_, value) => refusal(value),
        DataType::RunEndEncoded(_, value) => refusal(value.data_type()),
        _ => None,
    }
}

/// Returns the type to store in Parquet, which is lossless and which other readers understand. It has no unit of seconds (Parquet has none
/// and would store plain numbers) and no dictionaries (Parquet creates its own).
fn stored_type(data_type: &DataType) -> DataType {
    let item = |field: &Arc<Field>| Arc::new(field.as_ref().clone().with_data_type(stored_type(field.data_type())));
    match data_type {
        DataType::Timestamp(TimeUnit::Second, zone) => DataType::Timestamp(TimeUnit::Millisecond, zone.clone()),
        DataType::Time32(TimeUnit::Second) => DataType::Time32(TimeUnit::Millisecond),
        DataType::Date64 => DataType::Timestamp(TimeUnit::Millisecond, None),
        DataType::Dictionary(_, value) => stored_type(value),
        DataType::RunEndEncoded(_, value) => stored_type(value.data_type()),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(item).collect()),
        DataType::List(field) | DataType::ListView(field) => DataType::List(item(field)),
        DataType::LargeList(field) | DataType::LargeListView(field) => DataType::LargeList(item(field)),
        DataType::FixedSizeList(field, size) => DataType::FixedSizeList(item(field), *size),
        DataType::Map(field, sorted) => DataType::Map(item(field), *sorted),
        other => other.clone(),
    }
}

fn convert(rows: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, Error> {
    if rows.num_columns() != schema.fields().len() {
        return Err(Error::Bug(format!(
            "rows of {} columns for a view of {} columns",
            rows.num_columns(),
            schema.fields().len()
        )));
    }
    let mut columns = Vec::with_capacity(rows.num_columns());
    for (column, field) in rows.columns().iter().zip(schema.fields()) {
        columns.push(if column.data_type() == field.data_type() {
            Arc::clone(column)
        } else {
            let options = CastOptions { safe: false, ..CastOptions::default() };
            cast_with_options(column, field.data_type(), &options).map_err(|error| Error::Config {
                message: format!("column {}: a value cannot be stored as {}: {error}", field.name(), field.data_type()),
                help: Some(format!("write CAST({} AS ...) with another type in the view's SELECT", field.name())),
            })?
        });
    }
    RecordBatch::try_new(Arc::clone(schema), columns)
        .map_err(|error| Error::Bug(format!("rows do not match the view's schema: {error}")))
}

fn has_floats(data_type: &DataType) -> bool {
    match data_type {
        DataType::Float16 | DataType::Float32 | DataType::Float64 => true,
        DataType::Struct(fields) => fields.iter().any(|field| has_floats(field.data_type())),
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) | DataType::Map(item, _) => {
            has_floats(item.data_type())
        }
        _ => false,
    }
}

/// Replaces every NaN by the positive quiet NaN.
fn with_one_nan(array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    macro_rules! floats {
        ($kind:ty, $nan:expr) => {{
            let values = array.as_primitive::<$kind>();
            let odd = |value: <$kind as arrow::datatypes::ArrowPrimitiveType>::Native| {
                value.is_nan() && value.to_bits() != $nan.to_bits()
            };
            if values.values().iter().any(|value| odd(*value)) {
                return Ok(Arc::new(values.unary::<_, $kind>(|value| if value.is_nan() { $nan } else { value })));
            }
            return Ok(Arc::clone(array));
        }};
    }
    match array.data_type() {
        DataType::Float64 => floats!(Float64Type, f64::NAN),
        DataType::Float32 => floats!(Float32Type, f32::NAN),
        DataType::Float16 => floats!(Float16Type, half_nan()),
        data_type if data_type.is_nested() && has_floats(data_type) => {
            let data = array.to_data();
            let children: Vec<ArrayData> = data
                .child_data()
                .iter()
                .map(|child| Ok(with_one_nan(&make_array(child.clone()))?.to_data()))
                .collect::<Result<_, ArrowError>>()?;
            Ok(make_array(data.into_builder().child_data(children).build()?))
        }
        _ => Ok(Arc::clone(array)),
    }
}

fn half_nan() -> <Float16Type as arrow::datatypes::ArrowPrimitiveType>::Native {
    <Float16Type as arrow::datatypes::ArrowPrimitiveType>::Native::NAN
}
