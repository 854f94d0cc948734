//! Creates a source of the kind named in `STORED AS`. To add a kind, add a line here.

use std::sync::Arc;

use super::contract::Source;
use super::declaration::SourceConfig;
use super::file::FileSource;
use super::nats::NatsSource;
use crate::Error;

/// Checks a declaration (options, types) and creates its source. Reads no file but that of a schema.
///
/// # Errors
/// [`Error::Config`] with the option or column concerned.
pub fn open(config: SourceConfig) -> Result<Arc<dyn Source>, Error> {
    match config.stored_as.to_ascii_uppercase().as_str() {
        "NATS" => Ok(Arc::new(NatsSource::new(config)?)),
        "FILE" | "JSON" | "CSV" | "PARQUET" | "ARROW" | "AVRO" => Ok(Arc::new(FileSource::new(config)?)),
        other => Err(Error::Config {
            message: format!("source {}: STORED AS {other} is not known", config.name),
            help: Some("write STORED AS NATS for a stream, and FILE, JSON, CSV, PARQUET, ARROW or AVRO for files".into()),
        }),
    }
}
