//! The SQL of a view as it was when it was committed: what the view needs to go on when the files say something else.

use std::collections::BTreeMap;

use alluvium_connectors::decode::KeptSchema;
use alluvium_sql::{RelationKind, View};
use serde::{Deserialize, Serialize};

use crate::project::Project;
use crate::settings::is_credential;

/// The statements behind one view, without semicolons. Those of views that it reads stand in their own records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Definition {
    /// Its own.
    pub view: String,
    /// Of each source that it reads directly, without credentials.
    pub sources: BTreeMap<String, String>,
    /// Of the functions that these statements may call.
    pub functions: BTreeMap<String, String>,
    /// The views that it reads directly.
    pub reads: Vec<String>,
    /// Of each of these sources that has a schema in files: the files.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub schemas: BTreeMap<String, Vec<KeptSchema>>,
}

impl Definition {
    /// Of a view of a project; none where a source's text cannot be had, which does not happen.
    #[must_use]
    pub fn of(project: &Project, view: &View) -> Option<Definition> {
        let (catalog, mut sources, mut schemas) = (&project.catalog, BTreeMap::new(), BTreeMap::new());
        let mut reads = Vec::new();
        for (kind, name) in &view.plan.reads {
            match kind {
                RelationKind::View => reads.push(name.clone()),
                RelationKind::Source => {
                    let statement = catalog.sources.get(name)?.statement_without(is_credential)?;
                    sources.insert(name.clone(), statement);
                    schemas.extend(project.schemas.get(name).map(|kept| (name.clone(), kept.clone())));
                }
            }
        }
        let functions = called(&view.sql, &catalog.functions);
        Some(Definition { functions, view: view.sql.clone(), sources, reads, schemas })
    }
}

/// The functions whose names stand in a text, and in those of these functions.
fn called(text: &str, functions: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    let mut unread = vec![text];
    while let Some(text) = unread.pop() {
        let text = text.to_lowercase();
        for (name, statement) in functions {
            if text.contains(&name.to_lowercase()) && !found.contains_key(name) {
                found.insert(name.clone(), statement.clone());
                unread.push(statement);
            }
        }
    }
    found
}
