//! Days of the Gregorian calendar.

/// Days of a month, counted from 1.
#[inline]
pub(super) fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Of a day of the Gregorian calendar, in years from 0 on.
#[inline]
pub(super) fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    // Years begin with March here, so that the day that some have more is their last.
    let (year, month) = if month < 3 { (year - 1, month + 9) } else { (year, month - 3) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    // The months from March on have 31, 30, 31, 30 and 31 days, and so on again.
    365 * year + leap_days + (153 * month + 2) / 5 + day - 1 - DAYS_BEFORE_EPOCH
}

/// From the first of March of year 0 to the epoch.
const DAYS_BEFORE_EPOCH: i64 = 719_468;
