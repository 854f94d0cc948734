//! The events of a body that are its lines, or the elements of its array.

use memchr::memchr_iter;
use serde::de::{Deserializer, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::events::Events;
use crate::decode::fault::Fault;

/// Appends the lines of a body. Blank lines are no events.
pub(super) fn lines(payload: &[u8], events: &mut Events) -> Result<(), Fault> {
    let mut start = 0;
    for end in memchr_iter(b'\n', payload).chain([payload.len()]) {
        let line = &payload[start..end];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if !line.trim_ascii().is_empty() {
            events.push_part(start..start + line.len())?;
        }
        start = end + 1;
    }
    Ok(())
}

/// Appends the elements of an array. A body that is no array is one event.
pub(super) fn array(payload: &[u8], events: &mut Events) -> Result<(), Fault> {
    let text = text(payload)?;
    if !text.trim_ascii_start().starts_with('[') {
        events.push_whole();
        return Ok(());
    }
    let base = text.as_ptr().addr();
    elements(text, |element| {
        let start = element.as_ptr().addr() - base;
        events.push_part(start..start + element.len())
    })
}

/// Checks that a body is text.
pub(super) fn text(payload: &[u8]) -> Result<&str, Fault> {
    simdutf8::basic::from_utf8(payload).map_err(|_| {
        let valid = std::str::from_utf8(payload).map_or_else(|error| error.valid_up_to(), str::len);
        Fault::of_payload("not_json", "not UTF-8".into()).at(payload.as_ptr().addr() + valid)
    })
}

/// Calls `each` with each element of a text that is exactly one array.
pub(super) fn elements<'a>(text: &'a str, each: impl FnMut(&'a str) -> Result<(), Fault>) -> Result<(), Fault> {
    let mut fault = None;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let walked = deserializer.deserialize_seq(Elements { each, fault: &mut fault }).and_then(|()| deserializer.end());
    walked.map_err(|error| {
        let why = error.to_string();
        let why = why.split(" at line ").next().unwrap_or_default();
        fault.unwrap_or_else(|| Fault::of_payload("not_json", format!("not a JSON array: {why}")))
    })
}

struct Elements<'f, F> {
    each: F,
    fault: &'f mut Option<Fault>,
}

impl<'de, F: FnMut(&'de str) -> Result<(), Fault>> Visitor<'de> for Elements<'_, F> {
    type Value = ();

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut elements: A) -> Result<(), A::Error> {
        while let Some(element) = elements.next_element::<&'de RawValue>()? {
            if let Err(fault) = (self.each)(element.get()) {
                *self.fault = Some(fault);
                return Err(serde::de::Error::custom("stopped"));
            }
        }
        Ok(())
    }
}
