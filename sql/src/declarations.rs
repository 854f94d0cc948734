//! What the statements of a folder declare, before anything is planned: sources, and the options of views.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use arrow::datatypes::SchemaRef;

use crate::file::Location;

/// `CREATE EXTERNAL TABLE`. Printed without its location and the values of its options: they may be credentials.
#[derive(Clone)]
pub struct Source {
    /// The table's name.
    pub name: String,
    /// All declared columns, in order, those filled from the message among them.
    pub schema: SchemaRef,
    /// The word after STORED AS, upper case.
    pub stored_as: String,
    /// LOCATION.
    pub location: String,
    /// OPTIONS without `watermark`; keys lower case.
    pub options: BTreeMap<String, String>,
    /// The option `watermark`.
    pub watermark: Option<Watermark>,
    /// Where the statement stands.
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

/// How far the time of a source's events has come: the latest time that a column has had, less how late events may come. It only
/// grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watermark {
    /// The index of the column, a TIMESTAMP, in the source's schema.
    pub column: usize,
    /// How late events may come: a whole number of the column's units.
    pub delay: Duration,
}

/// When a view shows the rows of a time window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Emit {
    /// From its first event on, changing with each.
    #[default]
    Changes,
    /// When the watermark has passed its end.
    Final,
}

/// `WITH (...)` of a view.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ViewOptions {
    /// How often changes are committed; none: the folder's default.
    pub commit_interval: Option<Duration>,
    /// How many old snapshots are kept; none: the folder's default.
    pub snapshots_kept: Option<usize>,
    /// When rows are shown.
    pub emit: Emit,
    /// How long after its end, by the watermark, a window stays in the view; none: for ever.
    pub retain: Option<Duration>,
}
