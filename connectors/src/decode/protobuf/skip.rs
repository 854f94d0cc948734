//! Reads past the fields that no column needs. What is skipped is checked as what is read, so that a body decodes whichever of its fields
//! are wanted.

use super::scalar::{scalar, time, unpacked};
use super::schema::{Field, Kind, Message, Schema, Shape, StandsFor};
use super::wire::{self, Written, broken};
use crate::decode::fault::Fault;

/// The maximum depth of messages in each other.
const MAX_DEPTH: usize = 100;
/// The maximum number of values of a body that nested messages make. Empty ones have values without a byte: the defaults of their fields.
const MAX_VALUES: usize = 1 << 22;

/// Counts a message at this depth. `made` is the number of values of the messages so far.
///
/// # Errors
/// It is nested too deep, or there are too many.
#[inline]
pub(super) fn enter(made: &mut usize, message: &Message, bytes: &[u8], depth: usize) -> Result<(), Fault> {
    *made += 1 + 2 * message.fields.len();
    if depth >= MAX_DEPTH {
        return Err(Fault::of_payload("too_deep", format!("nested more than {MAX_DEPTH} deep")));
    }
    if *made > MAX_VALUES {
        return Err(broken("it has too many values", bytes));
    }
    Ok(())
}

/// Checks a value of a field of a message at this depth.
///
/// # Errors
/// The value cannot be read.
#[inline]
pub(super) fn skip(schema: &Schema, made: &mut usize, field: &Field, value: Written<'_>, depth: usize) -> Result<(), Fault> {
    match (field.kind, value) {
        (Kind::Message(entry), Written::Bytes(bytes)) if field.shape == Shape::Map => {
            skip_entry(schema, made, entry, bytes, depth)
        }
        (Kind::Message(of), Written::Bytes(bytes)) => skip_message(schema, made, of, bytes, depth + 1),
        (kind, Written::Bytes(packed)) if field.shape == Shape::List && kind.is_packable() => {
            let mut rest = packed;
            while !rest.is_empty() {
                let value = unpacked(kind, &mut rest)?;
                scalar(schema, field, value)?;
            }
            Ok(())
        }
        _ => scalar(schema, field, value).map(drop),
    }
}

fn skip_message(schema: &Schema, made: &mut usize, of: usize, bytes: &[u8], depth: usize) -> Result<(), Fault> {
    let message = schema.message(of);
    enter(made, message, bytes, depth)?;
    if matches!(message.stands_for, StandsFor::Timestamp | StandsFor::Duration) {
        return time(message, bytes).map(drop);
    }
    let mut rest = bytes;
    while !rest.is_empty() {
        let (number, value) = wire::field(&mut rest)?;
        if let (Some(place), Some(value)) = (message.place(number), value) {
            skip(schema, made, &message.fields[place], value, depth)?;
        }
    }
    Ok(())
}

/// Checks an entry of a map. One without a value has an empty one.
fn skip_entry(schema: &Schema, made: &mut usize, of: usize, bytes: &[u8], depth: usize) -> Result<(), Fault> {
    let message = schema.message(of);
    let [_, value] = message.fields.as_slice() else { return Err(broken("an entry of a map has no value", bytes)) };
    let (mut rest, mut has_value) = (bytes, false);
    while !rest.is_empty() {
        let (number, written) = wire::field(&mut rest)?;
        if let (Some(place), Some(written)) = (message.place(number), written) {
            has_value |= place == 1;
            skip(schema, made, &message.fields[place], written, depth)?;
        }
    }
    match value.kind {
        Kind::Message(of) if !has_value => skip_message(schema, made, of, &[], depth + 1),
        _ => Ok(()),
    }
}
