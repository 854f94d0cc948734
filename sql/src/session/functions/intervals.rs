//! Lengths of INTERVALs: exact ones, which views store, and those by which PostgreSQL compares, where a month has 30 days.

use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, AsArray, Decimal128Array};
use arrow::datatypes::{
    DataType, Decimal128Type, DurationMicrosecondType, DurationMillisecondType, DurationNanosecondType, DurationSecondType,
    IntervalDayTimeType, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit, IntervalYearMonthType, TimeUnit,
};
use datafusion::common::{DataFusionError, Result, internal_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

/// The nanoseconds of a day.
const DAY: i64 = 86_400_000_000_000;

/// Returns the function that gives the exact length of an INTERVAL, as a duration. It fails for months.
pub(crate) fn interval_length() -> Arc<ScalarUDF> {
    static FUNCTION: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| Lengths::function("interval_length", true));
    Arc::clone(&FUNCTION)
}

/// Returns the function that gives the nanoseconds by which an INTERVAL is compared.
pub(crate) fn interval_key() -> Arc<ScalarUDF> {
    static FUNCTION: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| Lengths::function("interval_key", false));
    Arc::clone(&FUNCTION)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Lengths {
    name: &'static str,
    is_exact: bool,
    signature: Signature,
}

impl Lengths {
    fn function(name: &'static str, is_exact: bool) -> Arc<ScalarUDF> {
        let signature = Signature::any(1, Volatility::Immutable);
        Arc::new(ScalarUDF::new_from_impl(Lengths { name, is_exact, signature }))
    }
}

impl ScalarUDFImpl for Lengths {
    fn name(&self) -> &'static str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(if self.is_exact { DataType::Duration(TimeUnit::Nanosecond) } else { DataType::Decimal128(38, 0) })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Some(value) = args.args.into_iter().next() else { return internal_err!("{} takes one argument", self.name) };
        let value = value.into_array(args.number_rows)?;
        let lengths: ArrayRef = if self.is_exact {
            let Some(intervals) = value.as_primitive_opt::<IntervalMonthDayNanoType>() else {
                return internal_err!("{} takes no {}", self.name, value.data_type());
            };
            Arc::new(intervals.try_unary::<_, DurationNanosecondType, DataFusionError>(exact)?)
        } else {
            Arc::new(compared(&value)?)
        };
        Ok(ColumnarValue::Array(lengths))
    }
}

/// Returns nanoseconds.
fn exact(interval: IntervalMonthDayNano) -> Result<i64> {
    let IntervalMonthDayNano { months, days, nanoseconds } = interval;
    if months != 0 {
        return Err(DataFusionError::Execution(format!(
            "an INTERVAL of {months} months has no length, and a view stores lengths: write it as days, or CAST it to VARCHAR"
        )));
    }
    let length = i64::from(days).checked_mul(DAY).and_then(|days| days.checked_add(nanoseconds));
    length.ok_or_else(|| {
        DataFusionError::Execution(format!("an INTERVAL of {days} days is longer than 292 years, which a view cannot store"))
    })
}

/// Returns nanoseconds.
fn compared(value: &ArrayRef) -> Result<Decimal128Array> {
    let day = i128::from(DAY);
    let scaled = |value: i64, nanoseconds: i128| i128::from(value) * nanoseconds;
    let keys: Decimal128Array = match value.data_type() {
        DataType::Interval(IntervalUnit::MonthDayNano) => {
            value.as_primitive::<IntervalMonthDayNanoType>().unary::<_, Decimal128Type>(|interval| {
                (30 * i128::from(interval.months) + i128::from(interval.days)) * day + i128::from(interval.nanoseconds)
            })
        }
        DataType::Interval(IntervalUnit::DayTime) => {
            value.as_primitive::<IntervalDayTimeType>().unary::<_, Decimal128Type>(|interval| {
                i128::from(interval.days) * day + i128::from(interval.milliseconds) * 1_000_000
            })
        }
        DataType::Interval(IntervalUnit::YearMonth) => {
            value.as_primitive::<IntervalYearMonthType>().unary::<_, Decimal128Type>(|months| 30 * i128::from(months) * day)
        }
        DataType::Duration(TimeUnit::Second) => {
            value.as_primitive::<DurationSecondType>().unary::<_, Decimal128Type>(|value| scaled(value, 1_000_000_000))
        }
        DataType::Duration(TimeUnit::Millisecond) => {
            value.as_primitive::<DurationMillisecondType>().unary::<_, Decimal128Type>(|value| scaled(value, 1_000_000))
        }
        DataType::Duration(TimeUnit::Microsecond) => {
            value.as_primitive::<DurationMicrosecondType>().unary::<_, Decimal128Type>(|value| scaled(value, 1_000))
        }
        DataType::Duration(TimeUnit::Nanosecond) => {
            value.as_primitive::<DurationNanosecondType>().unary::<_, Decimal128Type>(|value| scaled(value, 1))
        }
        other => return internal_err!("interval_key takes no {other}"),
    };
    Ok(keys.with_precision_and_scale(38, 0)?)
}
