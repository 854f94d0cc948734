//! Walks the members of a JSON object and the elements of an array, each value given as its text.
//!
//! serde_json checks the grammar; what the values mean is left to the
//! columns. A value is skipped by a loop of serde_json's that does not recurse, so that no nesting can exhaust the stack; how deep
//! a body may be is checked apart.

use serde::de::{self, Deserializer, MapAccess, SeqAccess};
use serde_json::value::RawValue;

use super::members::{Members, Target};
use crate::decode::fault::Fault;

/// Calls `each` with the target and the value of each member of a text, which must be one object and nothing else.
pub(super) fn walk_any<'a, F>(body: &'a str, members: &mut Members, each: F) -> Result<(), Fault>
where
    F: FnMut(Target, &'a str) -> Result<(), Fault>,
{
    let mut fault = None;
    let mut deserializer = serde_json::Deserializer::from_str(body);
    let walked = deserializer.deserialize_map(ObjectVisitor { members, each, fault: &mut fault });
    let (error, trailing) = match walked {
        Ok(()) => match deserializer.end() {
            Ok(()) => return Ok(()),
            Err(error) => (error, true),
        },
        Err(error) => (error, false),
    };
    Err(fault.unwrap_or_else(|| body_fault(body, &error, trailing)))
}

/// Calls `each` with the name, as JSON text, and the value of each member of a value that is known to be an object.
pub(super) fn walk_entries<'a, F>(object: &'a str, each: F) -> Result<(), Fault>
where
    F: FnMut(&'a str, &'a str) -> Result<(), Fault>,
{
    let mut fault = None;
    let mut deserializer = serde_json::Deserializer::from_str(object);
    deserializer
        .deserialize_map(EntriesVisitor { each, fault: &mut fault })
        .map_err(|error| fault.unwrap_or_else(|| body_fault(object, &error, false)))
}

/// Calls `each` with each element of a value that is known to be an array.
pub(super) fn walk_array<'a, F>(array: &'a str, each: F) -> Result<(), Fault>
where
    F: FnMut(&'a str) -> Result<(), Fault>,
{
    let mut fault = None;
    let mut deserializer = serde_json::Deserializer::from_str(array);
    deserializer
        .deserialize_seq(ArrayVisitor { each, fault: &mut fault })
        .map_err(|error| fault.unwrap_or_else(|| body_fault(array, &error, false)))
}

/// What serde_json found wrong with a body.
#[cold]
fn body_fault(body: &str, error: &serde_json::Error, trailing: bool) -> Fault {
    let (kind, message) = if body.trim_ascii().is_empty() {
        ("not_json", "the body is empty".to_owned())
    } else if trailing {
        ("not_one_object", "more follows after the object".to_owned())
    } else {
        match error.classify() {
            serde_json::error::Category::Data => {
                ("not_one_object", "the body is not an object, but another JSON value".to_owned())
            }
            serde_json::error::Category::Eof => ("not_json", "cut off: the body ends within the object".to_owned()),
            _ => {
                let text = error.to_string();
                let text = text.split(" at line ").next().unwrap_or_default();
                ("not_json", format!("not JSON: {text}"))
            }
        }
    };
    // serde_json counts lines from 1, and the column as bytes of the line that were read.
    let line_start: usize = body.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
    let byte = (line_start + error.column().saturating_sub(1)).min(body.len());
    Fault::of_payload(kind, message).at(body.as_ptr().addr() + byte)
}

/// Ends serde_json's walk; the caller looks at the fault that was left beside it.
#[cold]
fn stop<E: de::Error>(place: &mut Option<Fault>, fault: Fault) -> E {
    *place = Some(fault);
    E::custom("stopped")
}

struct ObjectVisitor<'m, F> {
    members: &'m mut Members,
    each: F,
    fault: &'m mut Option<Fault>,
}

impl<'de, F: FnMut(Target, &'de str) -> Result<(), Fault>> de::Visitor<'de> for ObjectVisitor<'_, F> {
    type Value = ();

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("an object")
    }

    #[inline]
    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        let mut before = usize::MAX;
        while let Some((target, index)) = map.next_key_seed(NameSeed { members: &mut *self.members, before })? {
            before = index;
            let value: &'de RawValue = map.next_value()?;
            (self.each)(target, value.get()).map_err(|fault| stop(self.fault, fault))?;
        }
        Ok(())
    }
}

struct NameSeed<'m> {
    members: &'m mut Members,
    before: usize,
}

impl<'de> de::DeserializeSeed<'de> for NameSeed<'_> {
    type Value = (Target, usize);

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl de::Visitor<'_> for NameSeed<'_> {
    type Value = (Target, usize);

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("a member's name")
    }

    #[inline]
    fn visit_str<E: de::Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.members.find(self.before, name))
    }
}

struct EntriesVisitor<'f, F> {
    each: F,
    fault: &'f mut Option<Fault>,
}

impl<'de, F: FnMut(&'de str, &'de str) -> Result<(), Fault>> de::Visitor<'de> for EntriesVisitor<'_, F> {
    type Value = ();

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some((name, value)) = map.next_entry::<&'de RawValue, &'de RawValue>()? {
            (self.each)(name.get(), value.get()).map_err(|fault| stop(self.fault, fault))?;
        }
        Ok(())
    }
}

struct ArrayVisitor<'f, F> {
    each: F,
    fault: &'f mut Option<Fault>,
}

impl<'de, F: FnMut(&'de str) -> Result<(), Fault>> de::Visitor<'de> for ArrayVisitor<'_, F> {
    type Value = ();

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut elements: A) -> Result<(), A::Error> {
        while let Some(element) = elements.next_element::<&'de RawValue>()? {
            (self.each)(element.get()).map_err(|fault| stop(self.fault, fault))?;
        }
        Ok(())
    }
}
