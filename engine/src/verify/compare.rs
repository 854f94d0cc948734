//! Compares two spools as multisets of rows. Floating-point numbers may differ by 1e-9 of their size; everything else must be equal.
//!
//! The first pass puts the rows of each side into buckets, by the hash of their exact columns, and adds up the 128-bit hashes of the whole
//! rows in each bucket. Only buckets whose sums differ are read again, as many at a time as fit into memory. So the rows as a whole are
//! never sorted, and one wrong row among many costs one more pass. Two different buckets have equal sums with the probability that two
//! random 128-bit numbers are equal.

use std::collections::HashMap;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Float64Array};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Float64Type, SchemaRef};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::arrow::row::{RowConverter, Rows, SortField};
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use xxhash_rust::xxh3::xxh3_128;

use super::spool::Spool;
use crate::error::Error;

/// How many buckets each side has.
const BUCKETS: usize = 1 << 16;
/// About how many rows of both sides are in memory at once.
const ROWS_AT_ONCE: u64 = 1_000_000;
/// If a key has at most this many unmatched rows on one side, each is compared with each of the other side.
const PAIRED_ONE_BY_ONE: usize = 1_000;
/// Two numbers are equal if they differ by at most this share of the larger one, or of 0.001 if that is larger.
const TOLERANCE: f64 = 1e-9;

/// Rows that only one of two sides has.
#[derive(Debug, Default)]
pub(super) struct Difference {
    /// The rows found, sorted.
    pub(super) rows: Vec<DifferingRow>,
    /// Whether there may be more.
    pub(super) cut: bool,
}

/// A row that one side has more often than the other.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct DifferingRow {
    /// The values as text, by column.
    pub(super) values: Vec<String>,
    /// Whether the first side has it more often.
    pub(super) first: bool,
}

/// Returns the rows that only one side has. Stops looking for more once there are at least `limit`.
pub(super) fn compare(first: &Spool, second: &Spool, limit: usize) -> Result<Difference, Error> {
    compared(first, second, limit).map_err(|error| Error::bug(format!("rows cannot be compared: {error}")))
}

fn compared(first: &Spool, second: &Spool, limit: usize) -> Result<Difference, ArrowError> {
    let shape = Shape::new(first.schema())?;
    let (one, other) = (shape.sums(first)?, shape.sums(second)?);
    let differing: Vec<usize> = (0..BUCKETS).filter(|bucket| one[*bucket] != other[*bucket]).collect();
    let mut difference = Difference::default();
    let mut rest = differing.as_slice();
    while !rest.is_empty() {
        if difference.rows.len() >= limit {
            difference.cut = true;
            break;
        }
        let mut rows = 0;
        let fit = rest.iter().take_while(|bucket| {
            rows += one[**bucket].rows + other[**bucket].rows;
            rows <= ROWS_AT_ONCE
        });
        let (now, later) = rest.split_at(fit.count().max(1));
        shape.differing(first, second, now, &mut difference.rows)?;
        rest = later;
    }
    difference.rows.sort();
    Ok(difference)
}

/// The sums of one bucket of one side.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Sum {
    rows: u64,
    hashes: u128,
}

/// The floating-point values of the rows with one key, for each side.
type Group = (Vec<Vec<f64>>, Vec<Vec<f64>>);

/// Splits rows into columns that have to be equal, and floating-point columns.
struct Shape {
    exact: Vec<usize>,
    floats: Vec<usize>,
    converter: RowConverter,
}

/// A batch after the split.
struct Parts {
    /// `None` if all columns are floating-point numbers.
    keys: Option<Rows>,
    floats: Vec<Float64Array>,
}

impl Parts {
    fn key(&self, row: usize) -> &[u8] {
        self.keys.as_ref().map_or(&[], |keys| keys.row(row).data())
    }

    /// Returns the floating-point values of a row. NULL becomes a negative NaN, any NaN the same positive NaN, and -0.0 becomes 0.0.
    fn floats_of(&self, row: usize) -> Vec<f64> {
        let value = |column: &Float64Array| match column.is_null(row) {
            true => -f64::NAN,
            false if column.value(row).is_nan() => f64::NAN,
            false => column.value(row) + 0.0,
        };
        self.floats.iter().map(value).collect()
    }
}

fn bucket(hash: u128) -> usize {
    (hash as usize) % BUCKETS
}

