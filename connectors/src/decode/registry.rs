//! Finds a format by the name given in option `format`. To add a format, add a line here.

use std::sync::Arc;

use super::avro::AvroFormat;
use super::changes::Changes;
use super::contract::Format;
use super::csv::CsvFormat;
use super::json::{ChangeFormat, JsonFormat};
use super::protobuf::ProtobufFormat;
use super::schema_file;
use super::schema_registry::Registry;
use crate::Error;
use crate::source::SourceConfig;

/// The names, for error messages.
const FORMATS: &[&str] = &["json", "avro", "protobuf", "debezium", "kv"];

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
            let schema = match registry {
                Some(_) if !schema_file::is_named(config) => None,
                _ => Some(schema_file::read(config, "a file with an Avro schema (.avsc)")?.1),
            };
            let schema = schema.map(String::from_utf8).transpose();
            let schema = schema.map_err(|_| schema_file::unusable(config, "it is not UTF-8"))?;
            let format = AvroFormat::new(schema.as_deref(), registry);
            Ok(Arc::new(format.map_err(|reason| schema_file::unusable(config, &reason))?))
        }
        "protobuf" if !of_files => {
            let (path, schema) = schema_file::read(config, "a file with descriptors (.desc) or Protobuf's own schema (.proto)")?;
            let format = ProtobufFormat::new(&path, &schema, schema_file::message(config));
            Ok(Arc::new(format.map_err(|reason| schema_file::unusable(config, &reason))?))
        }
        "avro" | "parquet" | "arrow" if of_files => Ok(Arc::new(JsonFormat)),
        "json" => Ok(Arc::new(JsonFormat)),
        _ => Err(Error::Config {
            message: format!("source {}: format '{name}' is not known", config.name),
            help: Some(format!("write one of: {}", FORMATS.join(", "))),
        }),
    }
}
