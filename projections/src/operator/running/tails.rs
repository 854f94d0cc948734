//! The changes of each key, and the stored rows of the key from the first changed one on.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::record_batch::RecordBatch;
use datafusion::arrow::row::Rows;

use crate::error::Error;
use crate::operator::kit::rows::batch;
use crate::operator::kit::sort_keys::SortKeys;
use crate::state::arrangement::Arrangement;
use crate::state::keys::Keys;
use crate::state::{MAX_BATCH_ROWS, Place};

/// About how many stored rows are read at once.
const PIECE_ROWS: usize = 4 * MAX_BATCH_ROWS;

/// The changes of an epoch, by key.
pub(super) struct Changed {
    pub(super) rows: RecordBatch,
    pub(super) weights: Vec<i64>,
    /// The sort keys of the rows.
    pub(super) order: Rows,
    /// The rows, encoded, if the input retracts rows. They are in the order of this encoding where their sort keys tie.
    pub(super) content: Option<Keys>,
    /// The touched keys.
    pub(super) touched: Vec<Touched>,
}

/// A touched key.
pub(super) struct Touched {
    key: Vec<u8>,
    pub(super) bucket: u32,
    /// The changed rows of the key in their order.
    pub(super) rows: Vec<u32>,
}

/// The end of a stored sequence.
#[derive(Debug, Clone, Default)]
pub(super) struct Tail {
    /// The rows that do not stand before all changes, in their order.
    pub(super) places: Vec<Place>,
    /// Whether each of these rows ties with the one behind it.
    ties: Vec<bool>,
    /// The row before them.
    pub(super) before: Option<Place>,
    /// Whether that row ties with the first change.
    before_ties: bool,
    /// The sort key of the first row.
    first: Option<Vec<u8>>,
}

/// A part of a tail, and the changes that belong between its rows.
#[derive(Debug, Clone)]
pub(super) struct Part {
    /// The number of the touched key.
    pub(super) key: usize,
    pub(super) places: Range<usize>,
    /// Indexes into the changed rows of the key.
    pub(super) changes: Range<usize>,
}

impl Part {
    /// Checks whether another part of the same tail comes before this one.
    pub(super) fn goes_on(&self) -> bool {
        self.places.start > 0
    }
}

impl Changed {
    pub(super) fn new(
        stored: &Arrangement,
        rows: RecordBatch,
        weights: Vec<i64>,
        order: Rows,
        content: Option<Keys>,
    ) -> Result<Self, Error> {
        let by = stored.by();
        let columns: Vec<ArrayRef> = by.columns().iter().map(|column| Arc::clone(rows.column(*column))).collect();
        let keys = by.keys(&columns, rows.num_rows())?;
        let buckets = keys.hashes();
        let mut numbers: HashMap<&[u8], usize> = HashMap::new();
        let mut touched: Vec<Touched> = Vec::new();
        for (row, bucket) in buckets.iter().enumerate() {
            let number = *numbers.entry(keys.get(row)).or_insert_with(|| {
                touched.push(Touched { key: keys.get(row).to_vec(), bucket: *bucket, rows: Vec::new() });
                touched.len() - 1
            });
            touched[number].rows.push(row as u32);
        }
        for of_key in &mut touched {
            of_key.rows.sort_unstable_by(|one, other| {
                let by_content = |row: u32| content.as_ref().map(|content| content.get(row as usize));
                order
                    .row(*one as usize)
                    .cmp(&order.row(*other as usize))
                    .then_with(|| by_content(*one).cmp(&by_content(*other)))
                    .then_with(|| one.cmp(other))
            });
        }
        Ok(Changed { rows, weights, order, content, touched })
    }

