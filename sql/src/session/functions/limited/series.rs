//! Computes the length of a series from its bounds and its step.

use arrow::array::{Array, AsArray};
use arrow::datatypes::{
    DataType, Date32Type, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit, TimeUnit,
    TimestampNanosecondType,
};
use datafusion::common::Result;

use super::argument::Argument;
use crate::sizes::{Budget, ELEMENT_BYTES};

const HOUR_NS: i128 = 3_600 * 1_000_000_000;

/// Checks the length of the series of each row.
///
/// # Errors
/// A value error if a row or the batch would be too large, or if the parts of a step have different signs: such a series may never
/// end.
pub(super) fn check(budget: &mut Budget<'_>, arguments: &[Argument], rows: usize) -> Result<()> {
    let (start, stop, step) = match arguments {
        [stop] => (None, stop, None),
        [start, stop] => (Some(start), stop, None),
        [start, stop, step, ..] => (Some(start), stop, Some(step)),
        [] => return Ok(()),
    };
    let types = [start, Some(stop), step].map(|argument| argument.map(|argument| argument.array.data_type().clone()));
    if types.iter().flatten().any(DataType::is_null) {
        return Ok(());
    }
    let (first, last) = (start.map(points).transpose()?, points(stop)?);
    let intervals = step.filter(|step| matches!(step.array.data_type(), DataType::Interval(_)));
    let intervals = intervals.map(|step| step.cast(&DataType::Interval(IntervalUnit::MonthDayNano))).transpose()?;
    let numbers = if intervals.is_none() { step.map(Argument::numbers).transpose()? } else { None };
    for row in 0..rows {
        let first = first.as_ref().map_or(Some(0), |first| first.get(row));
        let (Some(first), Some(last)) = (first, last.get(row)) else { continue };
        let step = match (&intervals, &numbers) {
            (Some(intervals), _) => {
                let (array, at) = (intervals.array.as_primitive::<IntervalMonthDayNanoType>(), intervals.at(row));
                if array.is_null(at) {
                    continue;
                }
                least(array.value(at)).ok_or_else(|| budget.error("a step whose parts go both ways"))?
            }
            (None, Some(numbers)) => match numbers.get(row) {
                Some(step) => i128::from(step),
                None => continue,
            },
            (None, None) => 1,
        };
        let distance = if step < 0 { first - last } else { last - first };
        if step != 0 && distance >= 0 {
            let count = u64::try_from(distance / step.abs()).unwrap_or(u64::MAX).saturating_add(1);
            budget.take(count.saturating_mul(ELEMENT_BYTES))?;
        }
    }
    Ok(())
}

/// Returns the shortest duration of a step, in nanoseconds. `None` if its parts have different signs.
fn least(step: IntervalMonthDayNano) -> Option<i128> {
    let parts = [i128::from(step.months) * 28 * 23 * HOUR_NS, i128::from(step.days) * 23 * HOUR_NS, i128::from(step.nanoseconds)];
    let both = parts.iter().any(|part| *part < 0) && parts.iter().any(|part| *part > 0);
    (!both).then(|| parts.iter().sum())
}

/// Bounds of series as numbers, by row. Times are in nanoseconds.
struct Points {
    argument: Argument,
    of: Of,
}

#[derive(Clone, Copy)]
enum Of {
    Numbers,
    Days,
    Times,
}

fn points(argument: &Argument) -> Result<Points> {
    let (of, as_type) = match argument.array.data_type() {
        DataType::Date32 | DataType::Date64 => (Of::Days, DataType::Date32),
        DataType::Timestamp(_, zone) => (Of::Times, DataType::Timestamp(TimeUnit::Nanosecond, zone.clone())),
        _ => (Of::Numbers, DataType::Int64),
    };
    Ok(Points { argument: argument.cast(&as_type)?, of })
}

impl Points {
    fn get(&self, row: usize) -> Option<i128> {
        let (array, at) = (&self.argument.array, self.argument.at(row));
        if array.is_null(at) {
            return None;
        }
        Some(match self.of {
            Of::Numbers => i128::from(array.as_primitive::<Int64Type>().value(at)),
            Of::Days => i128::from(array.as_primitive::<Date32Type>().value(at)) * 24 * HOUR_NS,
            Of::Times => i128::from(array.as_primitive::<TimestampNanosecondType>().value(at)),
        })
    }
}
