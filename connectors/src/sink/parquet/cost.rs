//! Computes the cheapest number of parts from a small model of the cost of a commit in microseconds. Does no I/O.
//!
//! A commit that changes `k` random keys touches `P (1 - (1 - 1/P)^k)` of `P` parts. Each touched part is read and rewritten, at a cost
//! per file and per row. Every part, touched or not, costs a link in the snapshot. So a view whose rows all change has few large parts,
//! and one in which few rows change has many small ones.

/// The cost of each part written: creating, syncing and later removing a file, and its footer.
const PART_US: f64 = 350.0;
/// The cost of each part of a view: links, names in lists, removal.
const LINK_US: f64 = 30.0;
/// The number of parts written in parallel.
const SIDE_BY_SIDE: f64 = 2.0;
/// The cost of each row in a part written, and of each of its columns.
const ROW_US: f64 = 0.05;
const ROW_COLUMN_US: f64 = 0.05;

/// Parts are not split for cost into parts with fewer rows.
pub(super) const MIN_ROWS: u64 = 1_024;
/// Parts are not merged for cost into parts with more rows. A part of more than twice as many is split whatever the cost.
pub(super) const MAX_ROWS: u64 = 256 << 10;
/// Like [`MAX_ROWS`], in bytes of the file.
pub(super) const MAX_BYTES: u64 = 64 << 20;
/// The longest prefix that splitting for cost creates, in bits: 1,024 parts.
pub(super) const MAX_BITS: u8 = 10;
/// The number of commits over which a split must pay for itself.
const HORIZON: f64 = 20.0;
/// The number of commits to observe before adapting the layout.
const WARM_UP: u32 = 3;

/// The number of keys that a commit changes, as a moving geometric mean, so that one large commit (a backfill) is soon forgotten.
#[derive(Debug, Clone, Default)]
pub(super) struct ChangeRate {
    mean_ln: f64,
    commits: u32,
}

impl ChangeRate {
    pub(super) fn observe(&mut self, keys: u64) {
        let ln = (keys.max(1) as f64).ln();
        self.mean_ln = if self.commits == 0 { ln } else { self.mean_ln + (ln - self.mean_ln) * 0.25 };
        self.commits = self.commits.saturating_add(1);
    }

    /// Returns the mean number of keys that a commit changes, or `None` before enough commits were observed.
    pub(super) fn keys(&self) -> Option<f64> {
        (self.commits >= WARM_UP).then(|| self.mean_ln.exp())
    }
}

/// The cost of a commit for some rows of a view.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cost {
    /// The number of keys that a commit changes among these rows.
    keys: f64,
    /// The cost of a row in microseconds.
    row_us: f64,
    /// The number of parts with other rows that the commit also writes.
    others: f64,
}

impl Cost {
    pub(super) fn new(keys: f64, columns: usize) -> Cost {
        Cost { keys, row_us: ROW_US + ROW_COLUMN_US * columns as f64, others: 0.0 }
    }

    /// Returns the cost for a fraction of the rows, if the commit also writes `others` parts with the remaining rows.
    pub(super) fn of(self, fraction: f64, others: usize) -> Cost {
        Cost { keys: self.keys * fraction, others: others as f64, ..self }
    }

    /// Returns the cost of a commit, in microseconds, if `rows` are spread over `parts` equal parts.
    pub(super) fn commit_us(self, rows: f64, parts: f64) -> f64 {
        let touched = if parts <= 1.0 {
            // With one part: the probability that anything in it changes.
            1.0 - (-self.keys).exp()
        } else {
            parts * (1.0 - (1.0 - 1.0 / parts).powf(self.keys))
        };
        touched * (PART_US + self.row_us * rows / parts) / (touched + self.others).clamp(1.0, SIDE_BY_SIDE) + parts * LINK_US
    }

    /// Returns into how many parts, as a power of two, to split a part of `rows` that is rewritten anyway. `bits` is the length of its
    /// prefix.
    pub(super) fn split(self, rows: u64, bits: u8) -> u8 {
        let one = self.commit_us(rows as f64, 1.0);
        let (mut best, mut best_gain) = (0, 0.0);
        for more in 1..=MAX_BITS.saturating_sub(bits) {
            if rows >> more < MIN_ROWS {
                break;
            }
            let parts = f64::from(1_u32 << more);
            let gain = (one - self.commit_us(rows as f64, parts)) * HORIZON - (parts - 1.0) * PART_US;
            if gain > best_gain {
                (best, best_gain) = (more, gain);
            }
        }
        best
    }

    /// Checks whether merging two halves that are both rewritten anyway into one part of `rows` saves cost.
    pub(super) fn merge(self, rows: u64) -> bool {
        rows <= MAX_ROWS && self.commit_us(rows as f64, 2.0) - self.commit_us(rows as f64, 1.0) > PART_US * 0.5
    }
}

/// Returns into how many parts, as a power of two, a part must be split because it is too large.
pub(super) fn forced_split(rows: u64, bytes: u64) -> u8 {
    let mut more = 0;
    if rows > 2 * MAX_ROWS || bytes > 2 * MAX_BYTES {
        while rows >> more > MAX_ROWS || bytes >> more > MAX_BYTES {
            more += 1;
        }
    }
    more
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(rows: u64, keys: f64) -> u64 {
        1 << Cost::new(keys, 4).split(rows, 0)
    }

    #[test]
    fn few_changes_in_many_rows_ask_for_many_parts_and_many_changes_for_few() {
        assert!(parts(1_000_000, 100.0) >= 256, "{}", parts(1_000_000, 100.0));
        assert_eq!(parts(256 << 10, 256_000.0), 2, "one for each core");
        assert_eq!(Cost::new(1e6, 4).of(0.25, 3).split(256 << 10, 2), 0);
        assert!(parts(10_000, 100.0) <= 8, "{}", parts(10_000, 100.0));
        assert!(parts(3_000, 1.0) <= 2);
        assert_eq!(parts(1_000, 1.0), 1);
    }

    #[test]
    fn a_split_is_never_undone_by_the_same_rate() {
        for rows in [2_000, 10_000, 100_000, 250_000] {
            for keys in [1.0, 3.0, 10.0, 100.0, 1_000.0, 10_000.0] {
                let cost = Cost::new(keys, 3);
                let bits = cost.split(rows, 0);
                if bits > 0 {
                    let pair = cost.of(2.0 / f64::from(1_u32 << bits), (1 << bits) - 2);
                    assert!(!pair.merge(rows >> (bits - 1)), "{rows} rows, {keys} keys: split by {bits} and merged again");
                }
            }
        }
    }

    #[test]
    fn parts_too_large_are_split_whatever_the_cost() {
        assert_eq!(forced_split(MAX_ROWS, 0), 0);
        assert_eq!(forced_split(4 * MAX_ROWS, 0), 2);
        assert_eq!(forced_split(1_000, 8 * MAX_BYTES), 3);
    }

    #[test]
    fn a_backfill_is_forgotten_in_a_dozen_commits() {
        let mut rate = ChangeRate::default();
        rate.observe(1_000_000);
        assert_eq!(rate.keys(), None);
        for _ in 0..12 {
            rate.observe(100);
        }
        assert!(rate.keys().is_some_and(|keys| (100.0..200.0).contains(&keys)), "{:?}", rate.keys());
    }
}
