//! Finds a format by the name given in option `format`. To add a format, add a line here.

use std::sync::Arc;

use super::avro::AvroFormat;
use super::changes::Changes;
use super::contract::Format;
use super::csv::CsvFormat;
use super::json::{ChangeFormat, JsonFormat};
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
    schema_file::refuse(config, if of_files { "" } else { &name })?;
    if let Some(changes) = Changes::of(config)? {
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
                _ => schema_file::read(config, "a file with an Avro schema (.avsc)")?,
            };
            let texts = files.into_iter().map(|(_, text)| String::from_utf8(text)).collect::<Result<Vec<_>, _>>();
            let texts = texts.map_err(|_| schema_file::unusable(config, "it is not UTF-8"))?;
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
        "json" => Ok(Arc::new(JsonFormat)),
        _ => Err(Error::Config {
            message: format!("source {}: format '{name}' is not known", config.name),
            help: Some(format!("write one of: {}", FORMATS.join(", "))),
        }),
    }
}
