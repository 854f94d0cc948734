//! Reads one message as values. The fields of a message may come in any order, and more than once: they are noted first, then given in the
//! order of the schema. Messages in others are mostly written in that order, and are then read without notes.

use bumpalo::Bump;

use super::scalar::{absent, default_of, scalar, time, unlike, unpacked};
use super::schema::{Field, Kind, Message, Schema, Shape, StandsFor};
use super::skip::{enter, skip};
use super::wire::{self, Written, broken};
use crate::decode::fault::Fault;
use crate::decode::value::Value;

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
    /// The number of values that the messages in this body have made.
    made: usize,
    /// Whether all messages in this body were written in the order of the schema so far. Once one is not, the others are not tried.
    in_order: bool,
}

impl<'a> Reading<'a> {
    pub(super) fn new(schema: &'a Schema, pieces: &'a Bump) -> Reading<'a> {
        Reading { schema, pieces, notes: Vec::new(), noted: Vec::new(), made: 0, in_order: true }
    }

    /// Reads a body. Calls `each` with the place of each field that is `wanted` and its value, in any order. If it is called for a field
    /// again, the last value counts. A field without a value is NULL. The other fields are only checked.
    ///
    /// # Errors
    /// The body is not a message of the schema.
    #[inline]
    pub(super) fn body(
        &mut self,
        body: &'a [u8],
        wanted: &[bool],
        values: &mut Vec<Value<'a>>,
        mut each: impl FnMut(usize, &[Value<'a>]),
    ) -> Result<(), Fault> {
        self.notes.clear();
        self.noted.clear();
        (self.made, self.in_order) = (0, true);
        let message = self.schema.root();
        self.noted.resize(message.fields.len(), NONE);
        let mut rest = body;
        while !rest.is_empty() {
            let start = rest;
            let (number, written) = wire::field(&mut rest)?;
            let (Some(place), Some(written)) = (message.place(number), written) else { continue };
            let field = &message.fields[place];
            if !wanted[place] {
                self.drop_rivals(message, 0, place, 1)?;
                skip(self.schema, &mut self.made, field, written, 1)?;
            } else if field.is_single() {
                // Needs no notes.
                let value = scalar(self.schema, field, written)?;
                self.noted[place].first = 0;
                each(place, &[value]);
            } else {
                self.note_one(message, 0, place, written, start, 1)?;
            }
        }
        for (place, field) in message.fields.iter().enumerate().filter(|(place, _)| wanted[*place]) {
            let noted = self.noted[place];
            if !field.is_single() {
                values.clear();
                self.give(field, noted, values, 1)?;
                each(place, values);
            } else if noted.first == END && field.shape == Shape::Plain {
                each(place, &[default_of(self.schema, field.kind)]);
            }
        }
        Ok(())
    }

    /// Notes the fields of a message at this depth. Their lists begin at the returned place of `noted`.
    fn note(&mut self, message: &Message, mut rest: &'a [u8], depth: usize) -> Result<usize, Fault> {
        let base = self.noted.len();
        self.noted.resize(base + message.fields.len(), NONE);
        while !rest.is_empty() {
            let (number, value) = wire::field(&mut rest)?;
            let (Some(place), Some(value)) = (message.place(number), value) else { continue };
            self.note_one(message, base, place, value, rest, depth)?;
        }
        Ok(base)
    }

    /// Notes a value of the field at `place`. The lists of the message begin at `base`.
    #[inline]
    fn note_one(
        &mut self,
        message: &Message,
        base: usize,
        place: usize,
        value: Written<'a>,
        at: &[u8],
        depth: usize,
    ) -> Result<(), Fault> {
        self.drop_rivals(message, base, place, depth)?;
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

    /// Forgets the other fields of a `oneof`. Their values have to be valid all the same.
    #[inline]
    fn drop_rivals(&mut self, message: &Message, base: usize, place: usize, depth: usize) -> Result<(), Fault> {
        for rival in &message.fields[place].rivals {
            let dropped = std::mem::replace(&mut self.noted[base + rival], NONE);
            self.check(&message.fields[*rival], dropped, depth)?;
        }
        Ok(())
    }

    /// Checks each value of a field by itself.
    fn check(&mut self, field: &Field, noted: Noted, depth: usize) -> Result<(), Fault> {
        let mut at = noted.first;
        while let Some(note) = self.notes.get(at as usize) {
            skip(self.schema, &mut self.made, field, note.value, depth)?;
            at = note.next;
        }
        Ok(())
    }

    /// Appends the value of a field.
    fn give(&mut self, field: &Field, noted: Noted, values: &mut Vec<Value<'a>>, depth: usize) -> Result<(), Fault> {
        match (field.shape, self.notes.get(noted.last as usize).map(|note| note.value)) {
            (_, None) => values.push(absent(self.schema, field)),
            (Shape::List, Some(_)) => self.list(field, noted, values, depth)?,
            (Shape::Map, Some(_)) => self.map(field, noted, values, depth)?,
            (_, Some(_)) if noted.first != noted.last => self.last(field, noted, values, depth)?,
            (_, Some(value)) => self.value(field, value, values, depth)?,
        }
        Ok(())
    }

    /// Appends the value of a field that was written more than once: the last one, or the message that all pieces together are.
    #[cold]
    fn last(&mut self, field: &Field, noted: Noted, values: &mut Vec<Value<'a>>, depth: usize) -> Result<(), Fault> {
        self.check(field, noted, depth)?;
        let made = self.made;
        let (mut whole, mut at) = (Vec::new(), noted.first);
        while let Some(note) = self.notes.get(at as usize) {
            let Written::Bytes(piece) = note.value else { break };
            whole.extend_from_slice(piece);
            at = note.next;
        }
        let last = self.notes.get(noted.last as usize).map(|note| note.value);
        match (field.kind, last) {
            (Kind::Message(_), _) => self.value(field, Written::Bytes(self.pieces.alloc_slice_copy(&whole)), values, depth)?,
            (_, Some(value)) => self.value(field, value, values, depth)?,
            (_, None) => {}
        }
        // The pieces have been counted.
        self.made = made;
        Ok(())
    }

    fn list(&mut self, field: &Field, noted: Noted, values: &mut Vec<Value<'a>>, depth: usize) -> Result<(), Fault> {
        let head = values.len();
        values.push(Value::Null);
        let mut at = noted.first;
        while let Some(note) = self.notes.get(at as usize) {
            let (value, next) = (note.value, note.next);
            self.elements(field, value, values, depth)?;
            at = next;
        }
        values[head] = Value::List(inner(values, head)?);
        Ok(())
    }

    /// Appends the element of a list, or several of them that are packed.
    #[inline]
    fn elements(&mut self, field: &Field, value: Written<'a>, values: &mut Vec<Value<'a>>, depth: usize) -> Result<(), Fault> {
        match value {
            Written::Bytes(packed) if field.kind.is_packable() => {
                let mut rest = packed;
                while !rest.is_empty() {
                    let value = unpacked(field.kind, &mut rest)?;
                    values.push(scalar(self.schema, field, value)?);
                }
                Ok(())
            }
            value => self.value(field, value, values, depth),
        }
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
            self.note(message, bytes, depth)?;
            for (place, part) in message.fields.iter().enumerate() {
                let noted = self.noted[base + place];
                // An entry without a key or a value has the default.
                match (noted.first, part.kind) {
                    (END, Kind::Message(of)) => self.object(of, &[], values, depth + 1)?,
                    (END, kind) => values.push(default_of(self.schema, kind)),
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
        values.push(scalar(self.schema, field, value)?);
        Ok(())
    }

    /// Appends a message in a message.
    fn object(&mut self, of: usize, bytes: &'a [u8], values: &mut Vec<Value<'a>>, depth: usize) -> Result<(), Fault> {
        let message = self.schema.message(of);
        enter(&mut self.made, message, bytes, depth)?;
        if matches!(message.stands_for, StandsFor::Timestamp | StandsFor::Duration) {
            values.push(time(message, bytes)?);
            return Ok(());
        }
        if message.has_fixed_order && self.in_order {
            let (head, made) = (values.len(), self.made);
            if self.fields_in_order(message, bytes, values, depth)? {
                return Ok(());
            }
            self.in_order = false;
            self.made = made;
            values.truncate(head);
        }
        let (notes, base) = (self.notes.len(), self.noted.len());
        self.note(message, bytes, depth)?;
        let head = values.len();
        match message.stands_for {
            StandsFor::First => match message.fields.first() {
                Some(field) => self.give(field, self.noted[base], values, depth)?,
                None => values.push(Value::Null),
            },
            StandsFor::Set => {
                let set = (0..message.fields.len()).find(|place| self.noted[base + place].first != END);
                match set.map(|place| (&message.fields[place], self.noted[base + place])) {
                    None => values.push(Value::Null),
                    Some((field, noted)) => self.give(field, noted, values, depth)?,
                }
                // The enum of null has one value.
                if let Some(Kind::Enum(_)) = set.map(|place| message.fields[place].kind) {
                    values.truncate(head);
                    values.push(Value::Null);
                }
            }
            _ => {
                values.push(Value::Null);
                for (place, field) in message.fields.iter().enumerate() {
                    values.push(Value::Text(&field.name));
                    self.give(field, self.noted[base + place], values, depth)?;
                }
                values[head] = Value::Object(inner(values, head)?);
            }
        }
        self.notes.truncate(notes);
        self.noted.truncate(base);
        Ok(())
    }

    /// Appends an object whose fields are written in the order of the schema, the elements of a list one behind the other. Returns false
    /// if they are not; `values` then holds parts of the object.
    fn fields_in_order(
        &mut self,
        message: &'a Message,
        bytes: &'a [u8],
        values: &mut Vec<Value<'a>>,
        depth: usize,
    ) -> Result<bool, Fault> {
        let head = values.len();
        values.push(Value::Null);
        // The first field that is still to come, and the list before it to which elements may be added.
        let (mut next, mut open) = (0, None);
        let mut rest = bytes;
        while !rest.is_empty() {
            let (number, written) = wire::field(&mut rest)?;
            let (Some(place), Some(written)) = (message.place(number), written) else { continue };
            let field = &message.fields[place];
            if place < next {
                let Some(list) = open.filter(|_| place + 1 == next) else { return Ok(false) };
                self.elements(field, written, values, depth)?;
                values[list] = Value::List(inner(values, list)?);
                continue;
            }
            self.absent(&message.fields[next..place], values);
            values.push(Value::Text(&field.name));
            (next, open) = (place + 1, None);
            if field.shape == Shape::List {
                let list = values.len();
                values.push(Value::Null);
                self.elements(field, written, values, depth)?;
                values[list] = Value::List(inner(values, list)?);
                open = Some(list);
            } else {
                self.value(field, written, values, depth)?;
            }
        }
        self.absent(&message.fields[next..], values);
        values[head] = Value::Object(inner(values, head)?);
        Ok(true)
    }

    /// Appends fields that are not written.
    #[inline]
    fn absent(&self, fields: &'a [Field], values: &mut Vec<Value<'a>>) {
        for field in fields {
            values.push(Value::Text(&field.name));
            values.push(absent(self.schema, field));
        }
    }
}

fn inner(values: &[Value<'_>], head: usize) -> Result<u32, Fault> {
    u32::try_from(values.len() - head - 1).map_err(|_| Fault::of_payload("not_protobuf", "it has too many values".into()))
}
