//! Reads one message as values. The fields of a message may come in any order, and more than once: they are noted first, then given in the
//! order of the schema.

use arrow::datatypes::TimeUnit;
use bumpalo::Bump;

use super::schema::{Field, Kind, Message, Schema, Shape, StandsFor};
use super::wire::{self, Written, broken};
use crate::decode::fault::Fault;
use crate::decode::value::{Clock, Value};

/// The maximum depth of messages in each other.
const MAX_DEPTH: usize = 100;
/// The maximum number of values of a field. Empty messages have values without a byte: the defaults of their fields.
const MAX_VALUES: usize = 1 << 22;
/// The end of a list of notes.
const END: u32 = u32::MAX;

/// A value that a field was written with.
struct Note<'a> {
    value: Written<'a>,
    /// The next note of the same field.
    next: u32,
}

/// The notes of a field: the first and the last.
#[derive(Clone, Copy)]
struct Noted {
    first: u32,
    last: u32,
}

const NONE: Noted = Noted { first: END, last: END };

/// Reads messages of a schema. Its memory is used again for each one.
pub(super) struct Reading<'a> {
    schema: &'a Schema,
    /// Holds messages that were written in pieces.
    pieces: &'a Bump,
    notes: Vec<Note<'a>>,
    noted: Vec<Noted>,
}

