//! Fast path that finds the members of an object in the compact form that programs write: no white space, or one space after `:` and `,`.
//!
//! It is not a second parser. It accepts only text that serde_json accepts too, leaves complicated values to serde_json, and makes no
//! statement about other text. A test compares the two.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::members::{Found, Members, Target};
use super::runs::run_end;
use crate::decode::fault::Fault;

/// Calls `each` with the target and the value of each member that a column reads or whose value is nested, in order. Returns `None` before
/// any call if the text is not in compact form. Such text may or may not be an object.
#[inline]
pub(super) fn walk<'a, F>(text: &'a str, members: &mut Members, mut each: F) -> Option<Result<(), Fault>>
where
    F: FnMut(Target, &'a str) -> Result<(), Fault>,
{
    let found = members_of(text, members)?;
    let walked = found.iter().try_for_each(|found| each(found.target, &text[found.value.clone()]));
    members.keep(found);
    Some(walked)
}

/// Returns the members that a column reads or whose value is nested, in order. Returns `None` if the text is not in compact form. Such
/// text may or may not be an object.
#[inline]
pub(super) fn members_of(text: &str, members: &mut Members) -> Option<Vec<Found>> {
    let mut found = members.list();
    if scan(text, members, &mut found).is_none() {
        members.keep(found);
        return None;
    }
    Some(found)
}

#[inline]
fn scan(text: &str, members: &mut Members, found: &mut Vec<Found>) -> Option<()> {
    let bytes = text.as_bytes();
    if bytes.first() != Some(&b'{') {
        return None;
    }
    let mut at = 1;
    let mut before = usize::MAX;
    loop {
        if bytes.get(at) != Some(&b'"') {
            return None;
        }
        at += 1;
        let target;
        match members.find_expected(before, &bytes[at..]) {
            Some((expected, index, length)) => {
                (target, before) = (expected, index);
                at += length + 1;
            }
            None => {
                let end = run_end(bytes, at)?;
                if bytes[end] != b'"' {
                    return None;
                }
                (target, before) = members.find(before, &text[at..end]);
                at = end + 1;
            }
        }
        if bytes.get(at) != Some(&b':') {
            return None;
        }
        at = after_space(bytes, at + 1);
        let end = value_end(text, at)?;
        if target.column.is_some() || matches!(bytes[at], b'{' | b'[') {
            found.push(Found { target, value: at..end });
        }
        match bytes.get(end)? {
            b',' => at = after_space(bytes, end + 1),
            b'}' => return (end + 1 == bytes.len()).then_some(()),
            _ => return None,
        }
    }
}

#[inline]
fn after_space(bytes: &[u8], at: usize) -> usize {
    at + usize::from(bytes.get(at) == Some(&b' '))
}

/// Returns the end of the value that begins at `at`.
#[inline]
fn value_end(text: &str, at: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    match bytes.get(at)? {
        b'"' => match run_end(bytes, at + 1)? {
            end if bytes[end] == b'"' => Some(end + 1),
            _ => any_value_end(text, at),
        },
        b'-' | b'0'..=b'9' => number_end(text, at),
        b't' => bytes[at..].starts_with(b"true").then_some(at + 4),
        b'f' => bytes[at..].starts_with(b"false").then_some(at + 5),
        b'n' => bytes[at..].starts_with(b"null").then_some(at + 4),
        b'{' | b'[' => any_value_end(text, at),
        _ => None,
    }
}

#[inline]
fn number_end(text: &str, at: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let whole = at + usize::from(bytes[at] == b'-');
    let mut end = match bytes.get(whole)? {
        b'0' => whole + 1,
        b'1'..=b'9' => digits_end(bytes, whole + 1),
        _ => return None,
    };
    if bytes.get(end) == Some(&b'.') {
        let fraction = end + 1;
        end = digits_end(bytes, fraction);
        if end == fraction {
            return None;
        }
    }
    match bytes.get(end) {
        Some(b'e' | b'E') => any_value_end(text, at),
        _ => Some(end),
    }
}

#[inline]
fn digits_end(bytes: &[u8], at: usize) -> usize {
    bytes[at..].iter().position(|byte| !byte.is_ascii_digit()).map_or(bytes.len(), |count| at + count)
}

/// Like [`value_end`], but lets serde_json parse the value.
#[cold]
fn any_value_end(text: &str, at: usize) -> Option<usize> {
    let mut deserializer = serde_json::Deserializer::from_str(&text[at..]);
    let value = <&RawValue>::deserialize(&mut deserializer).ok()?;
    Some(at + value.get().len())
}
