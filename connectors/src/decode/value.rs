//! Values of formats that have types of their own (Avro, Protobuf), before they are appended to columns.
//!
//! A value is a slice of [`Value`]. A scalar is one item. A list or an object is its head, followed by what it holds, so that one vector
//! without further allocations holds any value. Columns that have no direct way to take a value take its JSON text: all formats have
//! the rules of JSON.

use arrow::datatypes::{TimeUnit, i256};
use arrow::temporal_conversions as civil;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::written::{write_as, write_float, write_text};

/// A scalar, or the head of a list or an object.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Value<'a> {
    /// No value.
    Null,
    Boolean(bool),
    Integer(i64),
    Unsigned(u64),
    Float(f64),
    /// A floating-point number of 32 bits. Its text has the digits that it needs, and not those of its double.
    Single(f32),
    Text(&'a str),
    /// Bytes that should be a text and are not UTF-8. Only files keep them: the decoder refuses the text of their event.
    NotText(&'a [u8]),
    Bytes(&'a [u8]),
    /// The unscaled value in two's complement, its most significant byte first, and the number of fraction digits.
    Decimal(&'a [u8], u32),
    /// Units since 1970-01-01.
    Timestamp(i64, TimeUnit, Clock),
    /// Days since 1970-01-01.
    Date(i32),
    /// Units since midnight.
    Time(i64, TimeUnit),
    /// A length of time in calendar units. None of the parts is normalized.
    Interval {
        months: u32,
        days: u32,
        milliseconds: u32,
    },
    /// A length of time of seconds and nanoseconds, which have the same sign.
    Duration {
        seconds: i64,
        nanoseconds: i32,
    },
    /// The first and the second half of a UUID.
    Uuid(u64, u64),
    /// The head of a list. This many items follow, which are its elements.
    List(u32),
    /// The head of an object. This many items follow, which are its members: a scalar as name, then the value.
    Object(u32),
}

/// What a timestamp is relative to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Clock {
    Utc,
    /// The clock of a place that the value does not name.
    Local,
}

impl Value<'_> {
    /// Returns the number of items after this one that belong to it.
    #[inline]
    pub(crate) fn inner(&self) -> usize {
        match self {
            Value::List(items) | Value::Object(items) => *items as usize,
            _ => 0,
        }
    }
}

/// Returns a timestamp in its coarsest unit, of seconds since 1970-01-01 and nanoseconds after them; `None` if it is out of range.
pub(crate) fn instant<'a>(seconds: i64, nanoseconds: i64) -> Option<Value<'a>> {
    if !(0..1_000_000_000).contains(&nanoseconds) {
        return None;
    }
    let (unit, in_second, digits) = match nanoseconds {
        0 => (TimeUnit::Second, 1, 1_000_000_000),
        _ if nanoseconds % 1_000_000 == 0 => (TimeUnit::Millisecond, 1_000, 1_000_000),
        _ if nanoseconds % 1_000 == 0 => (TimeUnit::Microsecond, 1_000_000, 1_000),
        _ => (TimeUnit::Nanosecond, 1_000_000_000, 1),
    };
    let value = seconds.checked_mul(in_second)?.checked_add(nanoseconds / digits)?;
    Some(Value::Timestamp(value, unit, Clock::Utc))
}

/// Splits the first value off. Returns `None` if there is none.
#[inline]
pub(crate) fn split_first<'v, 'a>(values: &'v [Value<'a>]) -> Option<(&'v [Value<'a>], &'v [Value<'a>])> {
    values.split_at_checked(values.first()?.inner() + 1)
}

