//! Row-encoded keys and their hashes.
//!
//! Two rows have the same key if arrow-row encodes them alike: NULL equals NULL, and floats are compared by their bits.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::Field;
use datafusion::arrow::row::{RowConverter, SortField};
use rayon::prelude::*;
use xxhash_rust::xxh3::xxh3_64;

use crate::error::Error;

/// Encodes key columns to [`Keys`].
#[derive(Debug)]
pub(crate) struct KeyEncoder {
    /// None if there are no key columns. Then every row has the same, empty key.
    converter: Option<RowConverter>,
}

impl KeyEncoder {
    /// Creates an encoder of key columns.
    ///
    /// # Errors
    /// [`Error::Plan`] if a type has no row encoding.
    pub(crate) fn new<'a>(fields: impl IntoIterator<Item = &'a Arc<Field>>) -> Result<Self, Error> {
        let mut sort_fields = Vec::new();
        for field in fields {
            let sort_field = SortField::new(field.data_type().clone());
            if !RowConverter::supports_fields(std::slice::from_ref(&sort_field)) {
                return Err(Error::Plan(format!("column {} of type {} cannot be compared", field.name(), field.data_type())));
            }
            sort_fields.push(sort_field);
        }
        let converter = if sort_fields.is_empty() { None } else { Some(RowConverter::new(sort_fields)?) };
        Ok(Self { converter })
    }

    /// Encodes the keys of `rows` rows.
    pub(crate) fn encode(&self, columns: &[ArrayRef], rows: usize) -> Result<Keys, Error> {
        let Some(converter) = &self.converter else {
            return Ok(Keys { bytes: Vec::new(), bounds: Bounds::Fixed { width: 0, rows } });
        };
        if rows < 2 * ENCODED_ROWS {
            return encode(converter, columns, rows);
        }
        let starts: Vec<usize> = (0..rows).step_by(ENCODED_ROWS).collect();
        let pieces = starts.into_par_iter().map(|start| {
            let count = ENCODED_ROWS.min(rows - start);
            let columns: Vec<ArrayRef> = columns.iter().map(|column| column.slice(start, count)).collect();
            encode(converter, &columns, count)
        });
        Ok(Keys::join(pieces.collect::<Result<_, Error>>()?))
    }
}

/// How many rows a core encodes at once.
const ENCODED_ROWS: usize = 32 << 10;

fn encode(converter: &RowConverter, columns: &[ArrayRef], rows: usize) -> Result<Keys, Error> {
    let encoded = converter.convert_columns(columns)?;
    let mut lengths = encoded.lengths();
    let first = lengths.next().unwrap_or(0);
    let fixed = lengths.all(|length| length == first);
    let total = (0..rows).map(|row| encoded.row_len(row)).sum();
    let mut bytes = Vec::with_capacity(total);
    if fixed {
        encoded.iter().for_each(|row| bytes.extend_from_slice(row.data()));
        return Ok(Keys { bytes, bounds: Bounds::Fixed { width: first, rows } });
    }
    let mut ends = Vec::with_capacity(rows);
    for row in encoded.iter() {
        bytes.extend_from_slice(row.data());
        ends.push(bytes.len() as u64);
    }
    Ok(Keys { bytes, bounds: Bounds::Variable { ends } })
}

/// The encoded keys of some rows.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    bytes: Vec<u8>,
    bounds: Bounds,
}

#[derive(Debug, Clone)]
enum Bounds {
    /// All keys have the same number of bytes.
    Fixed { width: usize, rows: usize },
    /// The end of each key in the bytes (exclusive).
    Variable { ends: Vec<u64> },
}

impl Default for Keys {
    fn default() -> Self {
        Self { bytes: Vec::new(), bounds: Bounds::Fixed { width: 0, rows: 0 } }
    }
}

impl Keys {
    /// Returns the number of keys.
    pub(crate) fn len(&self) -> usize {
        match &self.bounds {
            Bounds::Fixed { rows, .. } => *rows,
            Bounds::Variable { ends } => ends.len(),
        }
    }

    /// Returns the key of a row.
    pub(crate) fn get(&self, row: usize) -> &[u8] {
        match &self.bounds {
            Bounds::Fixed { width, .. } => &self.bytes[row * width..(row + 1) * width],
            Bounds::Variable { ends } => {
                let start = if row == 0 { 0 } else { ends[row - 1] as usize };
                &self.bytes[start..ends[row] as usize]
            }
        }
    }

