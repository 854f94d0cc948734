//! Differences and sums of times, with the unit as a word. A difference counts the ends of units that lie between the times, as DuckDB,
//! Snowflake and BigQuery do.

use datafusion::common::Result;
use datafusion::sql::sqlparser::ast::{Expr, Function, UnaryOperator, Value};

use super::calls::{scalar_arguments, text, word};
use super::templates::filled;

/// Whether a function of this name is among them.
pub(super) fn knows(name: &str) -> bool {
    matches!(
        name,
        "date_diff" | "datediff" | "dateadd" | "date_add" | "date_sub" | "timestampadd" | "timestamp_trunc" | "time_bucket"
    )
}

/// The expression that a call stands for; none where its arguments are of another form.
///
/// # Errors
/// Those of the parser: a bug.
pub(super) fn written(name: &str, function: &Function) -> Result<Option<Expr>> {
    let Some(arguments) = scalar_arguments(function).filter(|_| knows(name)) else { return Ok(None) };
    match (name, arguments.as_slice()) {
        // Of dates.
        ("datediff", [to, from]) => difference("day", from, to),
        ("date_diff" | "datediff", [unit, from, to]) if unit_of(unit).is_some() => match unit_of(unit) {
            Some(unit) => difference(unit, from, to),
            None => Ok(None),
        },
        // Weeks of BigQuery, which alone has this order, begin on a Sunday.
        ("date_diff", [to, from, unit]) if !is_week(unit) => match unit_of(unit) {
            Some(unit) => difference(unit, from, to),
            None => Ok(None),
        },
        ("dateadd" | "timestampadd", [unit, count, at]) => match (unit_of(unit), number(count)) {
            (Some(unit @ ("hour" | "minute" | "second")), Some(count)) => {
                // A DATE has no hours.
                filled(&format!("CAST($1 AS TIMESTAMP) + INTERVAL '{count} {unit}'"), vec![at.clone()]).map(Some)
            }
            (Some(unit), Some(count)) => sum(&format!("INTERVAL '{count} {unit}'"), "+", at),
            _ => Ok(None),
        },
        ("date_add", [at, interval @ Expr::Interval(_)]) => filled("$1 + $2", vec![at.clone(), interval.clone()]).map(Some),
        ("date_sub", [at, interval @ Expr::Interval(_)]) => filled("$1 - $2", vec![at.clone(), interval.clone()]).map(Some),
        ("date_add", [at, days]) if number(days).is_some() => days_later(days, "+", at),
        ("date_sub", [at, days]) if number(days).is_some() => days_later(days, "-", at),
        ("timestamp_trunc", [at, unit]) if !is_week(unit) => match unit_of(unit) {
            Some(unit) => filled(&format!("date_trunc('{unit}', $1)"), vec![at.clone()]).map(Some),
            None => Ok(None),
        },
        ("time_bucket", [width @ Expr::Interval(interval), at]) => {
            if !has_short_units(&interval.to_string()) {
                return Ok(None);
            }
            // Weeks begin on a Monday there.
            filled("date_bin($1, $2, TIMESTAMP '2000-01-03 00:00:00')", vec![width.clone(), at.clone()]).map(Some)
        }
        _ => Ok(None),
    }
}

fn days_later(days: &Expr, operator: &str, at: &Expr) -> Result<Option<Expr>> {
    match number(days) {
        Some(days) => filled(&format!("CAST($1 {operator} INTERVAL '{days} day' AS DATE)"), vec![at.clone()]).map(Some),
        None => Ok(None),
    }
}

fn sum(interval: &str, operator: &str, at: &Expr) -> Result<Option<Expr>> {
    filled(&format!("$1 {operator} {interval}"), vec![at.clone()]).map(Some)
}

/// How many ends of a unit lie between two times.
fn difference(unit: &str, from: &Expr, to: &Expr) -> Result<Option<Expr>> {
    let months = "(date_part('year', $2) - date_part('year', $1)) * 12 + date_part('month', $2) - date_part('month', $1)";
    let template = match unit {
        "year" => "CAST(date_part('year', $2) - date_part('year', $1) AS BIGINT)".to_owned(),
        "quarter" => "CAST((date_part('year', $2) - date_part('year', $1)) * 4 + date_part('quarter', $2) - \
                      date_part('quarter', $1) AS BIGINT)"
            .to_owned(),
        "month" => format!("CAST({months} AS BIGINT)"),
        unit => {
            let seconds = match unit {
                "second" => 1,
                "minute" => 60,
                "hour" => 3_600,
                "day" => 86_400,
                "week" => 604_800,
                _ => return Ok(None),
            };
            let start = |side: &str| format!("date_part('epoch', date_trunc('{unit}', CAST({side} AS TIMESTAMP)))");
            format!("CAST(round(({} - {}) / {seconds}) AS BIGINT)", start("$2"), start("$1"))
        }
    };
    filled(&template, vec![from.clone(), to.clone()]).map(Some)
}

/// A unit of time, in one of its spellings.
fn unit_of(expression: &Expr) -> Option<&'static str> {
    Some(match word(expression)?.trim_end_matches('s') {
        "second" | "sec" | "ss" => "second",
        "minute" | "min" | "mi" => "minute",
        "hour" | "hr" | "hh" => "hour",
        "day" | "dd" => "day",
        "week" | "wk" | "isoweek" => "week",
        "month" | "mon" | "mm" => "month",
        "quarter" | "qtr" => "quarter",
        "year" | "yyyy" | "yy" => "year",
        _ => return None,
    })
}

/// Whether a unit is the week that begins on another day than here.
fn is_week(unit: &Expr) -> bool {
    word(unit).is_some_and(|unit| unit.starts_with("week"))
}

/// Whether an interval is made of units of one length.
fn has_short_units(interval: &str) -> bool {
    let words = interval.split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty());
    words.map(str::to_lowercase).all(|word| {
        matches!(
            word.trim_end_matches('s'),
            "interval" | "microsecond" | "millisecond" | "second" | "sec" | "minute" | "min" | "hour" | "day" | "week"
        )
    })
}

/// A whole number that is written out.
fn number(expression: &Expr) -> Option<i64> {
    match expression {
        Expr::Value(value) => match &value.value {
            Value::Number(number, _) => number.parse().ok(),
            _ => text(expression)?.parse().ok(),
        },
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => number(expr)?.checked_neg(),
        _ => None,
    }
}
