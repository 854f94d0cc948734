//! Parses numbers from JSON numbers and strings, without rounding integers and decimals.

use std::str::FromStr;

use arrow::datatypes::i256;

use crate::decode::fault::Refusal;

/// Returns the text of a number: a JSON number as written, or the raw content of a JSON string.
#[inline]
pub(super) fn number_text(raw: &str) -> Result<&str, Refusal> {
    match raw.as_bytes().first() {
        Some(b'"') => raw.get(1..raw.len() - 1).ok_or(Refusal::WrongType),
        Some(b'-' | b'0'..=b'9') => Ok(raw),
        _ => Err(Refusal::WrongType),
    }
}

/// Parses an integer; `5.0` and `5e2` count as integers.
#[inline]
pub(super) fn integer<T: FromStr + TryFrom<i128>>(raw: &str) -> Result<T, Refusal> {
    let text = number_text(raw)?;
    if let Ok(value) = text.parse() {
        return Ok(value);
    }
    let number = Number::parse(text).ok_or(Refusal::WrongType)?;
    let digits = match number.scaled(0, 38) {
        Err(Refusal::OutOfRange(TOO_FINE)) => return Err(Refusal::WrongType),
        digits => digits?,
    };
    T::try_from(digits.value()).map_err(|_| Refusal::OutOfRange("it does not fit the type"))
}

/// Parses a floating-point number, rounded to the nearest value of the type.
#[inline]
pub(super) fn float<T: FromStr>(raw: &str, is_infinite: fn(&T) -> bool) -> Result<T, Refusal> {
    let text = number_text(raw)?;
    match text.as_bytes().first() {
        Some(b'0'..=b'9' | b'-' | b'+' | b'.') | None => {}
        _ if text == "NaN" || text == "Infinity" => return text.parse().map_err(|_| Refusal::WrongType),
        _ => return Err(Refusal::WrongType),
    }
    if text == "-Infinity" {
        return text.parse().map_err(|_| Refusal::WrongType);
    }
    if !text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E')) {
        return Err(Refusal::WrongType);
    }
    let value = text.parse().map_err(|_| Refusal::WrongType)?;
    if is_infinite(&value) { Err(Refusal::OutOfRange("it does not fit the type")) } else { Ok(value) }
}

/// Parses a decimal of at most 38 digits and returns its unscaled value.
#[inline]
pub(super) fn decimal(raw: &str, precision: u8, scale: i8) -> Result<i128, Refusal> {
    let number = Number::parse(number_text(raw)?).ok_or(Refusal::WrongType)?;
    Ok(number.scaled(scale, precision)?.value())
}

/// Parses a decimal of at most 76 digits and returns its unscaled value.
pub(super) fn wide_decimal(raw: &str, precision: u8, scale: i8) -> Result<i256, Refusal> {
    let number = Number::parse(number_text(raw)?).ok_or(Refusal::WrongType)?;
    let digits = number.scaled(scale, precision)?;
    i256::from_string(&digits.text()).ok_or(Refusal::OutOfRange(TOO_LONG))
}

pub(super) const TOO_FINE: &str = "it has more fraction digits than the type, and nothing is rounded";
const TOO_LONG: &str = "it has more digits than the type";

/// A parsed number: `whole.fraction` times ten to the power of `exponent`.
struct Number<'a> {
    negative: bool,
    whole: &'a [u8],
    fraction: &'a [u8],
    exponent: i64,
}

