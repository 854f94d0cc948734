//! Columns of dates, times, timestamps, durations and intervals. Nothing is rounded: text that is finer than the column's
//! unit is out of range.

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

use super::number::integer;
use super::scalar::primitive;
use super::{Column, text};
use crate::json::fault::Refusal;

const SECONDS_A_DAY: i64 = 86_400;
const NANOSECONDS: i64 = 1_000_000_000;
const TOO_FINE: Refusal = Refusal::OutOfRange("it is finer than the column's unit, and nothing is rounded");
const TOO_FAR: Refusal = Refusal::OutOfRange("it does not fit the type");

/// Columns of all these types but timestamps; none for other types.
pub(super) fn make_plain(data_type: &DataType, capacity: usize) -> Option<Box<dyn Column>> {
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

/// A column of timestamps. Text without an offset is read in `zone`, else in UTC.
pub(super) fn make_timestamp(unit: TimeUnit, zone: Option<Arc<str>>, capacity: usize) -> Result<Box<dyn Column>, String> {
    let tz: Tz = zone.as_deref().unwrap_or("+00:00").parse().map_err(|_| "the time zone is not known".to_owned())?;
    let data_type = &DataType::Timestamp(unit, zone);
    Ok(match unit {
        TimeUnit::Second => primitive::<TimestampSecondType, _>(data_type, capacity, move |raw| timestamp(raw, 1, tz)),
        TimeUnit::Millisecond => {
            primitive::<TimestampMillisecondType, _>(data_type, capacity, move |raw| timestamp(raw, 1000, tz))
        }
        TimeUnit::Microsecond => {
            primitive::<TimestampMicrosecondType, _>(data_type, capacity, move |raw| timestamp(raw, 1_000_000, tz))
        }
        TimeUnit::Nanosecond => {
            primitive::<TimestampNanosecondType, _>(data_type, capacity, move |raw| timestamp(raw, NANOSECONDS, tz))
        }
    })
}

/// So many units since the epoch, `units` of them a second.
fn timestamp(raw: &str, units: i64, zone: Tz) -> Result<i64, Refusal> {
    let Some(text) = text(raw)? else { return integer(raw) };
    if is_integer(&text) {
        return integer(raw);
    }
    if fraction_beyond_nanoseconds(&text) {
        return Err(TOO_FINE);
    }
    let time = string_to_datetime(&zone, &text).map_err(|_| Refusal::WrongType)?;
    in_units(i128::from(time.timestamp()) * i128::from(NANOSECONDS) + i128::from(time.timestamp_subsec_nanos()), units)
}

/// Units since midnight, `units` of them a second.
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

/// Days since the epoch.
fn date(text: &str) -> Result<i32, Refusal> {
    if text.starts_with(['+', '-']) {
        // Years of more than four digits, by ISO 8601 with a sign.
        return Date32Type::parse(text).ok_or(Refusal::WrongType);
    }
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

fn is_integer(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// Arrow's parsers read nine digits after the point and pass over the rest.
fn fraction_beyond_nanoseconds(text: &str) -> bool {
    let Some(point) = memchr::memchr(b'.', text.as_bytes()) else { return false };
    let digits = text.as_bytes()[point + 1..].iter().take_while(|byte| byte.is_ascii_digit());
    digits.skip(9).any(|digit| *digit != b'0')
}
