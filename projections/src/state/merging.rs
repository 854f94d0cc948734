//! Which segments are merged, and when: one policy for all tables.
//!
//! - Where rows have an order (logs, arrangements), only neighbours are merged. At the end of the list, each segment is larger than all
//!   after it together; where it is not, they become one.
//! - Where they have none (tables by key), segments are sorted into tiers by their live rows, each tier holding four times as many as the
//!   one before. Four segments of a tier become one.
//! - Anywhere, a segment that is mostly garbage is written again without it.
//!
//! So a row is written a few times in its life, and garbage never exceeds live rows by much. The work of one epoch is bounded by what the
//! epoch changed, except that one merge is always allowed.

use std::ops::Range;

use super::{MAX_BATCH_BYTES, MAX_BATCH_ROWS};

/// Segments of one tier that are merged.
const FAN_IN: usize = 4;

/// Rows merged in one epoch for each row that changed in it, at most (the first merge is free).
const WORK_PER_ROW: usize = 4;

/// What the policy knows of a segment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    /// Live rows.
    pub(crate) rows: usize,
    /// Bytes of the live rows, about.
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

/// The last of `count` segments, where they have to become one: each segment before must be larger than twice those after it together.
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

/// The first of `count` segments that is mostly garbage, and those after it that fit in with it.
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

/// Segments of one tier, given by slot.
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

/// The first segment that is mostly garbage, given by slot.
pub(crate) fn mostly_garbage(mut segments: impl Iterator<Item = (usize, Size)>) -> Option<usize> {
    segments.find(|(_, size)| size.is_mostly_garbage()).map(|(slot, _)| slot)
}

/// What merging may still spend in an epoch.
#[derive(Debug)]
pub(crate) struct Budget {
    changed: usize,
    spent: usize,
}

impl Budget {
    /// For an epoch that changed so many rows.
    pub(crate) fn new(changed: usize) -> Self {
        Self { changed, spent: 0 }
    }

    /// Whether so many rows may be merged; they are spent then.
    pub(crate) fn spend(&mut self, rows: usize) -> bool {
        let allowed = self.spent == 0 || self.spent + rows <= WORK_PER_ROW * self.changed;
        if allowed {
            self.spent += rows.max(1);
        }
        allowed
    }
}
