//! Starts and ends pipelines, swaps rebuilt ones in, answers commands.
//!
//! Each pipeline runs on a thread of its own: its operators compute for long stretches, and what the server, the readers and the
//! other pipelines do must not wait for them.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use alluvium_connectors::dead_letters::DeadLetterFolder;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::commit::repair;
use super::component::{Component, views_read};
use super::driver::{Driver, Role, TakeOver};
use super::pipeline::Pipeline;
use super::shared::Shared;
use super::{Command, RunRequest};
use crate::checkpoint::{FORMAT, Record, Store, drop_view};
use crate::error::Error;
use crate::layout::Layout;
use crate::settings::OnStreamChange;
use crate::status::{Phase, ViewStatus, failures};

/// A pipeline's end.
struct Ended {
    /// Which start it was.
    task: u64,
    result: Result<(), Error>,
}

/// A pipeline that runs.
struct Running {
    component: Component,
    /// The component that it belongs to, whole.
    whole: String,
    rebuilds: bool,
    stop: CancellationToken,
}

/// What holds for a component while it is rebuilt.
struct Swap {
    /// Pipelines of it that have to end before the swap.
    waits_for: BTreeSet<u64>,
    reply: oneshot::Sender<()>,
}

pub(super) struct Supervisor {
    shared: Arc<Shared>,
    components: Vec<Component>,
    rebuilding: BTreeMap<String, Arc<AtomicBool>>,
    running: BTreeMap<u64, Running>,
    swaps: BTreeMap<String, Swap>,
    next_task: u64,
    until_caught_up: bool,
    commands: mpsc::Receiver<Command>,
    shutdown: CancellationToken,
    ended: (mpsc::UnboundedSender<Ended>, mpsc::UnboundedReceiver<Ended>),
    take_overs: (mpsc::Sender<TakeOver>, mpsc::Receiver<TakeOver>),
    first_error: Option<Error>,
}

/// What the supervisor wakes up for.
enum Wake {
    Ended(Ended),
    TakeOver(TakeOver),
    Command(Command),
    Shutdown,
}

impl Supervisor {
    /// Opens the store, mends what a crash left, and starts every pipeline.
    pub(super) async fn start(request: RunRequest) -> Result<Supervisor, Error> {
        let layout = Layout::new(&request.project.settings.data);
        let store = Store::open(&layout)?;
        let letters = DeadLetterFolder::open(&layout.dead_letters())?;
        let shared = Arc::new(Shared::new(Arc::clone(&request.project), layout, store, Arc::clone(&request.board), letters)?);
        let records: BTreeMap<String, Record> =
            shared.store.records()?.into_iter().map(|record| (record.view.clone(), record)).collect();
        let staged: HashSet<String> = records.values().flat_map(|record| record.dead_letters.iter().cloned()).collect();
        shared.dead_letters().recover(&staged)?;
        for record in records.values() {
            repair(&shared, record)?;
        }
        let mut components = Component::all(&request.project.catalog, &shared.read_once());
        if !request.only.is_empty() {
            components.retain(|component| request.only.iter().any(|view| component.holds(view)));
        }
        for view in &request.rebuild {
            shared.store.request_rebuild(view)?;
        }
        let mut supervisor = Supervisor {
            shared,
            components,
            rebuilding: BTreeMap::new(),
            running: BTreeMap::new(),
            swaps: BTreeMap::new(),
            next_task: 0,
            until_caught_up: request.until_caught_up,
            commands: request.commands,
            shutdown: request.shutdown,
            ended: mpsc::unbounded_channel(),
            take_overs: mpsc::channel(64),
            first_error: None,
        };
        supervisor.show(&records);
        supervisor.keep_failures();
        let requested: BTreeSet<String> = supervisor.shared.store.rebuilds_requested()?.into_iter().collect();
        for component in supervisor.components.clone() {
            supervisor.start_component(&component, &records, &requested, true);
        }
        Ok(supervisor)
    }

    /// Puts every recorded and every declared view on the board.
    fn show(&self, records: &BTreeMap<String, Record>) {
        for status in crate::checkpoint::read_records(&self.shared.layout).unwrap_or_default() {
            let declared = self.components.iter().any(|component| component.holds(&status.view));
            if records.contains_key(&status.view) {
                self.shared.board.update(&status.view.clone(), |shown| {
                    *shown = status;
                    shown.phase = if declared { Phase::CatchingUp } else { Phase::Orphaned };
                });
            }
        }
        for view in self.components.iter().flat_map(|component| &component.views) {
            self.shared.board.update(&view.name, |_| {});
        }
    }