impl<'a> Reading<'a> {
    pub(super) fn new(schema: &'a Schema, pieces: &'a Bump) -> Reading<'a> {
        Reading { schema, pieces, notes: Vec::new(), noted: Vec::new() }
    }

    /// Reads a body. Calls `each` with the place of a field and its value, in any order. If it is called for a field again, the last value
    /// counts. A field without a value is NULL.
    ///
    /// # Errors
    /// The body is not a message of the schema.
    pub(super) fn body(
        &mut self,
        body: &'a [u8],
        values: &mut Vec<Value<'a>>,
        mut each: impl FnMut(usize, &[Value<'a>]),
    ) -> Result<(), Fault> {
        self.notes.clear();
        self.noted.clear();
        let message = self.schema.root();
        self.noted.resize(message.fields.len(), NONE);
        let mut rest = body;
        while !rest.is_empty() {
            let start = rest;
            let (number, written) = wire::field(&mut rest)?;
            let (Some(place), Some(written)) = (message.place(number), written) else { continue };
            let field = &message.fields[place];
            if field.is_single() {
                // Needs no notes.
                let value = self.scalar(field, written)?;
                self.noted[place].first = 0;
                each(place, &[value]);
            } else {
                self.note_one(message, 0, place, written, start)?;
            }
        }
        for (place, field) in message.fields.iter().enumerate() {
            let noted = self.noted[place];
            if !field.is_single() {
                values.clear();
                self.give(field, noted, values, 1)?;
                each(place, values);
            } else if noted.first == END && field.shape == Shape::Plain {
                each(place, &[self.default_of(field.kind)]);
            }
        }
        Ok(())
    }

    /// Notes the fields of a message. Their lists begin at the returned place of `noted`.
    fn note(&mut self, message: &Message, mut rest: &'a [u8]) -> Result<usize, Fault> {
        let base = self.noted.len();
        self.noted.resize(base + message.fields.len(), NONE);
        while !rest.is_empty() {
            let (number, value) = wire::field(&mut rest)?;
            let (Some(place), Some(value)) = (message.place(number), value) else { continue };
            self.note_one(message, base, place, value, rest)?;
        }
        Ok(base)
    }

    /// Notes a value of the field at `place`. The lists of the message begin at `base`.
    #[inline]
    fn note_one(&mut self, message: &Message, base: usize, place: usize, value: Written<'a>, at: &[u8]) -> Result<(), Fault> {
        for rival in &message.fields[place].rivals {
            self.noted[base + rival] = NONE;
        }
        let index = u32::try_from(self.notes.len()).map_err(|_| broken("it has too many fields", at))?;
        self.notes.push(Note { value, next: END });
        let noted = &mut self.noted[base + place];
        match self.notes.get_mut(noted.last as usize) {
            Some(last) => last.next = index,
            None => noted.first = index,
        }
        noted.last = index;
        Ok(())
    }

    /// Appends the value of a field.
    fn give(&mut self, field: &Field, noted: Noted, values: &mut Vec<Value<'a>>, depth: usize) -> Result<(), Fault> {
        match field.shape {
            Shape::List => self.list(field, noted, values, depth),
            Shape::Map => self.map(field, noted, values, depth),
            Shape::Optional | Shape::Plain => match (self.notes.get(noted.last as usize).map(|note| note.value), field.kind) {
                (None, _) if field.shape == Shape::Optional => {
                    values.push(Value::Null);
                    Ok(())
                }
                (None, kind) => {
                    values.push(self.default_of(kind));
                    Ok(())
                }
                (Some(_), Kind::Message(_)) if noted.first != noted.last => {
                    // The pieces of a message are merged, which their concatenation is.
                    let whole = self.whole(field, noted)?;
                    self.value(field, Written::Bytes(whole), values, depth)
                }
                (Some(value), _) => self.value(field, value, values, depth),
            },
        }
    }

    fn whole(&self, field: &Field, noted: Noted) -> Result<&'a [u8], Fault> {
        let mut whole = Vec::new();
        let mut at = noted.first;
        while let Some(note) = self.notes.get(at as usize) {
            let Written::Bytes(piece) = note.value else { return Err(unlike(field)) };
            whole.extend_from_slice(piece);
            at = note.next;
        }
        Ok(self.pieces.alloc_slice_copy(&whole))
    }

    fn default_of(&self, kind: Kind) -> Value<'a> {
        match kind {
            Kind::Bool => Value::Boolean(false),
            Kind::Float | Kind::Double => Value::Float(0.0),
            Kind::Text => Value::Text(""),
            Kind::Bytes => Value::Bytes(&[]),
            Kind::Enum(of) => self.enum_value(of, 0),
            Kind::Message(_) => Value::Null,
            _ => Value::Integer(0),
        }
    }

    fn enum_value(&self, of: usize, number: i32) -> Value<'a> {
        self.schema.value_name(of, number).map_or(Value::Integer(i64::from(number)), Value::Text)
    }

    fn list(&mut self, field: &Field, noted: Noted, values: &mut Vec<Value<'a>>, depth: usize) -> Result<(), Fault> {
        let head = values.len();
        values.push(Value::Null);
        let mut at = noted.first;
        while let Some(note) = self.notes.get(at as usize) {
            let (value, next) = (note.value, note.next);
            match (value, field.kind) {
                (Written::Bytes(packed), kind) if !matches!(kind, Kind::Text | Kind::Bytes | Kind::Message(_)) => {
                    let mut rest = packed;
                    while !rest.is_empty() {
                        let value = unpacked(kind, &mut rest)?;
                        self.value(field, value, values, depth)?;
                    }
                }
                _ => self.value(field, value, values, depth)?,
            }
            at = next;
        }
        values[head] = Value::List(inner(values, head)?);
        Ok(())
    }

    fn map(&mut self, field: &Field, noted: Noted, values: &mut Vec<Value<'a>>, depth: usize) -> Result<(), Fault> {
        let Kind::Message(entry) = field.kind else { return Err(unlike(field)) };
        let head = values.len();
        values.push(Value::Null);
        let mut at = noted.first;
        while let Some(note) = self.notes.get(at as usize) {
            let (value, next) = (note.value, note.next);
            let Written::Bytes(bytes) = value else { return Err(unlike(field)) };
            let (notes, base, message) = (self.notes.len(), self.noted.len(), self.schema.message(entry));
            self.note(message, bytes)?;
            for (place, part) in message.fields.iter().enumerate() {
                let noted = self.noted[base + place];
                // An entry without a key or a value has the default.
                match (noted.first, part.kind) {
                    (END, Kind::Message(of)) => self.object(of, &[], values, depth + 1)?,
                    (END, kind) => values.push(self.default_of(kind)),
                    _ => self.give(part, noted, values, depth)?,
                }
            }
            self.notes.truncate(notes);
            self.noted.truncate(base);
            at = next;
        }
        values[head] = Value::Object(inner(values, head)?);
        Ok(())
    }

    /// Appends a value that is written once.
    #[inline]
    fn value(&mut self, field: &Field, value: Written<'a>, values: &mut Vec<Value<'a>>, depth: usize) -> Result<(), Fault> {
        if let (Kind::Message(of), Written::Bytes(bytes)) = (field.kind, value) {
            return self.object(of, bytes, values, depth + 1);
        }
        values.push(self.scalar(field, value)?);
        Ok(())
    }

    /// Returns a value that is no message.
    #[inline]
    fn scalar(&self, field: &Field, value: Written<'a>) -> Result<Value<'a>, Fault> {
        Ok(match (field.kind, value) {
            (Kind::Bool, Written::Varint(value)) => Value::Boolean(value != 0),
            // Like every reader of Protobuf: of a number that is too long, the low bits count.
            (Kind::Int32, Written::Varint(value)) => Value::Integer(i64::from(value as i32)),
            (Kind::Int64, Written::Varint(value)) => Value::Integer(value as i64),
            (Kind::Uint32, Written::Varint(value)) => Value::Integer(i64::from(value as u32)),
            (Kind::Uint64, Written::Varint(value)) => Value::Unsigned(value),
            (Kind::Sint32, Written::Varint(value)) => {
                let value = value as u32;
                Value::Integer(i64::from((value >> 1) as i32 ^ -((value & 1) as i32)))
            }
            (Kind::Sint64, Written::Varint(value)) => Value::Integer((value >> 1) as i64 ^ -((value & 1) as i64)),
            (Kind::Fixed32, Written::Fixed32(value)) => Value::Integer(i64::from(value)),
            (Kind::Sfixed32, Written::Fixed32(value)) => Value::Integer(i64::from(value as i32)),
            (Kind::Fixed64, Written::Fixed64(value)) => Value::Unsigned(value),
            (Kind::Sfixed64, Written::Fixed64(value)) => Value::Integer(value as i64),
            (Kind::Float, Written::Fixed32(value)) => Value::Single(f32::from_bits(value)),
            (Kind::Double, Written::Fixed64(value)) => Value::Float(f64::from_bits(value)),
            (Kind::Text, Written::Bytes(bytes)) => match simdutf8::basic::from_utf8(bytes) {
                Ok(text) => Value::Text(text),
                Err(_) => return Err(broken("a text is not UTF-8", bytes).in_member(&field.name)),
            },
            (Kind::Bytes, Written::Bytes(bytes)) => Value::Bytes(bytes),
            (Kind::Enum(of), Written::Varint(value)) => self.enum_value(of, value as i32),
            _ => return Err(unlike(field)),
        })
    }

    /// Appends a message in a message.
    fn object(&mut self, of: usize, bytes: &'a [u8], values: &mut Vec<Value<'a>>, depth: usize) -> Result<(), Fault> {
        if depth >= MAX_DEPTH {
            return Err(Fault::of_payload("too_deep", format!("nested more than {MAX_DEPTH} deep")));
        }
        if values.len() > MAX_VALUES {
            return Err(broken("it has too many values", bytes));
        }
        let (notes, base, message) = (self.notes.len(), self.noted.len(), self.schema.message(of));
        self.note(message, bytes)?;
        let head = values.len();
        match message.stands_for {
            StandsFor::Object => {
                values.push(Value::Null);
                for (place, field) in message.fields.iter().enumerate() {
                    values.push(Value::Text(&field.name));
                    self.give(field, self.noted[base + place], values, depth)?;
                }
                values[head] = Value::Object(inner(values, head)?);
            }
            StandsFor::First => match message.fields.first() {
                Some(field) => self.give(field, self.noted[base], values, depth)?,
                None => values.push(Value::Null),
            },
            StandsFor::Set => {
                let set = (0..message.fields.len()).find(|place| self.noted[base + place].first != END);
                match set.map(|place| (&message.fields[place], self.noted[base + place])) {
                    // The enum of null has one value.
                    None | Some((Field { kind: Kind::Enum(_), .. }, _)) => values.push(Value::Null),
                    Some((field, noted)) => self.give(field, noted, values, depth)?,
                }
            }
            StandsFor::Timestamp | StandsFor::Duration => {
                let (mut seconds, mut nanoseconds) = (0, 0);
                for (place, part) in [&mut seconds, &mut nanoseconds].into_iter().enumerate() {
                    let Some(noted) = self.noted.get(base + place) else { continue };
                    match self.notes.get(noted.last as usize).map(|note| note.value) {
                        Some(Written::Varint(value)) => *part = value as i64,
                        None => {}
                        Some(_) => return Err(broken("a time is written as another type: the writer had another schema", bytes)),
                    }
                }
                values
                    .push(time(message.stands_for, seconds, nanoseconds).ok_or_else(|| broken("a time is out of range", bytes))?);
            }
        }
        self.notes.truncate(notes);
        self.noted.truncate(base);
        Ok(())
    }
}

