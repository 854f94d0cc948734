//! The SQL of records: a project under which the versions of views that serve go on, while the files say something else.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use alluvium_connectors::source::Source;
use alluvium_sql::SqlFile;

use super::needs::usable_records;
use crate::project::{Beside, Project, catalog_of};
use crate::record::{Definition, Record};
use crate::runtime::component::Component;

/// The versions that serve, of the views of one component and of those that they read.
pub(crate) struct Kept {
    /// Only its catalog and its sources are of the records; the settings are those of the files.
    pub(crate) project: Arc<Project>,
    pub(crate) sources: BTreeMap<String, Arc<dyn Source>>,
}

impl Kept {
    /// What the records say of a component of which the views in `anew` are to be made anew; none where none of these can go on: an
    /// earlier release kept no SQL, or planned it otherwise.
    pub(crate) fn of(
        project: &Project,
        component: &Component,
        records: &BTreeMap<String, Record>,
        anew: &BTreeSet<String>,
    ) -> Option<Kept> {
        let definitions = definitions(project, component, records, anew);
        let files = files(&definitions, anew);
        let fingerprints = records.iter().map(|(view, record)| (view.clone(), record.fingerprint.clone())).collect();
        let beside = Beside { settings: &project.settings, present: Some(&project.catalog), fingerprints };
        let catalog = match catalog_of(&files, &project.dir, &beside) {
            Ok(catalog) => catalog,
            Err(errors) => {
                tracing::warn!(views = component.name(), %errors, "the SQL of the last commit does not load any more");
                return None;
            }
        };
        let goes_on = |component: &Component| usable_records(component, records).keys().any(|view| anew.contains(view));
        if !Component::all(&catalog, &BTreeSet::new()).iter().any(goes_on) {
            return None;
        }
        let project = Arc::new(project.with_kept(catalog));
        match project.connect() {
            Ok(sources) => {
                let sources = sources.into_iter().map(|source| (source.config().name.clone(), source)).collect();
                Some(Kept { project, sources })
            }
            Err(error) => {
                tracing::warn!(views = component.name(), %error, "the sources of the last commit cannot be opened any more");
                None
            }
        }
    }

    /// The components of the versions that serve.
    pub(crate) fn components(&self) -> Vec<Component> {
        Component::all(&self.project.catalog, &BTreeSet::new())
    }
}

/// Of each view that has a record and whose upstream has one: of those that stay as they are, as the files have it.
fn definitions(
    project: &Project,
    component: &Component,
    records: &BTreeMap<String, Record>,
    anew: &BTreeSet<String>,
) -> BTreeMap<String, Definition> {
    let mut found: BTreeMap<String, Definition> = BTreeMap::new();
    let mut wanted: Vec<String> = component.views.iter().map(|view| view.name.clone()).collect();
    while let Some(name) = wanted.pop() {
        let Some(record) = records.get(&name).filter(|_| !found.contains_key(&name)) else { continue };
        let as_it_is = component.views.iter().find(|view| view.name == name && !anew.contains(&name));
        let definition = match as_it_is {
            Some(view) => Definition::of(project, view),
            None => record.definition.clone(),
        };
        if let Some(definition) = definition {
            // A view that it reads may have been removed from the files.
            wanted.extend(definition.reads.iter().cloned());
            found.insert(name, definition);
        }
    }
    loop {
        let before = found.len();
        let known: BTreeSet<String> = found.keys().cloned().collect();
        found.retain(|_, definition| definition.reads.iter().all(|read| known.contains(read)));
        if found.len() == before {
            return found;
        }
    }
}

/// A file for each statement. Where versions declare a source or a function otherwise, that of the views in `anew` counts.
fn files(definitions: &BTreeMap<String, Definition>, anew: &BTreeSet<String>) -> Vec<SqlFile> {
    let mut statements: BTreeMap<String, &str> = BTreeMap::new();
    for changed in [false, true] {
        for (view, definition) in definitions.iter().filter(|(view, _)| anew.contains(*view) == changed) {
            statements.insert(format!("view {view}"), &definition.view);
            statements.extend(definition.sources.iter().map(|(name, text)| (format!("source {name}"), text.as_str())));
            statements.extend(definition.functions.iter().map(|(name, text)| (format!("function {name}"), text.as_str())));
        }
    }
    let file = |(name, text): (String, &str)| SqlFile { path: format!("the last commit: {name}"), text: format!("{text};\n") };
    statements.into_iter().map(file).collect()
}
