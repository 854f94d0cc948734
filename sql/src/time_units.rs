//! Lengths of time in the units of a timestamp.

use std::time::Duration;

use arrow::datatypes::TimeUnit;

/// Converts a duration to a timestamp's unit. `None` if it is not a whole number of units.
pub(crate) fn units(duration: Duration, unit: TimeUnit) -> Option<i64> {
    units_of_nanos(i128::try_from(duration.as_nanos()).ok()?, unit)
}

/// Converts a length in nanoseconds, which may be negative, in the same way.
pub(crate) fn units_of_nanos(nanos: i128, unit: TimeUnit) -> Option<i64> {
    let nanos_in_one = match unit {
        TimeUnit::Second => 1_000_000_000,
        TimeUnit::Millisecond => 1_000_000,
        TimeUnit::Microsecond => 1_000,
        TimeUnit::Nanosecond => 1,
    };
    (nanos % nanos_in_one == 0).then(|| i64::try_from(nanos / nanos_in_one).ok()).flatten()
}
