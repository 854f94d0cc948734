//! Chooses which small parts of an insert-only view to merge. Does no I/O.
//!
//! Tiers grow by powers of eight in rows. When a tier has eight parts, these and all smaller parts are merged into one. So a row is
//! written about once per tier, and a view has a few dozen parts in addition to full ones.

/// The number of parts in a tier that starts a merge.
const FAN_IN: usize = 8;
/// Parts with fewer rows form the lowest tier.
const SMALLEST_ROWS: u64 = 512;
/// A part with this many rows or bytes is full and never merged again.
pub(super) const FULL_ROWS: u64 = 4 << 20;
pub(super) const FULL_BYTES: u64 = 256 << 20;
/// A merge of at most this many rows and bytes runs within the commit, a larger one in the background.
pub(super) const AT_ONCE_ROWS: u64 = 64 << 10;
pub(super) const AT_ONCE_BYTES: u64 = 8 << 20;

/// The size of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) rows: u64,
    pub(super) bytes: u64,
}

impl Size {
    fn tier(self) -> Option<u32> {
        let full = self.rows >= FULL_ROWS || self.bytes >= FULL_BYTES;
        (!full).then(|| (self.rows / SMALLEST_ROWS).checked_ilog(FAN_IN as u64).map_or(0, |tier| tier + 1))
    }
}

/// Returns the indexes, ascending, of the parts to merge into one; empty if there is nothing to merge.
pub(super) fn parts_to_merge(sizes: &[Size]) -> Vec<usize> {
    let tiers: Vec<Option<u32>> = sizes.iter().map(|size| size.tier()).collect();
    let crowded = tiers
        .iter()
        .flatten()
        .copied()
        .filter(|tier| tiers.iter().filter(|other| **other == Some(*tier)).count() >= FAN_IN)
        .max();
    match crowded {
        None => Vec::new(),
        Some(crowded) => (0..sizes.len()).filter(|index| tiers[*index].is_some_and(|tier| tier <= crowded)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_rewritten_a_few_times_and_parts_stay_few() {
        for rows in [1, 100, 10_000] {
            let (mut sizes, mut written, mut most) = (Vec::new(), 0, 0);
            let commits = 30_000;
            for _ in 0..commits {
                sizes.push(Size { rows, bytes: 20 * rows });
                loop {
                    let merged = parts_to_merge(&sizes);
                    if merged.is_empty() {
                        break;
                    }
                    let total = merged.iter().fold(Size { rows: 0, bytes: 0 }, |sum, index| Size {
                        rows: sum.rows + sizes[*index].rows,
                        bytes: sum.bytes + sizes[*index].bytes,
                    });
                    written += total.rows;
                    for index in merged.into_iter().rev() {
                        sizes.remove(index);
                    }
                    sizes.push(total);
                }
                most = most.max(sizes.iter().filter(|size| size.tier().is_some()).count());
            }
            let total = rows * commits;
            assert_eq!(sizes.iter().map(|size| size.rows).sum::<u64>(), total);
            assert!(most <= 40, "{most} parts of {rows} rows");
            assert!(written <= 80 * total, "{rows} rows a commit: {} times", written / total);
            if rows >= 100 {
                assert!(written <= 12 * total, "{rows} rows a commit: {} times", written / total);
            }
        }
    }

    #[test]
    fn full_parts_are_left_alone() {
        assert!(parts_to_merge(&[Size { rows: FULL_ROWS, bytes: 0 }; 20]).is_empty());
        assert!(parts_to_merge(&[Size { rows: 10, bytes: FULL_BYTES }; 20]).is_empty());
    }
}
