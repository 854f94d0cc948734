//! What was seen of a member over all sampled events: how often it is there, of which kinds its values are, what they contain.

use std::collections::{HashMap, HashSet};
use std::fmt;

use serde::Deserializer;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use xxhash_rust::xxh3::xxh3_64;

use super::numbers::Numbers;
use super::secrets;
use super::texts::{Form, form};

/// Objects and arrays are looked into so many levels deep; what lies deeper counts as text.
const DEEPEST: usize = 8;
/// The most names of members to tell apart in one place.
const MOST_NAMES: usize = 2000;

/// The values of a member.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// How many values are not NULL.
    pub(super) present: u64,
    pub(super) booleans: u64,
    pub(super) numbers: Numbers,
    pub(super) texts: Texts,
    pub(super) objects: u64,
    pub(super) members: Members,
    pub(super) arrays: u64,
    /// The elements of all arrays.
    pub(super) items: Option<Box<Seen>>,
    /// How many values lie too deep to be looked into.
    pub(super) deep: u64,
    /// Hashes of the values.
    pub(super) distinct: HashSet<u64>,
    /// A value, as SQL would write it, and whether it may not be shown.
    pub(super) example: Option<String>,
    pub(super) secret: bool,
}

/// Texts by their form.
#[derive(Debug, Default)]
pub(super) struct Texts {
    pub(super) count: u64,
    pub(super) numbers: Numbers,
    pub(super) booleans: u64,
    pub(super) dates: u64,
    pub(super) times: u64,
}

/// The members of objects, in the order in which they were first seen.
#[derive(Debug, Default)]
pub(super) struct Members {
    all: Vec<(String, Seen)>,
    places: HashMap<String, usize>,
    /// Whether there are more names than are told apart.
    pub(super) more: bool,
}

impl Members {
    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Seen)> {
        self.all.iter().map(|(name, seen)| (name.as_str(), seen))
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    fn of(&mut self, name: String) -> Option<&mut Seen> {
        let place = match self.places.get(&name) {
            Some(place) => *place,
            None if self.all.len() == MOST_NAMES => {
                self.more = true;
                return None;
            }
            None => {
                self.places.insert(name.clone(), self.all.len());
                self.all.push((name, Seen::default()));
                self.all.len() - 1
            }
        };
        self.all.get_mut(place).map(|(_, seen)| seen)
    }
}

/// How values are read.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Reading {
    /// Whether empty text is NULL, as in CSV.
    pub(super) empty_is_null: bool,
    /// Whether examples may not be shown, because a member around them is secret.
    pub(super) hidden: bool,
}

impl Seen {
    /// Adds a body. One that is no object is passed over.
    pub(super) fn add_body(&mut self, payload: &[u8], reading: Reading) {
        let payload = payload.strip_prefix(b"\xef\xbb\xbf").unwrap_or(payload);
        let Ok(text) = std::str::from_utf8(payload) else { return };
        if text.trim_ascii_start().starts_with('{') && serde_json::from_str::<&RawValue>(text).is_ok() {
            self.add(text.trim_ascii(), 0, reading);
        }
    }

    /// Adds the JSON text of a value.
    fn add(&mut self, raw: &str, depth: usize, reading: Reading) {
        if raw == "null" || (reading.empty_is_null && raw == "\"\"") {
            return;
        }
        self.present += 1;
        self.distinct.insert(xxh3_64(raw.as_bytes()));
        match raw.as_bytes().first() {
            Some(b'{' | b'[') if depth >= DEEPEST => self.deep += 1,
            Some(b'{') => {
                self.objects += 1;
                for (name, value) in members(raw) {
                    if let Some(seen) = self.members.of(name) {
                        seen.add(value.get(), depth + 1, reading);
                    }
                }
            }
            Some(b'[') => {
                self.arrays += 1;
                let items = self.items.get_or_insert_default();
                for item in elements(raw) {
                    items.add(item.get(), depth + 1, reading);
                }
            }
            Some(b'"') => self.add_text(raw),
            Some(b't' | b'f') => {
                self.booleans += 1;
                self.example.get_or_insert_with(|| raw.to_owned());
            }
            _ => {
                self.numbers.add(raw);
                self.example.get_or_insert_with(|| raw.to_owned());
            }
        }
    }

    fn add_text(&mut self, raw: &str) {
        self.texts.count += 1;
        let Ok(text) = serde_json::from_str::<String>(raw) else { return };
        self.secret |= secrets::is_secret_text(&text);
        match form(&text) {
            Form::Number => self.texts.numbers.add(&text),
            Form::Boolean => self.texts.booleans += 1,
            Form::Date => self.texts.dates += 1,
            Form::Time => self.texts.times += 1,
            Form::Other => {}
        }
        if self.example.is_none() && !text.is_empty() {
            self.example = Some(format!("'{text}'"));
        }
    }
}

/// The members of an object. Of several with one name, the last counts.
fn members(raw: &str) -> Vec<(String, &RawValue)> {
    struct Object;
    impl<'t> Visitor<'t> for Object {
        type Value = Vec<(String, &'t RawValue)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'t>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut members: Self::Value = Vec::new();
            let mut places = HashMap::new();
            while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
                match places.get(&name).and_then(|place: &usize| members.get_mut(*place)) {
                    Some(member) => member.1 = value,
                    None => {
                        places.insert(name.clone(), members.len());
                        members.push((name, value));
                    }
                }
            }
            Ok(members)
        }
    }
    serde_json::Deserializer::from_str(raw).deserialize_map(Object).unwrap_or_default()
}

fn elements(raw: &str) -> Vec<&RawValue> {
    struct Array;
    impl<'t> Visitor<'t> for Array {
        type Value = Vec<&'t RawValue>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an array")
        }

        fn visit_seq<A: SeqAccess<'t>>(self, mut items: A) -> Result<Self::Value, A::Error> {
            let mut elements = Vec::new();
            while let Some(element) = items.next_element::<&RawValue>()? {
                elements.push(element);
            }
            Ok(elements)
        }
    }
    serde_json::Deserializer::from_str(raw).deserialize_seq(Array).unwrap_or_default()
}
