//! Reads the fields of a message as they are written. Any bytes are read or refused.

use crate::decode::fault::Fault;

/// The maximum depth of groups that are skipped.
const MAX_DEPTH: usize = 100;

/// A field's value as it is written.
#[derive(Debug, Clone, Copy)]
pub(super) enum Written<'a> {
    Varint(u64),
    Fixed32(u32),
    Fixed64(u64),
    Bytes(&'a [u8]),
}

/// A fault of the body.
#[cold]
pub(super) fn broken(message: &str, at: &[u8]) -> Fault {
    Fault::of_payload("not_protobuf", message.to_owned()).at(at.as_ptr().addr())
}

/// Reads a number of up to 64 bits.
///
/// # Errors
/// It is cut off, or longer.
#[inline(always)]
pub(super) fn varint(rest: &mut &[u8]) -> Result<u64, Fault> {
    match rest.split_first() {
        Some((byte, after)) if *byte < 0x80 => {
            *rest = after;
            Ok(u64::from(*byte))
        }
        _ => long_varint(rest),
    }
}

fn long_varint(rest: &mut &[u8]) -> Result<u64, Fault> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let Some((byte, after)) = rest.split_first() else { return Err(cut_off(rest)) };
        *rest = after;
        if shift == 63 && *byte > 1 {
            break;
        }
        value |= u64::from(byte & 0x7f) << shift;
        if *byte < 0x80 {
            return Ok(value);
        }
    }
    Err(broken("a number has more than 64 bits", rest))
}

#[cold]
fn cut_off(rest: &[u8]) -> Fault {
    broken("cut off: the body ends within a field", rest)
}

#[inline(always)]
fn take<'a, const N: usize>(rest: &mut &'a [u8]) -> Result<&'a [u8; N], Fault> {
    let Some((taken, after)) = rest.split_first_chunk() else { return Err(cut_off(rest)) };
    *rest = after;
    Ok(taken)
}

/// Reads the next field: its number and its value. Skips a group, and returns `None` for it.
///
/// # Errors
/// The bytes are not a field.
#[inline(always)]
pub(super) fn field<'a>(rest: &mut &'a [u8]) -> Result<(u32, Option<Written<'a>>), Fault> {
    let start = *rest;
    let tag = varint(rest)?;
    let number = u32::try_from(tag >> 3).ok().filter(|number| (1..1 << 29).contains(number));
    let Some(number) = number else { return Err(broken("the number of a field is out of range", start)) };
    let value = match tag & 7 {
        0 => Written::Varint(varint(rest)?),
        1 => Written::Fixed64(u64::from_le_bytes(*take(rest)?)),
        2 => Written::Bytes(bytes(rest)?),
        3 => {
            skip_group(number, rest)?;
            return Ok((number, None));
        }
        5 => Written::Fixed32(u32::from_le_bytes(*take(rest)?)),
        4 => return Err(broken("a group ends that has not begun", start)),
        _ => return Err(broken("a field has no known wire type: the body is not Protobuf", start)),
    };
    Ok((number, Some(value)))
}

#[inline(always)]
fn bytes<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], Fault> {
    let length = varint(rest)?;
    let split = usize::try_from(length).ok().and_then(|length| rest.split_at_checked(length));
    let Some((taken, after)) = split else { return Err(cut_off(rest)) };
    *rest = after;
    Ok(taken)
}

/// Skips a group whose start has been read. Groups within it are counted, not recursed into.
#[cold]
fn skip_group(number: u32, rest: &mut &[u8]) -> Result<(), Fault> {
    let mut open = vec![number];
    while let Some(innermost) = open.last() {
        let start = *rest;
        let tag = varint(rest)?;
        match tag & 7 {
            0 => drop(varint(rest)?),
            1 => drop(take::<8>(rest)?),
            2 => drop(bytes(rest)?),
            3 if open.len() < MAX_DEPTH => open.push(u32::try_from(tag >> 3).unwrap_or_default()),
            4 if tag >> 3 == u64::from(*innermost) => drop(open.pop()),
            5 => drop(take::<4>(rest)?),
            _ => return Err(broken("a group is not written as one", start)),
        }
    }
    Ok(())
}
