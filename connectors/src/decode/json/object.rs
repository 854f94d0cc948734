//! Walks the members of a JSON object and the elements of an array. Values are passed on as text.
//!
//! serde_json checks the grammar; the columns interpret the values. serde_json skips a value in a loop without recursion, so no nesting
//! can exhaust the stack. The depth of a body is checked elsewhere.

use serde::de::{self, Deserializer, MapAccess, SeqAccess};
use serde_json::value::RawValue;

use super::members::{Members, Target};
use crate::decode::fault::Fault;

/// Calls `each` with the target and the value of each member of `body`, which must be exactly one object.
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

/// Calls `each` with the name and the value of each member, both as JSON text. The caller has checked that the value is an object.
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

/// Calls `each` with the name and the value of each member of `body`, both as JSON text. It must be exactly one object.
pub(in crate::decode) fn entries<'a, F>(body: &'a str, each: F) -> Result<(), Fault>
where
    F: FnMut(&'a str, &'a str) -> Result<(), Fault>,
{
    let mut fault = None;
    let mut deserializer = serde_json::Deserializer::from_str(body);
    let walked = deserializer.deserialize_map(EntriesVisitor { each, fault: &mut fault });
    let (error, trailing) = match walked {
        Ok(()) => match deserializer.end() {
            Ok(()) => return Ok(()),
            Err(error) => (error, true),
        },
        Err(error) => (error, false),
    };
    Err(fault.unwrap_or_else(|| body_fault(body, &error, trailing)))
}

/// Calls `each` with each element. The caller has checked that the value is an array.
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

/// Converts an error of serde_json to a fault of the body.
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
    // serde_json counts lines from 1. Its column is the number of bytes of the line that it has read.
    let line_start: usize = body.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
    let byte = (line_start + error.column().saturating_sub(1)).min(body.len());
    Fault::of_payload(kind, message).at(body.as_ptr().addr() + byte)
}

/// Stores the fault for the caller and returns an error that ends serde_json's walk.
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