    /// Finds the tail of each touched key, by looking at ever more rows from the end on. `ties_stand_before` says that a stored row which
    /// ties with the first change stands before it.
    pub(super) fn tails(&self, stored: &Arrangement, order: &SortKeys, ties_stand_before: bool) -> Result<Vec<Tail>, Error> {
        let mut tails = vec![Tail::default(); self.touched.len()];
        let mut seen = vec![0_usize; self.touched.len()];
        let mut open: Vec<usize> = (0..self.touched.len()).collect();
        let mut at_once = 1;
        loop {
            open.retain(|number| tails[*number].before.is_none() && seen[*number] < stored.count(self.touched[*number].bucket));
            if open.is_empty() {
                break;
            }
            let (mut places, mut of_places) = (Vec::new(), Vec::new());
            for number in &open {
                let all = stored.places(self.touched[*number].bucket);
                let end = all.len() - seen[*number];
                let start = end.saturating_sub(at_once);
                places.extend(all[start..end].iter().rev());
                of_places.resize(places.len(), *number);
                seen[*number] += end - start;
            }
            let keys = stored.by().keys(&stored.columns(stored.by().columns().iter().copied(), &places)?, places.len())?;
            let sorted = encoded_at(stored, order, &places)?;
            // The row of this round that was added last to each tail.
            let mut first_rows: HashMap<usize, usize> = HashMap::new();
            for (row, (place, number)) in places.iter().zip(of_places).enumerate() {
                let (tail, touched) = (&mut tails[number], &self.touched[number]);
                if tail.before.is_some() || keys.get(row) != touched.key {
                    continue;
                }
                let (own, first) = (sorted.row(row), self.order.row(touched.rows[0] as usize));
                if own < first || ties_stand_before && own == first {
                    tail.before = Some(*place);
                    tail.before_ties = own == first;
                    continue;
                }
                let ties = match first_rows.insert(number, row) {
                    Some(behind) => own == sorted.row(behind),
                    None => tail.first.as_deref() == Some(own.as_ref()),
                };
                tail.ties.push(ties);
                tail.places.push(*place);
            }
            for (number, row) in first_rows {
                tails[number].first = Some(sorted.row(row).as_ref().to_vec());
            }
            at_once = (at_once * 4).min(PIECE_ROWS);
        }
        for tail in &mut tails {
            tail.places.reverse();
            tail.ties.reverse();
        }
        Ok(tails)
    }

    /// Cuts the tails into pieces of about [`PIECE_ROWS`] stored rows. A piece has the tails of several keys, or a part of one. `may_split`
    /// says that tied rows may be in two pieces.
    pub(super) fn pieces(
        &self,
        tails: &[Tail],
        stored: &Arrangement,
        order: &SortKeys,
        may_split: bool,
    ) -> Result<Vec<Vec<Part>>, Error> {
        let (mut pieces, mut piece, mut rows) = (Vec::new(), Vec::new(), 0);
        for (key, (touched, tail)) in self.touched.iter().zip(tails).enumerate() {
            let length = tail.places.len();
            if length > PIECE_ROWS {
                pieces.extend(self.parts(key, tail, stored, order, may_split)?.into_iter().map(|part| vec![part]));
                continue;
            }
            rows += length + touched.rows.len();
            piece.push(Part { key, places: 0..length, changes: 0..touched.rows.len() });
            if rows >= PIECE_ROWS {
                pieces.push(std::mem::take(&mut piece));
                rows = 0;
            }
        }
        if !piece.is_empty() {
            pieces.push(piece);
        }
        Ok(pieces)
    }

    /// Cuts the tail of one key.
    fn parts(
        &self,
        key: usize,
        tail: &Tail,
        stored: &Arrangement,
        order: &SortKeys,
        may_split: bool,
    ) -> Result<Vec<Part>, Error> {
        let (length, changes) = (tail.places.len(), &self.touched[key].rows);
        let (mut parts, mut start, mut from) = (Vec::new(), 0, 0);
        while start < length {
            let mut end = (start + PIECE_ROWS).min(length);
            while end < length && !may_split && tail.ties[end - 1] {
                end += 1;
            }
            let mut to = changes.len();
            if end < length {
                let next = encoded_at(stored, order, &tail.places[end..=end])?;
                to = changes.partition_point(|row| self.order.row(*row as usize) < next.row(0));
            }
            parts.push(Part { key, places: start..end, changes: from..to });
            (start, from) = (end, to);
        }
        Ok(parts)
    }

    /// Checks whether the row before a part of a tail ties with the first row of the part.
    pub(super) fn ties_before(&self, tail: &Tail, part: &Part) -> bool {
        if part.goes_on() { tail.ties[part.places.start - 1] } else { tail.before_ties }
    }
}

/// Encodes the sort keys of stored rows.
fn encoded_at(stored: &Arrangement, order: &SortKeys, places: &[Place]) -> Result<Rows, Error> {
    let schema = Arc::new(stored.schema().project(order.columns())?);
    let columns = stored.columns(order.columns().iter().copied(), places)?;
    order.encode(&batch(&schema, columns, places.len())?)
}
