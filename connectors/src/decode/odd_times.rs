//! Warns once if the times of a source are implausible: a number that is read in the wrong unit is far from the present.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use arrow::array::{Array, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimeUnit, TimestampSecondType};
use arrow::record_batch::RecordBatch;

use super::envelope::Part;

/// The number of rows to check.
const ROWS: usize = 1000;

/// The plausible times: from 1990 to the end of 2100, in seconds since 1970.
const LIKELY: std::ops::Range<i64> = 631_152_000..4_133_980_800;

/// How many rows remain to be checked, and whether the warning was given.
#[derive(Debug)]
pub(super) struct OddTimes {
    left: AtomicUsize,
    said: AtomicBool,
}

impl OddTimes {
    pub(super) fn new() -> OddTimes {
        OddTimes { left: AtomicUsize::new(ROWS), said: AtomicBool::new(false) }
    }

    /// Checks the first rows of a source, and warns of a column without a single plausible time.
    pub(super) fn look(&self, source: &str, rows: &RecordBatch) {
        let left = self.left.load(Ordering::Relaxed);
        if left == 0 {
            return;
        }
        let count = rows.num_rows().min(left);
        self.left.store(left - count, Ordering::Relaxed);
        if let Some(column) = odd_column(&rows.slice(0, count))
            && !self.said.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(
                source,
                column,
                "no time in the first events is between 1990 and 2100: set option epoch to the unit of times that are written as numbers"
            );
        }
    }
}

/// Returns the name of a column that has times, all of them implausible.
fn odd_column(rows: &RecordBatch) -> Option<&str> {
    let schema = rows.schema_ref();
    let odd = schema.fields().iter().zip(rows.columns()).find(|(field, column)| {
        let DataType::Timestamp(_, zone) = field.data_type() else { return false };
        if Part::of(field.name()).is_some() || column.null_count() == column.len() {
            return false;
        }
        let seconds = cast(column, &DataType::Timestamp(TimeUnit::Second, zone.clone()));
        seconds.is_ok_and(|seconds| {
            seconds.as_primitive::<TimestampSecondType>().iter().flatten().all(|time| !LIKELY.contains(&time))
        })
    });
    odd.map(|(field, _)| field.name().as_str())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use arrow::array::TimestampMillisecondArray;

    use super::*;

    #[test]
    fn a_column_without_a_likely_time_is_odd() {
        let column = |times: Vec<Option<i64>>| {
            let times = Arc::new(TimestampMillisecondArray::from(times)) as Arc<dyn Array>;
            odd_column(&RecordBatch::try_from_iter([("at", times)]).unwrap()).map(str::to_owned)
        };
        assert_eq!(column(vec![Some(1_629_900_061), None]).as_deref(), Some("at"), "seconds read as milliseconds");
        assert_eq!(column(vec![Some(1_629_900_061_733_000)]).as_deref(), Some("at"), "microseconds");
        assert_eq!(column(vec![Some(0), Some(1_629_900_061_733)]), None);
        assert_eq!(column(vec![None]), None);
        assert_eq!(column(vec![]), None);
    }
}
