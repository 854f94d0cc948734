//! Reads a body as values. Any bytes are read or refused; none can make it recurse without bound, or use more memory than a small multiple
//! of the body.

use bumpalo::Bump;
use rmp::Marker;

use crate::decode::fault::Fault;
use crate::decode::value::{Value, instant, write_json};

/// The maximum depth of arrays and maps in each other: that of JSON.
const MAX_DEPTH: usize = 127;
/// The type of the extension `timestamp`.
const TIMESTAMP: u8 = 0xff;

#[cold]
fn broken(message: &str, at: &[u8]) -> Fault {
    Fault::of_payload("not_msgpack", message.to_owned()).at(at.as_ptr().addr())
}

#[cold]
fn cut_off(at: &[u8]) -> Fault {
    broken("cut off: the body ends within a value", at)
}

/// Appends the map that a body is to `values`. `names` keeps the texts of keys that are no text.
///
/// # Errors
/// The body is not exactly one map.
pub(super) fn body<'a>(body: &'a [u8], names: &'a Bump, values: &mut Vec<Value<'a>>) -> Result<(), Fault> {
    let mut rest = body;
    value(&mut rest, names, values, 0)?;
    match values.first() {
        _ if !rest.is_empty() => Err(broken("more follows after the value", rest)),
        Some(Value::Object(_)) => Ok(()),
        _ => Err(broken("the body is not a map, but another value", body)),
    }
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Result<&'a [u8], Fault> {
    let Some((taken, after)) = rest.split_at_checked(count) else { return Err(cut_off(rest)) };
    *rest = after;
    Ok(taken)
}

#[inline]
fn bytes<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], Fault> {
    let Some((taken, after)) = rest.split_first_chunk::<N>() else { return Err(cut_off(rest)) };
    *rest = after;
    Ok(*taken)
}

/// Reads a length of one, two or four bytes.
fn length<const N: usize>(rest: &mut &[u8]) -> Result<usize, Fault> {
    Ok(bytes::<N>(rest)?.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)))
}

fn text<'a>(rest: &mut &'a [u8], length: usize) -> Result<Value<'a>, Fault> {
    let bytes = take(rest, length)?;
    simdutf8::basic::from_utf8(bytes).map(Value::Text).map_err(|_| broken("a text is not UTF-8", bytes))
}

/// Appends a value that lies this deep in others.
fn value<'a>(rest: &mut &'a [u8], names: &'a Bump, values: &mut Vec<Value<'a>>, depth: usize) -> Result<(), Fault> {
    let start = *rest;
    let [first] = bytes(rest)?;
    let value = match Marker::from_u8(first) {
        Marker::FixPos(value) => Value::Integer(i64::from(value)),
        Marker::FixNeg(value) => Value::Integer(i64::from(value)),
        Marker::Null => Value::Null,
        Marker::False => Value::Boolean(false),
        Marker::True => Value::Boolean(true),
        Marker::U8 => Value::Integer(i64::from(u8::from_be_bytes(bytes(rest)?))),
        Marker::U16 => Value::Integer(i64::from(u16::from_be_bytes(bytes(rest)?))),
        Marker::U32 => Value::Integer(i64::from(u32::from_be_bytes(bytes(rest)?))),
        Marker::U64 => Value::Unsigned(u64::from_be_bytes(bytes(rest)?)),
        Marker::I8 => Value::Integer(i64::from(i8::from_be_bytes(bytes(rest)?))),
        Marker::I16 => Value::Integer(i64::from(i16::from_be_bytes(bytes(rest)?))),
        Marker::I32 => Value::Integer(i64::from(i32::from_be_bytes(bytes(rest)?))),
        Marker::I64 => Value::Integer(i64::from_be_bytes(bytes(rest)?)),
        Marker::F32 => Value::Single(f32::from_be_bytes(bytes(rest)?)),
        Marker::F64 => Value::Float(f64::from_be_bytes(bytes(rest)?)),
        Marker::FixStr(length) => text(rest, usize::from(length))?,
        Marker::Str8 => length::<1>(rest).and_then(|length| text(rest, length))?,
        Marker::Str16 => length::<2>(rest).and_then(|length| text(rest, length))?,
        Marker::Str32 => length::<4>(rest).and_then(|length| text(rest, length))?,
        Marker::Bin8 => Value::Bytes(length::<1>(rest).and_then(|length| take(rest, length))?),
        Marker::Bin16 => Value::Bytes(length::<2>(rest).and_then(|length| take(rest, length))?),
        Marker::Bin32 => Value::Bytes(length::<4>(rest).and_then(|length| take(rest, length))?),
        Marker::FixExt1 => extension(rest, 1)?,
        Marker::FixExt2 => extension(rest, 2)?,
        Marker::FixExt4 => extension(rest, 4)?,
        Marker::FixExt8 => extension(rest, 8)?,
        Marker::FixExt16 => extension(rest, 16)?,
        Marker::Ext8 => length::<1>(rest).and_then(|length| extension(rest, length))?,
        Marker::Ext16 => length::<2>(rest).and_then(|length| extension(rest, length))?,
        Marker::Ext32 => length::<4>(rest).and_then(|length| extension(rest, length))?,
        Marker::FixArray(count) => return array(rest, usize::from(count), names, values, depth),
        Marker::Array16 => return length::<2>(rest).and_then(|count| array(rest, count, names, values, depth)),
        Marker::Array32 => return length::<4>(rest).and_then(|count| array(rest, count, names, values, depth)),
        Marker::FixMap(count) => return map(rest, usize::from(count), names, values, depth),
        Marker::Map16 => return length::<2>(rest).and_then(|count| map(rest, count, names, values, depth)),
        Marker::Map32 => return length::<4>(rest).and_then(|count| map(rest, count, names, values, depth)),
        Marker::Reserved => {
            return Err(broken("a value begins with the byte c1, which is never used: the body is not MessagePack", start));
        }
    };
    values.push(value);
    Ok(())
}

