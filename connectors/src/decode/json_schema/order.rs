//! The order in which a text names properties, which a parsed value does not keep.

use std::collections::HashMap;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

/// Returns the names in each object that is a member `properties`, by its pointer. Nothing for a text that is not JSON.
pub(super) fn of(text: &str) -> HashMap<String, Vec<String>> {
    let mut found = HashMap::new();
    let mut parser = serde_json::Deserializer::from_str(text);
    // A text that is not JSON is refused elsewhere.
    let _ = Part { pointer: String::new(), found: &mut found }.deserialize(&mut parser);
    found
}

struct Part<'f> {
    pointer: String,
    found: &'f mut HashMap<String, Vec<String>>,
}

impl<'de> DeserializeSeed<'de> for Part<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Part<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let mut names: Vec<String> = Vec::new();
        while let Some(name) = members.next_key::<String>()? {
            let pointer = format!("{}/{}", self.pointer, name.replace('~', "~0").replace('/', "~1"));
            members.next_value_seed(Part { pointer, found: self.found })?;
            names.retain(|other| *other != name);
            names.push(name);
        }
        if self.pointer.ends_with("/properties") {
            self.found.insert(self.pointer, names);
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        let mut index = 0;
        while elements.next_element_seed(Part { pointer: format!("{}/{index}", self.pointer), found: self.found })?.is_some() {
            index += 1;
        }
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}
