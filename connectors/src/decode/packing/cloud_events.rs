//! CloudEvents 1.0. The attributes of an event and the members of its data become the members of one object, which the format JSON reads.
//!
//! | mode | how it is recognized |
//! | --- | --- |
//! | structured | the header `content-type` is `application/cloudevents+json`; without that and `ce-specversion`: the body is an object |
//! | batched | `content-type` is `application/cloudevents-batch+json`; without that and `ce-specversion`: the body is an array |
//! | binary | there is a header `ce-specversion` |
//!
//! An attribute, also of an extension, goes before a member of data with its name. The column `data` takes the data as a whole.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::value::RawValue;

use super::events::Events;
use super::texts;
use crate::decode::fault::Fault;
use crate::decode::json::entries;
use crate::decode::message::{Headers, Message};
use crate::decode::written::write_text;
use crate::source::SourceConfig;

/// The column that takes the data as a whole.
const DATA: &str = "data";
/// The attributes that each event has.
const REQUIRED: [&str; 4] = ["specversion", "id", "source", "type"];

/// Unpacks CloudEvents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::decode) struct CloudEvents {
    /// Whether a column takes the data as a whole.
    whole_data: bool,
}

/// How a message holds events.
#[derive(Debug, PartialEq)]
enum Mode {
    Structured,
    Batched,
    Binary,
}

#[cold]
fn not_an_event(message: String) -> Fault {
    Fault::of_payload("not_cloudevent", message)
}

impl CloudEvents {
    pub(super) fn of(config: &SourceConfig) -> CloudEvents {
        CloudEvents { whole_data: config.declared.fields().iter().any(|field| field.name().eq_ignore_ascii_case(DATA)) }
    }

    /// Appends the events of a message.
    pub(super) fn unpack(self, message: &Message<'_>, events: &mut Events) -> Result<(), Fault> {
        let context = message.headers.map(Context::of).unwrap_or_default();
        match mode(&context, message.payload) {
            Mode::Structured => {
                let start = events.made.len();
                self.structured(texts::text(message.payload)?, &mut events.made)?;
                events.push_whole_as(start);
            }
            Mode::Batched => {
                let text = texts::text(message.payload)?;
                let base = text.as_ptr().addr();
                texts::elements(text, |element| {
                    let (start, at) = (events.made.len(), element.as_ptr().addr() - base);
                    let written = self.structured(element, &mut events.made);
                    events.push_part_as(at..at + element.len(), start)?;
                    if let Err(fault) = written {
                        events.reject_last(fault);
                    }
                    Ok(())
                })?;
            }
            Mode::Binary => {
                let start = events.made.len();
                self.binary(&context, message.payload, &mut events.made)?;
                events.push_whole_as(start);
            }
        }
        Ok(())
    }

    /// Writes an event that is a JSON object.
    fn structured(self, event: &str, json: &mut Vec<u8>) -> Result<(), Fault> {
        let (mut data, mut encoded) = (None, None);
        let mut has = [false; REQUIRED.len()];
        let mut version = None;
        // Finds the data first, so that the attributes come after it and count before it.
        entries(event, |name, value| {
            match name {
                "\"data\"" => data = Some(value),
                "\"data_base64\"" => encoded = Some(value),
                "\"specversion\"" => version = Some(value),
                _ => {}
            }
            if let Some(index) = REQUIRED.iter().position(|required| is_name(name, required)) {
                has[index] = value.len() > 2 && value.starts_with('"');
            }
            Ok(())
        })?;
        check(has, version.map(|version| version.trim_matches('"')))?;
        self.begin(data.filter(|data| *data != "null").or(encoded), json);
        entries(event, |name, value| {
            if !matches!(name, "\"data\"" | "\"data_base64\"") && value != "null" {
                write_member(name, value.as_bytes(), json);
            }
            Ok(())
        })?;
        json.push(b'}');
        Ok(())
    }

    /// Writes an event whose attributes are headers and whose data is the body.
    fn binary(self, context: &Context, body: &[u8], json: &mut Vec<u8>) -> Result<(), Fault> {
        let has = REQUIRED.map(|required| context.attribute(required).is_some_and(|value| !value.is_empty()));
        check(has, context.attribute("specversion"))?;
        let media = context.content_type.as_deref().map(media_type);
        let is_json =
            media.as_deref().is_none_or(|media| media.is_empty() || media.ends_with("/json") || media.ends_with("+json"));
        let mut written = Vec::new();
        let data = match body {
            [] => None,
            body if is_json => {
                // Checks that it is one value: it becomes a part of an object.
                let text = texts::text(body)?;
                let value: &RawValue = serde_json::from_str(text).map_err(|error| {
                    let why = error.to_string();
                    Fault::of_payload("not_json", format!("not JSON: {}", why.split(" at line ").next().unwrap_or_default()))
                })?;
                Some(value.get())
            }
            body => {
                match simdutf8::basic::from_utf8(body) {
                    Ok(text) => write_text(text.as_bytes(), &mut written),
                    Err(_) => write_text(STANDARD.encode(body).as_bytes(), &mut written),
                }
                std::str::from_utf8(&written).ok()
            }
        };
        self.begin(data, json);
        if let Some(content_type) = &context.content_type {
            write_attribute("datacontenttype", content_type, json);
        }
        for (name, value) in &context.attributes {
            write_attribute(name, value, json);
        }
        json.push(b'}');
        Ok(())
    }