impl Shape {
    fn new(schema: &SchemaRef) -> Result<Shape, ArrowError> {
        let is_float = |column: &usize| {
            matches!(schema.field(*column).data_type(), DataType::Float16 | DataType::Float32 | DataType::Float64)
        };
        let (floats, exact): (Vec<usize>, Vec<usize>) = (0..schema.fields().len()).partition(is_float);
        let fields = exact.iter().map(|column| SortField::new(schema.field(*column).data_type().clone())).collect();
        Ok(Shape { converter: RowConverter::new(fields)?, exact, floats })
    }

    fn parts(&self, rows: &RecordBatch) -> Result<Parts, ArrowError> {
        let exact: Vec<ArrayRef> = self.exact.iter().map(|column| rows.column(*column).clone()).collect();
        let keys = (!exact.is_empty()).then(|| self.converter.convert_columns(&exact)).transpose()?;
        let float = |column: &usize| Ok(cast(rows.column(*column), &DataType::Float64)?.as_primitive::<Float64Type>().clone());
        Ok(Parts { keys, floats: self.floats.iter().map(float).collect::<Result<_, ArrowError>>()? })
    }

    fn sums(&self, spool: &Spool) -> Result<Vec<Sum>, ArrowError> {
        let mut sums = vec![Sum::default(); BUCKETS];
        let mut bytes = Vec::new();
        for batch in spool.read()? {
            let batch = batch?;
            let parts = self.parts(&batch)?;
            for row in 0..batch.num_rows() {
                let key = parts.key(row);
                let hash = xxh3_128(key);
                let sum = &mut sums[bucket(hash)];
                sum.rows += 1;
                let whole = if parts.floats.is_empty() {
                    hash
                } else {
                    bytes.clear();
                    bytes.extend_from_slice(key);
                    parts.floats_of(row).iter().for_each(|float| bytes.extend_from_slice(&float.to_bits().to_le_bytes()));
                    xxh3_128(&bytes)
                };
                sum.hashes = sum.hashes.wrapping_add(whole);
            }
        }
        Ok(sums)
    }

    /// Adds to `found` the rows in `buckets` that only one side has.
    fn differing(
        &self,
        first: &Spool,
        second: &Spool,
        buckets: &[usize],
        found: &mut Vec<DifferingRow>,
    ) -> Result<(), ArrowError> {
        let mut wanted = vec![false; BUCKETS];
        buckets.iter().for_each(|bucket| wanted[*bucket] = true);
        let mut groups: HashMap<Vec<u8>, Group> = HashMap::new();
        for (spool, is_first) in [(first, true), (second, false)] {
            for batch in spool.read()? {
                let batch = batch?;
                let parts = self.parts(&batch)?;
                for row in (0..batch.num_rows()).filter(|row| wanted[bucket(xxh3_128(parts.key(*row)))]) {
                    let group = groups.entry(parts.key(row).to_vec()).or_default();
                    let side = if is_first { &mut group.0 } else { &mut group.1 };
                    side.push(parts.floats_of(row));
                }
            }
        }
        for (key, (one, other)) in groups {
            let (only_one, only_other) = unmatched(one, other);
            if only_one.is_empty() && only_other.is_empty() {
                continue;
            }
            let key = self.text_of(&key)?;
            let all =
                only_one.into_iter().map(|floats| (floats, true)).chain(only_other.into_iter().map(|floats| (floats, false)));
            found.extend(all.map(|(floats, first)| DifferingRow { values: self.values(&key, &floats), first }));
        }
        Ok(())
    }

    /// Formats the columns of a key as text.
    fn text_of(&self, key: &[u8]) -> Result<Vec<String>, ArrowError> {
        if self.exact.is_empty() {
            return Ok(Vec::new());
        }
        let parser = self.converter.parser();
        let options = FormatOptions::default().with_null("NULL");
        let columns = self.converter.convert_rows([parser.parse(key)])?;
        columns.iter().map(|column| Ok(ArrayFormatter::try_new(column, &options)?.value(0).to_string())).collect()
    }

    /// Formats all columns as text, in order.
    fn values(&self, key: &[String], floats: &[f64]) -> Vec<String> {
        let mut values = vec![String::new(); key.len() + floats.len()];
        for (column, text) in self.exact.iter().zip(key) {
            values[*column].clone_from(text);
        }
        for (column, float) in self.floats.iter().zip(floats) {
            let is_null = float.to_bits() == (-f64::NAN).to_bits();
            values[*column] = if is_null { "NULL".to_owned() } else { float.to_string() };
        }
        values
    }
}

