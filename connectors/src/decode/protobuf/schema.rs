//! Makes the plan of a schema: what bodies need, by the number of each field.

use std::collections::HashMap;
use std::path::Path;

use prost_reflect::{Cardinality, DescriptorPool, FieldDescriptor, Kind as Described, MessageDescriptor};

/// The messages that a body may contain. They refer to each other by their index.
#[derive(Debug)]
pub(in crate::decode) struct Schema {
    messages: Vec<Message>,
    enums: Vec<Names>,
}

/// The names of an enum's values.
#[derive(Debug)]
struct Names {
    /// Those of the numbers from 0 on, as far as they are small.
    small: Vec<Option<Box<str>>>,
    all: HashMap<i32, Box<str>>,
}

impl Names {
    fn new(all: HashMap<i32, Box<str>>) -> Names {
        let end = all.keys().filter_map(|number| u32::try_from(*number).ok()).filter(|number| *number < SMALL).max();
        let numbers = 0..end.map_or(0, |end| end as i32 + 1);
        Names { small: numbers.map(|number| all.get(&number).cloned()).collect(), all }
    }
}

/// A message.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) fields: Vec<Field>,
    /// The place in `fields` by number, for small numbers; `u16::MAX` for none.
    small: Vec<u16>,
    large: HashMap<u32, usize>,
    pub(super) stands_for: StandsFor,
    /// Whether it is an object without `oneof` and maps: one value behind the other, if the writer keeps to the order.
    pub(super) has_fixed_order: bool,
}

/// What a message is as a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StandsFor {
    /// An object of its fields.
    Object,
    /// The value of its first field: wrappers, `Struct`, `ListValue`.
    First,
    /// The value of the field that is set: `google.protobuf.Value`.
    Set,
    Timestamp,
    Duration,
}

/// A field of a message.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) shape: Shape,
    /// The fields of the same `oneof`, of which one is set.
    pub(super) rivals: Vec<usize>,
}

impl Field {
    /// Whether it has one value that is no message, whatever other fields have.
    #[inline]
    pub(super) fn is_single(&self) -> bool {
        self.rivals.is_empty() && matches!(self.shape, Shape::Optional | Shape::Plain) && !matches!(self.kind, Kind::Message(_))
    }
}

/// How often a field occurs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// Once. Without a value it is NULL.
    Optional,
    /// Once. Without a value it has the default of its type.
    Plain,
    List,
    Map,
}

/// The type of a field's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Bool,
    Int32,
    Int64,
    Uint32,
    Uint64,
    Sint32,
    Sint64,
    Fixed32,
    Fixed64,
    Sfixed32,
    Sfixed64,
    Float,
    Double,
    Text,
    Bytes,
    /// The index of the enum.
    Enum(usize),
    /// The index of the message.
    Message(usize),
}

impl Kind {
    /// Whether the elements of a list may be written one behind the other, in one piece.
    #[inline]
    pub(super) fn is_packable(self) -> bool {
        !matches!(self, Kind::Text | Kind::Bytes | Kind::Message(_))
    }
}

/// Numbers of fields and of an enum's values below this are found without hashing.
const SMALL: u32 = 256;

