//! A folder: settings and SQL files, loaded and checked.

use std::collections::BTreeMap;
use std::path::PathBuf;

use alluvium_connectors::source::SourceConfig;
use alluvium_sql::Catalog;

use crate::settings::Settings;

/// A loaded folder.
#[derive(Debug, Clone)]
pub struct Project {
    /// The folder.
    pub dir: PathBuf,
    /// Its settings.
    pub settings: Settings,
    /// What its SQL files declare.
    pub catalog: Catalog,
    /// For each source that some view reads: what to connect to, with options merged from the SQL text, `alluvium.toml` and
    /// the environment.
    pub sources: BTreeMap<String, SourceConfig>,
}
