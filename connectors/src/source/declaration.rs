//! The declaration of a source.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;

/// The declaration in `CREATE EXTERNAL TABLE`, with the columns that some view reads.
#[derive(Clone)]
pub struct SourceConfig {
    /// The table's name.
    pub name: String,
    /// The kind of source: `NATS`, `FILE` or a kind of file (`JSON`, `CSV`, `PARQUET`, `ARROW`, `AVRO`).
    pub stored_as: String,
    /// `nats://host:port/STREAM`, a path, a folder, a glob, or `-`.
    pub location: String,
    /// The project's folder. Relative paths in `location` start there.
    pub folder: PathBuf,
    /// `OPTIONS (...)`, merged with `alluvium.toml` and the environment. Keys are in lower case. Values may be secret.
    pub options: BTreeMap<String, String>,
    /// All declared columns. Those named `_sequence _subject _timestamp _headers _payload` are filled from the message.
    pub declared: SchemaRef,
    /// The columns to decode: indexes into `declared`, ascending. The other columns are not read.
    pub columns: Vec<usize>,
    /// The limits of a micro-batch.
    pub limits: BatchLimits,
}

/// Shows only the names of the options, since values may be secret.
impl fmt::Debug for SourceConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourceConfig")
            .field("name", &self.name)
            .field("stored_as", &self.stored_as)
            .field("options", &self.options.keys())
            .field("columns", &self.columns)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// The limits of a micro-batch. A batch ends at the first limit that it reaches.
#[derive(Debug, Clone, Copy)]
pub struct BatchLimits {
    /// The maximum number of events in a batch.
    pub max_events: usize,
    /// The maximum size of the payloads in a batch, in bytes. A single event may exceed it.
    pub max_bytes: usize,
    /// How long the first event of a batch waits for more events. A source that holds enough events to fill the batch may wait longer, up
    /// to a quarter of a second.
    pub max_wait: Duration,
}

impl Default for BatchLimits {
    fn default() -> Self {
        Self { max_events: 65_536, max_bytes: 64 << 20, max_wait: Duration::from_millis(5) }
    }
}

/// Returns the schema of [`Batch::rows`](super::Batch::rows): the declared columns listed in `columns`, in that order.
#[must_use]
pub fn decoded_schema(config: &SourceConfig) -> SchemaRef {
    let fields: Vec<_> = config.columns.iter().map(|index| config.declared.field(*index).clone()).collect();
    Arc::new(arrow::datatypes::Schema::new(fields))
}
