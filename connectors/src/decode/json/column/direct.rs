//! Values of formats with types of their own that a column can store as they are. All others take the way of their JSON text, with the
//! same result.

use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Date64Type, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type,
    DurationMicrosecondType, DurationMillisecondType, DurationNanosecondType, DurationSecondType, Float16Type, Float32Type,
    Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, IntervalDayTimeType, IntervalMonthDayNano, IntervalMonthDayNanoType,
    IntervalYearMonthType, Time32MillisecondType, Time32SecondType, Time64MicrosecondType, Time64NanosecondType, TimeUnit,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};

use crate::decode::value::{Clock, Value, narrow};

/// A primitive type, and the values that it stores as they are.
///
/// # Contract
/// - A value that is returned is the one that the JSON text of `value` gives, if that gives one (checked by the tests of Avro).
pub(super) trait Direct: ArrowPrimitiveType {
    /// Returns the value in a column of `data_type`, or `None` if only its JSON text says whether it fits. `epoch` is the unit of times that
    /// are numbers, if they are read.
    fn direct(value: Value<'_>, data_type: &DataType, epoch: Option<TimeUnit>) -> Option<Self::Native>;
}

macro_rules! whole_numbers {
    ($($type:ty),*) => {$(
        impl Direct for $type {
            #[inline]
            fn direct(value: Value<'_>, _: &DataType, _: Option<TimeUnit>) -> Option<Self::Native> {
                match value {
                    Value::Integer(value) => value.try_into().ok(),
                    Value::Unsigned(value) => value.try_into().ok(),
                    _ => None,
                }
            }
        }
    )*};
}
whole_numbers!(Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type);

macro_rules! by_text {
    ($($type:ty),*) => {$(
        impl Direct for $type {
            #[inline]
            fn direct(_: Value<'_>, _: &DataType, _: Option<TimeUnit>) -> Option<Self::Native> {
                None
            }
        }
    )*};
}
by_text!(
    Float16Type,
    Date64Type,
    Decimal256Type,
    DurationSecondType,
    DurationMillisecondType,
    DurationMicrosecondType,
    DurationNanosecondType,
    IntervalYearMonthType,
    IntervalDayTimeType
);

impl Direct for Float64Type {
    #[inline]
    fn direct(value: Value<'_>, _: &DataType, _: Option<TimeUnit>) -> Option<f64> {
        match value {
            Value::Float(value) => Some(value),
            _ => None,
        }
    }
}

impl Direct for Float32Type {
    #[inline]
    fn direct(value: Value<'_>, _: &DataType, _: Option<TimeUnit>) -> Option<f32> {
        match value {
            Value::Single(value) => Some(value),
            Value::Float(value) => {
                let narrowed = value as f32;
                (narrowed.is_finite() || !value.is_finite()).then_some(narrowed)
            }
            _ => None,
        }
    }
}

/// Powers of ten that 128 bits hold.
const DIGITS: u32 = 38;

/// Returns the unscaled value of a number with `scale` fraction digits, if it has at most `precision` digits then.
#[inline]
fn rescaled(value: Value<'_>, precision: u8, scale: i8) -> Option<i128> {
    let (unscaled, from) = match value {
        Value::Integer(value) => (i128::from(value), 0),
        Value::Unsigned(value) => (i128::from(value), 0),
        Value::Decimal(bytes, from) => (narrow(bytes)?, i64::from(from)),
        _ => return None,
    };
    let zeros = u32::try_from(i64::from(scale) - from).ok().filter(|zeros| *zeros <= DIGITS)?;
    let scaled = unscaled.checked_mul(10_i128.pow(zeros))?;
    (u32::from(precision) <= DIGITS && scaled.unsigned_abs() < 10_u128.pow(u32::from(precision))).then_some(scaled)
}

macro_rules! decimals {
    ($($type:ty, $kind:path);*) => {$(
        impl Direct for $type {
            #[inline]
            fn direct(value: Value<'_>, data_type: &DataType, _: Option<TimeUnit>) -> Option<Self::Native> {
                let $kind(precision, scale) = data_type else { return None };
                rescaled(value, *precision, *scale)?.try_into().ok()
            }
        }
    )*};
}
decimals!(Decimal32Type, DataType::Decimal32; Decimal64Type, DataType::Decimal64; Decimal128Type, DataType::Decimal128);

fn units(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    }
}

/// Converts between units, if nothing is lost.
#[inline]
fn converted(value: i64, from: TimeUnit, to: TimeUnit) -> Option<i64> {
    let (from, to) = (units(from), units(to));
    if to >= from {
        return value.checked_mul(to / from);
    }
    let factor = from / to;
    (value % factor == 0).then_some(value / factor)
}

/// Times whose text has a year of four digits. Columns refuse the text of others, and so the value.
fn has_plain_year(value: i64, unit: TimeUnit) -> bool {
    (-62_167_219_200..253_402_300_800).contains(&value.div_euclid(units(unit)))
}

macro_rules! timestamps {
    ($($type:ty, $unit:expr);*) => {$(
        impl Direct for $type {
            #[inline]
            fn direct(value: Value<'_>, data_type: &DataType, epoch: Option<TimeUnit>) -> Option<i64> {
                let (value, unit, clock) = match value {
                    Value::Timestamp(value, unit, clock) => (value, unit, clock),
                    Value::Integer(value) => return converted(value, epoch?, $unit),
                    _ => return None,
                };
                if clock == Clock::Local
                    && let DataType::Timestamp(_, Some(zone)) = data_type
                    && !matches!(&**zone, "+00:00" | "UTC")
                {
                    return None;
                }
                converted(value, unit, $unit).filter(|_| has_plain_year(value, unit))
            }
        }
    )*};
}
timestamps!(
    TimestampSecondType, TimeUnit::Second; TimestampMillisecondType, TimeUnit::Millisecond;
    TimestampMicrosecondType, TimeUnit::Microsecond; TimestampNanosecondType, TimeUnit::Nanosecond
);

macro_rules! times {
    ($($type:ty, $unit:expr);*) => {$(
        impl Direct for $type {
            #[inline]
            fn direct(value: Value<'_>, _: &DataType, _: Option<TimeUnit>) -> Option<Self::Native> {
                let Value::Time(value, unit) = value else { return None };
                if !(0..86_400).contains(&value.div_euclid(units(unit))) {
                    return None;
                }
                converted(value, unit, $unit)?.try_into().ok()
            }
        }
    )*};
}
times!(
    Time32SecondType, TimeUnit::Second; Time32MillisecondType, TimeUnit::Millisecond;
    Time64MicrosecondType, TimeUnit::Microsecond; Time64NanosecondType, TimeUnit::Nanosecond
);

impl Direct for Date32Type {
    #[inline]
    fn direct(value: Value<'_>, _: &DataType, _: Option<TimeUnit>) -> Option<i32> {
        match value {
            Value::Date(days) if (-719_528..2_932_897).contains(&days) => Some(days),
            _ => None,
        }
    }
}

impl Direct for IntervalMonthDayNanoType {
    fn direct(value: Value<'_>, _: &DataType, _: Option<TimeUnit>) -> Option<IntervalMonthDayNano> {
        Some(match value {
            Value::Interval { months, days, milliseconds } => {
                IntervalMonthDayNano::new(months.try_into().ok()?, days.try_into().ok()?, i64::from(milliseconds) * 1_000_000)
            }
            Value::Duration { seconds, nanoseconds } => {
                IntervalMonthDayNano::new(0, 0, seconds.checked_mul(1_000_000_000)?.checked_add(i64::from(nanoseconds))?)
            }
            _ => return None,
        })
    }
}
