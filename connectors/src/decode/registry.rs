//! Finds a format by the name given in option `format`. To add a format, add a line here.

use std::path::PathBuf;
use std::sync::Arc;

use super::avro::AvroFormat;
use super::avro::schema::Schema as AvroSchema;
use super::changes::Changes;
use super::compatibility::Compatibility;
use super::contract::Format;
use super::csv::CsvFormat;
use super::derived::Derived;
use super::json::{ChangeFormat, JsonFormat};
use super::json_schema::{self, JsonSchemaFormat};
use super::message_pack::MessagePackFormat;
use super::protobuf::registered::RegisteredFile;
use super::protobuf::{self, ProtobufFormat};
use super::schema_registry::{self, Registered, Registry};
use super::{avro, schema_file};
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
            let texts = match registry {
                Some(_) if !schema_file::is_named(config) => Vec::new(),
                _ => avro_texts(config)?,
            };
            let format = AvroFormat::new(&texts, registry);
            Ok(Arc::new(format.map_err(|reason| schema_file::unusable(config, &reason))?))
        }
        "protobuf" if !of_files => {
            let registry = match Registry::of(config)? {
                Some(registry) if !schema_file::is_named(config) => return Ok(Arc::new(ProtobufFormat::of_registry(registry))),
                registry => registry,
            };
            let (path, schema) = protobuf_file(config)?;
            let format = ProtobufFormat::new(&path, &schema, schema_file::message(config), registry);
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

fn avro_texts(config: &SourceConfig) -> Result<Vec<String>, Error> {
    let files = schema_file::read_texts(config, "a file with an Avro schema (.avsc)")?;
    Ok(files.into_iter().map(|(_, text)| text).collect())
}

/// Returns the path and the content of the file with the schema.
fn protobuf_file(config: &SourceConfig) -> Result<(PathBuf, Vec<u8>), Error> {
    let files = schema_file::read(config, "a file with descriptors (.desc) or Protobuf's own schema (.proto)")?;
    match <[(PathBuf, Vec<u8>); 1]>::try_from(files) {
        Ok([file]) => Ok(file),
        Err(_) => Err(schema_file::unusable(config, "a Protobuf schema is one file")),
    }
}

/// Returns the columns that the schemas of a source have: those of its files, else those of its subject in a registry. None where it names
/// neither, and where its format has no schemas. Columns of `config` are not looked at. Blocks the thread while it asks a registry.
///
/// # Errors
/// [`Error::Config`] if a schema cannot be used, or names no members; [`Error::Unavailable`] if the registry does not answer.
pub fn columns(config: &SourceConfig) -> Result<Option<Derived>, Error> {
    let format = config.options.get("format").map_or("json", String::as_str).to_ascii_lowercase();
    let is_stream = config.stored_as.eq_ignore_ascii_case("NATS");
    if !schema_file::is_named(config) {
        let subject = schema_registry::subject(config).filter(|_| is_stream && schema_registry::is_declared(config));
        return subject.map_or(Ok(None), |subject| of_subject(config, &format, subject));
    }
    let derived = match format.as_str() {
        "json" => json_schema(config)?.columns(),
        "avro" if is_stream => {
            let schemas: Result<Vec<_>, _> = avro_texts(config)?.iter().map(|text| AvroSchema::of_text(text)).collect();
            schemas.and_then(|schemas| avro::columns(&schemas))
        }
        "protobuf" if is_stream => {
            let (path, content) = protobuf_file(config)?;
            let schema = protobuf::schema::Schema::read(&path, &content, schema_file::message(config));
            schema.and_then(|schema| protobuf::columns([&schema]))
        }
        _ => return Ok(None),
    };
    derived.map(Some).map_err(|reason| schema_file::unusable(config, &reason))
}

/// Returns the columns of all schemas that a subject has had, since a stream may hold bodies of each.
fn of_subject(config: &SourceConfig, format: &str, subject: &str) -> Result<Option<Derived>, Error> {
    let (derived, notes) = match format {
        "json" => {
            let (schemas, notes) = schemas_of::<json_schema::Schema>(config, subject)?;
            (schemas.iter().map(|schema| schema.columns()).collect::<Result<Vec<_>, _>>().map(Derived::merged), notes)
        }
        "avro" => {
            let (schemas, notes) = schemas_of::<AvroSchema>(config, subject)?;
            (avro::columns(schemas.iter().map(AsRef::as_ref)), notes)
        }
        "protobuf" => {
            let (files, notes) = schemas_of::<RegisteredFile>(config, subject)?;
            let schemas: Result<Vec<_>, _> = files.iter().map(|file| file.named(schema_file::message(config))).collect();
            (schemas.and_then(|schemas| protobuf::columns(schemas.iter().map(AsRef::as_ref))), notes)
        }
        _ => return Ok(None),
    };
    let mut derived = derived.map_err(|reason| schema_registry::unusable(config, &reason))?;
    derived.notes.extend(notes);
    // A later version may leave out what all have so far.
    Ok(Some(derived.nullable()))
}

/// The schemas of a subject.
type Versions<S> = (Vec<Arc<S>>, Vec<String>);

/// The newest first, and notes on those that are left out.
fn schemas_of<S: Registered>(config: &SourceConfig, subject: &str) -> Result<Versions<S>, Error> {
    Registry::<S>::of(config)?.map_or(Ok((Vec::new(), Vec::new())), |registry| registry.of_subject(subject))
}