impl Number<'_> {
    /// Parses by JSON's grammar, but also accepts `+1`, `.5` and `007`, which some writers put into text.
    #[inline]
    fn parse(text: &str) -> Option<Number<'_>> {
        let bytes = text.as_bytes();
        let (negative, bytes) = match bytes.first()? {
            b'-' => (true, &bytes[1..]),
            b'+' => (false, &bytes[1..]),
            _ => (false, bytes),
        };
        let whole_end = digits_end(bytes);
        let (whole, rest) = bytes.split_at(whole_end);
        let (fraction, rest) = match rest.first() {
            Some(b'.') => rest[1..].split_at(digits_end(&rest[1..])),
            _ => (&rest[..0], rest),
        };
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let exponent = match rest.first() {
            None => 0,
            Some(b'e' | b'E') => {
                let (sign, digits) = match rest.get(1)? {
                    b'-' => (-1, &rest[2..]),
                    b'+' => (1, &rest[2..]),
                    _ => (1, &rest[1..]),
                };
                if digits.is_empty() || digits_end(digits) != digits.len() {
                    return None;
                }
                // Saturates far beyond the range of every type, and far enough from overflow to add digit counts to it.
                let limit = i64::MAX / 100;
                sign * digits.iter().fold(0, |sum: i64, digit| (sum * 10 + i64::from(digit - b'0')).min(limit / 100))
            }
            Some(_) => return None,
        };
        Some(Number { negative, whole, fraction, exponent })
    }

    /// Returns the digits of the number times ten to the power of `scale`. The product must be an integer of at most `precision` digits.
    #[inline]
    fn scaled(&self, scale: i8, precision: u8) -> Result<Digits<'_>, Refusal> {
        let (mut whole, mut fraction) = (self.whole, self.fraction);
        while let [b'0', rest @ ..] = whole {
            whole = rest;
        }
        let mut exponent = self.exponent - fraction.len() as i64;
        while let [rest @ .., b'0'] = fraction {
            fraction = rest;
            exponent += 1;
        }
        if fraction.is_empty() {
            while let [rest @ .., b'0'] = whole {
                whole = rest;
                exponent += 1;
            }
        }
        if whole.is_empty() {
            while let [b'0', rest @ ..] = fraction {
                fraction = rest;
            }
        }
        let count = whole.len() + fraction.len();
        if count == 0 {
            return Ok(Digits { negative: false, whole, fraction, zeros: 0 });
        }
        let zeros = exponent + i64::from(scale);
        if zeros < 0 {
            return Err(Refusal::OutOfRange(TOO_FINE));
        }
        match usize::try_from(zeros) {
            Ok(zeros) if count + zeros <= usize::from(precision) => {
                Ok(Digits { negative: self.negative, whole, fraction, zeros })
            }
            _ => Err(Refusal::OutOfRange(TOO_LONG)),
        }
    }
}

/// Returns the number of digits at the start of `bytes`.
#[inline]
fn digits_end(bytes: &[u8]) -> usize {
    bytes.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(bytes.len())
}

/// The digits of an integer: `whole`, then `fraction`, then `zeros` times the digit 0.
struct Digits<'a> {
    negative: bool,
    whole: &'a [u8],
    fraction: &'a [u8],
    zeros: usize,
}

/// The number of digits that always fit into 64 bits.
const SHORT: usize = 18;

impl Digits<'_> {
    /// Returns the integer, which must have at most 38 digits.
    #[inline]
    fn value(&self) -> i128 {
        let digits = self.whole.iter().chain(self.fraction).map(|digit| digit - b'0');
        let value = if self.whole.len() + self.fraction.len() + self.zeros <= SHORT {
            let value = digits.fold(0_i64, |sum, digit| sum * 10 + i64::from(digit));
            i128::from(value * 10_i64.pow(self.zeros as u32))
        } else {
            digits.fold(0_i128, |sum, digit| sum * 10 + i128::from(digit)) * 10_i128.pow(self.zeros as u32)
        };
        if self.negative { -value } else { value }
    }

    fn text(&self) -> String {
        let mut text = String::from(if self.negative { "-" } else { "" });
        text.extend(self.whole.iter().chain(self.fraction).map(|digit| char::from(*digit)));
        text.extend(std::iter::repeat_n('0', self.zeros));
        if text.is_empty() { "0".into() } else { text }
    }
}
