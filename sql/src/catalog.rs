//! All `.sql` files of a folder as one catalog.

mod diagnose;
mod functions;
mod load;
mod order;
mod sources;
pub(crate) mod statements;
mod types;
mod views;
pub(crate) mod watermarks;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;

use crate::error::{Errors, Location};
use crate::plan::{Node, Op, ViewPlan};

pub use diagnose::query_error;
pub(crate) use types::nearest_type;

/// A file's name, as messages give it, and its text. Printed without the text: it may hold credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct SqlFile {
    /// The path.
    pub path: String,
    /// Its text.
    pub text: String,
}

impl fmt::Debug for SqlFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlFile").field("path", &self.path).finish_non_exhaustive()
    }
}

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

/// `CREATE MATERIALIZED VIEW`.
#[derive(Debug, Clone)]
pub struct View {
    /// Its name.
    pub name: String,
    /// WITH.
    pub options: ViewOptions,
    /// Its statement's text, without the semicolon.
    pub sql: String,
    /// How it is kept up to date.
    pub plan: Arc<ViewPlan>,
    /// Where the statement stands.
    pub at: Location,
}

/// Everything that a folder declares.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    /// By name.
    pub sources: BTreeMap<String, Source>,
    /// Each after the views that it reads.
    pub views: Vec<View>,
}

impl Catalog {
    /// Parses and plans every statement of every file, in any order of files and statements.
    ///
    /// # Errors
    /// All that is wrong, each with its place.
    pub fn load(files: &[SqlFile]) -> Result<Catalog, Errors> {
        load::load(files)
    }

    /// Indexes into a source's schema of the columns that some view reads, rising. Never empty for a source that a view
    /// reads: where a query reads no column at all (`count(*)`), it may be empty.
    #[must_use]
    pub fn columns_read(&self, source: &str) -> BTreeSet<usize> {
        let mut columns = BTreeSet::new();
        for view in &self.views {
            scanned(&view.plan.root, source, &mut columns);
        }
        columns
    }
}

fn scanned(node: &Node, source: &str, columns: &mut BTreeSet<usize>) {
    if let Op::Scan { relation, projection, .. } = &node.op
        && relation == source
    {
        columns.extend(projection);
    }
    for input in &node.inputs {
        scanned(input, source, columns);
    }
}

#[cfg(test)]
mod tests;
