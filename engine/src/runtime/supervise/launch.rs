//! Starts the pipelines that a component needs, each on its own thread.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use alluvium_sql::{THREAD_STACK, listed};

use super::{Ended, Running, Supervisor};
use crate::error::Error;
use crate::record::Record;
use crate::runtime::changes::accepted;
use crate::runtime::changes::kept::Kept;
use crate::runtime::changes::losses::Guard;
use crate::runtime::changes::needs::{Needs, reads_once, usable_records};
use crate::runtime::component::Component;
use crate::runtime::drive::pipeline::Pipeline;
use crate::runtime::drive::{Driver, Role};
use crate::runtime::panics::catching;
use crate::runtime::shared::Shared;

impl Supervisor {
    /// Starts a component's pipeline if none of its views has a record. Otherwise starts a rebuild if some views need one and, with
    /// `mains`, the pipelines of the views that can go on. A view whose SQL has changed goes on under the SQL of its record until its new
    /// version is swapped in. Broken views, and views that read them, stay as they are until they are rebuilt.
    pub(super) fn start_component(
        &mut self,
        component: &Component,
        records: &BTreeMap<String, Record>,
        requested: &BTreeSet<String>,
        mains: bool,
    ) {
        let whole = component.name().to_owned();
        let shared = self.shared_of(&whole);
        if component.views.iter().all(|view| !records.contains_key(&view.name)) {
            return self.spawn_main(&shared, component.clone(), &whole, None);
        }
        let read_once = shared.read_once();
        let Needs { usable, anew } = Needs::of(component, records, requested, &read_once);
        let changed = anew.iter().any(|view| records.contains_key(view) && !usable.contains_key(view));
        let kept = match changed && !reads_once(component, &read_once) {
            true => Kept::of(shared.project(), component, records, &anew),
            false => None,
        };
        if mains {
            // A view whose rebuild was asked for stays at its last commit: its stream may no longer be that of its checkpoint.
            let named = |view: &&String| component.holds(view);
            let idle = self.broken.iter().chain(requested).filter(named).cloned().collect();
            let followed = kept.as_ref().map(|kept| self.follow(kept, component, records, &anew, &idle)).unwrap_or_default();
            let idle = component.downstream(&idle);
            let runs = |view: &&str| !anew.contains(*view) && !idle.contains(*view) && !followed.contains(*view);
            let views: BTreeSet<&str> = usable.keys().map(String::as_str).filter(runs).collect();
            for part in component.parts_of(&views, &read_once) {
                self.spawn_main(&shared, part, &whole, Some(usable.clone()));
            }
        }
        if !anew.is_empty() {
            let accept = accepted(shared.project()).max(self.accepted.get(&whole).copied().unwrap_or_default());
            let guard = Guard { records: records.clone(), anew, kept, accept };
            self.spawn_rebuild(&shared, component.clone(), usable, guard);
        }
    }

    /// Starts the pipelines in which versions go on that serve while the files say something else. Gives the views of these. A version
    /// that read a view of another component stays at its last commit: that view has a pipeline of its own, and two must never write it.
    fn follow(
        &mut self,
        kept: &Kept,
        declared: &Component,
        records: &BTreeMap<String, Record>,
        anew: &BTreeSet<String>,
        idle: &BTreeSet<String>,
    ) -> BTreeSet<String> {
        let shared = Arc::new(self.shared.under(Arc::clone(&kept.project), kept.sources.values().cloned()));
        let mut followed = BTreeSet::new();
        for component in kept.components() {
            let usable = usable_records(&component, records);
            let idle = component.downstream(idle);
            let views = usable.keys().map(String::as_str).filter(|view| !idle.contains(*view)).collect();
            for part in component.parts_of(&views, &BTreeSet::new()) {
                if part.views.iter().any(|view| anew.contains(&view.name)) {
                    if let Some(other) = part.views.iter().find(|view| self.is_of_another(&view.name, declared)) {
                        let views = listed(part.views.iter().map(|view| &view.name));
                        tracing::warn!(
                            views,
                            reads = other.name,
                            "the version that serves stays at its last commit: it reads a view that has a pipeline of its own now"
                        );
                        continue;
                    }
                    followed.extend(part.views.iter().map(|view| view.name.clone()));
                    self.spawn_main(&shared, part, declared.name(), Some(usable.clone()));
                }
            }
        }
        followed
    }

    /// Whether another pipeline writes the view, or is going to: one of another component, or one that runs already.
    fn is_of_another(&self, view: &str, declared: &Component) -> bool {
        declared.leaves_to_another(view, &self.components) || self.is_followed(view)
    }

    /// Starts a pipeline whose commits readers see: from its records, or from nothing. Does nothing if a pipeline writes one of its views
    /// already.
    pub(super) fn spawn_main(
        &mut self,
        shared: &Arc<Shared>,
        component: Component,
        whole: &str,
        records: Option<BTreeMap<String, Record>>,
    ) {
        if let Some(view) = component.views.iter().find(|view| self.is_followed(&view.name)) {
            tracing::error!(view = view.name, "a second pipeline for the view is not started: this is a bug");
            return;
        }
        if !component.is_whole() {
            tracing::error!(pipeline = component.name(), "a pipeline without a view that it reads is not started: this is a bug");
            component.views.iter().for_each(|view| self.shared.board().failed(&view.name, "a view that it reads does not run"));
            return;
        }
        let (pieces, shared) = (component.clone(), Arc::clone(shared));
        self.spawn(component, whole, Role::Main, Arc::clone(&shared), async move {
            match records {
                Some(records) => Pipeline::restore(shared, pieces, &records).await,
                None => Pipeline::new(shared, pieces).await,
            }
        });
    }

    fn spawn_rebuild(&mut self, shared: &Arc<Shared>, component: Component, usable: BTreeMap<String, Record>, guard: Guard) {
        let whole = component.name().to_owned();
        let mut begins_with = usable.clone();
        begins_with.retain(|view, _| !guard.anew.contains(view));
        self.rebuilder(&whole).begin(self.next_task, begins_with);
        for view in &guard.anew {
            tracing::info!(view, "rebuilding from the first event");
            self.shared.board().rebuild_began(view);
        }
        let guard = Arc::new(guard);
        let role = Role::Rebuild { take_over: self.take_overs.0.clone(), whole: whole.clone(), guard: Arc::clone(&guard) };
        let (shared, pieces) = (Arc::clone(shared), component.clone());
        self.spawn(component, &whole, role, Arc::clone(&shared), async move {
            Pipeline::rebuild(shared, pieces, &usable, &guard).await
        });
    }

    fn spawn(
        &mut self,
        component: Component,
        whole: &str,
        role: Role,
        shared: Arc<Shared>,
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
        let thread = std::thread::Builder::new().name(component.name().to_owned()).stack_size(THREAD_STACK).spawn(run);
        let thread = thread.map_err(|error| {
            let help = "see the limits of this user (ulimit -u)";
            let error = Error::unavailable(format!("starting a thread for {}: {error}", component.name()), help);
            let _ = self.ended.0.send(Ended { task, result: Err(error) });
        });
        let (whole, thread) = (whole.to_owned(), thread.ok());
        let running = Running { component, whole, shared, rebuilds, began: Some(Instant::now()), stop, thread };
        self.running.insert(task, running);
    }

    /// Returns the shortest commit interval of the views.
    fn interval(&self, component: &Component) -> Duration {
        let default = self.shared.settings().commit_interval;
        component.views.iter().map(|view| view.options.commit_interval.unwrap_or(default)).min().unwrap_or(default)
    }
}
