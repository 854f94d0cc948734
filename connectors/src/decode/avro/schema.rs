//! Parses the schema of a writer: the JSON of Avro 1.12. Default values and aliases are ignored, since the reader is a list of columns.

use std::collections::HashMap;

use arrow::datatypes::TimeUnit;
use serde_json::{Map, Value as Json};

use crate::decode::schema_registry::{Registered, SchemaText};
use crate::decode::value::Clock;

/// A schema. Types refer to each other by their index, since a record may contain itself.
#[derive(Debug, Clone)]
pub(crate) struct Schema {
    types: Vec<Type>,
    root: TypeId,
}

/// The index of a type in its schema.
pub(crate) type TypeId = usize;

/// A type, with its logical type if that is known and valid.
#[derive(Debug, Clone)]
pub(crate) enum Type {
    Null,
    Boolean,
    /// `int` or `long`, by its bits: 32 or 64. Both are written alike.
    Integer(u8),
    Float,
    Double,
    Bytes,
    Text,
    /// Bytes of this length.
    Fixed(usize),
    Enum(Vec<String>),
    Record(Vec<Field>),
    Array(TypeId),
    Map(TypeId),
    Union(Vec<TypeId>),
    /// Bytes, or as many as the number says.
    Decimal(Option<usize>, Digits),
    Date,
    Time(TimeUnit),
    Timestamp(TimeUnit, Clock),
    /// Twelve bytes: months, days, milliseconds.
    Duration,
    /// Sixteen bytes.
    Uuid,
}

/// The digits of a decimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Digits {
    /// All of them, if the schema says how many there are.
    pub(crate) precision: Option<u32>,
    /// Those behind the point.
    pub(crate) scale: u32,
}

/// A field of a record.
#[derive(Debug, Clone)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) of: TypeId,
}

/// The maximum depth of a schema's text.
const MAX_DEPTH: usize = 64;
/// The maximum length of a `fixed` in bytes.
const MAX_FIXED: u64 = 1 << 30;

impl Registered for Schema {
    const KIND: &'static str = "AVRO";
    const NAME: &'static str = "Avro";
    const FAULT: &'static str = "not_avro";

    fn parse(texts: &[SchemaText]) -> Result<Schema, String> {
        Schema::parse_all(&texts.iter().map(|one| one.text.as_str()).collect::<Vec<_>>())
    }
}

impl Schema {
    /// Parses a schema.
    ///
    /// # Errors
    /// Says what is wrong, and with which type.
    pub(crate) fn of_text(text: &str) -> Result<Schema, String> {
        Schema::parse_all(&[text])
    }

    /// Parses the last of several schemas. It may use the types that the others declare.
    ///
    /// # Errors
    /// As [`Schema::parse`].
    pub(crate) fn parse_all<T: AsRef<str>>(texts: &[T]) -> Result<Schema, String> {
        let mut parser = Parser { types: Vec::new(), names: HashMap::new() };
        let mut root = None;
        for text in texts {
            let json: Json = serde_json::from_str(text.as_ref()).map_err(|error| format!("it is not JSON: {error}"))?;
            root = Some(parser.of(&json, "", 0)?);
        }
        Ok(Schema { root: root.ok_or("it is empty")?, types: parser.types })
    }

    /// Returns the type of a datum.
    pub(crate) fn root(&self) -> TypeId {
        self.root
    }

    /// Returns a type.
    #[inline]
    pub(crate) fn get(&self, id: TypeId) -> &Type {
        &self.types[id]
    }

    /// Returns the records that a datum can be: the root, or the branches of a root that is a union.
    pub(crate) fn records(&self) -> Vec<TypeId> {
        let branches = match self.get(self.root) {
            Type::Union(branches) => branches.clone(),
            _ => vec![self.root],
        };
        branches.into_iter().filter(|id| matches!(self.get(*id), Type::Record(_))).collect()
    }
}

struct Parser {
    types: Vec<Type>,
    /// Named types by their full name.
    names: HashMap<String, TypeId>,
}

