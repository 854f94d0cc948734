//! Columns of dates, times, timestamps, durations and intervals. Nothing is rounded: a value that is finer than the column's
//! unit is out of range.

mod calendar;
mod written_times;

use std::sync::Arc;

use arrow::array::timezone::Tz;
use arrow::compute::kernels::cast_utils::{
    Parser, parse_interval_day_time, parse_interval_month_day_nano, parse_interval_year_month, string_to_datetime,
    string_to_time_nanoseconds,
};
use arrow::datatypes::{
    DataType, Date32Type, Date64Type, DurationMicrosecondType, DurationMillisecondType, DurationNanosecondType,
    DurationSecondType, IntervalDayTimeType, IntervalMonthDayNanoType, IntervalUnit, IntervalYearMonthType,
    Time32MillisecondType, Time32SecondType, Time64MicrosecondType, Time64NanosecondType, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};

use self::calendar::{days_in_month, days_since_epoch};
use super::number::{self, decimal, integer, number_text};
use super::scalar::{primitive, primitive_since};
use super::{Column, text};
use crate::decode::fault::Refusal;

const SECONDS_A_DAY: i64 = 86_400;
const NANOSECONDS: i64 = 1_000_000_000;
const TOO_FINE: Refusal = Refusal::OutOfRange("it is finer than the column's unit, and nothing is rounded");
const TOO_FAR: Refusal = Refusal::OutOfRange("it does not fit the type");

/// Creates a column for a date, time, duration or interval type; returns `None` for other types.
pub(in crate::decode::json) fn make_plain(data_type: &DataType, capacity: usize) -> Option<Box<dyn Column>> {
    Some(match data_type {
        DataType::Date32 => primitive::<Date32Type, _>(data_type, capacity, |raw| match text(raw)? {
            Some(text) => date(&text),
            None => integer(raw),
        }),
        DataType::Date64 => primitive::<Date64Type, _>(data_type, capacity, |raw| match text(raw)? {
            Some(text) => Ok(i64::from(date(&text)?) * SECONDS_A_DAY * 1000),
            None => integer(raw),
        }),
        DataType::Time32(TimeUnit::Second) => primitive::<Time32SecondType, _>(data_type, capacity, |raw| {
            time(raw, 1).and_then(|value| i32::try_from(value).map_err(|_| TOO_FAR))
        }),
        DataType::Time32(TimeUnit::Millisecond) => primitive::<Time32MillisecondType, _>(data_type, capacity, |raw| {
            time(raw, 1000).and_then(|value| i32::try_from(value).map_err(|_| TOO_FAR))
        }),
        DataType::Time64(TimeUnit::Microsecond) => {
            primitive::<Time64MicrosecondType, _>(data_type, capacity, |raw| time(raw, 1_000_000))
        }
        DataType::Time64(TimeUnit::Nanosecond) => {
            primitive::<Time64NanosecondType, _>(data_type, capacity, |raw| time(raw, NANOSECONDS))
        }
        DataType::Duration(TimeUnit::Second) => primitive::<DurationSecondType, _>(data_type, capacity, integer),
        DataType::Duration(TimeUnit::Millisecond) => primitive::<DurationMillisecondType, _>(data_type, capacity, integer),
        DataType::Duration(TimeUnit::Microsecond) => primitive::<DurationMicrosecondType, _>(data_type, capacity, integer),
        DataType::Duration(TimeUnit::Nanosecond) => primitive::<DurationNanosecondType, _>(data_type, capacity, integer),
        DataType::Interval(IntervalUnit::YearMonth) => {
            primitive::<IntervalYearMonthType, _>(data_type, capacity, |raw| interval(raw, parse_interval_year_month))
        }
        DataType::Interval(IntervalUnit::DayTime) => {
            primitive::<IntervalDayTimeType, _>(data_type, capacity, |raw| interval(raw, parse_interval_day_time))
        }
        DataType::Interval(IntervalUnit::MonthDayNano) => {
            primitive::<IntervalMonthDayNanoType, _>(data_type, capacity, |raw| interval(raw, parse_interval_month_day_nano))
        }
        _ => return None,
    })
}

