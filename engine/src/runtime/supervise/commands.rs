//! The commands that the supervisor answers while it runs: rebuild, restart and drop.

use std::collections::BTreeSet;
use std::time::Instant;

use super::Supervisor;
use crate::error::Error;
use crate::record::{drop_view, may_be_dropped};
use crate::runtime::component::Component;
use crate::runtime::request::{Accept, Command};

impl Supervisor {
    pub(super) fn obey(&mut self, command: Command) {
        // The client may have hung up.
        match command {
            Command::Rebuild { view, accept, reply } => {
                let _ = reply.send(self.rebuild_view(&view, accept));
            }
            Command::Restart { view, reply } => {
                let _ = reply.send(self.restart_view(&view));
            }
            Command::Drop { view, reply } => {
                let _ = reply.send(self.drop_view(&view));
            }
        }
    }

    fn rebuild_view(&mut self, view: &str, accept: Accept) -> Result<(), Error> {
        let whole = self.reload(view)?;
        if !self.is_rebuilding(&whole) {
            self.accepted.insert(whole.clone(), accept.max(Accept::AnotherStream));
        }
        self.rebuild(&whole, &BTreeSet::from([view.to_owned()]))
    }

    /// Rebuilds these views of a component, and those that read them.
    ///
    /// # Errors
    /// A rebuild of the component is already under way.
    pub(super) fn rebuild(&mut self, whole: &str, views: &BTreeSet<String>) -> Result<(), Error> {
        if self.is_rebuilding(whole) {
            return Err(Error::config(
                format!("a rebuild of {whole} and the views committed with it is under way"),
                "wait until it has been swapped in; `alluvium status` shows how far it is",
            ));
        }
        let Some(component) = self.components.iter().find(|component| component.name() == whole).cloned() else {
            return Err(Error::bug(format!("there is no pipeline {whole}")));
        };
        self.rebuilder(whole).may_begin();
        let begun = self.begin_rebuild(&component, views);
        self.rebuilder(whole).decided();
        begun
    }

    fn begin_rebuild(&mut self, component: &Component, views: &BTreeSet<String>) -> Result<(), Error> {
        let whole = component.name();
        let records = self.records()?;
        if component.views.iter().all(|view| !records.contains_key(&view.name) && self.is_followed(&view.name)) {
            return Err(Error::config(
                format!("{whole} has not been committed yet: it is being made from the first event already"),
                "wait for its first commit, or start the engine again",
            ));
        }
        for view in views {
            self.shared.store().request_rebuild(view)?;
        }
        self.start_component(component, &records, views, false);
        Ok(())
    }

    /// Restarts the pipeline of a view that has failed, or that waits to be restarted.
    fn restart_view(&mut self, view: &str) -> Result<(), Error> {
        if let Some(waiting) = self.waiting.iter_mut().find(|waiting| waiting.pipeline.component.holds(view)) {
            waiting.at = Instant::now();
            return Ok(());
        }
        if self.is_followed(view) || self.running.values().any(|running| running.component.holds(view)) {
            return Err(Error::config(
                format!("view {view} is running"),
                "a view is restarted after it has failed; `alluvium rebuild` rebuilds it from the first event",
            ));
        }
        let Some(index) = self.failed.iter().position(|failed| failed.views.contains(view)) else {
            return Err(Error::config(format!("there is no view {view} that has failed"), "`alluvium status` lists the views"));
        };
        let started = self.failed.remove(index);
        let component = &started.pipeline.component;
        let again = match component.views.iter().any(|view| self.is_followed(&view.name)) {
            // The views that these read have gone on. They can only come back together with them.
            true => self.rebuild(&started.pipeline.whole, &started.views),
            false => self.start_again(&started.pipeline),
        };
        if let Err(error) = again {
            self.failed.insert(index, started);
            return Err(error);
        }
        self.troubles.remove(&(started.pipeline.component.name().to_owned(), started.pipeline.rebuilds));
        for view in &started.views {
            self.broken.remove(view);
            self.shared.board().restarted(view);
            self.shared.board().catching_up(view);
        }
        Ok(())
    }

    fn drop_view(&mut self, view: &str) -> Result<(), Error> {
        if self.shared.project().catalog.views.iter().any(|one| one.name == view) {
            return Err(Error::config(
                format!("view {view} is declared by a SQL file"),
                "remove its statement and start the engine again, then drop it",
            ));
        }
        if self.shared.store().record(view)?.is_none() {
            return Err(Error::config(format!("there is no view {view}"), "`alluvium status` lists the views"));
        }
        may_be_dropped(self.shared.store(), view)?;
        drop_view(self.shared.layout(), self.shared.store(), view)?;
        self.shared.board().remove(view);
        Ok(())
    }
}