    /// Begins the object of an event with its data: its members, and the whole if a column takes it.
    fn begin(self, data: Option<&str>, json: &mut Vec<u8>) {
        json.push(b'{');
        let Some(data) = data else { return };
        let members = data.strip_prefix('{').and_then(|data| data.strip_suffix('}')).unwrap_or_default().trim_ascii();
        json.extend_from_slice(members.as_bytes());
        if self.whole_data {
            write_member("\"data\"", data.as_bytes(), json);
        }
    }
}

/// Whether the JSON text of a name is this one.
fn is_name(quoted: &str, name: &str) -> bool {
    quoted.len() == name.len() + 2 && quoted.get(1..quoted.len() - 1) == Some(name)
}

/// Checks that an event has what all have. `has` says it in the order of [`REQUIRED`].
fn check(has: [bool; REQUIRED.len()], version: Option<&str>) -> Result<(), Fault> {
    if has.contains(&false) {
        let missing: Vec<&str> = REQUIRED.iter().zip(has).filter(|(_, has)| !has).map(|(name, _)| *name).collect();
        return Err(not_an_event(format!("not a CloudEvent: it has no {}", missing.join(", no "))));
    }
    match version {
        Some(version) if version == "1" || version.starts_with("1.") => Ok(()),
        version => Err(not_an_event(format!("its specversion is {}, and only 1.0 is read", version.unwrap_or_default()))),
    }
}

/// Appends a member to an object that is open. `name` has its quotes.
fn write_member(name: &str, value: &[u8], json: &mut Vec<u8>) {
    if json.last() != Some(&b'{') {
        json.push(b',');
    }
    json.extend_from_slice(name.as_bytes());
    json.push(b':');
    json.extend_from_slice(value);
}

fn write_attribute(name: &str, value: &str, json: &mut Vec<u8>) {
    if json.last() != Some(&b'{') {
        json.push(b',');
    }
    write_text(name.as_bytes(), json);
    json.push(b':');
    write_text(value.as_bytes(), json);
}

/// What the headers say.
#[derive(Debug, Default)]
struct Context {
    content_type: Option<String>,
    /// Those with the prefix, without it, in lower case; and their values, decoded.
    attributes: Vec<(String, String)>,
}

impl Context {
    fn of(headers: &dyn Headers) -> Context {
        let mut context = Context::default();
        headers.visit(&mut |name, value| {
            if name.eq_ignore_ascii_case("content-type") {
                context.content_type = Some(value.to_owned());
            } else if let (Some(prefix), Some(name)) = (name.get(..3), name.get(3..))
                && prefix.eq_ignore_ascii_case("ce-")
            {
                context.attributes.push((name.to_ascii_lowercase(), percent_decoded(value)));
            }
        });
        context
    }

    fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

fn mode(context: &Context, body: &[u8]) -> Mode {
    match context.content_type.as_deref().map(media_type).as_deref() {
        Some("application/cloudevents-batch+json") => Mode::Batched,
        Some("application/cloudevents+json") => Mode::Structured,
        _ if context.attribute("specversion").is_some() => Mode::Binary,
        _ if body.trim_ascii_start().starts_with(b"[") => Mode::Batched,
        _ => Mode::Structured,
    }
}

/// Returns the type of a `content-type` without its parameters.
fn media_type(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Decodes the value of a header, in which `%xx` stands for a byte. A value that is then not UTF-8 is returned as it is.
fn percent_decoded(value: &str) -> String {
    if !value.contains('%') {
        return value.to_owned();
    }
    let bytes = value.as_bytes();
    let (mut decoded, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while let Some(byte) = bytes.get(at) {
        let hex = bytes.get(at + 1..at + 3).filter(|hex| *byte == b'%' && hex.iter().all(u8::is_ascii_hexdigit));
        let hex = hex.and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                decoded.push(byte);
                at += 3;
            }
            None => {
                decoded.push(*byte);
                at += 1;
            }
        }
    }
    String::from_utf8(decoded).unwrap_or_else(|_| value.to_owned())
}