/// Creates a timestamp column. Text without an offset is read in `zone`, else in UTC. Numbers have the unit `epoch`, else the unit of the
/// type. If that is nanoseconds, numbers are refused.
pub(in crate::decode::json) fn make_timestamp(
    unit: TimeUnit,
    zone: Option<Arc<str>>,
    epoch: Option<TimeUnit>,
    capacity: usize,
) -> Result<Box<dyn Column>, String> {
    let utc = zone.as_deref().is_none_or(|zone| matches!(zone, "+00:00" | "UTC"));
    let tz: Tz = zone.as_deref().unwrap_or("+00:00").parse().map_err(|_| "the time zone is not known".to_owned())?;
    let data_type = &DataType::Timestamp(unit, zone);
    let epoch = epoch.or((unit != TimeUnit::Nanosecond).then_some(unit));
    let layout = Layout { digits: digits_of(unit), zone: tz, utc, epoch: epoch.map(digits_of) };
    Ok(match unit {
        TimeUnit::Second => {
            primitive_since::<TimestampSecondType, _>(data_type, epoch, capacity, move |raw| timestamp(raw, 1, &layout))
        }
        TimeUnit::Millisecond => {
            primitive_since::<TimestampMillisecondType, _>(data_type, epoch, capacity, move |raw| timestamp(raw, 1000, &layout))
        }
        TimeUnit::Microsecond => primitive_since::<TimestampMicrosecondType, _>(data_type, epoch, capacity, move |raw| {
            timestamp(raw, 1_000_000, &layout)
        }),
        TimeUnit::Nanosecond => primitive_since::<TimestampNanosecondType, _>(data_type, epoch, capacity, move |raw| {
            timestamp(raw, NANOSECONDS, &layout)
        }),
    })
}

/// How to read the timestamps of a column.
#[derive(Clone, Copy)]
struct Layout {
    /// The number of decimal digits of a second in the column's unit: 0, 3, 6 or 9.
    digits: i8,
    /// The time zone of text without an offset.
    zone: Tz,
    /// Whether `zone` is UTC.
    utc: bool,
    /// The number of decimal digits of a second in the unit of numbers; `None` if numbers are refused.
    epoch: Option<i8>,
}

fn digits_of(unit: TimeUnit) -> i8 {
    match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 3,
        TimeUnit::Microsecond => 6,
        TimeUnit::Nanosecond => 9,
    }
}

/// Parses a timestamp and returns it in units since the epoch. `units` is the number of units per second. It repeats `layout.digits`
/// because division by a constant is cheap.
#[inline]
fn timestamp(raw: &str, units: i64, layout: &Layout) -> Result<i64, Refusal> {
    match plain_timestamp(raw, units, layout.utc) {
        Some(value) => Ok(value),
        None => any_timestamp(raw, units, layout),
    }
}

/// Fast path of [`timestamp`] for `YYYY-MM-DDTHH:MM:SS`, with `T` or a space, an optional fraction of up to nine digits and an optional
/// `Z`. Returns `None` for all other text, valid or not, and for times that the unit cannot represent.
#[inline]
fn plain_timestamp(raw: &str, units: i64, utc: bool) -> Option<i64> {
    let (head, mut rest) = raw.as_bytes().split_first_chunk::<20>()?;
    let digit = |at: usize| i64::from(head[at].wrapping_sub(b'0'));
    // Anything but two digits becomes a number beyond every bound below.
    let pair = |at: usize| if digit(at) > 9 || digit(at + 1) > 9 { i64::MAX / 4 } else { digit(at) * 10 + digit(at + 1) };
    let marks = [(0, b'"'), (5, b'-'), (8, b'-'), (14, b':'), (17, b':')];
    if marks.iter().any(|(at, mark)| head[*at] != *mark) || !matches!(head[11], b'T' | b' ') {
        return None;
    }
    let (century, of_century, month, day) = (pair(1), pair(3), pair(6), pair(9));
    let (hour, minute, second) = (pair(12), pair(15), pair(18));
    if century > 99 || of_century > 99 || !(1..=12).contains(&month) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let year = century * 100 + of_century;
    if day < 1 || day > days_in_month(year, month) {
        return None;
    }
    let mut nanoseconds = 0;
    if let [b'.', digits @ ..] = rest {
        let count = digits.iter().position(|byte| !byte.is_ascii_digit())?;
        if !(1..=9).contains(&count) {
            return None;
        }
        let (fraction, after) = digits.split_at(count);
        nanoseconds = fraction.iter().fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0')) * TENS[9 - count];
        rest = after;
    }
    match rest {
        b"Z\"" => {}
        b"\"" if utc => {}
        _ => return None,
    }
    let unit = NANOSECONDS / units;
    if nanoseconds % unit != 0 {
        return None;
    }
    let seconds = days_since_epoch(year, month, day) * SECONDS_A_DAY + hour * 3600 + minute * 60 + second;
    seconds.checked_mul(units)?.checked_add(nanoseconds / unit)
}

