//! What a schema reads of data that another one has written, by the rules of the specification for schema resolution. A logical type is part
//! of the type here, since another one is another value.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value as Json};

use super::schema::Schema;
use crate::decode::comparison::{Break, Budget, Comparison, Step, Unread};

/// Compares the schemas of files before and now, the newest first. `is_framed`: each body names its own schema in a registry.
///
/// # Errors
/// One of them is not a schema of Avro.
pub(in crate::decode) fn compared(
    before: &[(String, String)],
    now: &[(String, String)],
    is_framed: bool,
) -> Result<Comparison, String> {
    let parse = |files: &[(String, String)]| {
        let one = |(name, text): &(String, String)| {
            Schema::of_text(text).map_err(|reason| format!("{name}: {reason}"))?;
            let json: Json = serde_json::from_str(text).map_err(|error| format!("{name}: {error}"))?;
            Ok((name.clone(), json))
        };
        files.iter().map(one).collect::<Result<Vec<_>, String>>()
    };
    let (before, now) = (parse(before)?, parse(now)?);
    let (Some((_, newest_before)), Some((_, newest_now))) = (before.first(), now.first()) else {
        return Ok(Comparison::default());
    };
    let mut compared = Comparison::of(newest_before, newest_now, unread);
    // A body that does not name its schema is read by the schemas of the files, whatever the rules of resolution are.
    if !is_framed {
        let layouts: Vec<Json> = now.iter().map(|(_, schema)| layout(schema)).collect();
        let gone = before.iter().filter(|(_, schema)| !layouts.contains(&layout(schema)));
        compared.backward.extend(gone.map(|(name, _)| Break {
            member: format!("bodies of {name}"),
            before: "read".into(),
            now: format!("not read, unless 'schema' names that file as it was, behind the new one: '{}, ...'", now[0].0),
        }));
    }
    Ok(compared)
}

/// A schema without what does not change the bytes of a body, nor what becomes of them.
fn layout(schema: &Json) -> Json {
    match schema {
        Json::Object(members) => {
            let counts = |name: &str| !matches!(name, "doc" | "aliases" | "default" | "order" | "namespace");
            members.iter().filter(|(name, _)| counts(name)).map(|(name, member)| (name.clone(), layout(member))).collect()
        }
        Json::Array(elements) => elements.iter().map(layout).collect(),
        _ => schema.clone(),
    }
}

/// Returns what `reader` does not read of what `writer` has written.
fn unread(reader: &Json, writer: &Json) -> Vec<Unread> {
    let mut comparing = Comparing {
        reader: named(reader),
        writer: named(writer),
        compared: HashSet::new(),
        path: String::new(),
        unread: Vec::new(),
        budget: Budget::new(MOST_STEPS, MAX_DEPTH),
    };
    comparing.types(reader, writer);
    comparing.unread
}

/// The named types of a schema, by the last part of their names.
fn named(schema: &Json) -> HashMap<String, &Json> {
    let mut found = HashMap::new();
    let mut waiting = vec![schema];
    while let Some(part) = waiting.pop() {
        match part {
            Json::Object(members) => {
                let is_named = matches!(members.get("type").and_then(Json::as_str), Some("record" | "error" | "enum" | "fixed"));
                if let (true, Some(name)) = (is_named, members.get("name").and_then(Json::as_str)) {
                    found.insert(last_part(name).to_owned(), part);
                }
                // Defaults are values.
                waiting.extend(members.iter().filter(|(name, _)| *name != "default").map(|(_, member)| member));
            }
            Json::Array(parts) => waiting.extend(parts),
            _ => {}
        }
    }
    found
}

