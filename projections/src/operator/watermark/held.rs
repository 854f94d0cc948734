//! Rows in memory, in the order of the ends of their windows.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Bound::{Excluded, Included, Unbounded};

use arrow::array::{AsArray, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::arrow::row::{RowConverter, SortField};

use crate::delta::Delta;
use crate::error::Error;
use crate::operator::kit::rows::batch;

/// The end of a row's window, and the encoded row.
pub(super) type HeldRow = (i64, Box<[u8]>);

/// Rows with their weights, in the order of the ends of their windows.
#[derive(Debug)]
pub(super) struct HeldRows {
    window_end: usize,
    encoder: RowConverter,
    rows: BTreeMap<HeldRow, i64>,
    /// The bytes of the encoded rows.
    bytes: usize,
    schema: SchemaRef,
}

impl HeldRows {
    /// Creates an empty set of rows of a schema. Column `window_end` has the end of a row's window.
    pub(super) fn new(schema: SchemaRef, window_end: usize) -> Result<Self, Error> {
        let fields = schema.fields().iter().map(|field| SortField::new(field.data_type().clone())).collect();
        Ok(Self { window_end, encoder: RowConverter::new(fields)?, rows: BTreeMap::new(), bytes: 0, schema })
    }

    /// Adds the weights of rows. Every row must have a window.
    pub(super) fn add(&mut self, rows: &RecordBatch, weights: &[i64]) -> Result<(), Error> {
        let ends = cast(rows.column(self.window_end), &DataType::Int64)?;
        let content = self.encoder.convert_columns(rows.columns())?;
        for (row, (end, weight)) in ends.as_primitive::<Int64Type>().values().iter().zip(weights).enumerate() {
            self.add_one((*end, Box::from(content.row(row).data())), *weight);
        }
        Ok(())
    }

    fn add_one(&mut self, row: HeldRow, weight: i64) {
        let bytes = row.1.len();
        match self.rows.entry(row) {
            Entry::Vacant(entry) => {
                self.bytes += bytes;
                entry.insert(weight);
            }
            Entry::Occupied(mut entry) => {
                *entry.get_mut() += weight;
                if *entry.get() == 0 {
                    self.bytes -= bytes;
                    entry.remove();
                }
            }
        }
    }

    /// Iterates over the rows of windows that end after `from` and at or before `to`. Without `from`, windows may end at any time up to
    /// `to`. Without `to`, there are no rows.
    pub(super) fn between(&self, from: Option<i64>, to: Option<i64>) -> impl Iterator<Item = (&HeldRow, i64)> {
        let first = from.map_or(Some(i64::MIN), |from| from.checked_add(1)).map(|from| (from, Box::from([])));
        let end = to.and_then(|to| to.checked_add(1)).map(|to| (to, Box::from([])));
        let range = match (first, to, end) {
            (Some(first), Some(_), end) if end.as_ref().is_none_or(|end| first <= *end) => {
                Some(self.rows.range((Included(first), end.map_or(Unbounded, Excluded))))
            }
            _ => None,
        };
        range.into_iter().flatten().map(|(row, weight)| (row, *weight))
    }

    /// Removes the rows of windows that end at or before `until`. Returns them with their weights negated.
    pub(super) fn remove(&mut self, until: Option<i64>) -> Result<Option<Delta>, Error> {
        let removed: Vec<(HeldRow, i64)> = self.between(None, until).map(|(row, weight)| (row.clone(), -weight)).collect();
        for (row, _) in &removed {
            self.bytes -= row.1.len();
            self.rows.remove(row);
        }
        self.delta(&removed)
    }

    /// Decodes rows to a delta. None if there are no rows.
    pub(super) fn delta(&self, rows: &[(HeldRow, i64)]) -> Result<Option<Delta>, Error> {
        if rows.is_empty() {
            return Ok(None);
        }
        let parser = self.encoder.parser();
        let columns = self.encoder.convert_rows(rows.iter().map(|((_, row), _)| parser.parse(row)))?;
        let weights = Int64Array::from_iter_values(rows.iter().map(|(_, weight)| *weight));
        Ok(Some(Delta { rows: batch(&self.schema, columns, rows.len())?, weights: Some(weights) }))
    }

    /// Returns the number of bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.bytes + self.rows.len() * size_of::<(HeldRow, i64)>()
    }
}
