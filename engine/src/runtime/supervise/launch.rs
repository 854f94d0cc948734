//! Starts the pipelines that a component needs, each on its own thread.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::{Ended, Running, Supervisor};
use crate::error::Error;
use crate::record::{FORMAT, Record};
use crate::runtime::component::{Component, views_read};
use crate::runtime::drive::pipeline::Pipeline;
use crate::runtime::drive::{Driver, Role};
use crate::runtime::panics::catching;

impl Supervisor {
    /// Starts a component's pipeline if none of its views has a record. Otherwise starts a rebuild if some views need one and, with
    /// `mains`, the pipelines of the views that can go on. Broken views, and views that read them, stay as they are until they are rebuilt.
    pub(super) fn start_component(
        &mut self,
        component: &Component,
        records: &BTreeMap<String, Record>,
        requested: &BTreeSet<String>,
        mains: bool,
    ) {
        let whole = component.name().to_owned();
        if component.views.iter().all(|view| !records.contains_key(&view.name)) {
            return self.spawn_main(component.clone(), &whole, None);
        }
        let read_once = self.shared.read_once();
        let usable = usable_records(component, records);
        let mut changed: BTreeSet<String> = component
            .views
            .iter()
            .map(|view| view.name.clone())
            .filter(|view| !usable.contains_key(view) || requested.contains(view))
            .collect();
        let once = component.sources().iter().any(|source| read_once.contains(source));
        if once && !changed.is_empty() {
            // A source that is read once cannot start over for some of the views only.
            changed = component.views.iter().map(|view| view.name.clone()).collect();
        }
        let anew = component.downstream(&changed);
        if mains {
            // A view that is to be rebuilt stays at its last commit: its stream may no longer be that of its checkpoint.
            let idle = component.downstream(&self.broken.iter().filter(|view| component.holds(view)).cloned().collect());
            let runs = |view: &&str| !anew.contains(*view) && !idle.contains(*view);
            let views: BTreeSet<&str> = usable.keys().map(String::as_str).filter(runs).collect();
            for part in component.parts_of(&views, &read_once) {
                self.spawn_main(part, &whole, Some(usable.clone()));
            }
        }
        if !anew.is_empty() {
            self.spawn_rebuild(component.clone(), usable, anew);
        }
    }

    /// Starts a pipeline whose commits readers see, from its records or from nothing.
    pub(super) fn spawn_main(&mut self, component: Component, whole: &str, records: Option<BTreeMap<String, Record>>) {
        let shared = Arc::clone(&self.shared);
        let pieces = component.clone();
        self.spawn(component, whole, Role::Main, async move {
            match records {
                Some(records) => Pipeline::restore(shared, pieces, &records).await,
                None => Pipeline::new(shared, pieces).await,
            }
        });
    }

    fn spawn_rebuild(&mut self, component: Component, usable: BTreeMap<String, Record>, anew: BTreeSet<String>) {
        let whole = component.name().to_owned();
        self.rebuilder(&whole).store(self.next_task, Ordering::SeqCst);
        for view in &anew {
            tracing::info!(view, "rebuilding from the first event");
            self.shared.board().rebuild_began(view);
        }
        let role = Role::Rebuild { take_over: self.take_overs.0.clone() };
        let shared = Arc::clone(&self.shared);
        let pieces = component.clone();
        self.spawn(component, &whole, role, async move { Pipeline::rebuild(shared, pieces, &usable, &anew).await });
    }

    fn spawn(
        &mut self,
        component: Component,
        whole: &str,
        role: Role,
        assemble: impl Future<Output = Result<Pipeline, Error>> + Send + 'static,
    ) {
        let task = self.next_task;
        self.next_task += 1;
        let stop = self.shutdown.child_token();
        let rebuilder = self.rebuilder(whole);
        let interval = self.interval(&component);
        let until_caught_up = self.until_caught_up;
        let suspects = self.suspects.get(component.name()).cloned().unwrap_or_default();
        let rebuilds = matches!(role, Role::Rebuild { .. });
        let name = component.name().to_owned();
        let (ended, stopped) = (self.ended.0.clone(), stop.clone());
        let handle = tokio::runtime::Handle::current();
        let run = move || {
            let work = async move {
                let pipeline = tokio::select! {
                    () = stopped.cancelled() => return Ok(()),
                    pipeline = assemble => pipeline?,
                };
                Driver { pipeline, role, interval, until_caught_up, rebuilder, stop: stopped, suspects }.run().await
            };
            let result = catching(|| handle.block_on(work))
                .unwrap_or_else(|panic| Err(Error::Panic { view: name, events: panic.events, message: panic.message }));
            // The supervisor may be gone when the process ends.
            let _ = ended.send(Ended { task, result });
        };
        let thread = std::thread::Builder::new().name(component.name().to_owned()).spawn(run);
        let thread = thread.map_err(|error| {
            let help = "see the limits of this user (ulimit -u)";
            let error = Error::unavailable(format!("starting a thread for {}: {error}", component.name()), help);
            let _ = self.ended.0.send(Ended { task, result: Err(error) });
        });
        let running = Running { component, whole: whole.to_owned(), rebuilds, began: Instant::now(), stop, thread: thread.ok() };
        self.running.insert(task, running);
    }

    /// Returns the shortest commit interval of the views.
    fn interval(&self, component: &Component) -> Duration {
        let default = self.shared.settings().commit_interval;
        component.views.iter().map(|view| view.options.commit_interval.unwrap_or(default)).min().unwrap_or(default)
    }
}

/// Returns the records from which views can go on. Such a record has the present format and the view's present fingerprint. It is at the
/// same positions as the records of the views that it reads, which must be usable too.
pub(super) fn usable_records(component: &Component, records: &BTreeMap<String, Record>) -> BTreeMap<String, Record> {
    let mut usable: BTreeMap<String, Record> = BTreeMap::new();
    for view in &component.views {
        let Some(record) = records.get(&view.name) else { continue };
        let together = views_read(view).all(|upstream| {
            usable.get(upstream).is_some_and(|upstream| {
                upstream.positions.iter().all(|(source, position)| record.positions.get(source).is_none_or(|own| own == position))
            })
        });
        if record.format == FORMAT && record.fingerprint == view.plan.fingerprint && together {
            usable.insert(view.name.clone(), record.clone());
        }
    }
    usable
}
