//! What is declared of a source, before anything of it is opened.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;

/// What `CREATE EXTERNAL TABLE` declares, with the columns narrowed to those that some view reads.
#[derive(Clone)]
pub struct SourceConfig {
    /// The table's name.
    pub name: String,
    /// The kind of source: `NATS` or `FILE`.
    pub stored_as: String,
    /// `nats://host:port/STREAM`, a path, a folder, a glob, or `-`.
    pub location: String,
    /// `OPTIONS (...)`, merged with `alluvium.toml` and the environment; keys in lower case. Values may be secret.
    pub options: BTreeMap<String, String>,
    /// Every declared column. Those named `_sequence _subject _timestamp _headers _payload` are filled from the message.
    pub declared: SchemaRef,
    /// Indexes into `declared`, rising: the columns to decode. Nothing is asked of the others.
    pub columns: Vec<usize>,
    /// Bounds of a micro-batch.
    pub limits: BatchLimits,
}

/// The names of the options only: values may be secret.
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

/// Bounds of a micro-batch: a batch ends at whichever is reached first.
#[derive(Debug, Clone, Copy)]
pub struct BatchLimits {
    /// Events in a batch, at most.
    pub max_events: usize,
    /// Bytes of payloads in a batch, at most (one event may exceed it).
    pub max_bytes: usize,
    /// How long the first event of a batch waits for more to come. A source that is known to hold enough to fill the batch
    /// may take longer, up to a quarter of a second.
    pub max_wait: Duration,
}

impl Default for BatchLimits {
    fn default() -> Self {
        Self { max_events: 65_536, max_bytes: 64 << 20, max_wait: Duration::from_millis(5) }
    }
}

/// The schema of [`Batch::rows`](super::Batch::rows): the declared columns named by `columns`, in that order.
#[must_use]
pub fn decoded_schema(config: &SourceConfig) -> SchemaRef {
    let fields: Vec<_> = config.columns.iter().map(|index| config.declared.field(*index).clone()).collect();
    Arc::new(arrow::datatypes::Schema::new(fields))
}
