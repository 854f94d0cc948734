//! The net change of one input in an epoch, with the bucket of each row.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;

use super::rows::{arrivals, renamed_deltas};
use crate::consolidate::Net;
use crate::delta::Delta;
use crate::error::Error;
use crate::state::arrangement::Arrangement;

/// The changes of an arrangement in an epoch, and the bucket of each row.
#[derive(Debug)]
pub(crate) enum BucketedDelta {
    /// New rows, if rows are never retracted.
    Arrivals(RecordBatch, Vec<u32>),
    /// Net changes, if rows can be retracted.
    Net(Net, Vec<u32>),
}

impl BucketedDelta {
    /// Computes the net change of an arrangement from deltas.
    pub(crate) fn new(arrangement: &Arrangement, deltas: Vec<Delta>) -> Result<Self, Error> {
        let schema = Arc::clone(arrangement.schema());
        if arrangement.is_weighted() {
            let net = arrangement.net(&renamed_deltas(deltas, &schema)?)?;
            let buckets = arrangement.by().of(&net.rows)?;
            return Ok(BucketedDelta::Net(net, buckets));
        }
        let rows = arrivals(deltas, &schema)?;
        let buckets = arrangement.by().of(&rows)?;
        Ok(BucketedDelta::Arrivals(rows, buckets))
    }

    /// Returns the bucket of each row.
    pub(crate) fn buckets(&self) -> &[u32] {
        match self {
            BucketedDelta::Arrivals(_, buckets) | BucketedDelta::Net(_, buckets) => buckets,
        }
    }

    /// Returns the rows. They are distinct if they can be retracted.
    pub(crate) fn rows(&self) -> &RecordBatch {
        match self {
            BucketedDelta::Arrivals(rows, _) => rows,
            BucketedDelta::Net(net, _) => &net.rows,
        }
    }

    /// Returns the weight of a row.
    pub(crate) fn weight(&self, row: usize) -> i64 {
        match self {
            BucketedDelta::Arrivals(..) => 1,
            BucketedDelta::Net(net, _) => net.weights[row],
        }
    }

    /// Checks which of the rows are stored. The change has been applied to the arrangement.
    pub(crate) fn stays(&self, arrangement: &Arrangement) -> Result<Vec<bool>, Error> {
        match self {
            BucketedDelta::Arrivals(rows, _) => Ok(vec![true; rows.num_rows()]),
            BucketedDelta::Net(net, _) => arrangement.holds(net),
        }
    }

    /// Applies the change to the arrangement.
    pub(crate) fn apply(&self, arrangement: &mut Arrangement) -> Result<(), Error> {
        match self {
            BucketedDelta::Arrivals(rows, buckets) => arrangement.append(rows, buckets),
            BucketedDelta::Net(net, buckets) => arrangement.apply(net, buckets),
        }
    }
}
