//! Row-encoded keys and their hashes.
//!
//! Two rows have the same key where arrow-row encodes them alike: NULL equals NULL, and floats are told apart by their bits.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::Field;
use datafusion::arrow::row::{RowConverter, SortField};
use xxhash_rust::xxh3::xxh3_64;

use crate::error::Error;

/// Turns key columns into [`Keys`].
#[derive(Debug)]
pub(crate) struct KeyEncoder {
    /// None where there are no key columns: every row has the same, empty key.
    converter: Option<RowConverter>,
}

impl KeyEncoder {
    /// # Errors
    /// [`Error::Plan`] where a type has no row encoding.
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

    /// The keys of `rows` rows.
    pub(crate) fn encode(&self, columns: &[ArrayRef], rows: usize) -> Result<Keys, Error> {
        let Some(converter) = &self.converter else {
            return Ok(Keys { bytes: Vec::new(), layout: Layout::Fixed { width: 0, rows } });
        };
        let encoded = converter.convert_columns(columns)?;
        let mut lengths = encoded.lengths();
        let first = lengths.next().unwrap_or(0);
        let fixed = lengths.all(|length| length == first);
        let total = (0..rows).map(|row| encoded.row_len(row)).sum();
        let mut bytes = Vec::with_capacity(total);
        if fixed {
            encoded.iter().for_each(|row| bytes.extend_from_slice(row.data()));
            return Ok(Keys { bytes, layout: Layout::Fixed { width: first, rows } });
        }
        let mut ends = Vec::with_capacity(rows);
        for row in encoded.iter() {
            bytes.extend_from_slice(row.data());
            ends.push(bytes.len() as u64);
        }
        Ok(Keys { bytes, layout: Layout::Variable { ends } })
    }
}

/// The encoded keys of some rows.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    bytes: Vec<u8>,
    layout: Layout,
}

#[derive(Debug, Clone)]
enum Layout {
    Fixed {
        width: usize,
        rows: usize,
    },
    /// Exclusive end of each key in the bytes.
    Variable {
        ends: Vec<u64>,
    },
}

impl Keys {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        match &self.layout {
            Layout::Fixed { rows, .. } => *rows,
            Layout::Variable { ends } => ends.len(),
        }
    }

    /// The key of a row.
    pub(crate) fn get(&self, row: usize) -> &[u8] {
        match &self.layout {
            Layout::Fixed { width, .. } => &self.bytes[row * width..(row + 1) * width],
            Layout::Variable { ends } => {
                let start = if row == 0 { 0 } else { ends[row - 1] as usize };
                &self.bytes[start..ends[row] as usize]
            }
        }
    }

    /// The hash of each key.
    pub(crate) fn hashes(&self) -> Vec<u32> {
        (0..self.len()).map(|row| hash(self.get(row))).collect()
    }

    /// The keys of some rows, in memory of their own.
    pub(crate) fn range(&self, rows: Range<usize>) -> Keys {
        Keys::collect(rows.map(|row| self.get(row)))
    }

    /// These keys, in memory of their own.
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
            return Keys { bytes, layout: Layout::Fixed { width, rows } };
        }
        let mut ends = Vec::with_capacity(rows);
        for key in keys {
            bytes.extend_from_slice(key);
            ends.push(bytes.len() as u64);
        }
        Keys { bytes, layout: Layout::Variable { ends } }
    }

    /// Bytes held.
    pub(crate) fn size(&self) -> usize {
        self.bytes.capacity()
            + match &self.layout {
                Layout::Fixed { .. } => 0,
                Layout::Variable { ends } => ends.capacity() * size_of::<u64>(),
            }
    }
}

/// 32 bits of a good hash: an index entry keeps it, so that growing the index reads no key.
pub(crate) fn hash(key: &[u8]) -> u32 {
    (xxh3_64(key) >> 32) as u32
}

/// The hash as the index wants it: its bits spread over 64.
pub(crate) fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}