impl Schema {
    /// Reads a schema: the bytes of a `FileDescriptorSet`, or a `.proto` file at `path`, which imports only Google's own types. The
    /// first message of the plan is the one named `message`.
    ///
    /// # Errors
    /// Says what is wrong with the schema or the name.
    pub(in crate::decode) fn read(path: &Path, content: &[u8], message: Option<&str>) -> Result<Schema, String> {
        let pool = if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("proto")) {
            compile(path)?
        } else {
            DescriptorPool::decode(content)
                .map_err(|error| format!("it is not a set of file descriptors (protoc -o): {error}"))?
        };
        Ok(Schema::of(&message_of(&pool, message)?))
    }

    /// Makes the plan of a message, which comes first in it.
    pub(super) fn of(root: &MessageDescriptor) -> Schema {
        let mut plan = Planner {
            schema: Schema { messages: Vec::new(), enums: Vec::new() },
            messages: HashMap::new(),
            enums: HashMap::new(),
        };
        plan.message(root);
        plan.schema
    }

    /// Returns the message that a body is.
    pub(super) fn root(&self) -> &Message {
        &self.messages[0]
    }

    /// Returns a message.
    #[inline]
    pub(super) fn message(&self, index: usize) -> &Message {
        &self.messages[index]
    }

    /// Returns the name of a value of an enum.
    #[inline]
    pub(super) fn value_name(&self, of: usize, number: i32) -> Option<&str> {
        let names = &self.enums[of];
        match usize::try_from(number).ok().and_then(|number| names.small.get(number)) {
            Some(name) => name.as_deref(),
            None => names.all.get(&number).map(|name| &**name),
        }
    }
}

impl Message {
    /// Returns the place in `fields` of the field with this number.
    #[inline]
    pub(super) fn place(&self, number: u32) -> Option<usize> {
        match self.small.get(number as usize) {
            Some(&u16::MAX) => None,
            Some(place) => Some(usize::from(*place)),
            None => self.large.get(&number).copied(),
        }
    }
}

/// Returns the message that a body is: the one with this name, or the only one.
///
/// # Errors
/// There is no such message, or no name.
pub(super) fn message_of(pool: &DescriptorPool, message: Option<&str>) -> Result<MessageDescriptor, String> {
    let names = || pool.all_messages().filter(|one| !one.is_map_entry() && !one.full_name().starts_with("google.protobuf."));
    let listed = || names().map(|one| one.full_name().to_owned()).collect::<Vec<_>>().join(", ");
    let named = match message {
        Some(name) => pool.get_message_by_name(name).or_else(|| names().find(|one| one.name() == name)),
        None if names().count() == 1 => names().next(),
        None => return Err(format!("option 'message' has to name one of its messages: {}", listed())),
    };
    let root = named.ok_or_else(|| format!("it has no message {}; it has {}", message.unwrap_or_default(), listed()))?;
    Ok(root)
}

fn compile(path: &Path) -> Result<DescriptorPool, String> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut compiler = protox::Compiler::new([folder]).map_err(|error| error.to_string())?;
    compiler.include_imports(true).open_file(path).map_err(|error| format!("{error:?}").replace('\n', " "))?;
    let pool = compiler.descriptor_pool();
    // Views are rebuilt when the schema file changes, and no other file is looked at.
    let of_root = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let other = pool.files().find(|file| file.name() != of_root && !file.name().starts_with("google/protobuf/"));
    match other {
        None => Ok(pool),
        Some(other) => Err(format!(
            "it imports {}; compile both into one file with `protoc --include_imports -o schema.desc`, and name that",
            other.name()
        )),
    }
}

struct Planner {
    schema: Schema,
    /// By full name.
    messages: HashMap<String, usize>,
    enums: HashMap<String, usize>,
}