impl Parser {
    fn add(&mut self, of: Type) -> TypeId {
        self.types.push(of);
        self.types.len() - 1
    }

    /// Adds the type that a part of the schema describes. `space` is the namespace around it.
    fn of(&mut self, json: &Json, space: &str, depth: usize) -> Result<TypeId, String> {
        if depth > MAX_DEPTH {
            return Err(format!("it is nested more than {MAX_DEPTH} deep"));
        }
        match json {
            Json::String(name) => self.named_or_plain(name, space),
            Json::Array(branches) => {
                if branches.iter().any(Json::is_array) {
                    return Err("a union is a branch of another".into());
                }
                let branches = branches.iter().map(|branch| self.of(branch, space, depth + 1)).collect::<Result<_, _>>()?;
                Ok(self.add(Type::Union(branches)))
            }
            Json::Object(object) => self.of_object(object, space, depth),
            other => Err(format!("a type is written as {other}")),
        }
    }

    fn named_or_plain(&mut self, name: &str, space: &str) -> Result<TypeId, String> {
        let of = match name {
            "null" => Type::Null,
            "boolean" => Type::Boolean,
            "int" => Type::Integer(32),
            "long" => Type::Integer(64),
            "float" => Type::Float,
            "double" => Type::Double,
            "bytes" => Type::Bytes,
            "string" => Type::Text,
            _ => {
                let known = self.names.get(&full_name(name, space)).or_else(|| self.names.get(name));
                return known.copied().ok_or_else(|| format!("the type {name} is not declared before it is used"));
            }
        };
        Ok(self.add(of))
    }

    fn of_object(&mut self, object: &Map<String, Json>, space: &str, depth: usize) -> Result<TypeId, String> {
        let word = match object.get("type") {
            Some(Json::String(word)) => word.as_str(),
            // A type in a type: `{"type": {"type": "long", ...}}`.
            Some(inner) => return self.of(inner, space, depth + 1),
            None => return Err(format!("a type has no member 'type': {}", Json::Object(object.clone()))),
        };
        match word {
            "record" | "error" => self.record(object, space, depth),
            "enum" => {
                let (name, _) = name_of(object, space)?;
                let symbols =
                    object.get("symbols").and_then(Json::as_array).ok_or_else(|| format!("enum {name} has no symbols"))?;
                let symbols = symbols.iter().map(|symbol| symbol.as_str().map(str::to_owned)).collect::<Option<_>>();
                let symbols = symbols.ok_or_else(|| format!("a symbol of enum {name} is not text"))?;
                self.declare(name, Type::Enum(symbols))
            }
            "fixed" => {
                let (name, _) = name_of(object, space)?;
                let size = object.get("size").and_then(Json::as_u64).filter(|size| *size <= MAX_FIXED);
                let size = size.and_then(|size| usize::try_from(size).ok()).ok_or_else(|| format!("fixed {name} has no size"))?;
                let of = match logical(object) {
                    Some("decimal") => Type::Decimal(Some(size), digits(object)?),
                    Some("duration") if size == 12 => Type::Duration,
                    Some("uuid") if size == 16 => Type::Uuid,
                    _ => Type::Fixed(size),
                };
                self.declare(name, of)
            }
            "array" | "map" => {
                let part = if word == "array" { "items" } else { "values" };
                let part = object.get(part).ok_or_else(|| format!("a type {word} has no {part}"))?;
                let part = self.of(part, space, depth + 1)?;
                Ok(self.add(if word == "array" { Type::Array(part) } else { Type::Map(part) }))
            }
            _ => {
                let id = self.named_or_plain(word, space)?;
                let Some(of) = logical(object).and_then(|logical| with_logical(word, logical)) else {
                    return match (word, logical(object)) {
                        ("bytes", Some("decimal")) => Ok(self.add(Type::Decimal(None, digits(object)?))),
                        _ => Ok(id),
                    };
                };
                Ok(self.add(of))
            }
        }
    }

