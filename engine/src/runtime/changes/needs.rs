//! Which views of a component go on from their records, and which are made anew.

use std::collections::{BTreeMap, BTreeSet};

use crate::record::Record;
use crate::runtime::component::{Component, views_read};

/// Of one component.
pub(crate) struct Needs {
    /// The records from which views can go on.
    pub(crate) usable: BTreeMap<String, Record>,
    /// The views that are made anew, with those that read them.
    pub(crate) anew: BTreeSet<String>,
}

impl Needs {
    /// `requested` are views whose rebuild was asked for, `read_once` the sources of which there can be only one reader.
    pub(crate) fn of(
        component: &Component,
        records: &BTreeMap<String, Record>,
        requested: &BTreeSet<String>,
        read_once: &BTreeSet<String>,
    ) -> Needs {
        let usable = usable_records(component, records);
        let mut changed: BTreeSet<String> = component
            .views
            .iter()
            .map(|view| view.name.clone())
            .filter(|view| !usable.contains_key(view) || requested.contains(view))
            .collect();
        if !changed.is_empty() && reads_once(component, read_once) {
            // One reader cannot give one view the first event and another what comes next.
            changed = component.views.iter().map(|view| view.name.clone()).collect();
        }
        Needs { usable, anew: component.downstream(&changed) }
    }
}

/// Whether a source of the component can have only one reader.
pub(crate) fn reads_once(component: &Component, read_once: &BTreeSet<String>) -> bool {
    component.sources().iter().any(|source| read_once.contains(source))
}

/// The records from which views can go on: of this format and this version of the view, and at the same positions as the records
/// of the views that it reads, which must be usable too.
pub(crate) fn usable_records(component: &Component, records: &BTreeMap<String, Record>) -> BTreeMap<String, Record> {
    let mut usable: BTreeMap<String, Record> = BTreeMap::new();
    for view in &component.views {
        let Some(record) = records.get(&view.name) else { continue };
        let together = views_read(view).all(|upstream| {
            usable.get(upstream).is_some_and(|upstream| {
                upstream.positions.iter().all(|(source, position)| record.positions.get(source).is_none_or(|own| own == position))
            })
        });
        if record.is_readable() && record.fingerprint == view.plan.fingerprint && together {
            usable.insert(view.name.clone(), record.clone());
        }
    }
    usable
}
