//! The options that name the schema of bodies, and the file with it.
//!
//! | option | meaning |
//! | --- | --- |
//! | `schema` | the file with the schema, relative to the project's folder |

use std::fs;

use crate::Error;
use crate::source::SourceConfig;

const SCHEMA: &str = "schema";

/// The names of the options.
pub(super) const OPTIONS: [&str; 1] = [SCHEMA];

/// The largest schema in bytes.
const LARGEST: u64 = 16 << 20;

/// Returns the content of the file that option `schema` names. `kind` says what it holds, for messages.
///
/// # Errors
/// [`Error::Config`] if the option is missing, or the file cannot be read.
pub(super) fn read(config: &SourceConfig, kind: &str) -> Result<Vec<u8>, Error> {
    let wrong =
        |message: String, help: String| Error::Config { message: format!("source {}: {message}", config.name), help: Some(help) };
    let Some(named) = config.options.get(SCHEMA).filter(|named| !named.is_empty()) else {
        let message = format!("format '{}' needs a schema", config.options.get("format").map_or("", String::as_str));
        return Err(wrong(message, format!("name {kind} in option '{SCHEMA}'")));
    };
    let path = config.folder.join(named);
    let help = || format!("option '{SCHEMA}' names {kind}, relative to the project's folder");
    let length =
        fs::metadata(&path).map_err(|error| wrong(format!("option '{SCHEMA}': {}: {error}", path.display()), help()))?.len();
    if length > LARGEST {
        return Err(wrong(format!("option '{SCHEMA}': {} has {length} bytes", path.display()), help()));
    }
    fs::read(&path).map_err(|error| wrong(format!("option '{SCHEMA}': {}: {error}", path.display()), help()))
}

/// Refuses these options for a format that has no use for them.
///
/// # Errors
/// [`Error::Config`] with the option.
pub(super) fn refuse(config: &SourceConfig) -> Result<(), Error> {
    let Some(option) = OPTIONS.iter().find(|option| config.options.contains_key(**option)) else { return Ok(()) };
    Err(Error::Config {
        message: format!("source {}: option '{option}' does not go with this format", config.name),
        help: Some("it goes with format 'avro' of a stream; leave it out".into()),
    })
}

/// Says that a schema cannot be used.
pub(super) fn unusable(config: &SourceConfig, reason: &str) -> Error {
    let named = config.options.get(SCHEMA).map_or("", String::as_str);
    Error::Config { message: format!("source {}: option '{SCHEMA}': {named}: {reason}", config.name), help: None }
}