/// Removes pairs of equal rows from both sides, and returns what is left.
fn unmatched(mut one: Vec<Vec<f64>>, mut other: Vec<Vec<f64>>) -> (Vec<Vec<f64>>, Vec<Vec<f64>>) {
    let order = |a: &Vec<f64>, b: &Vec<f64>| {
        a.iter().zip(b).map(|(a, b)| a.total_cmp(b)).find(|order| order.is_ne()).unwrap_or(std::cmp::Ordering::Equal)
    };
    one.sort_by(order);
    other.sort_by(order);
    let (mut only_one, mut only_other) = (Vec::new(), Vec::new());
    let (mut one, mut other) = (one.into_iter().peekable(), other.into_iter().peekable());
    while let (Some(a), Some(b)) = (one.peek(), other.peek()) {
        if a.iter().zip(b).all(|(a, b)| close(*a, *b)) {
            one.next();
            other.next();
        } else if order(a, b).is_lt() {
            only_one.extend(one.next());
        } else {
            only_other.extend(other.next());
        }
    }
    only_one.extend(one);
    only_other.extend(other);
    // Rounding may have changed the order of rows on one side.
    if only_one.len().min(only_other.len()) <= PAIRED_ONE_BY_ONE {
        only_one.retain(|a| {
            let twin = only_other.iter().position(|b| a.iter().zip(b).all(|(a, b)| close(*a, *b)));
            twin.map(|twin| only_other.swap_remove(twin)).is_none()
        });
    }
    (only_one, only_other)
}

fn close(a: f64, b: f64) -> bool {
    a.to_bits() == b.to_bits() || a == b || (a - b).abs() <= TOLERANCE * a.abs().max(b.abs()).max(1e-3)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::{Int64Array, StringArray};
    use datafusion::arrow::datatypes::{Field, Schema};

    use super::*;
    use crate::verify::spool::SpoolFolder;

    fn spool(folder: &SpoolFolder, rows: &[(i64, Option<&str>, Option<f64>)]) -> Spool {
        let fields = vec![
            Field::new("k", DataType::Int64, true),
            Field::new("x", DataType::Float64, true),
            Field::new("s", DataType::Utf8, true),
        ];
        let schema = Arc::new(Schema::new(fields));
        let columns: Vec<ArrayRef> = vec![
            Arc::new(rows.iter().map(|row| Some(row.0)).collect::<Int64Array>()),
            Arc::new(rows.iter().map(|row| row.2).collect::<Float64Array>()),
            Arc::new(rows.iter().map(|row| row.1).collect::<StringArray>()),
        ];
        let mut writer = folder.writer(&schema).unwrap();
        writer.write(&RecordBatch::try_new(schema, columns).unwrap()).unwrap();
        writer.finish().unwrap()
    }

    fn difference(one: &[(i64, Option<&str>, Option<f64>)], other: &[(i64, Option<&str>, Option<f64>)]) -> Vec<String> {
        let folder = SpoolFolder::create().unwrap();
        let found = compare(&spool(&folder, one), &spool(&folder, other), 20).unwrap();
        assert!(!found.cut);
        found.rows.iter().map(|row| format!("{} {}", row.values.join(" "), row.first)).collect()
    }

    #[test]
    fn equal_multisets_are_equal_in_any_order_and_to_the_last_digits_of_sums() {
        let one = [(1, Some("a"), Some(0.1 + 0.2)), (1, Some("a"), None), (2, None, Some(f64::NAN)), (2, None, Some(-0.0))];
        let other = [(2, None, Some(0.0)), (1, Some("a"), None), (2, None, Some(-f64::NAN)), (1, Some("a"), Some(0.3))];
        assert!(difference(&one, &other).is_empty());
        // In another order by the first digits that differ only by rounding.
        assert!(difference(&[], &[]).is_empty());
    }

    #[test]
    fn a_row_too_many_a_row_too_few_and_a_wrong_value_are_found() {
        let rows = [(1, Some("a"), Some(1.0)), (1, Some("a"), Some(1.0)), (2, Some("b"), None)];
        assert_eq!(difference(&rows, &rows[1..]), ["1 1 a true"]);
        assert_eq!(difference(&rows[..2], &rows), ["2 NULL b false"]);
        let wrong = [(1, Some("a"), Some(1.0)), (1, Some("a"), Some(1.0 + 1e-8)), (2, Some("b"), Some(f64::NAN))];
        assert_eq!(difference(&rows, &wrong), ["1 1 a true", "1 1.00000001 a false", "2 NULL b true", "2 NaN b false"]);
    }
}
