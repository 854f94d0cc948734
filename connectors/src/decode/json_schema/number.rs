//! Compares numbers by what is written, and values by what they mean: `1` and `1.0` are equal.

use std::cmp::Ordering;

use serde_json::{Number, Value as Json};

/// The most digits behind the point that are computed with exactly.
const MAX_SCALE: i32 = 36;
const MIN_SCALE: i32 = -36;

/// Whether a number has no fraction.
pub(super) fn is_integer(number: &Number) -> bool {
    !number.is_f64() || number.as_f64().is_some_and(|number| number.fract() == 0.0)
}

/// Compares two numbers.
pub(super) fn compare(one: &Number, other: &Number) -> Ordering {
    if let (Some(one), Some(other)) = (whole(one), whole(other)) {
        return one.cmp(&other);
    }
    let float = |number: &Number| number.as_f64().unwrap_or(f64::NAN);
    float(one).partial_cmp(&float(other)).unwrap_or(Ordering::Equal)
}

fn whole(number: &Number) -> Option<i128> {
    match (number.as_i64(), number.as_u64()) {
        (Some(whole), _) => Some(i128::from(whole)),
        (None, Some(whole)) => Some(i128::from(whole)),
        // Whole numbers of this size are exact in both.
        _ => number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() < 1e36).map(|float| float as i128),
    }
}

/// Whether a number is a multiple of another, which is positive. Computed over the digits as they are written.
pub(super) fn is_multiple(number: &Number, of: &Number) -> bool {
    let exact = || {
        let ((mut number, scale), (mut of, of_scale)) = (decimal(number)?, decimal(of)?);
        let common = scale.max(of_scale);
        number = number.checked_mul(10_i128.checked_pow(u32::try_from(common - scale).ok()?)?)?;
        of = of.checked_mul(10_i128.checked_pow(u32::try_from(common - of_scale).ok()?)?)?;
        number.checked_rem(of).map(|rest| rest == 0)
    };
    exact().unwrap_or_else(|| match (number.as_f64(), of.as_f64()) {
        (Some(number), Some(of)) => number % of == 0.0,
        _ => false,
    })
}

/// Returns the digits of a number and how many of them are behind the point.
fn decimal(number: &Number) -> Option<(i128, i32)> {
    let text = number.to_string();
    let (digits, exponent) = match text.split_once(['e', 'E']) {
        Some((digits, exponent)) => (digits, exponent.parse::<i32>().ok()?),
        None => (text.as_str(), 0),
    };
    let (before, behind) = digits.split_once('.').unwrap_or((digits, ""));
    let value: i128 = format!("{before}{behind}").parse().ok()?;
    let scale = i32::try_from(behind.len()).ok()?.checked_sub(exponent)?;
    match scale {
        0..=MAX_SCALE => Some((value, scale)),
        MIN_SCALE..0 => Some((value.checked_mul(10_i128.checked_pow(scale.unsigned_abs())?)?, 0)),
        _ => None,
    }
}

/// Returns how many digits behind the point a step such as 0.01 keeps; none for one that is no power of ten.
pub(super) fn digits_of_step(step: &Number) -> Option<u32> {
    let (mut value, mut scale) = decimal(step)?;
    while scale > 0 && value % 10 == 0 {
        (value, scale) = (value / 10, scale - 1);
    }
    (value == 1).then(|| u32::try_from(scale).ok()).flatten()
}

/// Whether two values are equal.
pub(super) fn equal(one: &Json, other: &Json) -> bool {
    match (one, other) {
        (Json::Number(one), Json::Number(other)) => compare(one, other) == Ordering::Equal,
        (Json::Array(one), Json::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| equal(one, other))
        }
        (Json::Object(one), Json::Object(other)) => {
            one.len() == other.len() && one.iter().all(|(name, value)| other.get(name).is_some_and(|other| equal(value, other)))
        }
        _ => one == other,
    }
}