    /// Keeps what stopped views of this run, for when it has ended.
    fn keep_failures(&self) {
        let mut views: Vec<ViewStatus> = self.shared.board.all();
        views.retain(|status| self.components.iter().any(|component| component.holds(&status.view)));
        failures::keep(&self.shared.layout, &views);
    }

    /// Starts what a component needs: its pipeline, or the pipelines of the views that can go on and a rebuild beside them.
    fn start_component(
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
            // One reader cannot give one view the first event and another what comes next.
            changed = component.views.iter().map(|view| view.name.clone()).collect();
        }
        let anew = component.downstream(&changed);
        if mains {
            // What is to be rebuilt stays as its last commit left it: its stream may not be the one of its checkpoint any more.
            let views: BTreeSet<&str> = usable.keys().map(String::as_str).filter(|view| !anew.contains(*view)).collect();
            for part in component.parts_of(&views, &read_once) {
                self.spawn_main(part, &whole, Some(usable.clone()));
            }
        }
        if !anew.is_empty() {
            self.spawn_rebuild(component.clone(), usable, anew);
        }
    }

    fn spawn_main(&mut self, component: Component, whole: &str, records: Option<BTreeMap<String, Record>>) {
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
        self.rebuilding.entry(whole.clone()).or_default().store(true, Ordering::SeqCst);
        for view in &anew {
            tracing::info!(view, "rebuilding from the first event");
            self.shared.board.update(view, |status| status.phase = Phase::Rebuilding);
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
        let rebuilding = Arc::clone(self.rebuilding.entry(whole.to_owned()).or_default());
        let default = self.shared.project.settings.commit_interval;
        let interval =
            component.views.iter().map(|view| view.options.commit_interval.unwrap_or(default)).min().unwrap_or(default);
        let until_caught_up = self.until_caught_up;
        self.running.insert(
            task,
            Running { component, whole: whole.to_owned(), rebuilds: matches!(role, Role::Rebuild { .. }), stop: stop.clone() },
        );
        let ended = self.ended.0.clone();
        let handle = tokio::runtime::Handle::current();
        tokio::task::spawn_blocking(move || {
            let result = handle.block_on(async move {
                let pipeline = tokio::select! {
                    () = stop.cancelled() => return Ok(()),
                    pipeline = assemble => pipeline?,
                };
                Driver { pipeline, role, interval, until_caught_up, rebuilding, stop }.run().await
            });
            // The supervisor may have gone with the process.
            let _ = ended.send(Ended { task, result });
        });
    }

    /// Until every pipeline has ended.
    pub(super) async fn run(mut self) -> Result<(), Error> {
        let mut commands_open = true;
        while !self.running.is_empty() {
            let wake = tokio::select! {
                biased;
                Some(ended) = self.ended.1.recv() => Wake::Ended(ended),
                Some(take_over) = self.take_overs.1.recv() => Wake::TakeOver(take_over),
                command = self.commands.recv(), if commands_open => match command {
                    Some(command) => Wake::Command(command),
                    None => { commands_open = false; continue }
                },
                () = self.shutdown.cancelled(), if !self.swaps.is_empty() => Wake::Shutdown,
            };
            match wake {
                Wake::Ended(ended) => self.take_end(ended)?,
                Wake::TakeOver(take_over) => self.begin_swap(take_over),
                Wake::Command(command) => self.obey(command),
                // Dropping the replies tells the rebuilt pipelines that there will be no swap.
                Wake::Shutdown => self.swaps.clear(),
            }
        }
        self.keep_failures();
        self.first_error.take().map_or(Ok(()), Err)
    }

    /// A pipeline has ended: a swap may have waited for it, or it failed.
    fn take_end(&mut self, ended: Ended) -> Result<(), Error> {
        let Some(running) = self.running.remove(&ended.task) else { return Ok(()) };
        if running.rebuilds
            && let Some(flag) = self.rebuilding.get(&running.whole)
        {
            flag.store(false, Ordering::SeqCst);
        }
        if let Err(error) = ended.result {
            self.take_error(&running, error)?;
        }
        let ready = self.swaps.get_mut(&running.whole).is_some_and(|swap| {
            swap.waits_for.remove(&ended.task);
            swap.waits_for.is_empty()
        });
        if ready && let Some(swap) = self.swaps.remove(&running.whole) {
            let _ = swap.reply.send(());
        }
        Ok(())
    }

    fn take_error(&mut self, running: &Running, error: Error) -> Result<(), Error> {
        let stream_changed =
            matches!(&error, Error::Source { error, .. } if matches!(**error, alluvium_connectors::Error::StreamChanged { .. }));
        for view in &running.component.views {
            self.shared.board.update(&view.name, |status| {
                status.phase = Phase::Failed;
                status.error = Some(error.to_string());
            });
        }
        self.keep_failures();
        if stream_changed && self.shared.project.settings.on_stream_change == OnStreamChange::Rebuild {
            tracing::warn!(pipeline = running.component.name(), %error, "the stream changed: rebuilding, as the settings say");
            // A rebuild that is under way reads the same stream: when it fails too, it is begun again.
            if self.is_rebuilding(&running.whole) {
                return Ok(());
            }
            let whole = self.components.iter().find(|component| component.name() == running.whole);
            let names = whole.unwrap_or(&running.component).views.iter().map(|view| view.name.clone()).collect();
            return self.rebuild(&running.whole, &names);
        }
        tracing::error!(pipeline = running.component.name(), %error, "stopped");
        self.first_error.get_or_insert(error);
        Ok(())
    }

    /// A rebuilt pipeline has caught up: the ones that it replaces are stopped, and it is told when they have ended.
    fn begin_swap(&mut self, take_over: TakeOver) {
        let replaced = self.running.iter().filter(|(_, running)| running.whole == take_over.component && !running.rebuilds);
        let waits_for: BTreeSet<u64> = replaced
            .map(|(task, running)| {
                running.stop.cancel();
                *task
            })
            .collect();
        // From here on the rebuilt one is what runs: another rebuild may begin, and will replace it.
        for running in self.running.values_mut().filter(|running| running.whole == take_over.component) {
            running.rebuilds = false;
        }
        if waits_for.is_empty() {
            let _ = take_over.reply.send(());
        } else {
            self.swaps.insert(take_over.component, Swap { waits_for, reply: take_over.reply });
        }
    }

    fn obey(&mut self, command: Command) {
        // Whoever asked may have hung up.
        match command {
            Command::Rebuild { view, reply } => {
                let _ = reply.send(self.rebuild_view(&view));
            }
            Command::Drop { view, reply } => {
                let _ = reply.send(self.drop_view(&view));
            }
        }
    }

    fn rebuild_view(&mut self, view: &str) -> Result<(), Error> {
        let Some(component) = self.components.iter().find(|component| component.holds(view)) else {
            return Err(Error::config(format!("there is no view {view}"), "`alluvium status` lists the views"));
        };
        let whole = component.name().to_owned();
        self.rebuild(&whole, &BTreeSet::from([view.to_owned()]))
    }

    fn is_rebuilding(&self, whole: &str) -> bool {
        self.running.values().any(|running| running.whole == whole && running.rebuilds)
    }

    fn rebuild(&mut self, whole: &str, views: &BTreeSet<String>) -> Result<(), Error> {
        if self.is_rebuilding(whole) {
            return Err(Error::config(
                format!("a rebuild of {whole} and the views committed with it is under way"),
                "wait until it has been swapped in; `alluvium status` shows how far it is",
            ));
        }
        let Some(component) = self.components.iter().find(|component| component.name() == whole).cloned() else {
            return Err(Error::bug(format!("there is no pipeline {whole}")));
        };
        for view in views {
            self.shared.store.request_rebuild(view)?;
        }
        let records: BTreeMap<String, Record> =
            self.shared.store.records()?.into_iter().map(|record| (record.view.clone(), record)).collect();
        self.start_component(&component, &records, views, false);
        Ok(())
    }

    fn drop_view(&mut self, view: &str) -> Result<(), Error> {
        if self.shared.project.catalog.views.iter().any(|one| one.name == view) {
            return Err(Error::config(
                format!("view {view} is declared by a SQL file"),
                "remove its statement and start the engine again, then drop it",
            ));
        }
        if self.shared.store.record(view)?.is_none() {
            return Err(Error::config(format!("there is no view {view}"), "`alluvium status` lists the views"));
        }
        drop_view(&self.shared.layout, &self.shared.store, view)?;
        self.shared.board.remove(view);
        Ok(())
    }
}

/// The records from which views can go on: of this format and this version of the view, and at the same positions as the records
/// of the views that it reads, which must be usable too.
fn usable_records(component: &Component, records: &BTreeMap<String, Record>) -> BTreeMap<String, Record> {
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