/// Writes a value as JSON. A value that holds [`Value::NotText`] becomes text that is not UTF-8.
pub(crate) fn write_json(value: &[Value<'_>], json: &mut Vec<u8>) {
    let Some((head, inner)) = value.split_first() else { return json.extend_from_slice(b"null") };
    match head {
        Value::List(_) => {
            json.push(b'[');
            let mut rest = inner;
            while let Some((element, after)) = split_first(rest) {
                if rest.len() < inner.len() {
                    json.push(b',');
                }
                write_json(element, json);
                rest = after;
            }
            json.push(b']');
        }
        Value::Object(_) => {
            json.push(b'{');
            let mut rest = inner;
            while let Some((name, after)) = split_first(rest) {
                let Some((value, after)) = split_first(after) else { break };
                if rest.len() < inner.len() {
                    json.push(b',');
                }
                write_name(name, json);
                json.push(b':');
                write_json(value, json);
                rest = after;
            }
            json.push(b'}');
        }
        scalar => write_scalar(*scalar, json),
    }
}

/// Writes the name of a member, which is text whatever its type.
pub(crate) fn write_name(name: &[Value<'_>], json: &mut Vec<u8>) {
    let start = json.len();
    write_json(name, json);
    if json.get(start) != Some(&b'"') {
        json.insert(start, b'"');
        json.push(b'"');
    }
}

fn write_scalar(value: Value<'_>, json: &mut Vec<u8>) {
    match value {
        Value::Null | Value::List(_) | Value::Object(_) => json.extend_from_slice(b"null"),
        Value::Boolean(value) => json.extend_from_slice(if value { b"true" } else { b"false" }),
        Value::Integer(value) => write_as(json, format_args!("{value}")),
        Value::Unsigned(value) => write_as(json, format_args!("{value}")),
        Value::Float(value) => write_float(value, json),
        Value::Single(value) if value == 0.0 || (1e-5..1e16).contains(&value.abs()) => write_as(json, format_args!("{value}")),
        Value::Single(value) if value.is_finite() => write_as(json, format_args!("{value:e}")),
        Value::Single(value) => write_float(f64::from(value), json),
        Value::Text(text) => write_text(text.as_bytes(), json),
        Value::NotText(bytes) => write_text(bytes, json),
        Value::Bytes(bytes) => write_text(STANDARD.encode(bytes).as_bytes(), json),
        Value::Decimal(unscaled, scale) => write_decimal(unscaled, scale, json),
        Value::Timestamp(value, unit, clock) => {
            let time = match unit {
                TimeUnit::Second => civil::timestamp_s_to_datetime(value),
                TimeUnit::Millisecond => civil::timestamp_ms_to_datetime(value),
                TimeUnit::Microsecond => civil::timestamp_us_to_datetime(value),
                TimeUnit::Nanosecond => civil::timestamp_ns_to_datetime(value),
            };
            let offset = if clock == Clock::Utc { "Z" } else { "" };
            match time {
                Some(time) => write_as(json, format_args!("\"{time:?}{offset}\"")),
                None => write_as(json, format_args!("\"{value} {}\"", name_of(unit))),
            }
        }
        Value::Date(days) => match civil::date32_to_datetime(days) {
            Some(time) => write_as(json, format_args!("\"{:?}\"", time.date())),
            None => write_as(json, format_args!("\"{days} days\"")),
        },
        Value::Time(value, unit) => {
            let time = match (unit, i32::try_from(value)) {
                (TimeUnit::Second, Ok(value)) => civil::time32s_to_time(value),
                (TimeUnit::Millisecond, Ok(value)) => civil::time32ms_to_time(value),
                (TimeUnit::Microsecond, _) => civil::time64us_to_time(value),
                (TimeUnit::Nanosecond, _) => civil::time64ns_to_time(value),
                _ => None,
            };
            match time {
                Some(time) => write_as(json, format_args!("\"{time:?}\"")),
                None => write_as(json, format_args!("\"{value} {}\"", name_of(unit))),
            }
        }
        Value::Interval { months, days, milliseconds } => {
            let (seconds, thousandths) = (milliseconds / 1000, milliseconds % 1000);
            write_as(json, format_args!("\"{months} months {days} days {seconds}.{thousandths:03} seconds\""));
        }
        Value::Uuid(first, second) => {
            let digits = format!("{first:016x}{second:016x}");
            let (a, b, c, d, e) = (&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]);
            write_as(json, format_args!("\"{a}-{b}-{c}-{d}-{e}\""));
        }
        Value::Duration { seconds, nanoseconds } => {
            let sign = if seconds < 0 || nanoseconds < 0 { "-" } else { "" };
            let (seconds, nanoseconds) = (seconds.unsigned_abs(), nanoseconds.unsigned_abs());
            match nanoseconds {
                0 => write_as(json, format_args!("\"{sign}{seconds}s\"")),
                _ => {
                    let digits = format!("{nanoseconds:09}");
                    write_as(json, format_args!("\"{sign}{seconds}.{}s\"", digits.trim_end_matches('0')));
                }
            }
        }
    }
}

/// The word for a number of units that is no time. No column reads it as a number.
fn name_of(unit: TimeUnit) -> &'static str {
    match unit {
        TimeUnit::Second => "seconds",
        TimeUnit::Millisecond => "milliseconds",
        TimeUnit::Microsecond => "microseconds",
        TimeUnit::Nanosecond => "nanoseconds",
    }
}

