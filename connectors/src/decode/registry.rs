//! Finds a format by the name given in option `format`. To add a format, add a line here.

use std::sync::Arc;

use super::changes::Changes;
use super::contract::Format;
use super::csv::CsvFormat;
use super::json::{ChangeFormat, JsonFormat};
use crate::Error;
use crate::source::SourceConfig;

/// The names, for error messages.
const FORMATS: &[&str] = &["json", "debezium", "kv"];

/// Returns the format of a source: the declared one, else JSON. Parquet and Arrow files are read as lines of JSON.
///
/// # Errors
/// [`Error::Config`] for an unknown name.
pub(super) fn open(config: &SourceConfig) -> Result<Arc<dyn Format>, Error> {
    if let Some(changes) = Changes::of(config)? {
        return Ok(Arc::new(ChangeFormat::new(changes)));
    }
    let name = config.options.get("format").map_or("json", String::as_str);
    let of_files = !config.stored_as.eq_ignore_ascii_case("NATS");
    if config.stored_as.eq_ignore_ascii_case("CSV") {
        return Ok(Arc::new(CsvFormat));
    }
    match name.to_ascii_lowercase().as_str() {
        "csv" if of_files => Ok(Arc::new(CsvFormat)),
        "parquet" | "arrow" if of_files => Ok(Arc::new(JsonFormat)),
        "json" => Ok(Arc::new(JsonFormat)),
        _ => Err(Error::Config {
            message: format!("source {}: format '{name}' is not known", config.name),
            help: Some(format!("write one of: {}", FORMATS.join(", "))),
        }),
    }
}