impl Planner {
    /// Adds a message and those that it contains.
    fn message(&mut self, described: &MessageDescriptor) {
        // Those that were found and are not described yet. A list, since messages can be nested deep.
        let mut waiting = Vec::new();
        self.index_of(described, &mut waiting);
        while let Some(described) = waiting.pop() {
            // It is known by now, so nothing is added.
            let index = self.index_of(&described, &mut waiting);
            let mut oneofs: HashMap<String, Vec<usize>> = HashMap::new();
            let mut fields = Vec::new();
            for field in described.fields().filter(|field| !field.is_group()) {
                if let Some(oneof) = field.containing_oneof() {
                    oneofs.entry(oneof.full_name().to_owned()).or_default().push(fields.len());
                }
                let kind = self.kind(&field.kind(), &mut waiting);
                fields.push((
                    field.number(),
                    Field { name: field.name().to_owned(), kind, shape: shape(&field), rivals: Vec::new() },
                ));
            }
            for places in oneofs.into_values() {
                for place in &places {
                    fields[*place].1.rivals = places.iter().copied().filter(|other| other != place).collect();
                }
            }
            let message = &mut self.schema.messages[index];
            let largest = fields.iter().map(|(number, _)| *number).filter(|number| *number < SMALL).max().unwrap_or(0);
            message.small = vec![u16::MAX; largest as usize + 1];
            for (place, (number, field)) in fields.into_iter().enumerate() {
                match (message.small.get_mut(number as usize), u16::try_from(place)) {
                    (Some(small), Ok(place)) => *small = place,
                    _ => drop(message.large.insert(number, place)),
                }
                message.has_fixed_order &= field.rivals.is_empty() && field.shape != Shape::Map;
                message.fields.push(field);
            }
        }
    }

    /// Returns the index of a message. Adds it to `waiting` if it is new.
    fn index_of(&mut self, described: &MessageDescriptor, waiting: &mut Vec<MessageDescriptor>) -> usize {
        if let Some(index) = self.messages.get(described.full_name()) {
            return *index;
        }
        let index = self.schema.messages.len();
        self.messages.insert(described.full_name().to_owned(), index);
        let stands_for = stands_for(described.full_name());
        self.schema.messages.push(Message {
            fields: Vec::new(),
            small: Vec::new(),
            large: HashMap::new(),
            stands_for,
            has_fixed_order: stands_for == StandsFor::Object,
        });
        waiting.push(described.clone());
        index
    }

    fn kind(&mut self, kind: &Described, waiting: &mut Vec<MessageDescriptor>) -> Kind {
        match kind {
            Described::Bool => Kind::Bool,
            Described::Int32 => Kind::Int32,
            Described::Int64 => Kind::Int64,
            Described::Uint32 => Kind::Uint32,
            Described::Uint64 => Kind::Uint64,
            Described::Sint32 => Kind::Sint32,
            Described::Sint64 => Kind::Sint64,
            Described::Fixed32 => Kind::Fixed32,
            Described::Fixed64 => Kind::Fixed64,
            Described::Sfixed32 => Kind::Sfixed32,
            Described::Sfixed64 => Kind::Sfixed64,
            Described::Float => Kind::Float,
            Described::Double => Kind::Double,
            Described::String => Kind::Text,
            Described::Bytes => Kind::Bytes,
            Described::Message(message) => Kind::Message(self.index_of(message, waiting)),
            Described::Enum(of) => {
                let next = self.schema.enums.len();
                let index = *self.enums.entry(of.full_name().to_owned()).or_insert(next);
                if index == next {
                    // Of several names of a number, the first counts.
                    let mut names = HashMap::new();
                    for value in of.values() {
                        names.entry(value.number()).or_insert_with(|| value.name().into());
                    }
                    self.schema.enums.push(Names::new(names));
                }
                Kind::Enum(index)
            }
        }
    }
}

fn shape(field: &FieldDescriptor) -> Shape {
    if field.is_map() {
        Shape::Map
    } else if field.cardinality() == Cardinality::Repeated {
        Shape::List
    } else if field.supports_presence() {
        Shape::Optional
    } else {
        Shape::Plain
    }
}

fn stands_for(name: &str) -> StandsFor {
    let Some(name) = name.strip_prefix("google.protobuf.") else { return StandsFor::Object };
    match name {
        "Timestamp" => StandsFor::Timestamp,
        "Duration" => StandsFor::Duration,
        "Value" => StandsFor::Set,
        "Struct" | "ListValue" | "DoubleValue" | "FloatValue" | "Int64Value" | "UInt64Value" | "Int32Value" | "UInt32Value"
        | "BoolValue" | "StringValue" | "BytesValue" => StandsFor::First,
        _ => StandsFor::Object,
    }
}
