//! Rows arranged by a key: all rows of some buckets are found without reading the others.
//!
//! An arrangement is a list of immutable segments and two indexes in memory. `bucket_index` finds the rows of a bucket. `content_index`
//! finds a row by all its columns. It exists only if rows are removed by their content. A removed row is marked as dead, and only its
//! place becomes durable (`removed`), so that a commit writes only what has changed.
//!
//! If rows are removed by their content, each distinct row is stored once, with a weight, and the order of the rows means nothing.
//! Otherwise the rows of a bucket are in the order of their arrival, also after a restart.

mod bucket_index;
mod changes;
mod content_index;
mod durable;
mod hashes;
mod merging;
mod removed;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};

use self::bucket_index::BucketIndex;
use self::content_index::ContentIndex;
use self::hashes::Hashes;
use self::removed::Removed;
use super::buckets::Buckets;
use super::log::bare;
use super::place::Place;
use super::segments::Segments;
use super::weights::{WeightedRows, repeated, weight_field};
use crate::consolidate::Net;
use crate::delta::Delta;
use crate::error::Error;

/// Rows by bucket.
///
/// # Contract
/// A place is valid until the arrangement changes (unchecked).
#[derive(Debug)]
pub(crate) struct Arrangement {
    /// The schema of the rows, without weights and metadata.
    rows: SchemaRef,
    by: Buckets,
    /// The rows and, if they are removed by their content, a column of weights.
    segments: Segments<Hashes>,
    buckets: BucketIndex,
    /// None if rows are never removed.
    removed: Option<Removed>,
    /// None unless rows are removed by their content.
    content: Option<ContentIndex>,
    /// Rows written or removed since the last [`Arrangement::end_epoch`].
    changed: usize,
}

/// Whether rows of an arrangement can be removed, and how they are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Removal {
    /// Rows only arrive.
    Never,
    /// By its place, which the caller knows.
    ByPlace,
    /// By all its columns, as a net change.
    ByContent,
}

impl Removal {
    /// Chooses the removal for an input, given whether it retracts rows and whether its rows expire.
    pub(crate) fn of(retracts: bool, expires: bool) -> Removal {
        match (retracts, expires) {
            (true, _) => Removal::ByContent,
            (false, true) => Removal::ByPlace,
            (false, false) => Removal::Never,
        }
    }
}

impl Arrangement {
    /// Creates an empty arrangement.
    ///
    /// # Errors
    /// [`Error::Plan`] if rows must be compared and a column cannot be.
    pub(crate) fn new(name: String, schema: &SchemaRef, by: Buckets, removal: Removal) -> Result<Self, Error> {
        let rows = bare(schema);
        let mut fields: Vec<Arc<Field>> = rows.fields().to_vec();
        let removed = (removal != Removal::Never).then(|| Removed::of(&name));
        let content = if removal == Removal::ByContent {
            fields.push(weight_field());
            Some(ContentIndex::new(WeightedRows::new(Arc::clone(&rows))?))
        } else {
            None
        };
        let segments = Segments::new(name, Arc::new(Schema::new(fields)));
        Ok(Self { rows, by, segments, buckets: BucketIndex::default(), removed, content, changed: 0 })
    }

    /// Returns the name of the table of the rows.
    pub(crate) fn name(&self) -> &str {
        self.segments.name()
    }

    /// Returns the schema of the rows, without their weights.
    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.rows
    }

    /// Returns the buckets of the rows.
    pub(crate) fn by(&self) -> &Buckets {
        &self.by
    }

    /// Consolidates deltas of rows that are removed by their content.
    ///
    /// # Errors
    /// [`Error::Bug`] if they are not.
    pub(crate) fn net(&self, deltas: &[Delta]) -> Result<Net, Error> {
        self.content()?.rows.net(deltas)
    }

    fn content(&self) -> Result<&ContentIndex, Error> {
        let content = self.content.as_ref();
        content.ok_or_else(|| Error::Bug(format!("rows of {} are not removed by their content", self.segments.name())))
    }

    /// Checks whether rows have weights, because they are removed by their content.
    pub(crate) fn is_weighted(&self) -> bool {
        self.content.is_some()
    }

    /// Returns the number of rows stored in a bucket, whatever their weights.
    pub(crate) fn count(&self, bucket: u32) -> usize {
        self.places(bucket).len()
    }

    /// Returns the places of a bucket's rows.
    pub(crate) fn places(&self, bucket: u32) -> &[Place] {
        self.buckets.places(bucket)
    }

    /// Returns the places of all rows.
    pub(crate) fn all_places(&self) -> Vec<Place> {
        self.segments.live_places(self.segments.order())
    }

    /// Returns the weight of the row at a place.
    pub(crate) fn weight(&self, place: Place) -> i64 {
        match &self.segments.get(place.slot()).index.weights {
            Some(weights) => weights.value(place.row()),
            None => 1,
        }
    }

    /// Gathers the rows at some places.
    pub(crate) fn gather(&self, places: &[Place]) -> Result<RecordBatch, Error> {
        let columns = self.columns(0..self.rows.fields().len(), places)?;
        let options = RecordBatchOptions::new().with_row_count(Some(places.len()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.rows), columns, &options)?)
    }

    /// Gathers some columns of the rows at some places.
    pub(crate) fn columns(&self, columns: impl IntoIterator<Item = usize>, places: &[Place]) -> Result<Vec<ArrayRef>, Error> {
        self.segments.columns(columns.into_iter(), places)
    }

    /// Returns the rows at some places, each repeated by its weight. With `by_content`, rows with weights are ordered by their content
    /// alone, so that what is computed from them does not depend on how they arrived. Rows without weights keep their order.
    pub(crate) fn repeated(&self, places: &[Place], by_content: bool) -> Result<RecordBatch, Error> {
        let rows = self.gather(places)?;
        let Some(content) = &self.content else { return Ok(rows) };
        let mut order: Vec<u32> = (0..places.len() as u32).collect();
        if by_content {
            let keys = content.rows.encode(rows.columns(), rows.num_rows())?;
            order.sort_unstable_by(|one, other| keys.get(*one as usize).cmp(keys.get(*other as usize)));
        } else if places.iter().all(|place| self.weight(*place) == 1) {
            return Ok(rows);
        }
        repeated(&rows, order.into_iter(), |row| self.weight(places[row as usize]))
    }

    /// Returns the number of rows and of bytes held.
    pub(crate) fn size(&self) -> (u64, u64) {
        let sizes = self.segments.iter().map(|segment| (segment.live(), segment.bytes()));
        let (rows, bytes) = sizes.fold((0, 0), |(rows, bytes), (live, of_segment)| (rows + live, bytes + of_segment));
        let indexes = self.buckets.bytes() + self.content.as_ref().map_or(0, ContentIndex::bytes);
        (rows as u64, (bytes + indexes + rows * size_of::<Place>()) as u64)
    }
}