fn last_part(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

/// The most pairs of types that are compared.
const MOST_STEPS: usize = 20_000;
/// The most types within each other.
const MAX_DEPTH: usize = 300;

struct Comparing<'r, 'w> {
    reader: HashMap<String, &'r Json>,
    writer: HashMap<String, &'w Json>,
    /// Pairs of records that are compared already, since records refer to themselves.
    compared: HashSet<(*const Json, *const Json)>,
    path: String,
    unread: Vec<Unread>,
    budget: Budget,
}

impl<'r, 'w> Comparing<'r, 'w> {
    fn types(&mut self, reader: &'r Json, writer: &'w Json) {
        match self.budget.begin() {
            Step::Compare => self.resolved_types(reader, writer),
            Step::Say(what) => self.say(what.into(), what.into()),
            Step::Nothing => {}
        }
        self.budget.end();
    }

    fn resolved_types(&mut self, reader: &'r Json, writer: &'w Json) {
        let (reader, writer) = (resolved(reader, &self.reader), resolved(writer, &self.writer));
        match (reader, writer) {
            (_, Json::Array(branches)) => branches.iter().for_each(|branch| self.types(reader, branch)),
            (Json::Array(branches), _) => {
                if !branches.iter().any(|branch| self.reads(branch, writer)) {
                    // A record among them says more than that none fits.
                    let alike = branches.iter().find(|branch| word(resolved(branch, &self.reader)) == word(writer));
                    match alike {
                        Some(branch) if word(writer) == "record" => self.types(branch, writer),
                        _ => self.differ(reader, writer),
                    }
                }
            }
            _ => self.plain(reader, writer),
        }
    }

    /// Whether a type reads all that another has written.
    fn reads(&mut self, reader: &'r Json, writer: &'w Json) -> bool {
        let (before, compared) = (self.unread.len(), self.compared.clone());
        self.types(reader, writer);
        let reads = self.unread.len() == before;
        if !self.budget.is_told() {
            self.unread.truncate(before);
        }
        if !reads {
            self.compared = compared;
        }
        reads
    }

    fn plain(&mut self, reader: &'r Json, writer: &'w Json) {
        let (read, written) = (word(reader), word(writer));
        let promoted = match (written, read) {
            ("int", "long" | "float" | "double") | ("long", "float" | "double") | ("float", "double") => true,
            ("bytes", "string") | ("string", "bytes") | ("error", "record") | ("record", "error") => true,
            (written, read) => written == read,
        };
        if !promoted || logical(reader) != logical(writer) || !decimals(reader, writer) {
            return self.differ(reader, writer);
        }
        let part = |of: &'static str| (reader.get(of), writer.get(of));
        match read {
            "record" | "error" => self.record(reader, writer),
            "array" => {
                if let (Some(reader), Some(writer)) = part("items") {
                    self.below("[]", |comparing| comparing.types(reader, writer));
                }
            }
            "map" => {
                if let (Some(reader), Some(writer)) = part("values") {
                    self.below("{}", |comparing| comparing.types(reader, writer));
                }
            }
            "fixed" if part("size").0 != part("size").1 => self.differ(reader, writer),
            "enum" => {
                let symbols = |of: &Json| of.get("symbols").and_then(Json::as_array).cloned().unwrap_or_default();
                let known = symbols(reader);
                for symbol in symbols(writer).iter().filter(|symbol| !known.contains(symbol)) {
                    self.say("no such symbol".into(), format!("symbol {}", symbol.as_str().unwrap_or_default()));
                }
            }
            _ => {}
        }
    }

    fn record(&mut self, reader: &'r Json, writer: &'w Json) {
        if !self.compared.insert((std::ptr::from_ref(reader), std::ptr::from_ref(writer))) {
            return;
        }
        let written: Vec<&'w Json> = fields(writer).collect();
        for field in fields(reader) {
            // Bodies are read by the names of fields: aliases do not count.
            let name = text(field, "name");
            let found = written.iter().find(|written| text(written, "name") == name);
            let step = if self.path.is_empty() { name.to_owned() } else { format!(".{name}") };
            self.below(&step, |comparing| match found {
                Some(found) => comparing.types(of_field(field), of_field(found)),
                None if field.get("default").is_some() => {}
                None => {
                    let shown = shown(resolved(of_field(field), &comparing.reader));
                    comparing.say(format!("{shown} without a default"), "absent".into());
                }
            });
        }
    }

    fn below(&mut self, step: &str, compare: impl FnOnce(&mut Self)) {
        let length = self.path.len();
        self.path.push_str(step);
        compare(self);
        self.path.truncate(length);
    }

    fn differ(&mut self, reader: &Json, writer: &Json) {
        self.say(shown(reader), shown(writer));
    }

    fn say(&mut self, reader: String, writer: String) {
        self.unread.push(Unread { member: self.path.clone(), reader, writer });
    }
}

/// Returns the type that a name means, and the type in `{"type": {...}}`.
fn resolved<'j>(of: &'j Json, named: &HashMap<String, &'j Json>) -> &'j Json {
    let mut of = of;
    for _ in 0..64 {
        of = match of {
            Json::String(name) => match named.get(last_part(name)) {
                Some(found) => found,
                None => return of,
            },
            Json::Object(members) => match members.get("type") {
                Some(inner @ (Json::Object(_) | Json::Array(_))) => inner,
                Some(Json::String(name)) if named.contains_key(last_part(name)) && !members.contains_key("name") => {
                    named[last_part(name)]
                }
                _ => return of,
            },
            _ => return of,
        };
    }
    of
}

/// Returns the type of a field. Its logical type may stand beside it.
fn of_field(field: &Json) -> &Json {
    match field.get("type") {
        Some(Json::String(_)) if field.get("logicalType").is_some() => field,
        Some(of) => of,
        None => &Json::Null,
    }
}

fn fields(record: &Json) -> impl Iterator<Item = &Json> {
    record.get("fields").and_then(Json::as_array).into_iter().flatten()
}

fn text<'j>(of: &'j Json, name: &str) -> &'j str {
    of.get(name).and_then(Json::as_str).unwrap_or_default()
}

fn word(of: &Json) -> &str {
    match of {
        Json::String(word) => word,
        Json::Array(_) => "union",
        _ => text(of, "type"),
    }
}

/// The logical type. Of a decimal, whose digits are compared apart, only that it is one.
fn logical(of: &Json) -> &str {
    text(of, "logicalType")
}

/// Whether the digits of a decimal have room.
fn decimals(reader: &Json, writer: &Json) -> bool {
    let digits = |of: &Json, part: &str| of.get(part).and_then(Json::as_u64).unwrap_or_default();
    logical(reader) != "decimal"
        || (digits(reader, "scale") == digits(writer, "scale") && digits(reader, "precision") >= digits(writer, "precision"))
}

/// Returns a type as messages name it.
fn shown(of: &Json) -> String {
    let empty = Map::new();
    let members = of.as_object().unwrap_or(&empty);
    let number = |part: &str| members.get(part).and_then(Json::as_u64).unwrap_or_default();
    match (word(of), logical(of)) {
        ("union", _) => of.as_array().into_iter().flatten().map(shown).collect::<Vec<_>>().join(" or "),
        (_, "decimal") => format!("decimal({}, {})", number("precision"), number("scale")),
        (word, "") => match word {
            "record" | "enum" => format!("{word} {}", last_part(text(of, "name"))),
            "fixed" => format!("fixed of {} bytes", number("size")),
            _ => word.to_owned(),
        },
        (_, logical) => logical.to_owned(),
    }
}
