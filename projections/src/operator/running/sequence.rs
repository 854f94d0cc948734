//! The rows of each touched key from the first changed one on, as they are after the changes.

use std::collections::HashMap;
use std::ops::Range;

use arrow::array::{Array, ArrayRef};
use arrow::compute::interleave;
use arrow::record_batch::RecordBatch;
use datafusion::arrow::row::{Row, Rows};

use super::tails::{Changed, Part};
use crate::error::Error;
use crate::state::arrangement::Arrangement;
use crate::state::keys::Keys;

/// The stored tails of the touched keys, one after the other, and what goes on from the rows before them.
pub(super) struct Stored {
    pub(super) rows: RecordBatch,
    pub(super) order: Rows,
    /// The columns of the input, encoded, if it retracts rows.
    pub(super) content: Option<Keys>,
    /// The functions' columns of the rows before the tails.
    pub(super) carried: Vec<ArrayRef>,
    /// Which of these rows stands before the tail of each key. None if the tail is all of the key.
    pub(super) carried_at: Vec<Option<usize>>,
    /// Whether that row is a peer of the first row of the new tail.
    pub(super) ties: Vec<bool>,
}

/// The new tails of the touched keys, one after the other.
pub(super) struct Sequences {
    /// Each row: whether it is a changed one, as 0 or 1, and its index among the stored or the changed rows.
    sources: Vec<(usize, usize)>,
    /// The range of each key, without gaps.
    pub(super) keys: Vec<Range<usize>>,
    /// The exclusive end of each row's peers.
    pub(super) peers_end: Vec<usize>,
}

impl Sequences {
    /// Merges the changes into the stored tails.
    pub(super) fn merge(arrangement: &Arrangement, changed: &Changed, piece: &[Part], stored: &Stored) -> Result<Self, Error> {
        let (mut sources, mut keys) = (Vec::new(), Vec::with_capacity(piece.len()));
        let mut start = 0;
        for part in piece {
            let (first, length) = (sources.len(), part.places.len());
            let changes = &changed.touched[part.key].rows[part.changes.clone()];
            merge_one(arrangement, changed, changes, stored, start..start + length, &mut sources)?;
            start += length;
            keys.push(first..sources.len());
        }
        let mut sequences = Sequences { peers_end: vec![0; sources.len()], sources, keys };
        for key in &sequences.keys {
            for row in key.clone().rev() {
                let next = row + 1;
                let ties = next < key.end && sequences.order(row, changed, stored) == sequences.order(next, changed, stored);
                sequences.peers_end[row] = if ties { sequences.peers_end[next] } else { next };
            }
        }
        Ok(sequences)
    }

    fn order<'a>(&self, row: usize, changed: &'a Changed, stored: &'a Stored) -> Row<'a> {
        match self.sources[row] {
            (0, index) => stored.order.row(index),
            (_, index) => changed.order.row(index),
        }
    }

    /// Returns the number of rows.
    pub(super) fn len(&self) -> usize {
        self.sources.len()
    }

    /// Returns the first `count` columns of the rows.
    pub(super) fn columns(&self, stored: &RecordBatch, changed: &RecordBatch, count: usize) -> Result<Vec<ArrayRef>, Error> {
        let column = |column: usize| {
            let both: [&dyn Array; 2] = [stored.column(column), changed.column(column)];
            Ok(interleave(&both, &self.sources)?)
        };
        (0..count).map(column).collect()
    }

    /// Returns the bucket of each row.
    pub(super) fn buckets(&self, changed: &Changed, piece: &[Part]) -> Vec<u32> {
        let keys = piece.iter().zip(&self.keys);
        keys.flat_map(|(part, key)| std::iter::repeat_n(changed.touched[part.key].bucket, key.len())).collect()
    }
}

/// Adds the new tail of a key. `changes` are its changed rows, `tail` its stored ones.
fn merge_one(
    arrangement: &Arrangement,
    changed: &Changed,
    changes: &[u32],
    stored: &Stored,
    tail: Range<usize>,
    sources: &mut Vec<(usize, usize)>,
) -> Result<(), Error> {
    // The number of copies of each row that leave.
    let mut leaving: HashMap<&[u8], i64> = HashMap::new();
    if let Some(content) = &changed.content {
        let retracted = changes.iter().filter(|row| changed.weights[**row as usize] < 0);
        leaving.extend(retracted.map(|row| (content.get(*row as usize), -changed.weights[*row as usize])));
    }
    let mut arriving = changes.iter().map(|row| *row as usize).filter(|row| changed.weights[*row] > 0).peekable();
    let copies = |row: usize| std::iter::repeat_n((1, row), changed.weights[row].max(0).unsigned_abs() as usize);
    for row in tail {
        if let (Some(content), false) = (&stored.content, leaving.is_empty())
            && let Some(left) = leaving.get_mut(content.get(row)).filter(|left| **left > 0)
        {
            *left -= 1;
            continue;
        }
        let stands_before = |new: &usize| {
            let by_content = || match (&changed.content, &stored.content) {
                (Some(new_content), Some(content)) => new_content.get(*new).cmp(content.get(row)),
                // A row that arrives stands behind those that it ties with.
                _ => std::cmp::Ordering::Greater,
            };
            changed.order.row(*new).cmp(&stored.order.row(row)).then_with(by_content).is_lt()
        };
        while let Some(new) = arriving.next_if(stands_before) {
            sources.extend(copies(new));
        }
        sources.push((0, row));
    }
    arriving.for_each(|new| sources.extend(copies(new)));
    if leaving.values().any(|left| *left > 0) {
        return Err(Error::Bug(format!("a row is retracted from {}, but is not in it", arrangement.name())));
    }
    Ok(())
}
