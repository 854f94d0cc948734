//! What a message reads of bodies that another one has written. Fields are known by their numbers: another name is the same field, and a
//! number that is not known is read past.

use std::collections::HashSet;

use prost_reflect::{Cardinality, DescriptorPool, FieldDescriptor, Kind, MessageDescriptor};

use super::registered;
use super::schema::message_of;
use crate::decode::comparison::{Comparison, Content, Unread};

/// Compares the message that a body was with the one that it is. `message` is its name now, if it is given.
///
/// # Errors
/// One of the schemas cannot be read, or has no such message.
pub(in crate::decode) fn compared(before: &[Content], now: &[Content], message: Option<&str>) -> Result<Comparison, String> {
    let (Some(before), Some(now)) = (before.first(), now.first()) else { return Ok(Comparison::default()) };
    let of = |content: &Content| message_of(&pool(content)?, message).map_err(|reason| format!("{}: {reason}", content.name()));
    Ok(Comparison::of(&of(before)?, &of(now)?, |reader, writer| {
        let mut comparing = Comparing { compared: HashSet::new(), path: Vec::new(), unread: Vec::new() };
        comparing.messages(reader, writer);
        comparing.unread
    }))
}

fn pool(content: &Content) -> Result<DescriptorPool, String> {
    let name = content.name();
    if !name.to_ascii_lowercase().ends_with(".proto") {
        let decoded = DescriptorPool::decode(content.bytes.as_slice());
        return decoded.map_err(|error| format!("{name} is not a set of file descriptors: {error}"));
    }
    let text = String::from_utf8(content.bytes.clone()).map_err(|_| format!("{name} is not UTF-8"))?;
    registered::compile([(name.clone(), text)].into(), &name)
}

/// The most messages within each other.
const MAX_DEPTH: usize = 200;

struct Comparing {
    /// Pairs of messages that are compared already, since messages refer to themselves.
    compared: HashSet<(String, String)>,
    path: Vec<String>,
    unread: Vec<Unread>,
}

impl Comparing {
    fn messages(&mut self, reader: &MessageDescriptor, writer: &MessageDescriptor) {
        if self.path.len() > MAX_DEPTH {
            return self.say("nested too deep to be compared".into(), "nested too deep".into());
        }
        if !self.compared.insert((reader.full_name().to_owned(), writer.full_name().to_owned())) {
            return;
        }
        for written in writer.fields() {
            self.path.push(written.name().to_owned());
            let moved = reader.get_field_by_name(written.name()).filter(|read| read.number() != written.number());
            match (moved, reader.get_field(written.number())) {
                (Some(moved), _) => self.say(format!("number {}", moved.number()), format!("number {}", written.number())),
                (None, Some(read)) => self.fields(&read, &written),
                (None, None) => {}
            }
            self.path.pop();
        }
        let required = |field: &FieldDescriptor| field.cardinality() == Cardinality::Required;
        for read in reader.fields().filter(required) {
            if !writer.get_field(read.number()).as_ref().is_some_and(required) {
                self.path.push(read.name().to_owned());
                self.say("required".into(), "not required".into());
                self.path.pop();
            }
        }
    }

    fn fields(&mut self, read: &FieldDescriptor, written: &FieldDescriptor) {
        let shape = |field: &FieldDescriptor| (field.is_map(), field.is_list());
        // One value reads as a list of one, and a list as its last value: only the first loses nothing.
        let shapes = shape(read) == shape(written) || (read.is_list() && !written.is_map());
        if !shapes || !kinds(&read.kind(), &written.kind()) {
            return self.say(shown(read), shown(written));
        }
        match (read.kind(), written.kind()) {
            (Kind::Message(read), Kind::Message(written)) => self.messages(&read, &written),
            (Kind::Enum(read), Kind::Enum(written)) => {
                for value in written.values().filter(|value| read.get_value(value.number()).is_none()) {
                    self.say("no such value".into(), format!("value {} = {}", value.name(), value.number()));
                }
            }
            _ => {}
        }
    }

    fn say(&mut self, reader: String, writer: String) {
        self.unread.push(Unread { member: self.path.join("."), reader, writer });
    }
}

/// Whether values of one kind are read as another without loss.
fn kinds(read: &Kind, written: &Kind) -> bool {
    use Kind as K;
    match (read, written) {
        (K::Message(_), K::Message(_)) | (K::Enum(_), K::Enum(_)) => true,
        (K::Int32 | K::Int64, K::Enum(_) | K::Bool | K::Int32) | (K::Int64, K::Int64 | K::Uint32) => true,
        (K::Uint32 | K::Uint64, K::Bool | K::Uint32) | (K::Uint64, K::Uint64) => true,
        (K::Sint64, K::Sint32) | (K::Bytes, K::String) => true,
        (read, written) => read == written,
    }
}

/// Returns a field's type as a schema writes it.
fn shown(field: &FieldDescriptor) -> String {
    let kind = match field.kind() {
        Kind::Message(message) if field.is_map() => format!("a map of {}", message.full_name()),
        Kind::Message(message) => message.full_name().to_owned(),
        Kind::Enum(of) => of.full_name().to_owned(),
        kind => format!("{kind:?}").to_lowercase(),
    };
    if field.is_list() { format!("repeated {kind}") } else { kind }
}
