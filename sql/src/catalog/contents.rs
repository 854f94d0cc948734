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
    /// Indexes into a source's schema of the columns that some view reads, rising. Empty where views read its events but none of its
    /// columns (`count(*)`), and where no view reads it.
    #[must_use]
    pub fn columns_read(&self, source: &str) -> BTreeSet<usize> {
        self.views.iter().flat_map(|view| view.plan.columns_read.of(source)).collect()
    }
}
