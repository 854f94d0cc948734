//! Values of fields that are no messages, and of the messages that stand for times.

use super::schema::{Field, Kind, Message, Schema, Shape, StandsFor};
use super::wire::{self, Written, broken};
use crate::decode::fault::Fault;
use crate::decode::value::{Value, instant};

/// Returns a value that is no message.
///
/// # Errors
/// It is written as another type, or a text is not UTF-8.
#[inline(always)]
pub(super) fn scalar<'a>(schema: &'a Schema, field: &Field, value: Written<'a>) -> Result<Value<'a>, Fault> {
    Ok(match (field.kind, value) {
        (Kind::Bool, Written::Varint(value)) => Value::Boolean(value != 0),
        // Like every reader of Protobuf: of a number that is too long, the low bits count.
        (Kind::Int32, Written::Varint(value)) => Value::Integer(i64::from(value as i32)),
        (Kind::Int64, Written::Varint(value)) => Value::Integer(value as i64),
        (Kind::Uint32, Written::Varint(value)) => Value::Integer(i64::from(value as u32)),
        (Kind::Uint64, Written::Varint(value)) => Value::Unsigned(value),
        (Kind::Sint32, Written::Varint(value)) => {
            let value = value as u32;
            Value::Integer(i64::from((value >> 1) as i32 ^ -((value & 1) as i32)))
        }
        (Kind::Sint64, Written::Varint(value)) => Value::Integer((value >> 1) as i64 ^ -((value & 1) as i64)),
        (Kind::Fixed32, Written::Fixed32(value)) => Value::Integer(i64::from(value)),
        (Kind::Sfixed32, Written::Fixed32(value)) => Value::Integer(i64::from(value as i32)),
        (Kind::Fixed64, Written::Fixed64(value)) => Value::Unsigned(value),
        (Kind::Sfixed64, Written::Fixed64(value)) => Value::Integer(value as i64),
        (Kind::Float, Written::Fixed32(value)) => Value::Single(f32::from_bits(value)),
        (Kind::Double, Written::Fixed64(value)) => Value::Float(f64::from_bits(value)),
        (Kind::Text, Written::Bytes(bytes)) => match simdutf8::basic::from_utf8(bytes) {
            Ok(text) => Value::Text(text),
            Err(_) => return Err(broken("a text is not UTF-8", bytes).in_member(&field.name)),
        },
        (Kind::Bytes, Written::Bytes(bytes)) => Value::Bytes(bytes),
        (Kind::Enum(of), Written::Varint(value)) => enum_value(schema, of, value as i32),
        _ => return Err(unlike(field)),
    })
}

/// Says that a field is written as another type.
#[cold]
pub(super) fn unlike(field: &Field) -> Fault {
    let message = format!("field {} is written as another type: the writer had another schema", field.name);
    Fault::of_payload("not_protobuf", message)
}

fn enum_value(schema: &Schema, of: usize, number: i32) -> Value<'_> {
    schema.value_name(of, number).map_or(Value::Integer(i64::from(number)), Value::Text)
}

/// Returns the value of a field that is not written.
#[inline]
pub(super) fn absent<'a>(schema: &'a Schema, field: &Field) -> Value<'a> {
    match field.shape {
        Shape::Optional => Value::Null,
        Shape::Plain => default_of(schema, field.kind),
        Shape::List => Value::List(0),
        Shape::Map => Value::Object(0),
    }
}

/// Returns the default value of a type. A message has none.
pub(super) fn default_of(schema: &Schema, kind: Kind) -> Value<'_> {
    match kind {
        Kind::Bool => Value::Boolean(false),
        Kind::Float | Kind::Double => Value::Float(0.0),
        Kind::Text => Value::Text(""),
        Kind::Bytes => Value::Bytes(&[]),
        Kind::Enum(of) => enum_value(schema, of, 0),
        Kind::Message(_) => Value::Null,
        _ => Value::Integer(0),
    }
}

/// Reads the next value of a packed list.
///
/// # Errors
/// It is cut off.
#[inline]
pub(super) fn unpacked<'a>(kind: Kind, rest: &mut &'a [u8]) -> Result<Written<'a>, Fault> {
    let cut_off = |rest: &[u8]| broken("cut off: a packed list ends within a value", rest);
    match kind {
        Kind::Fixed32 | Kind::Sfixed32 | Kind::Float => {
            let Some((taken, after)) = rest.split_first_chunk() else { return Err(cut_off(rest)) };
            *rest = after;
            Ok(Written::Fixed32(u32::from_le_bytes(*taken)))
        }
        Kind::Fixed64 | Kind::Sfixed64 | Kind::Double => {
            let Some((taken, after)) = rest.split_first_chunk() else { return Err(cut_off(rest)) };
            *rest = after;
            Ok(Written::Fixed64(u64::from_le_bytes(*taken)))
        }
        _ => wire::varint(rest).map(Written::Varint),
    }
}

/// Reads a `Timestamp` or a `Duration`.
///
/// # Errors
/// It is not one, or out of range.
pub(super) fn time<'a>(message: &Message, bytes: &[u8]) -> Result<Value<'a>, Fault> {
    let mut parts = [0_i64; 2];
    let mut rest = bytes;
    while !rest.is_empty() {
        let (number, written) = wire::field(&mut rest)?;
        let part = message.place(number).and_then(|place| parts.get_mut(place));
        match (part, written) {
            (Some(part), Some(Written::Varint(value))) => *part = value as i64,
            (Some(_), Some(_)) => return Err(broken("a time is written as another type: the writer had another schema", bytes)),
            _ => {}
        }
    }
    of_parts(message.stands_for, parts[0], parts[1]).ok_or_else(|| broken("a time is out of range", bytes))
}

/// Returns a timestamp or a length of time.
fn of_parts<'a>(stands_for: StandsFor, seconds: i64, nanoseconds: i64) -> Option<Value<'a>> {
    if stands_for != StandsFor::Duration {
        return instant(seconds, nanoseconds);
    }
    let nanoseconds = i32::try_from(nanoseconds).ok().filter(|nanos| nanos.unsigned_abs() < 1_000_000_000)?;
    let one_sign = seconds == 0 || nanoseconds == 0 || (seconds < 0) == (nanoseconds < 0);
    one_sign.then_some(Value::Duration { seconds, nanoseconds })
}
