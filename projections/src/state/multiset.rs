//! Rows with weights, in a table. Its key is the whole row, or the columns that identify a row if there are such.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{Field, Int64Type, Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};

use super::keys::Keys;
use super::log::bare;
use super::table::StateTable;
use super::weights::{WeightedRows, repeated, sums, weight_field};
use super::{BatchId, MAX_BATCH_ROWS, TableCheckpoint};
use crate::consolidate::Net;
use crate::delta::Delta;
use crate::error::Error;

/// Rows with weights.
#[derive(Debug)]
pub(crate) struct Multiset {
    rows: WeightedRows,
    /// The key columns, all others, and the weight.
    table: StateTable,
    /// The indexes of the rows' columns, in the order of the table.
    order: Vec<usize>,
    /// The columns that identify a row, if there are such: no two rows have the same values in them.
    identified_by: Option<Vec<usize>>,
    /// The number of distinct rows.
    rows_there: usize,
}

impl Multiset {
    /// Creates a multiset of rows of `schema`.
    ///
    /// # Errors
    /// [`Error::Plan`] if a column cannot be compared.
    pub(crate) fn new(name: String, schema: &SchemaRef) -> Result<Self, Error> {
        Self::by(name, schema, None)
    }

    /// Creates a multiset of rows that the columns `by` identify. A row that replaces another is then written once, not twice.
    ///
    /// # Errors
    /// [`Error::Plan`] if a column cannot be compared.
    pub(crate) fn identified(name: String, schema: &SchemaRef, by: &[usize]) -> Result<Self, Error> {
        Self::by(name, schema, Some(by.to_vec()))
    }

    fn by(name: String, schema: &SchemaRef, identified_by: Option<Vec<usize>>) -> Result<Self, Error> {
        let rows = bare(schema);
        let columns = rows.fields().len();
        let mut order: Vec<usize> = identified_by.clone().unwrap_or_else(|| (0..columns).collect());
        let keys = order.len();
        order.extend((0..columns).filter(|column| identified_by.as_ref().is_some_and(|by| !by.contains(column))));
        let mut fields: Vec<Arc<Field>> = order.iter().map(|column| Arc::clone(&rows.fields()[*column])).collect();
        fields.push(weight_field());
        let table = StateTable::new(name, Arc::new(Schema::new(fields)), keys, Some(columns))?;
        Ok(Self { rows: WeightedRows::new(rows)?, table, order, identified_by, rows_there: 0 })
    }

    /// Adds the weights of the deltas' rows.
    ///
    /// # Errors
    /// [`Error::Bug`] if a row would have a negative weight.
    pub(crate) fn apply(&mut self, deltas: &[Delta]) -> Result<(), Error> {
        let net = self.net(deltas)?;
        self.apply_net(&net)
    }

    /// Consolidates deltas.
    pub(crate) fn net(&self, deltas: &[Delta]) -> Result<Net, Error> {
        self.rows.net(deltas)
    }

    /// Row-encodes whole rows.
    pub(crate) fn encode(&self, columns: &[ArrayRef], rows: usize) -> Result<Keys, Error> {
        self.rows.encode(columns, rows)
    }

    /// Returns the weight of each row, 0 if it is not there.
    pub(crate) fn weights(&self, rows: &Keys, hashes: &[u32]) -> Vec<i64> {
        self.table.find(rows, hashes).into_iter().map(|place| self.table.weight_at(place)).collect()
    }

