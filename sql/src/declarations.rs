//! What the statements of a folder declare, before anything is planned: sources, and the options of views.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use arrow::datatypes::{DataType, SchemaRef};

use crate::file::Location;
use crate::set_aside::{MaxDeadLetters, OnError};

/// `CREATE EXTERNAL TABLE`. `Debug` leaves out its location and the values of its options, which may be credentials.
#[derive(Clone)]
pub struct Source {
    /// The table's name.
    pub name: String,
    /// All declared columns in order, including those filled from the message. A source of changes then has the columns that only we read.
    pub schema: SchemaRef,
    /// Where its events are changes of a table's rows: the source stands for the rows as they are now.
    pub changes: Option<Changes>,
    /// Whether a message may hold several events, which share its sequence.
    pub batches: bool,
    /// Where its producers may send an event more than once: the source stands for the first of each.
    pub once: Option<Once>,
    /// The word after STORED AS, in upper case.
    pub stored_as: String,
    /// LOCATION.
    pub location: String,
    /// OPTIONS without `watermark`; keys in lower case.
    pub options: BTreeMap<String, String>,
    /// The option `watermark`.
    pub watermark: Option<Watermark>,
    /// So many columns, the first ones, are those of a schema, and not declared by the statement.
    pub of_schema: usize,
    /// Where columns are those of a schema: what is not read as one would expect, and why.
    pub notes: Vec<String>,
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

/// A source whose events are changes of a table's rows, which a key tells apart. The last change of a key is what counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    /// Indexes into the source's schema: the key, NOT NULL.
    pub key: Vec<usize>,
    /// So many columns of the schema are the table's.
    pub visible: usize,
    /// The index of the column `_sequence`.
    pub sequence: usize,
    /// The index of the column `_ordinal`, if a message may hold several events.
    pub ordinal: Option<usize>,
    /// The index of the column that holds a [`ChangeKind`].
    pub kind: usize,
    /// Whether an event may empty the table.
    pub truncates: bool,
}

/// The header by which NATS itself finds copies.
pub(crate) const MESSAGE_ID: &str = "Nats-Msg-Id";

/// A source whose events may come more than once. Of events with one identifier the first counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Once {
    /// What identifies an event.
    pub id: EventId,
    /// So many columns of the schema are the declared ones.
    pub visible: usize,
    /// The index of the column `_sequence`.
    pub sequence: usize,
    /// The index of the column `_ordinal`, if a message may hold several events.
    pub ordinal: Option<usize>,
    /// An event is taken for a copy where so many sequences or fewer lie between it and the one before it; none: however many.
    pub within: Option<u64>,
}

/// What identifies an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventId {
    /// The column of this index. An event without it is no copy.
    Column(usize),
    /// The header `Nats-Msg-Id`, in the column of this index, a map.
    MessageId(usize),
}

/// What an event does, as the column `_change` holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// The row of the key is this one now.
    Upsert = 0,
    /// There is no row of the key any more.
    Delete = 1,
    /// There is no row any more.
    Truncate = 2,
}

impl ChangeKind {
    /// The type of the column.
    pub const DATA_TYPE: DataType = DataType::Int8;
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
    /// What becomes of an event that the view cannot apply; none: what its source says.
    pub on_error: Option<OnError>,
    /// The share of events that may be set aside before the view stops; none: what its source says.
    pub max_dead_letters: Option<MaxDeadLetters>,
}
