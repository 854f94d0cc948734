//! The merge policy of all tables: which segments are merged, and when.
//!
//! - If rows have an order (logs, arrangements), only neighbours are merged. A segment near the end of the list has more than twice as
//!   many rows as all after it together. If it has not, they become one.
//! - If rows have no order (tables by key), segments are sorted into tiers by their live rows. Each tier takes segments four times as
//!   large as the one before. Once a tier has four segments, they become one.
//! - In any table, a segment that is mostly garbage is written again without it.
//!
//! So a row is written only a few times in its life, and garbage never exceeds live rows by much. A budget bounds the merges of tiers and
//! of garbage by the rows that the epoch changed, except that one merge is always allowed. Merges at the end of a list need no budget,
//! since they make at most one full segment.

use std::ops::Range;

use super::{MAX_BATCH_BYTES, MAX_BATCH_ROWS};

/// How many segments a tier must have to be merged.
const FAN_IN: usize = 4;

/// The largest number of rows merged in an epoch for each row that it changed. The first merge is always allowed.
const WORK_PER_ROW: usize = 4;

/// What the policy knows about a segment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    /// Live rows.
    pub(crate) rows: usize,
    /// The approximate bytes of the live rows.
    pub(crate) bytes: usize,
    /// Rows that a merge drops.
    pub(crate) garbage: usize,
    /// All rows.
    pub(crate) len: usize,
}

impl Size {
    fn is_mostly_garbage(self) -> bool {
        self.garbage > self.len - self.garbage
    }
}

/// Returns the last of `count` segments that must become one, if any. The segment before them has more than twice their rows, or would
/// make the merged segment too large.
pub(crate) fn tail(count: usize, size: impl Fn(usize) -> Size) -> Option<Range<usize>> {
    let mut first = count;
    let (mut rows, mut bytes) = (0, 0);
    while let Some(before) = first.checked_sub(1) {
        let size = size(before);
        let (all_rows, all_bytes) = (rows + size.rows, bytes + size.bytes);
        let grows = first < count && size.rows > 2 * rows;
        if grows || all_rows > MAX_BATCH_ROWS || all_bytes > MAX_BATCH_BYTES {
            break;
        }
        (rows, bytes, first) = (all_rows, all_bytes, before);
    }
    (count - first >= 2).then_some(first..count)
}

/// Returns the first of `count` segments that is mostly garbage, and those after it that fit into half a segment with it.
pub(crate) fn garbage_and_neighbours(count: usize, size: impl Fn(usize) -> Size) -> Option<Range<usize>> {
    let first = (0..count).find(|position| size(*position).is_mostly_garbage())?;
    let Size { mut rows, mut bytes, .. } = size(first);
    let fits = (first + 1..count).take_while(|position| {
        let size = size(*position);
        rows += size.rows;
        bytes += size.bytes;
        rows <= MAX_BATCH_ROWS / 2 && bytes <= MAX_BATCH_BYTES / 2
    });
    Some(first..first + 1 + fits.count())
}

/// Returns the slots of segments of one tier that must become one, if any.
pub(crate) fn tier(segments: impl Iterator<Item = (usize, Size)>) -> Option<Vec<usize>> {
    let mut tiers: [Vec<(usize, Size)>; 8] = Default::default();
    for (slot, size) in segments {
        if size.len > 0 && size.rows * 2 <= MAX_BATCH_ROWS && size.bytes * 2 <= MAX_BATCH_BYTES {
            tiers[(size.rows.max(1).ilog2() / 2) as usize].push((slot, size));
        }
    }
    let tier = tiers.into_iter().find(|tier| tier.len() >= FAN_IN)?;
    let (mut rows, mut bytes, mut chosen) = (0, 0, Vec::new());
    for (slot, size) in tier {
        rows += size.rows;
        bytes += size.bytes;
        if rows > MAX_BATCH_ROWS || (bytes > MAX_BATCH_BYTES && chosen.len() >= 2) {
            break;
        }
        chosen.push(slot);
    }
    Some(chosen)
}

/// Returns the slot of the first segment that is mostly garbage.
pub(crate) fn mostly_garbage(mut segments: impl Iterator<Item = (usize, Size)>) -> Option<usize> {
    segments.find(|(_, size)| size.is_mostly_garbage()).map(|(slot, _)| slot)
}

/// How many rows may still be merged in an epoch.
#[derive(Debug)]
pub(crate) struct Budget {
    changed: usize,
    spent: usize,
}

impl Budget {
    /// Creates the budget of an epoch that changed `changed` rows.
    pub(crate) fn new(changed: usize) -> Self {
        Self { changed, spent: 0 }
    }

    /// Checks whether `rows` more rows may be merged, and if so, spends them.
    pub(crate) fn spend(&mut self, rows: usize) -> bool {
        let allowed = self.spent == 0 || self.spent + rows <= WORK_PER_ROW * self.changed;
        if allowed {
            self.spent += rows.max(1);
        }
        allowed
    }
}