fn extension<'a>(rest: &mut &'a [u8], length: usize) -> Result<Value<'a>, Fault> {
    let start = *rest;
    let [of_type] = bytes(rest)?;
    let data = take(rest, length)?;
    if of_type != TIMESTAMP {
        return Ok(Value::Bytes(data));
    }
    let time = match *data {
        [a, b, c, d] => instant(i64::from(u32::from_be_bytes([a, b, c, d])), 0),
        [a, b, c, d, e, f, g, h] => {
            let both = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
            instant((both & ((1 << 34) - 1)) as i64, (both >> 34) as i64)
        }
        [a, b, c, d, e, f, g, h, i, j, k, l] => {
            instant(i64::from_be_bytes([e, f, g, h, i, j, k, l]), i64::from(u32::from_be_bytes([a, b, c, d])))
        }
        _ => None,
    };
    time.ok_or_else(|| broken("a time is out of range", start))
}

fn enter(rest: &[u8], depth: usize) -> Result<(), Fault> {
    if depth >= MAX_DEPTH {
        return Err(Fault::of_payload("too_deep", format!("nested more than {MAX_DEPTH} deep")).at(rest.as_ptr().addr()));
    }
    Ok(())
}

fn array<'a>(rest: &mut &'a [u8], count: usize, names: &'a Bump, values: &mut Vec<Value<'a>>, depth: usize) -> Result<(), Fault> {
    enter(rest, depth)?;
    let head = values.len();
    values.push(Value::Null);
    for _ in 0..count {
        value(rest, names, values, depth + 1)?;
    }
    values[head] = Value::List(inner(values, head, rest)?);
    Ok(())
}

fn map<'a>(rest: &mut &'a [u8], count: usize, names: &'a Bump, values: &mut Vec<Value<'a>>, depth: usize) -> Result<(), Fault> {
    enter(rest, depth)?;
    let head = values.len();
    values.push(Value::Null);
    for _ in 0..count {
        let (start, key) = (*rest, values.len());
        value(rest, names, values, depth + 1)?;
        match &values[key..] {
            [Value::Text(_)] => {}
            [Value::List(_) | Value::Object(_), ..] => return Err(broken("a key is an array or a map", start)),
            other => {
                let mut text = Vec::new();
                write_json(other, &mut text);
                let text = String::from_utf8_lossy(&text);
                values[key] = Value::Text(names.alloc_str(text.trim_matches('"')));
            }
        }
        value(rest, names, values, depth + 1)?;
    }
    values[head] = Value::Object(inner(values, head, rest)?);
    Ok(())
}

fn inner(values: &[Value<'_>], head: usize, at: &[u8]) -> Result<u32, Fault> {
    u32::try_from(values.len() - head - 1).map_err(|_| broken("it has too many values", at))
}
