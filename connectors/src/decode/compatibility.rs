//! Whether a schema that has changed still reads what was written with the one before, and the other way round.
//!
//! - *backward*: the schema now reads what was written before. Views are rebuilt from such events.
//! - *forward*: the schema before reads what is written now. Readers that have not been changed yet go on.
//! - *full*: both.

use super::comparison::{Comparison, Content, KeptSchema};
use super::schema_registry::{self, Client};
use super::{avro, json_schema, protobuf, schema_file};
use crate::Error;
use crate::source::SourceConfig;

/// The largest schema that is kept, in bytes of its text.
const LARGEST: usize = 64 << 10;

/// What a change of a schema has to leave possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compatibility {
    /// The schema now reads what was written before.
    Backward,
    /// The schema before reads what is written now.
    Forward,
    /// Both.
    Full,
    /// Nothing.
    None,
}

impl Compatibility {
    /// Reads option `compatibility` of a source.
    ///
    /// # Errors
    /// [`Error::Config`] for another word.
    pub fn of(config: &SourceConfig) -> Result<Compatibility, Error> {
        let Some(word) = config.options.get(schema_file::COMPATIBILITY) else { return Ok(Compatibility::Backward) };
        Ok(match word.to_ascii_lowercase().as_str() {
            "backward" => Compatibility::Backward,
            "forward" => Compatibility::Forward,
            "full" => Compatibility::Full,
            "none" => Compatibility::None,
            _ => {
                return Err(Error::Config {
                    message: format!("source {}: option 'compatibility' is '{word}'", config.name),
                    help: Some("write 'backward', 'forward', 'full' or 'none'".into()),
                });
            }
        })
    }

    /// Returns what holds for a source: option `compatibility`, else what the registry says of the subject of the source, else
    /// [`Compatibility::Backward`]. Blocks the thread while it asks the registry.
    ///
    /// # Errors
    /// As [`Compatibility::of`]; [`Error::Unavailable`] if the registry does not answer.
    pub fn in_force(config: &SourceConfig) -> Result<InForce, Error> {
        let given = Compatibility::of(config)?;
        if config.options.contains_key(schema_file::COMPATIBILITY) {
            return Ok(InForce { rule: given, of_registry: None });
        }
        let (Some(subject), Some(client)) = (schema_registry::subject(config), Client::of(config)?) else {
            return Ok(InForce { rule: given, of_registry: None });
        };
        let Some(word) = client.compatibility(subject)? else { return Ok(InForce { rule: given, of_registry: None }) };
        // A transitive rule asks the same of a new schema and each old one. Of these, the one of the last commit is compared.
        let rule = match word.to_ascii_uppercase().trim_end_matches("_TRANSITIVE") {
            "BACKWARD" => Compatibility::Backward,
            "FORWARD" => Compatibility::Forward,
            "FULL" => Compatibility::Full,
            "NONE" => Compatibility::None,
            _ => return Err(client.unusable(subject, &format!("the registry's compatibility '{word}' is not known"))),
        };
        Ok(InForce { rule, of_registry: Some(word) })
    }

    /// Whether it asks for what `direction` says.
    #[must_use]
    pub fn asks_for(self, direction: Direction) -> bool {
        match direction {
            Direction::Backward => matches!(self, Compatibility::Backward | Compatibility::Full),
            Direction::Forward => matches!(self, Compatibility::Forward | Compatibility::Full),
        }
    }
}

/// What a change of a source's schema has to leave possible, and who says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InForce {
    /// What it has to leave possible.
    pub rule: Compatibility,
    /// The word of the registry, where it decides.
    pub of_registry: Option<String>,
}

/// Which schema reads what the other has written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// The one now reads what was written before.
    Backward,
    /// The one before reads what is written now.
    Forward,
}

/// Returns the schema files that a source names, to be kept. Empty where it names none, where one cannot be read, and where they are too
/// large to be kept with each commit.
#[must_use]
pub fn kept_schemas(config: &SourceConfig) -> Vec<KeptSchema> {
    if !schema_file::is_named(config) {
        return Vec::new();
    }
    let read = schema_file::read(config, "").unwrap_or_default();
    let kept: Vec<KeptSchema> = read.into_iter().map(|(path, bytes)| Content { path, bytes }.kept()).collect();
    if kept.iter().map(|one| one.text.len()).sum::<usize>() > LARGEST { Vec::new() } else { kept }
}

/// Compares the schema under which a view was committed with the present one, in the format of the source.
///
/// # Errors
/// [`Error::Config`] if one of them is no schema of this format.
pub fn compare(config: &SourceConfig, before: &[KeptSchema], now: &[KeptSchema]) -> Result<Comparison, Error> {
    let format = config.options.get("format").map_or("json", String::as_str).to_ascii_lowercase();
    let wrong = |reason: String| Error::Config {
        message: format!("source {}: option 'schema': the schema of the last commit cannot be compared: {reason}", config.name),
        help: Some("if the events are of another format now, give the option compatibility 'none'".into()),
    };
    let content = |kept: &[KeptSchema]| kept.iter().map(Content::of).collect::<Result<Vec<Content>, String>>();
    let (before, now) = (content(before).map_err(wrong)?, content(now).map_err(wrong)?);
    let compared = match format.as_str() {
        "avro" => {
            let is_framed = schema_registry::is_declared(config);
            texts(&before).and_then(|before| avro::compared(&before, &texts(&now)?, is_framed))
        }
        "protobuf" => protobuf::compared(&before, &now, schema_file::message(config)),
        _ => texts(&before).and_then(|before| json_schema::compared(&before, &texts(&now)?)),
    };
    compared.map_err(wrong)
}

/// Returns the name and the text of each file.
fn texts(contents: &[Content]) -> Result<Vec<(String, String)>, String> {
    let text = |content: &Content| {
        let text = String::from_utf8(content.bytes.clone()).map_err(|_| "it is not UTF-8".to_owned())?;
        Ok((content.name(), text))
    };
    contents.iter().map(text).collect()
}
