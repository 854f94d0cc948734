//! Compares numbers by their digits, and values by what they mean: `1` and `1.0` are equal.

use std::cmp::Ordering;

use serde_json::{Number, Value as Json};

/// The most digits behind the point, and the most zeros before it, that are computed with exactly.
const MAX_SCALE: i32 = 400;

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

/// Whether all digits of a number are known. A number that is no 64-bit integer is held as a double, which has 15 of them.
fn has_all_digits(number: &Number) -> bool {
    let text = number.to_string();
    let digits = text.split(['e', 'E']).next().unwrap_or_default();
    let digits = digits.bytes().filter(u8::is_ascii_digit).skip_while(|digit| *digit == b'0');
    let digits: Vec<u8> = digits.collect();
    let zeros = digits.iter().rev().take_while(|digit| **digit == b'0').count();
    !number.is_f64() || digits.len() - zeros <= 15
}

/// Whether a number is a multiple of another, which is positive. Computed over the digits as they are written; where these are not all known,
/// it counts as one.
pub(super) fn is_multiple(number: &Number, of: &Number) -> bool {
    if !has_all_digits(number) {
        return true;
    }
    let exact = || {
        let ((number, scale), (of, of_scale)) = (decimal(number)?, decimal(of)?);
        let (number, mut of) = (number.unsigned_abs(), u128::from(u64::try_from(of).ok().filter(|of| *of > 0)?));
        let shift = of_scale - scale;
        if shift < 0 {
            of = of.checked_mul(10_u128.checked_pow(shift.unsigned_abs())?)?;
            return Some(number.is_multiple_of(of));
        }
        // Of the number times a power of ten only the rest counts, which is less than 64 bits.
        let mut rest = number % of;
        for _ in 0..shift {
            rest = rest * 10 % of;
        }
        Some(rest == 0)
    };
    exact().unwrap_or_else(|| match (number.as_f64(), of.as_f64()) {
        (Some(number), Some(of)) => number % of == 0.0,
        _ => false,
    })
}

/// Writes a value so that equal values have the same text. Returns false if not all of its digits are known.
pub(super) fn canonical(value: &Json, text: &mut String) -> bool {
    match value {
        Json::Number(number) => {
            match whole(number) {
                Some(whole) => text.push_str(&whole.to_string()),
                None => text.push_str(&number.to_string()),
            }
            has_all_digits(number)
        }
        Json::Array(elements) => {
            text.push('[');
            let known = elements.iter().fold(true, |known, element| {
                let own = canonical(element, text);
                text.push(',');
                known & own
            });
            text.push(']');
            known
        }
        // The names of members are in the order of the alphabet.
        Json::Object(members) => {
            text.push('{');
            let known = members.iter().fold(true, |known, (name, member)| {
                text.push_str(&Json::from(name.as_str()).to_string());
                text.push(':');
                let own = canonical(member, text);
                text.push(',');
                known & own
            });
            text.push('}');
            known
        }
        other => {
            text.push_str(&other.to_string());
            true
        }
    }
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
    (scale.abs() <= MAX_SCALE).then_some((value, scale))
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
