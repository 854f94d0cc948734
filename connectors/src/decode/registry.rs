//! Finds a format by the name given in option `format`. To add a format, add a line here.

use std::sync::Arc;

use super::contract::Format;
use super::json::JsonFormat;
use crate::Error;
use crate::source::SourceConfig;

/// The names, for error messages.
const FORMATS: &[&str] = &["json"];

/// Returns the format of a source: the declared one, else JSON.
///
/// # Errors
/// [`Error::Config`] for an unknown name.
pub(super) fn open(config: &SourceConfig) -> Result<Arc<dyn Format>, Error> {
    let name = config.options.get("format").map_or("json", String::as_str);
    match name.to_ascii_lowercase().as_str() {
        "json" => Ok(Arc::new(JsonFormat)),
        _ => Err(Error::Config {
            message: format!("source {}: format '{name}' is not known", config.name),
            help: Some(format!("write one of: {}", FORMATS.join(", "))),
        }),
    }
}