    /// Checks whether there are no rows.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows_there == 0
    }

    /// Returns the name of the table.
    pub(crate) fn name(&self) -> &str {
        self.table.name()
    }

    /// Applies net changes.
    ///
    /// # Errors
    /// As [`Multiset::apply`].
    pub(crate) fn apply_net(&mut self, net: &Net) -> Result<(), Error> {
        if let Some(by) = self.identified_by.clone() {
            return self.apply_identified(net, &by);
        }
        let found = self.table.find(&net.keys, &net.hashes);
        let before = found.iter().map(|place| self.table.weight_at(*place));
        let weights = sums(self.name(), before, &net.weights)?;
        self.rows_there -= found.iter().filter(|place| self.table.weight_at(**place) > 0).count();
        self.rows_there += weights.iter().filter(|weight| **weight > 0).count();
        self.table.upsert(&net.columns_with(weights), &net.keys, &net.hashes, &found)
    }

    /// Applies net changes to identified rows. An inserted row replaces the retracted row of its key. Other retracted rows leave their
    /// keys without a row.
    fn apply_identified(&mut self, net: &Net, by: &[usize]) -> Result<(), Error> {
        let key: Vec<ArrayRef> = by.iter().map(|column| Arc::clone(net.rows.column(*column))).collect();
        let keys = self.table.encode(&key, net.rows.num_rows())?;
        let (come, leave): (Vec<usize>, Vec<usize>) = (0..net.weights.len()).partition(|row| net.weights[*row] > 0);
        let coming: HashSet<&[u8]> = come.iter().map(|row| keys.get(*row)).collect();
        let ends = leave.iter().copied().filter(|row| !coming.contains(keys.get(*row)));
        let rows: Vec<usize> = come.iter().copied().chain(ends).collect();
        let keys = Keys::collect(rows.iter().map(|row| keys.get(*row)));
        let hashes = keys.hashes();
        let found = self.table.find(&keys, &hashes);
        let there = found.iter().filter(|place| self.table.weight_at(**place) > 0).count();
        if coming.len() < come.len() || there != leave.len() || net.weights.iter().any(|weight| weight.abs() != 1) {
            return Err(Error::Bug(
                "a row is inserted under a key that has one, or retracted under a key that has none".to_owned(),
            ));
        }
        self.rows_there = self.rows_there + come.len() - there;
        let indices = UInt32Array::from_iter_values(rows.iter().map(|row| *row as u32));
        let columns = self.order.iter().map(|column| Ok(take(net.rows.column(*column), &indices, None)?));
        let mut columns: Vec<ArrayRef> = columns.collect::<Result<_, Error>>()?;
        columns.push(Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| net.weights[*row].max(0)))));
        self.table.upsert(&columns, &keys, &hashes, &found)
    }

    /// Replaces all rows with those of `batches`. Returns the difference.
    pub(crate) fn replace(&mut self, batches: &[RecordBatch]) -> Result<Delta, Error> {
        let mut deltas: Vec<Delta> = batches.iter().map(|rows| Delta { rows: rows.clone(), weights: None }).collect();
        deltas.extend(self.weighted()?.into_iter().map(|(rows, weights)| {
            let retracted = weights.iter().map(|weight| -weight).collect();
            Delta { rows, weights: Some(retracted) }
        }));
        let net = self.net(&deltas)?;
        self.apply_net(&net)?;
        Ok(net.into_delta())
    }

    /// Returns every row with its weight.
    pub(crate) fn weighted(&self) -> Result<Vec<(RecordBatch, Vec<i64>)>, Error> {
        let places: Vec<_> = self.table.places().into_iter().filter(|place| self.table.weight_at(*place) != 0).collect();
        places
            .chunks(MAX_BATCH_ROWS)
            .map(|places| {
                let mut columns = vec![None; self.order.len()];
                for (stored, column) in self.order.iter().enumerate() {
                    columns[*column] = Some(self.table.gather(stored, places)?);
                }
                let columns: Vec<ArrayRef> = columns.into_iter().flatten().collect();
                let options = RecordBatchOptions::new().with_row_count(Some(places.len()));
                let rows = RecordBatch::try_new_with_options(self.schema(), columns, &options)?;
                let weights = self.table.gather(self.order.len(), places)?;
                Ok((rows, weights.as_primitive::<Int64Type>().values().to_vec()))
            })
            .collect()
    }

    /// Returns every row, repeated by its weight.
    pub(crate) fn batches(&self) -> Result<Vec<RecordBatch>, Error> {
        let weighted = self.weighted()?.into_iter();
        let batches = weighted.map(|(rows, weights)| {
            if weights.iter().all(|weight| *weight == 1) {
                return Ok(rows);
            }
            repeated(&rows, 0..rows.num_rows() as u32, |row| weights[row as usize])
        });
        batches.collect()
    }

    /// Evicts the rows that `expired` names, whatever their weights. Called between epochs.
    pub(crate) fn evict(&mut self, expired: impl Fn(&RecordBatch) -> Result<BooleanArray, Error>) -> Result<(), Error> {
        self.table.evict(expired)?;
        self.count_rows();
        Ok(())
    }

    fn count_rows(&mut self) {
        self.rows_there = self.table.places().iter().filter(|place| self.table.weight_at(**place) > 0).count();
    }

    /// Returns the schema of the rows, without their weights.
    pub(crate) fn schema(&self) -> SchemaRef {
        Arc::clone(self.rows.schema())
    }

    pub(crate) fn end_epoch(&mut self) -> Result<(), Error> {
        self.table.end_epoch()
    }

    pub(crate) fn checkpoint(&mut self) -> TableCheckpoint {
        self.table.checkpoint()
    }

    pub(crate) fn restore(&mut self, batches: Vec<(BatchId, RecordBatch)>) -> Result<(), Error> {
        self.table.restore(batches)?;
        self.count_rows();
        Ok(())
    }

    pub(crate) fn size(&self) -> (u64, u64) {
        self.table.size()
    }
}