/// Powers of ten.
const TENS: [i64; 9] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];

/// Like [`timestamp`], for all accepted forms.
fn any_timestamp(raw: &str, units: i64, layout: &Layout) -> Result<i64, Refusal> {
    let Some(text) = text(raw)? else { return number_timestamp(raw, layout) };
    if is_number(&text) {
        return number_timestamp(raw, layout);
    }
    if fraction_beyond_nanoseconds(&text) {
        return Err(TOO_FINE);
    }
    let time = string_to_datetime(&layout.zone, &text).or_else(|error| match written_times::as_rfc3339(&text) {
        Some(text) => string_to_datetime(&layout.zone, &text),
        None => Err(error),
    });
    let time = time.map_err(|_| Refusal::WrongType)?;
    in_units(i128::from(time.timestamp()) * i128::from(NANOSECONDS) + i128::from(time.timestamp_subsec_nanos()), units)
}

/// Like [`timestamp`], for numbers in the unit `layout.epoch`, with or without a fraction.
#[inline]
fn number_timestamp(raw: &str, layout: &Layout) -> Result<i64, Refusal> {
    let Some(epoch) = layout.epoch else {
        number_text(raw)?;
        return Err(Refusal::NoUnit);
    };
    if epoch == layout.digits
        && let Ok(value) = integer(raw)
    {
        return Ok(value);
    }
    let value = decimal(raw, LONGEST, layout.digits - epoch).map_err(|refusal| match refusal {
        Refusal::OutOfRange(number::TOO_FINE) => TOO_FINE,
        other => other,
    })?;
    i64::try_from(value).map_err(|_| TOO_FAR)
}

/// The largest precision of a decimal that fits into 128 bits.
const LONGEST: u8 = 38;

/// Parses a time of day and returns it in units since midnight. `units` is the number of units per second.
fn time(raw: &str, units: i64) -> Result<i64, Refusal> {
    let Some(text) = text(raw)? else {
        let value = integer(raw)?;
        return if (0..SECONDS_A_DAY * units).contains(&value) { Ok(value) } else { Err(TOO_FAR) };
    };
    if fraction_beyond_nanoseconds(&text) {
        return Err(TOO_FINE);
    }
    let nanoseconds = string_to_time_nanoseconds(&text).map_err(|_| Refusal::WrongType)?;
    in_units(i128::from(nanoseconds), units)
}

fn in_units(nanoseconds: i128, units: i64) -> Result<i64, Refusal> {
    let unit = i128::from(NANOSECONDS / units);
    if nanoseconds % unit != 0 {
        return Err(TOO_FINE);
    }
    i64::try_from(nanoseconds / unit).map_err(|_| TOO_FAR)
}

/// Parses a date and returns it in days since the epoch.
fn date(text: &str) -> Result<i32, Refusal> {
    if text.starts_with(['+', '-']) {
        // ISO 8601 writes years of more than four digits with a sign.
        return Date32Type::parse(text).ok_or(Refusal::WrongType);
    }
    let basic = written_times::basic_date(text);
    let text = basic.as_deref().unwrap_or(text);
    if text.len() != 10 {
        return Err(Refusal::WrongType);
    }
    let utc: Tz = "+00:00".parse().map_err(|_| Refusal::WrongType)?;
    let midnight = string_to_datetime(&utc, text).map_err(|_| Refusal::WrongType)?;
    i32::try_from(midnight.timestamp().div_euclid(SECONDS_A_DAY)).map_err(|_| TOO_FAR)
}

fn interval<T, E>(raw: &str, parse: fn(&str) -> Result<T, E>) -> Result<T, Refusal> {
    let text = text(raw)?.ok_or(Refusal::WrongType)?;
    parse(&text).map_err(|_| Refusal::WrongType)
}

/// Checks whether a text is a number, with or without a fraction, rather than a time.
fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    [whole, fraction].iter().all(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Checks for fraction digits beyond nanoseconds that are not 0. Arrow's parsers read nine digits and ignore the rest.
fn fraction_beyond_nanoseconds(text: &str) -> bool {
    let Some(point) = memchr::memchr(b'.', text.as_bytes()) else { return false };
    let digits = text.as_bytes()[point + 1..].iter().take_while(|byte| byte.is_ascii_digit());
    digits.skip(9).any(|digit| *digit != b'0')
}

#[cfg(test)]
mod tests;
