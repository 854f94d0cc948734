//! Finds a format by the name given in option `format`. To add a format, add a line here.

use std::sync::Arc;

use super::avro::AvroFormat;
use super::changes::Changes;
use super::compatibility::Compatibility;
use super::contract::Format;
use super::csv::CsvFormat;
use super::json::{ChangeFormat, JsonFormat};
use super::json_schema::{self, Derived, JsonSchemaFormat};
use super::message_pack::MessagePackFormat;
use super::protobuf::ProtobufFormat;
use super::schema_file;
use super::schema_registry::Registry;
use crate::Error;
use crate::source::SourceConfig;

/// The names, for error messages.
const FORMATS: &[&str] = &["json", "avro", "protobuf", "msgpack", "arrow", "cloudevents", "debezium", "kv"];

/// Returns the format of a source: the declared one, else JSON. Avro, Parquet and Arrow files are read as lines of JSON.
///
/// # Errors
/// [`Error::Config`] for an unknown name, or a schema that cannot be used.
pub(super) fn open(config: &SourceConfig) -> Result<Arc<dyn Format>, Error> {
    let name = config.options.get("format").map_or("json", String::as_str);
    let of_files = !config.stored_as.eq_ignore_ascii_case("NATS");
    let name = name.to_ascii_lowercase();
    let holds_json = name == "json" && ["NATS", "JSON", "FILE"].iter().any(|one| config.stored_as.eq_ignore_ascii_case(one));
    Compatibility::of(config)?;
    schema_file::refuse(config, if of_files && !holds_json { "" } else { &name })?;
    if let Some(changes) = Changes::of(config)? {
        if schema_file::is_named(config) {
            return Err(schema_file::unusable(config, "events that are changes of a table are not checked against a schema"));
        }
        return Ok(Arc::new(ChangeFormat::new(changes)));
    }
    if config.stored_as.eq_ignore_ascii_case("CSV") {
        return Ok(Arc::new(CsvFormat));
    }
    match name.as_str() {
        "csv" if of_files => Ok(Arc::new(CsvFormat)),
        "avro" if !of_files => {
            let registry = Registry::of(config)?;
            let files = match registry {
                Some(_) if !schema_file::is_named(config) => Vec::new(),
                _ => schema_file::read_texts(config, "a file with an Avro schema (.avsc)")?,
            };
            let texts: Vec<String> = files.into_iter().map(|(_, text)| text).collect();
            let format = AvroFormat::new(&texts, registry);
            Ok(Arc::new(format.map_err(|reason| schema_file::unusable(config, &reason))?))
        }
        "protobuf" if !of_files => {
            let registry = match Registry::of(config)? {
                Some(registry) if !schema_file::is_named(config) => return Ok(Arc::new(ProtobufFormat::of_registry(registry))),
                registry => registry,
            };
            let files = schema_file::read(config, "a file with descriptors (.desc) or Protobuf's own schema (.proto)")?;
            let [(path, schema)] = files.as_slice() else {
                return Err(schema_file::unusable(config, "a Protobuf schema is one file"));
            };
            let format = ProtobufFormat::new(path, schema, schema_file::message(config), registry);
            Ok(Arc::new(format.map_err(|reason| schema_file::unusable(config, &reason))?))
        }
        "avro" | "parquet" | "arrow" if of_files => Ok(Arc::new(JsonFormat)),
        // What the messages hold is unpacked to JSON first.
        "arrow" | "cloudevents" if !of_files => Ok(Arc::new(JsonFormat)),
        "msgpack" if !of_files => Ok(Arc::new(MessagePackFormat)),
        "json" => of_json(config),
        _ => Err(Error::Config {
            message: format!("source {}: format '{name}' is not known", config.name),
            help: Some(format!("write one of: {}", FORMATS.join(", "))),
        }),
    }
}

/// Returns JSON, checked where a schema or a registry is declared.
fn of_json(config: &SourceConfig) -> Result<Arc<dyn Format>, Error> {
    let registry = Registry::of(config)?;
    let schema = match schema_file::is_named(config) {
        true => Some(json_schema(config)?),
        false if registry.is_none() => return Ok(Arc::new(JsonFormat)),
        false => None,
    };
    Ok(Arc::new(JsonSchemaFormat::new(schema, registry)))
}

fn json_schema(config: &SourceConfig) -> Result<json_schema::Schema, Error> {
    let texts = schema_file::read_texts(config, "a file with a JSON Schema")?;
    let texts = texts.iter().map(|(name, text)| (name.as_str(), text.as_str()));
    json_schema::Schema::of_texts(texts).map_err(|reason| schema_file::unusable(config, &reason))
}

/// Returns the columns that the schema of a source has, where its format has one that columns can be made of. Columns of `config` are not
/// looked at.
///
/// # Errors
/// [`Error::Config`] if the schema cannot be used, or names no members.
pub fn columns(config: &SourceConfig) -> Result<Option<Derived>, Error> {
    let format = config.options.get("format").map_or("json", String::as_str);
    if !format.eq_ignore_ascii_case("json") || !schema_file::is_named(config) {
        return Ok(None);
    }
    json_schema(config)?.columns().map(Some).map_err(|reason| schema_file::unusable(config, &reason))
}