#[cold]
fn unlike(field: &Field) -> Fault {
    let message = format!("field {} is written as another type: the writer had another schema", field.name);
    Fault::of_payload("not_protobuf", message)
}

fn inner(values: &[Value<'_>], head: usize) -> Result<u32, Fault> {
    u32::try_from(values.len() - head - 1).map_err(|_| Fault::of_payload("not_protobuf", "it has too many values".into()))
}

/// Reads the next value of a packed list.
fn unpacked<'a>(kind: Kind, rest: &mut &'a [u8]) -> Result<Written<'a>, Fault> {
    let cut_off = |rest: &[u8]| broken("cut off: a packed list ends within a value", rest);
    match kind {
        Kind::Fixed32 | Kind::Sfixed32 | Kind::Float => {
            let Some((taken, after)) = rest.split_first_chunk() else { return Err(cut_off(rest)) };
            *rest = after;
            Ok(Written::Fixed32(u32::from_le_bytes(*taken)))
        }
        Kind::Fixed64 | Kind::Sfixed64 | Kind::Double => {
            let Some((taken, after)) = rest.split_first_chunk() else { return Err(cut_off(rest)) };
            *rest = after;
            Ok(Written::Fixed64(u64::from_le_bytes(*taken)))
        }
        _ => wire::varint(rest).map(Written::Varint),
    }
}

/// Returns a timestamp in its coarsest unit, or a length of time.
fn time<'a>(stands_for: StandsFor, seconds: i64, nanoseconds: i64) -> Option<Value<'a>> {
    let nanos = i32::try_from(nanoseconds).ok().filter(|nanos| nanos.unsigned_abs() < 1_000_000_000)?;
    if stands_for == StandsFor::Duration {
        let one_sign = seconds == 0 || nanos == 0 || (seconds < 0) == (nanos < 0);
        return one_sign.then_some(Value::Duration { seconds, nanoseconds: nanos });
    }
    if nanos < 0 {
        return None;
    }
    let (unit, in_second, digits) = match nanos {
        0 => (TimeUnit::Second, 1, 1_000_000_000),
        _ if nanos % 1_000_000 == 0 => (TimeUnit::Millisecond, 1_000, 1_000_000),
        _ if nanos % 1_000 == 0 => (TimeUnit::Microsecond, 1_000_000, 1_000),
        _ => (TimeUnit::Nanosecond, 1_000_000_000, 1),
    };
    let value = seconds.checked_mul(in_second)?.checked_add(i64::from(nanos / digits))?;
    Some(Value::Timestamp(value, unit, Clock::Utc))
}
