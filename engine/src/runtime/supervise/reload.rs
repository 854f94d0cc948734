//! What a rebuild of a running engine takes from the disk: the SQL of its component as it stands there now.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Supervisor;
use crate::error::Error;
use crate::record::newest_records;
use crate::runtime::changes::schema_changes;
use crate::runtime::component::Component;
use crate::runtime::shared::Shared;

impl Supervisor {
    /// Under which SQL a component is made anew: what the process was started with, or what a rebuild has read since.
    pub(super) fn shared_of(&self, whole: &str) -> Arc<Shared> {
        Arc::clone(self.reloaded.get(whole).unwrap_or(&self.shared))
    }

    /// Reads the SQL files again for the component of a view, and gives the component's name.
    ///
    /// # Errors
    /// SQL that does not load, and a change that a running engine cannot take in: which views there are, and which of them are committed
    /// together, is settled at the start.
    pub(super) fn reload(&mut self, view: &str) -> Result<String, Error> {
        let project = Arc::new(self.shared.project().read_again()?);
        let sources = project.connect()?;
        schema_changes(&project, &newest_records(&project.layout())?)?;
        let read_once = sources.iter().filter(|source| source.promises().read_once).map(|source| source.config().name.clone());
        let mut components = Component::all(&project.catalog, &read_once.collect()).into_iter();
        let declared = components.find(|component| component.holds(view));
        let known = self.components.iter().position(|component| component.holds(view));
        let (index, component) = match (known, declared) {
            (Some(index), Some(component)) => (index, component),
            (None, None) => return Err(Error::config(format!("there is no view {view}"), "`alluvium status` lists the views")),
            (None, Some(_)) => {
                let message = format!("view {view} is not run yet: its SQL was written after the engine was started");
                return Err(Error::config(message, "start the engine again to take it in"));
            }
            (Some(_), None) => {
                let message = format!("no SQL file declares view {view} any more");
                return Err(Error::config(message, format!("start the engine again, then `alluvium drop {view}` removes it")));
            }
        };
        let running = &self.components[index];
        let whole = running.name().to_owned();
        if names(running) != names(&component) || component.name() != whole {
            let (now, then) = (listed(&component), listed(running));
            return Err(Error::config(
                format!("the SQL files have {now} committed together now, and the engine was started with {then}"),
                "start the engine again to take that in",
            ));
        }
        if self.is_rebuilding(&whole) {
            return Ok(whole);
        }
        for view in &component.views {
            self.shared.board().declare(&view.name, component.sources_behind(&view.name));
        }
        if is_alike(&component, &self.shared) {
            self.reloaded.remove(&whole);
        } else {
            self.reloaded.insert(whole.clone(), Arc::new(self.shared.under(project, sources)));
        }
        self.components[index] = component;
        Ok(whole)
    }
}

/// Whether a component is what the process was started with.
fn is_alike(component: &Component, shared: &Shared) -> bool {
    component.views.iter().all(|view| {
        let started = shared.project().catalog.views.iter().find(|started| started.name == view.name);
        started.is_some_and(|started| started.plan.fingerprint == view.plan.fingerprint && started.options == view.options)
    })
}

fn names(component: &Component) -> BTreeSet<&str> {
    component.views.iter().map(|view| view.name.as_str()).collect()
}

fn listed(component: &Component) -> String {
    names(component).into_iter().collect::<Vec<_>>().join(", ")
}
