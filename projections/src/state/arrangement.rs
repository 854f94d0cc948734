//! Rows arranged by a key: all rows of some buckets are found without reading the others.
//!
//! An arrangement is a list of immutable segments and two indexes in memory. `bucket_index` finds the rows of a bucket; `content_index`,
//! only where rows are removed by their content, finds a row by all its columns. A removed row is marked as dead, and only its place
//! becomes durable (`removed`), so that a commit writes what has changed and nothing else.
//!
//! Where rows are removed by their content, each different row is stored once, with a weight, and their order means nothing. Otherwise the
//! rows of a bucket are in the order of their arrival, after a restart too.

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
    /// Of the rows that are put in, without metadata.
    rows: SchemaRef,
    by: Buckets,
    /// The rows and, where they are removed by their content, a column of weights.
    segments: Segments<Hashes>,
    buckets: BucketIndex,
    /// Where rows can be removed.
    removed: Option<Removed>,
    /// Where they are removed by their content.
    content: Option<ContentIndex>,
    /// Rows written or removed since the last [`Arrangement::end_epoch`].
    changed: usize,
}

/// Whether rows of an arrangement can be removed, and by what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Removal {
    /// Rows only arrive.
    Never,
    /// Whoever removes a row knows its place.
    ByPlace,
    /// By all its columns, as a net change.
    ByContent,
}

impl Removal {
    /// For the rows of an input that can retract them, or whose rows expire.
    pub(crate) fn of(retracts: bool, expires: bool) -> Removal {
        match (retracts, expires) {
            (true, _) => Removal::ByContent,
            (false, true) => Removal::ByPlace,
            (false, false) => Removal::Never,
        }
    }
}

impl Arrangement {
    /// # Errors
    /// [`Error::Plan`] where rows have to be compared and a column cannot be.
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

    /// The rows' own schema.
    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.rows
    }

    /// In which buckets rows are.
    pub(crate) fn by(&self) -> &Buckets {
        &self.by
    }

    /// Net changes of rows that are removed by their content.
    ///
    /// # Errors
    /// [`Error::Bug`] where they are not.
    pub(crate) fn net(&self, deltas: &[Delta]) -> Result<Net, Error> {
        self.content()?.rows.net(deltas)
    }

    fn content(&self) -> Result<&ContentIndex, Error> {
        let content = self.content.as_ref();
        content.ok_or_else(|| Error::Bug(format!("rows of {} are not removed by their content", self.segments.name())))
    }

    /// Whether rows are removed by their content.
    pub(crate) fn is_weighted(&self) -> bool {
        self.content.is_some()
    }

    /// How many rows a bucket has, each counted once.
    pub(crate) fn count(&self, bucket: u32) -> usize {
        self.places(bucket).len()
    }

    /// The places of a bucket's rows.
    pub(crate) fn places(&self, bucket: u32) -> &[Place] {
        self.buckets.places(bucket)
    }

    /// The places of all rows.
    pub(crate) fn all_places(&self) -> Vec<Place> {
        self.segments.live_places(self.segments.order())
    }

    /// The weight of the row at a place.
    pub(crate) fn weight(&self, place: Place) -> i64 {
        match &self.segments.get(place.slot()).index.weights {
            Some(weights) => weights.value(place.row()),
            None => 1,
        }
    }

    /// The rows at some places.
    pub(crate) fn gather(&self, places: &[Place]) -> Result<RecordBatch, Error> {
        let columns = self.columns(0..self.rows.fields().len(), places)?;
        let options = RecordBatchOptions::new().with_row_count(Some(places.len()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.rows), columns, &options)?)
    }

    /// Some columns of the rows at some places.
    pub(crate) fn columns(&self, columns: impl IntoIterator<Item = usize>, places: &[Place]) -> Result<Vec<ArrayRef>, Error> {
        self.segments.columns(columns.into_iter(), places)
    }

    /// The rows at some places, each as many times as its weight says. With `by_content` their content alone decides their order, so that
    /// what is computed from them does not depend on how they arrived.
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

    /// Rows and bytes held.
    pub(crate) fn size(&self) -> (u64, u64) {
        let sizes = self.segments.iter().map(|segment| (segment.live(), segment.bytes()));
        let (rows, bytes) = sizes.fold((0, 0), |(rows, bytes), (live, of_segment)| (rows + live, bytes + of_segment));
        let indexes = self.buckets.bytes() + self.content.as_ref().map_or(0, ContentIndex::bytes);
        (rows as u64, (bytes + indexes + rows * size_of::<Place>()) as u64)
    }
}
