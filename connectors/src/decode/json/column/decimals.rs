//! Decimals as Debezium and Kafka Connect write them. Text is the base64 of the big-endian unscaled value, with the scale of the column. An
//! object has its own scale. Numbers are read as written.

use arrow::datatypes::{DataType, Decimal128Type, Decimal256Type, i256};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::scalar::primitive;
use super::{Column, number, text};
use crate::decode::fault::Refusal;

/// The maximum size of an unscaled value in bytes.
const LARGEST: usize = 32;

/// A value with its own scale.
#[derive(Deserialize)]
struct Scaled<'a> {
    scale: i32,
    value: &'a str,
}

/// Creates a column for a decimal type; returns `None` for other types.
pub(in crate::decode::json) fn make_unscaled(data_type: &DataType, capacity: usize) -> Option<Box<dyn Column>> {
    match *data_type {
        DataType::Decimal128(precision, scale) => {
            Some(primitive::<Decimal128Type, _>(data_type, capacity, move |raw| match written(raw, scale)? {
                Some(number) => number::decimal(&number, precision, scale),
                None => number::decimal(raw, precision, scale),
            }))
        }
        DataType::Decimal256(precision, scale) => {
            Some(primitive::<Decimal256Type, _>(data_type, capacity, move |raw| match written(raw, scale)? {
                Some(number) => number::wide_decimal(&number, precision, scale),
                None => number::wide_decimal(raw, precision, scale),
            }))
        }
        _ => None,
    }
}

/// Converts a value in this form to the text of a number. Returns `None` if it is a JSON number.
fn written(raw: &str, scale: i8) -> Result<Option<String>, Refusal> {
    if raw.starts_with('{') {
        let Scaled { scale, value } = serde_json::from_str(raw).map_err(|_| Refusal::WrongType)?;
        return Ok(Some(format!("{}e{}", unscaled(value)?, -i64::from(scale))));
    }
    match text(raw)? {
        Some(value) => Ok(Some(format!("{}e{}", unscaled(&value)?, -i64::from(scale)))),
        None => Ok(None),
    }
}

fn unscaled(value: &str) -> Result<i256, Refusal> {
    let mut bytes = [0; LARGEST + 3];
    let length = STANDARD.decode_slice(value, &mut bytes).map_err(|_| Refusal::WrongType)?;
    let Some(first) = bytes[..length].first() else { return Err(Refusal::WrongType) };
    if length > LARGEST {
        return Err(Refusal::OutOfRange("it has more digits than the type"));
    }
    let mut whole = [if first & 0x80 == 0 { 0 } else { 0xff }; LARGEST];
    whole[LARGEST - length..].copy_from_slice(&bytes[..length]);
    Ok(i256::from_be_bytes(whole))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn unscaled_values_are_read() {
        for (raw, scale, expected) in [
            ("\"AA==\"", 2, Ok(0)),
            ("\"BNI=\"", 2, Ok(1234)),
            ("\"/w==\"", 2, Ok(-1)),
            ("\"AP8=\"", 0, Ok(255)),
            ("{\"scale\":1,\"value\":\"BNI=\"}", 2, Ok(12340)),
            ("{\"scale\":-2,\"value\":\"AQ==\"}", 2, Ok(10000)),
            ("12.34", 2, Ok(1234)),
            ("\"12.34\"", 2, Err(())),
            ("\"\"", 2, Err(())),
            ("{\"scale\":4,\"value\":\"BNI=\"}", 2, Err(())),
            ("[1]", 2, Err(())),
        ] {
            let number = written(raw, scale).map(|number| number.unwrap_or_else(|| raw.to_owned()));
            let read = number.and_then(|number| number::decimal(&number, 12, scale)).map_err(|_| ());
            assert_eq!(read, expected, "{raw}");
        }
    }
}
