//! What the statements of a folder declare, before anything is planned: sources, and the options of views.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use arrow::datatypes::SchemaRef;

use crate::file::Location;

/// `CREATE EXTERNAL TABLE`. `Debug` leaves out its location and the values of its options, which may be credentials.
#[derive(Clone)]
pub struct Source {
    /// The table's name.
    pub name: String,
    /// All declared columns in order, including those filled from the message.
    pub schema: SchemaRef,
    /// The word after STORED AS, in upper case.
    pub stored_as: String,
    /// LOCATION.
    pub location: String,
    /// OPTIONS without `watermark`; keys in lower case.
    pub options: BTreeMap<String, String>,
    /// The option `watermark`.
    pub watermark: Option<Watermark>,
    /// The place of the statement.
    pub at: Location,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source")
            .field("name", &self.name)
            .field("schema", &self.schema)
            .field("stored_as", &self.stored_as)
            .field("options", &self.options.keys())
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}

/// How far the time of a source's events has advanced: the latest time of a column so far, minus how late events may arrive. It
/// never decreases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watermark {
    /// Index of the column, a TIMESTAMP, in the source's schema.
    pub column: usize,
    /// How late events may arrive: a whole number of the column's units.
    pub delay: Duration,
}

/// When a view emits the rows of a time window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Emit {
    /// From its first event on; each event updates them.
    #[default]
    Changes,
    /// Once the watermark has reached its end.
    Final,
}

/// `WITH (...)` of a view.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ViewOptions {
    /// How often changes are committed. `None` means the folder's default.
    pub commit_interval: Option<Duration>,
    /// How many old snapshots are kept. `None` means the folder's default.
    pub snapshots_kept: Option<usize>,
    /// When rows are emitted.
    pub emit: Emit,
    /// How long a window stays in the view after its end, by the watermark. `None` means for ever.
    pub retain: Option<Duration>,
}