    fn record(&mut self, object: &Map<String, Json>, space: &str, depth: usize) -> Result<TypeId, String> {
        let (name, space) = name_of(object, space)?;
        // Declared before its fields, which may refer to it.
        let id = self.declare(name.clone(), Type::Record(Vec::new()))?;
        let fields = object.get("fields").and_then(Json::as_array).ok_or_else(|| format!("record {name} has no fields"))?;
        let mut read = Vec::with_capacity(fields.len());
        for field in fields {
            let field_name =
                field.get("name").and_then(Json::as_str).ok_or_else(|| format!("a field of record {name} has no name"))?;
            let of = field.get("type").ok_or_else(|| format!("field {field_name} of record {name} has no type"))?;
            // The logical type of a field may stand beside its type.
            let of = match (of, field.get("logicalType")) {
                (Json::String(_), Some(_)) => self.of(field, &space, depth + 1)?,
                _ => self.of(of, &space, depth + 1)?,
            };
            read.push(Field { name: field_name.to_owned(), of });
        }
        self.types[id] = Type::Record(read);
        Ok(id)
    }

    fn declare(&mut self, name: String, of: Type) -> Result<TypeId, String> {
        let id = self.add(of);
        match self.names.insert(name.clone(), id) {
            None => Ok(id),
            Some(_) => Err(format!("the type {name} is declared twice")),
        }
    }
}

/// Returns the full name of a named type, and its namespace.
fn name_of(object: &Map<String, Json>, space: &str) -> Result<(String, String), String> {
    let name = object.get("name").and_then(Json::as_str).ok_or_else(|| "a named type has no name".to_owned())?;
    let space = object.get("namespace").and_then(Json::as_str).unwrap_or(space);
    let full = full_name(name, space);
    let space = full.rsplit_once('.').map_or("", |(space, _)| space).to_owned();
    Ok((full, space))
}

fn full_name(name: &str, space: &str) -> String {
    if space.is_empty() || name.contains('.') { name.to_owned() } else { format!("{space}.{name}") }
}

fn logical(object: &Map<String, Json>) -> Option<&str> {
    object.get("logicalType").and_then(Json::as_str)
}

/// Returns a logical type, or `None` if it is not known or not one of this type. It is ignored then, as the specification asks.
fn with_logical(word: &str, logical: &str) -> Option<Type> {
    Some(match (word, logical) {
        ("int", "date") => Type::Date,
        ("int", "time-millis") => Type::Time(TimeUnit::Millisecond),
        ("long", "time-micros") => Type::Time(TimeUnit::Microsecond),
        ("long", "timestamp-millis") => Type::Timestamp(TimeUnit::Millisecond, Clock::Utc),
        ("long", "timestamp-micros") => Type::Timestamp(TimeUnit::Microsecond, Clock::Utc),
        ("long", "timestamp-nanos") => Type::Timestamp(TimeUnit::Nanosecond, Clock::Utc),
        ("long", "local-timestamp-millis") => Type::Timestamp(TimeUnit::Millisecond, Clock::Local),
        ("long", "local-timestamp-micros") => Type::Timestamp(TimeUnit::Microsecond, Clock::Local),
        ("long", "local-timestamp-nanos") => Type::Timestamp(TimeUnit::Nanosecond, Clock::Local),
        _ => return None,
    })
}

fn digits(object: &Map<String, Json>) -> Result<Digits, String> {
    let number = |part: &str| match object.get(part) {
        None => Ok(None),
        Some(number) => {
            let number = number.as_u64().filter(|number| *number <= 1000).and_then(|number| u32::try_from(number).ok());
            number.map(Some).ok_or_else(|| format!("the {part} of a decimal is not a number from 0 to 1000"))
        }
    };
    // A precision that is none is not looked at where bodies are read.
    Ok(Digits { precision: number("precision").unwrap_or_default(), scale: number("scale")?.unwrap_or_default() })
}