    /// Joins the keys of all pieces, in order.
    fn join(pieces: Vec<Keys>) -> Keys {
        let bytes: usize = pieces.iter().map(|piece| piece.bytes.len()).sum();
        let rows = pieces.iter().map(Keys::len).sum();
        let width = match pieces.first().map(|piece| &piece.bounds) {
            Some(Bounds::Fixed { width, .. }) => Some(*width),
            _ => None,
        };
        let alike = |piece: &Keys| matches!(&piece.bounds, Bounds::Fixed { width: of_piece, .. } if Some(*of_piece) == width);
        let fixed = width.filter(|_| pieces.iter().all(alike));
        let mut joined = Vec::with_capacity(bytes);
        let mut ends = Vec::with_capacity(if fixed.is_some() { 0 } else { rows });
        for piece in pieces {
            if fixed.is_none() {
                let before = joined.len() as u64;
                match &piece.bounds {
                    Bounds::Fixed { width, rows } => ends.extend((1..=*rows).map(|row| before + (row * width) as u64)),
                    Bounds::Variable { ends: of_piece } => ends.extend(of_piece.iter().map(|end| before + end)),
                }
            }
            joined.extend_from_slice(&piece.bytes);
        }
        let bounds = fixed.map_or(Bounds::Variable { ends }, |width| Bounds::Fixed { width, rows });
        Keys { bytes: joined, bounds }
    }

    /// Returns the hash of each key.
    pub(crate) fn hashes(&self) -> Vec<u32> {
        (0..self.len()).into_par_iter().with_min_len(ENCODED_ROWS).map(|row| hash(self.get(row))).collect()
    }

    /// Copies the keys of some rows to memory of their own.
    pub(crate) fn range(&self, rows: Range<usize>) -> Keys {
        Keys::collect(rows.map(|row| self.get(row)))
    }

    /// Copies keys to memory of their own.
    pub(crate) fn collect<'a>(keys: impl Iterator<Item = &'a [u8]> + Clone) -> Keys {
        let (mut rows, mut total, mut fixed, mut width) = (0, 0, true, 0);
        for key in keys.clone() {
            if rows == 0 {
                width = key.len();
            }
            fixed &= key.len() == width;
            rows += 1;
            total += key.len();
        }
        let mut bytes = Vec::with_capacity(total);
        if fixed {
            keys.for_each(|key| bytes.extend_from_slice(key));
            return Keys { bytes, bounds: Bounds::Fixed { width, rows } };
        }
        let mut ends = Vec::with_capacity(rows);
        for key in keys {
            bytes.extend_from_slice(key);
            ends.push(bytes.len() as u64);
        }
        Keys { bytes, bounds: Bounds::Variable { ends } }
    }

    /// Returns the number of bytes held.
    pub(crate) fn size(&self) -> usize {
        self.bytes.capacity()
            + match &self.bounds {
                Bounds::Fixed { .. } => 0,
                Bounds::Variable { ends } => ends.capacity() * size_of::<u64>(),
            }
    }
}

/// How many bytes [`prefix`] reads.
pub(crate) const PREFIX: usize = 16;

/// Returns the first bytes of an encoding as a number. Encodings with different prefixes are in the order of their prefixes.
pub(crate) fn prefix(encoded: &[u8]) -> u128 {
    let mut bytes = [0; PREFIX];
    let length = encoded.len().min(PREFIX);
    bytes[..length].copy_from_slice(&encoded[..length]);
    u128::from_be_bytes(bytes)
}

/// Returns 32 bits of a good hash. An index entry stores it, so that the index can grow without reading keys.
pub(crate) fn hash(key: &[u8]) -> u32 {
    (xxh3_64(key) >> 32) as u32
}

/// Spreads the bits of a hash over 64 bits, as hash tables need them.
pub(crate) fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use arrow::array::{Int64Array, StringArray};
    use arrow::datatypes::DataType;

    use super::*;

    #[test]
    fn prefixes_are_in_the_order_of_what_they_begin() {
        let mut random = fastrand::Rng::with_seed(5);
        for _ in 0..20_000 {
            let mut bytes = || -> Vec<u8> { (0..random.usize(0..20)).map(|_| random.u8(0..3)).collect() };
            let (one, other) = (bytes(), bytes());
            if prefix(&one) != prefix(&other) {
                assert_eq!(prefix(&one).cmp(&prefix(&other)), one.cmp(&other), "{one:?} {other:?}");
            }
        }
    }

    #[test]
    fn pieces_are_joined_as_if_encoded_at_once() {
        let rows = 2 * ENCODED_ROWS + 777;
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows as i64));
        let of_piece = |row: usize| if row < ENCODED_ROWS { "same".to_owned() } else { "x".repeat(row % 90) };
        let texts: ArrayRef = Arc::new(StringArray::from_iter_values((0..rows).map(of_piece)));
        for (data_type, column) in [(DataType::Int64, numbers), (DataType::Utf8, texts)] {
            let encoder = KeyEncoder::new(&[Arc::new(Field::new("key", data_type, true))]).unwrap();
            let all = encoder.encode(std::slice::from_ref(&column), rows).unwrap();
            let hashes = all.hashes();
            assert_eq!((all.len(), hashes.len()), (rows, rows));
            for start in (0..rows).step_by(1000) {
                let count = 1000.min(rows - start);
                let some = encoder.encode(&[column.slice(start, count)], count).unwrap();
                for row in 0..count {
                    assert_eq!(all.get(start + row), some.get(row));
                    assert_eq!(hashes[start + row], hash(some.get(row)));
                }
            }
        }
    }
}
