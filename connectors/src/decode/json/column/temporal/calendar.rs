//! Date arithmetic in the Gregorian calendar.

/// Returns the number of days in a month. Months count from 1.
#[inline]
pub(super) fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Converts a date of the Gregorian calendar, in year 0 or later, to days since the epoch.
#[inline]
pub(super) fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    // Years begin in March here, so that a leap day is the last day of its year.
    let (year, month) = if month < 3 { (year - 1, month + 9) } else { (year, month - 3) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    // From March on, the lengths of the months repeat: 31, 30, 31, 30 and 31 days.
    365 * year + leap_days + (153 * month + 2) / 5 + day - 1 - DAYS_BEFORE_EPOCH
}

/// The number of days from 1 March of year 0 to the epoch.
const DAYS_BEFORE_EPOCH: i64 = 719_468;