/// Writes a decimal as a number with a point. One of more than 256 bits is written as the base64 text of its bytes, which no number is.
fn write_decimal(unscaled: &[u8], scale: u32, json: &mut Vec<u8>) {
    let Some(unscaled_value) = wide(unscaled) else { return write_text(STANDARD.encode(unscaled).as_bytes(), json) };
    let text = unscaled_value.to_string();
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text.as_str()),
    };
    let scale = scale as usize;
    if scale == 0 {
        return write_as(json, format_args!("{sign}{digits}"));
    }
    match digits.len().checked_sub(scale).filter(|whole| *whole > 0) {
        Some(whole) => write_as(json, format_args!("{sign}{}.{}", &digits[..whole], &digits[whole..])),
        None => write_as(json, format_args!("{sign}0.{digits:0>scale$}")),
    }
}

/// Removes leading bytes that only repeat the sign.
#[inline]
fn shortest(mut unscaled: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = unscaled
        && let Some(next) = rest.first()
        && matches!((first, next), (0, 0..0x80) | (0xff, 0x80..))
    {
        unscaled = rest;
    }
    unscaled
}

/// Returns an unscaled value of at most 256 bits.
fn wide(unscaled: &[u8]) -> Option<i256> {
    extended(unscaled).map(i256::from_be_bytes)
}

/// Returns an unscaled value of at most 128 bits.
#[inline]
pub(crate) fn narrow(unscaled: &[u8]) -> Option<i128> {
    extended(unscaled).map(i128::from_be_bytes)
}

/// Extends an unscaled value by its sign. `None` if it has more bytes than that.
#[inline]
fn extended<const N: usize>(unscaled: &[u8]) -> Option<[u8; N]> {
    let unscaled = shortest(unscaled);
    let mut bytes = [if unscaled.first().is_some_and(|first| first & 0x80 != 0) { 0xff } else { 0 }; N];
    bytes[N.checked_sub(unscaled.len())?..].copy_from_slice(unscaled);
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(value: &[Value<'_>]) -> String {
        let mut json = Vec::new();
        write_json(value, &mut json);
        String::from_utf8_lossy(&json).into_owned()
    }

    #[test]
    fn values_are_written_as_json() {
        let utc = |value, unit| [Value::Timestamp(value, unit, Clock::Utc)];
        for (value, expected) in [
            (&[Value::Null][..], "null"),
            (&[Value::Float(0.1)], "0.1"),
            (&[Value::Single(0.1)], "0.1"),
            (&[Value::Single(1e30)], "1e30"),
            (&[Value::Single(f32::NAN)], "\"NaN\""),
            (&[Value::Float(f64::NEG_INFINITY)], "\"-Infinity\""),
            (&[Value::Text("a\"\n")], "\"a\\\"\\n\""),
            (&[Value::Bytes(&[0xff, 0])], "\"/wA=\""),
            (&[Value::Decimal(&[0x04, 0xd2], 2)], "12.34"),
            (&[Value::Decimal(&[0xff], 3)], "-0.001"),
            (&[Value::Decimal(&[], 2)], "0.00"),
            (&[Value::Decimal(&[1, 0], 0)], "256"),
            (&[Value::Decimal(&[0; 40], 1)], "0.0"),
            (&[Value::Decimal(&[0xff; 40], 0)], "-1"),
            (&[Value::Decimal(&[1; 33], 0)], "\"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB\""),
            (&utc(1_714_557_600_250, TimeUnit::Millisecond), "\"2024-05-01T10:00:00.250Z\""),
            (&[Value::Timestamp(-1, TimeUnit::Microsecond, Clock::Local)], "\"1969-12-31T23:59:59.999999\""),
            (&utc(i64::MAX, TimeUnit::Second), "\"9223372036854775807 seconds\""),
            (&[Value::Date(19_844)], "\"2024-05-01\""),
            (&[Value::Time(36_000_001, TimeUnit::Millisecond)], "\"10:00:00.001\""),
            (&[Value::Time(-1, TimeUnit::Millisecond)], "\"-1 milliseconds\""),
            (&[Value::Interval { months: 1, days: 2, milliseconds: 3004 }], "\"1 months 2 days 3.004 seconds\""),
            (&[Value::Duration { seconds: -1, nanoseconds: -500_000_000 }], "\"-1.5s\""),
            (&[Value::List(0)], "[]"),
            (&[Value::List(3), Value::List(1), Value::Integer(1), Value::Null], "[[1],null]"),
            (
                &[Value::Object(4), Value::Integer(5), Value::Unsigned(6), Value::Text("b"), Value::Boolean(true)],
                r#"{"5":6,"b":true}"#,
            ),
        ] {
            assert_eq!(written(value), expected);
        }
    }
}
