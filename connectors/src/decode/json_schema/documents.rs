//! The texts of a schema, and where their parts are. Identifiers and anchors are found wherever a keyword holds schemas, and nowhere else:
//! an `$id` within an `enum` is a value.

use std::collections::HashMap;

use serde_json::Value as Json;
use url::Url;

use super::order;
use super::subschemas::subschemas;

/// Where the names of the texts stand, so that they can refer to each other by them.
const BASE: &str = "alluvium:///";

/// The texts of a schema.
#[derive(Debug)]
pub(super) struct Documents {
    texts: Vec<Document>,
    /// Where a schema with an identifier is. Identifiers have no fragment.
    resources: HashMap<Url, (usize, String)>,
    anchors: HashMap<(Url, String), (usize, String)>,
}

/// One text.
#[derive(Debug)]
pub(super) struct Document {
    name: String,
    base: Url,
    value: Json,
    /// The names of the properties in each object of properties, by its pointer, in the order of the text.
    order: HashMap<String, Vec<String>>,
    /// Draft 7 or earlier: what stands beside a `$ref` does not count.
    pub(super) is_draft_7: bool,
}

/// A part of a text: a schema, unless the text is wrong.
#[derive(Debug, Clone)]
pub(super) struct Spot {
    pub(super) document: usize,
    /// A JSON pointer, without the sign `#`.
    pub(super) pointer: String,
    /// What references are relative to, before the schema's own `$id`.
    pub(super) base: Url,
}

impl Spot {
    /// Returns the spot of a part below.
    pub(super) fn below(&self, base: &Url, path: &str) -> Spot {
        Spot { document: self.document, pointer: format!("{}/{path}", self.pointer), base: base.clone() }
    }
}

