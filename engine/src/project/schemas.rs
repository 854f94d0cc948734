//! The schemas of sources, in files of the project's folder or in a registry: when one means something else than before, and the columns of one.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use alluvium_connectors::decode;
use alluvium_connectors::source::{BatchLimits, SourceConfig};
use alluvium_sql::{Catalog, SchemaColumns, SchemaRefusal, Schemas, SqlFile};
use arrow::datatypes::Schema;
use serde_json::Value as Json;
use xxhash_rust::xxh3::xxh3_128;

use crate::settings::{Settings, is_credential};

/// What is known beside the SQL files.
pub(crate) struct Beside<'p> {
    /// The options of sources that the SQL does not give.
    pub(crate) settings: &'p Settings,
    /// The sources as they are now, if the SQL was kept: it has no credentials.
    pub(crate) present: Option<&'p Catalog>,
    /// The fingerprints of the views that go on from their state, by name.
    pub(crate) fingerprints: BTreeMap<String, String>,
}

impl<'p> Beside<'p> {
    /// Of files that people write.
    pub(crate) fn nothing_kept(settings: &'p Settings) -> Beside<'p> {
        Beside { settings, present: None, fingerprints: BTreeMap::new() }
    }
}

/// Loads SQL files, whose sources may have schemas in files of the folder or in a registry, which is asked then.
///
/// # Errors
/// Everything that is wrong with the SQL files.
pub(crate) fn catalog_of(files: &[SqlFile], dir: &Path, beside: &Beside<'_>) -> Result<Catalog, alluvium_sql::Errors> {
    let columns = |name: &str, stored_as: &str, options: &BTreeMap<String, String>| {
        let name = &named(name);
        let mut options = options.clone();
        let present = beside.present.and_then(|catalog| catalog.sources.get(name)).into_iter().flat_map(|source| &source.options);
        for (option, value) in present.filter(|(option, _)| is_credential(option)) {
            options.entry(option.clone()).or_insert_with(|| value.clone());
        }
        columns(dir, name, stored_as, beside.settings.sources.with_registry(name, &options))
    };
    let schemas = Schemas { digest: &|options| digest(dir, options), columns: &columns };
    Catalog::load_kept(files, &schemas, &beside.fingerprints)
}

/// The name that a statement means: in lower case unless it is quoted.
fn named(written: &str) -> String {
    match written.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(quoted) => quoted.replace("\"\"", "\""),
        None => written.to_lowercase(),
    }
}

/// Returns a digest of what a schema says of rows.
fn digest(dir: &Path, options: &BTreeMap<String, String>) -> Option<String> {
    let format = options.get("format").map_or("json", String::as_str);
    let mut parts = Vec::new();
    for file in options.get("schema")?.split(',') {
        let content = fs::read(dir.join(file.trim())).ok()?;
        let meaning = serde_json::from_slice(&content).map(|schema| match format.eq_ignore_ascii_case("json") {
            true => without_annotations(schema),
            false => without_comments(schema),
        });
        parts.extend(meaning.map(|schema| schema.to_string().into_bytes()).unwrap_or(content));
        parts.push(0);
    }
    Some(format!("{:032x}", xxh3_128(&parts)))
}

/// Returns the columns of the schema that a source names.
fn columns(
    dir: &Path,
    name: &str,
    stored_as: &str,
    options: BTreeMap<String, String>,
) -> Result<Option<SchemaColumns>, SchemaRefusal> {
    let config = SourceConfig {
        name: name.to_owned(),
        stored_as: stored_as.to_uppercase(),
        location: String::new(),
        folder: dir.to_owned(),
        options,
        declared: Arc::new(Schema::empty()),
        columns: Vec::new(),
        limits: BatchLimits::default(),
    };
    match decode::columns(&config) {
        Ok(derived) => Ok(derived.map(|derived| SchemaColumns { fields: derived.fields, notes: derived.notes })),
        Err(alluvium_connectors::Error::Config { message, help }) => Err((message, help)),
        Err(error) => {
            let help =
                "the columns come from the registry, so it has to answer when the project is loaded; or declare the columns";
            Err((error.to_string(), Some(help.to_owned())))
        }
    }
}

/// A schema of Avro without what changes no row: comments, aliases and defaults.
fn without_comments(mut schema: Json) -> Json {
    match &mut schema {
        Json::Object(members) => {
            members.retain(|name, _| !matches!(name.as_str(), "doc" | "aliases" | "default" | "order"));
            members.values_mut().for_each(|member| *member = without_comments(member.take()));
        }
        Json::Array(elements) => elements.iter_mut().for_each(|element| *element = without_comments(element.take())),
        _ => {}
    }
    schema
}

/// Keywords of JSON Schema that are no rules.
const ANNOTATIONS: [&str; 8] = ["$comment", "default", "deprecated", "description", "examples", "readOnly", "title", "writeOnly"];
/// Keywords that hold schemas by name.
const NAMED: [&str; 6] = ["$defs", "definitions", "dependencies", "dependentSchemas", "patternProperties", "properties"];
/// Keywords that hold values.
const VALUES: [&str; 5] = ["const", "dependentRequired", "enum", "required", "type"];

/// A JSON Schema without what is no rule. Names of properties are left alone, whatever they are.
fn without_annotations(mut schema: Json) -> Json {
    match &mut schema {
        Json::Object(members) => {
            members.retain(|name, _| !ANNOTATIONS.contains(&name.as_str()));
            for (name, member) in members {
                match member {
                    Json::Object(named) if NAMED.contains(&name.as_str()) => {
                        named.values_mut().for_each(|member| *member = without_annotations(member.take()));
                    }
                    _ if VALUES.contains(&name.as_str()) => {}
                    _ => *member = without_annotations(member.take()),
                }
            }
        }
        Json::Array(schemas) => schemas.iter_mut().for_each(|schema| *schema = without_annotations(schema.take())),
        _ => {}
    }
    schema
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::without_annotations;

    #[test]
    fn only_annotations_are_left_out() {
        let schema = json!({
            "title": "Order", "required": ["title"],
            "properties": {"title": {"type": "string", "description": "shown"}, "default": {"enum": [{"title": 1}], "default": 5}},
            "allOf": [{"$comment": "x", "minProperties": 1}], "not": {"title": "y"}
        });
        let meaning = json!({
            "required": ["title"],
            "properties": {"title": {"type": "string"}, "default": {"enum": [{"title": 1}]}},
            "allOf": [{"minProperties": 1}], "not": {}
        });
        assert_eq!(without_annotations(schema), meaning);
    }
}
