//! The options that name the schema of bodies, and the file with it.
//!
//! | option | meaning |
//! | --- | --- |
//! | `schema` | the files with the schemas, separated by commas, relative to the project's folder |
//! | `compatibility` | what a change of the schema has to leave possible: see `compatibility` |
//! | `message` | the message of a Protobuf schema that a body is |

use std::fs;
use std::path::PathBuf;

use super::schema_registry;
use crate::Error;
use crate::source::SourceConfig;

const SCHEMA: &str = "schema";
const MESSAGE: &str = "message";
/// The option that says what a change of the schema has to leave possible.
pub(super) const COMPATIBILITY: &str = "compatibility";

/// The names of the options.
pub(super) const OPTIONS: [&str; 3] = [COMPATIBILITY, MESSAGE, SCHEMA];

/// The largest schema in bytes.
const LARGEST: u64 = 16 << 20;

/// Returns the names of files that option `schema` gives, and the text of each.
///
/// # Errors
/// [`Error::Config`] as [`read`], and if a file is not UTF-8.
pub(super) fn read_texts(config: &SourceConfig, kind: &str) -> Result<Vec<(String, String)>, Error> {
    let text = |(path, content): (PathBuf, Vec<u8>)| {
        let text = String::from_utf8(content).map_err(|_| unusable(config, "it is not UTF-8"))?;
        Ok((path.file_name().unwrap_or_default().to_string_lossy().into_owned(), text))
    };
    read(config, kind)?.into_iter().map(text).collect()
}

/// Returns the path and the content of each file that option `schema` names. `kind` says what it holds, for messages.
///
/// # Errors
/// [`Error::Config`] if the option is missing, or the file cannot be read.
pub(super) fn read(config: &SourceConfig, kind: &str) -> Result<Vec<(PathBuf, Vec<u8>)>, Error> {
    let wrong =
        |message: String, help: String| Error::Config { message: format!("source {}: {message}", config.name), help: Some(help) };
    let Some(named) = config.options.get(SCHEMA).filter(|named| !named.is_empty()) else {
        let message = format!("format '{}' needs a schema", config.options.get("format").map_or("", String::as_str));
        return Err(wrong(message, format!("name {kind} in option '{SCHEMA}'")));
    };
    let help = || format!("option '{SCHEMA}' names {kind}, relative to the project's folder");
    let read = |file: &str| {
        let path = config.folder.join(file.trim());
        let failed = |error: std::io::Error| wrong(format!("option '{SCHEMA}': {}: {error}", path.display()), help());
        let length = fs::metadata(&path).map_err(failed)?.len();
        if length > LARGEST {
            return Err(wrong(format!("option '{SCHEMA}': {} has {length} bytes", path.display()), help()));
        }
        let content = fs::read(&path).map_err(failed)?;
        Ok((path, content))
    };
    named.split(',').map(read).collect()
}

/// Whether a file is named.
pub(super) fn is_named(config: &SourceConfig) -> bool {
    config.options.get(SCHEMA).is_some_and(|named| !named.is_empty())
}

/// Returns the message that a body is.
pub(super) fn message(config: &SourceConfig) -> Option<&str> {
    config.options.get(MESSAGE).map(String::as_str).filter(|named| !named.is_empty())
}

/// Refuses options of schemas and registries that a format has no use for. `format` is empty for files that hold no JSON.
///
/// # Errors
/// [`Error::Config`] with the option.
pub(super) fn refuse(config: &SourceConfig, format: &str) -> Result<(), Error> {
    let goes = |option: &str| match option {
        COMPATIBILITY => is_named(config),
        MESSAGE => format == "protobuf",
        SCHEMA => matches!(format, "avro" | "protobuf" | "json"),
        // Lines of files do not name their schemas.
        _ => matches!(format, "avro" | "protobuf") || (format == "json" && config.stored_as.eq_ignore_ascii_case("NATS")),
    };
    let mut named = OPTIONS.iter().chain(&schema_registry::OPTIONS).filter(|option| config.options.contains_key(**option));
    let Some(option) = named.find(|option| !goes(option)) else { return Ok(()) };
    Err(Error::Config {
        message: format!("source {}: option '{option}' does not go with this format", config.name),
        help: Some("'schema' goes with JSON, and with 'avro' and 'protobuf' of a stream; a registry with these of a stream; 'message' with 'protobuf'; 'compatibility' with 'schema'".into()),
    })
}

/// Says that a schema has no field for a column, and which it has.
pub(super) fn no_field<'n>(column: &str, fields: impl Iterator<Item = &'n str>) -> String {
    let names: Vec<&str> = fields.collect();
    let near = names.iter().map(|name| (strsim::jaro_winkler(&name.to_lowercase(), &column.to_lowercase()), name));
    let near = near.filter(|(likeness, _)| *likeness > 0.75).max_by(|(one, _), (other, _)| one.total_cmp(other));
    match near {
        Some((_, near)) => format!("the schema has no field of this name; did you mean {near}?"),
        None => format!("the schema has no field of this name; it has {}", names.join(", ")),
    }
}

/// Says that a schema cannot be used.
pub(super) fn unusable(config: &SourceConfig, reason: &str) -> Error {
    let named = config.options.get(SCHEMA).map_or("", String::as_str);
    Error::Config {
        message: format!("source {}: option '{SCHEMA}': {named}: {reason}", config.name),
        help: Some("mend the schema, or name another file".into()),
    }
}