impl Documents {
    /// Reads texts by their names.
    ///
    /// # Errors
    /// Says which text is wrong, and how.
    pub(super) fn read<'t>(texts: impl Iterator<Item = (&'t str, &'t str)>) -> Result<Documents, String> {
        let mut documents = Documents { texts: Vec::new(), resources: HashMap::new(), anchors: HashMap::new() };
        for (name, text) in texts {
            let value: Json = serde_json::from_str(text).map_err(|error| format!("{name} is not JSON: {error}"))?;
            let named = value.get("$schema").and_then(Json::as_str).unwrap_or_default();
            if named.contains("draft-04") || named.contains("draft-03") {
                return Err(format!("{name} is of {named}; draft 6 and later are read"));
            }
            let is_draft_7 = named.contains("draft-07") || named.contains("draft-06");
            let base = Url::parse(BASE).and_then(|base| base.join(name)).map_err(|error| format!("the name {name}: {error}"))?;
            let index = documents.texts.len();
            documents.name(&base, (index, ""))?;
            documents.collect(index, &value, String::new(), &base, is_draft_7)?;
            let order = order::of(text);
            documents.texts.push(Document { name: name.to_owned(), base, value, order, is_draft_7 });
        }
        Ok(documents)
    }

    /// Remembers where the schema of an identifier is.
    fn name(&mut self, url: &Url, (document, pointer): (usize, &str)) -> Result<(), String> {
        let known = self.resources.insert(url.clone(), (document, pointer.to_owned()));
        match known.is_some_and(|known| known != (document, pointer.to_owned())) {
            true => Err(format!("two schemas have the identifier {}", url.as_str().trim_start_matches(BASE))),
            false => Ok(()),
        }
    }

    /// Finds the identifiers and anchors of a schema and of those in it.
    fn collect(&mut self, document: usize, schema: &Json, pointer: String, base: &Url, is_draft_7: bool) -> Result<(), String> {
        let Json::Object(members) = schema else { return Ok(()) };
        let base = own_base(schema, base, is_draft_7)?;
        if identifier(schema, is_draft_7).is_some() {
            self.name(&base, (document, &pointer))?;
        }
        let of_id = members.get("$id").and_then(Json::as_str).filter(|_| is_draft_7).and_then(|id| id.split_once('#'));
        let anchors = ["$anchor", "$dynamicAnchor"].into_iter().filter_map(|word| members.get(word)?.as_str());
        for anchor in anchors.chain(of_id.map(|(_, anchor)| anchor)).filter(|anchor| !anchor.is_empty()) {
            self.anchors.insert((base.clone(), anchor.to_owned()), (document, pointer.clone()));
        }
        for (path, inner) in subschemas(members) {
            self.collect(document, inner, format!("{pointer}/{path}"), &base, is_draft_7)?;
        }
        Ok(())
    }

    /// Returns the schema of a body, which the last text is.
    ///
    /// # Errors
    /// There is no text.
    pub(super) fn root(&self) -> Result<Spot, String> {
        let document = self.texts.len().checked_sub(1).ok_or("it is empty")?;
        Ok(Spot { document, pointer: String::new(), base: self.texts[document].base.clone() })
    }

    /// Returns the text that a spot is in.
    pub(super) fn document(&self, spot: &Spot) -> &Document {
        &self.texts[spot.document]
    }

    /// Returns the names of properties at a spot, in the order of the text.
    pub(super) fn names(&self, spot: &Spot) -> &[String] {
        self.texts[spot.document].order.get(&spot.pointer).map_or(&[], Vec::as_slice)
    }

    /// Returns what stands at a spot.
    ///
    /// # Errors
    /// There is nothing.
    pub(super) fn value(&self, spot: &Spot) -> Result<&Json, String> {
        self.texts[spot.document].value.pointer(&spot.pointer).ok_or_else(|| format!("there is no {}", self.place(spot)))
    }

    /// Returns the place of a spot as messages name it.
    pub(super) fn place(&self, spot: &Spot) -> String {
        let name = if self.texts.len() == 1 { "" } else { self.texts[spot.document].name.as_str() };
        format!("{name}#{}", spot.pointer)
    }

    /// Returns the schema that `reference` means within `base`.
    ///
    /// # Errors
    /// No text has it.
    pub(super) fn resolve(&self, base: &Url, reference: &str) -> Result<Spot, String> {
        let mut url = base.join(reference).map_err(|error| format!("the reference {reference}: {error}"))?;
        let fragment = percent_decoded(url.fragment().unwrap_or_default());
        url.set_fragment(None);
        let missing = |what: &str| format!("it refers to {reference}, {what}");
        let found = self.resources.get(&url);
        let (document, pointer) = found.ok_or_else(|| missing("which is in none of the given files"))?;
        if !fragment.is_empty() && !fragment.starts_with('/') {
            let anchored = self.anchors.get(&(url.clone(), fragment));
            let (document, pointer) = anchored.ok_or_else(|| missing("and there is no such anchor"))?;
            return self.spot(*document, pointer.clone());
        }
        let spot = self.spot(*document, format!("{pointer}{fragment}"))?;
        self.value(&spot).map_err(|_| missing("and there is no such part"))?;
        Ok(spot)
    }

    /// Returns a spot with the base that the schemas around it give.
    fn spot(&self, document: usize, pointer: String) -> Result<Spot, String> {
        let Document { value, base, is_draft_7, .. } = &self.texts[document];
        let mut base = base.clone();
        let ends = pointer.match_indices('/').map(|(end, _)| end);
        for end in ends {
            if let Some(around) = value.pointer(&pointer[..end]) {
                base = own_base(around, &base, *is_draft_7)?;
            }
        }
        Ok(Spot { document, pointer, base })
    }
}

/// Returns the identifier that a schema gives itself, which is more than an anchor.
fn identifier(schema: &Json, is_draft_7: bool) -> Option<&str> {
    let id = schema.get("$id")?.as_str()?;
    let is_ignored = is_draft_7 && schema.get("$ref").is_some();
    (!is_ignored && !id.starts_with('#')).then_some(id)
}

/// Returns what references in a schema are relative to.
///
/// # Errors
/// Its identifier is no URL.
pub(super) fn own_base(schema: &Json, base: &Url, is_draft_7: bool) -> Result<Url, String> {
    let Some(id) = identifier(schema, is_draft_7) else { return Ok(base.clone()) };
    let mut url = base.join(id).map_err(|error| format!("the $id {id}: {error}"))?;
    url.set_fragment(None);
    Ok(url)
}

fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = text.get(at + 1..at + 3).filter(|_| bytes[at] == b'%').and_then(|hex| u8::from_str_radix(hex, 16).ok());
        decoded.push(hex.unwrap_or(bytes[at]));
        at += if hex.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
#[test]
fn percent_signs_are_decoded() {
    for (text, decoded) in [("/a%25b%2F", "/a%b/"), ("%", "%"), ("%zz", "%zz"), ("%C3%A4", "ä"), ("ä%41", "äA")] {
        assert_eq!(percent_decoded(text), decoded);
    }
}
