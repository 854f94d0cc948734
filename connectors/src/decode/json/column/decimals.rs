//! Decimals as Debezium and Kafka Connect write them: text is base64 of the unscaled value, its most significant byte first, with the scale of
//! the column; an object has a scale of its own. Numbers are read as they are written.

use arrow::datatypes::{DataType, Decimal128Type, Decimal256Type, i256};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::scalar::primitive;
use super::{Column, number, text};
use crate::decode::fault::Refusal;

/// Bytes of the largest unscaled value.
const LARGEST: usize = 32;

/// A value that has its scale beside it.
#[derive(Deserialize)]
struct Scaled<'a> {
    scale: i32,
    value: &'a str,
}

/// A column of decimals; none for other types.
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

/// The number that a value in this form stands for; none where it is a number already.
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
