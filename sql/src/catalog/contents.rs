//! What a catalog holds once it is loaded.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::declarations::{Source, ViewOptions};
use crate::file::Location;
use crate::plan::ViewPlan;

/// `CREATE MATERIALIZED VIEW`.
#[derive(Debug, Clone)]
pub struct View {
    /// Its name.
    pub name: String,
    /// The options in WITH.
    pub options: ViewOptions,
    /// The text of its statement, without the semicolon.
    pub sql: String,
    /// How it is maintained.
    pub plan: Arc<ViewPlan>,
    /// The place of the statement.
    pub at: Location,
}

/// Everything that a folder declares.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    /// The sources, by name.
    pub sources: BTreeMap<String, Source>,
    /// The views, each after those that it reads.
    pub views: Vec<View>,
    /// The statement of each function and of each plain view, by name, without the semicolon.
    pub functions: BTreeMap<String, String>,
}

impl Catalog {
    /// Returns the columns of a source that some view reads, as indexes into its schema, ascending. Empty if views read its events
    /// but no columns (`count(*)`), or if no view reads it.
    #[must_use]
    pub fn columns_read(&self, source: &str) -> BTreeSet<usize> {
        self.views.iter().flat_map(|view| view.plan.columns_read.of(source)).collect()
    }
}
