//! Starts and stops pipelines, restarts those that fail, swaps in rebuilt ones, and answers commands.
//!
//! Each pipeline runs on its own thread: its operators compute for long stretches, and the server, the readers and the other pipelines
//! must not wait for them. Every thread is joined, and a panic on it is an error like any other. [`policy`] decides what happens after
//! an error.

mod commands;
mod ended;
mod launch;
mod policy;
mod reload;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use alluvium_connectors::dead_letters::DeadLetterFolder;
use alluvium_connectors::source::Source;
use alluvium_sql::listed;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use self::policy::Troubles;
use super::backoff::Backoff;
use super::commit::{make_room, repair};
use super::component::Component;
use super::drive::TakeOver;
use super::memory;
use super::panics;
use super::rebuilder::Rebuilder;
use super::request::{Accept, Command, Outcome, RunRequest};
use super::shared::Shared;
use super::surroundings::Machine;
use super::suspects::Suspects;
use crate::error::{Error, Kind};
use crate::layout::Layout;
use crate::record::{Record, Store};
use crate::status::{ViewStatus, failures};

/// The end of a pipeline.
struct Ended {
    /// The task number of the start that ended.
    task: u64,
    result: Result<(), Error>,
}

/// A pipeline that runs, waits to run again, or has failed.
struct Running {
    component: Component,
    /// The name of the whole component that it belongs to.
    whole: String,
    /// Under which SQL it runs.
    shared: Arc<Shared>,
    /// It was started to rebuild the component. It may have been swapped in since.
    rebuilds: bool,
    /// Since when it runs; `None` while it waits.
    began: Option<Instant>,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

/// A pipeline that will be restarted at a set time.
struct Waiting {
    at: Instant,
    task: u64,
    pipeline: Running,
}

/// A pipeline that has failed, and the error that stopped it.
struct Failed {
    pipeline: Running,
    /// The views that it stopped; others of the component may be running.
    views: BTreeSet<String>,
    error: Error,
}

/// A component's swap that is under way.
struct Swap {
    /// The tasks of its pipelines that have to end before the swap.
    waits_for: BTreeSet<u64>,
    reply: oneshot::Sender<()>,
}

pub(super) struct Supervisor {
    shared: Arc<Shared>,
    components: Vec<Component>,
    /// Under which SQL components are made anew whose files were read again since the start, by the component's name.
    reloaded: BTreeMap<String, Arc<Shared>>,
    /// By component name.
    rebuilders: BTreeMap<String, Arc<Rebuilder>>,
    running: BTreeMap<u64, Running>,
    waiting: Vec<Waiting>,
    failed: Vec<Failed>,
    /// Views whose last commit could not be published again at start.
    broken: BTreeSet<String>,
    /// By the pipeline's name and whether it rebuilds.
    troubles: BTreeMap<(String, bool), Troubles>,
    /// By the pipeline's name: where it has panicked.
    suspects: BTreeMap<String, Suspects>,
    swaps: BTreeMap<String, Swap>,
    next_task: u64,
    until_caught_up: bool,
    /// By the component's name: what the rebuild under way may lose. Each later request sets it again.
    accepted: BTreeMap<String, Accept>,
    commands: mpsc::Receiver<Command>,
    shutdown: CancellationToken,
    ended: (mpsc::UnboundedSender<Ended>, mpsc::UnboundedReceiver<Ended>),
    take_overs: (mpsc::Sender<TakeOver>, mpsc::Receiver<TakeOver>),
}

/// What the supervisor wakes up for.
enum Wake {
    Ended(Ended),
    TakeOver(TakeOver),
    Command(Command),
    /// Measure the memory of the process.
    Measure,
    /// A waiting pipeline is due.
    Due,
    Shutdown,
    /// `shutdown_timeout` is over.
    Overdue,
}

impl Supervisor {
    /// Opens the store, repairs what a crash left, and starts every pipeline.
    pub(super) fn start(request: RunRequest) -> Result<Supervisor, Error> {
        let sources = request.project.connect()?;
        Supervisor::over(request, sources)
    }

    /// Does the same with these sources in place of the declared ones.
    pub(super) fn over(request: RunRequest, sources: Vec<Arc<dyn Source>>) -> Result<Supervisor, Error> {
        panics::install_hook();
        let layout = Layout::new(&request.project.settings.data);
        make_room(&layout, &request.project, |_| true);
        let store = Store::open(&layout)?;
        let letters = DeadLetterFolder::open(&layout.dead_letters())?;
        let (project, board) = (Arc::clone(&request.project), Arc::clone(&request.board));
        let mut shared = Shared::new(project, sources, layout, store, board, letters, Arc::new(Machine));
        shared.meet_again(request.meet_again);
        let shared = Arc::new(shared);
        let mut components = Component::all(&request.project.catalog, &shared.read_once());
        if !request.only.is_empty() {
            components.retain(|component| request.only.iter().any(|view| component.holds(view)));
        }
        for view in &request.rebuild {
            shared.store().request_rebuild(view)?;
        }
        let mut supervisor = Supervisor {
            shared,
            components,
            reloaded: BTreeMap::new(),
            rebuilders: BTreeMap::new(),
            running: BTreeMap::new(),
            waiting: Vec::new(),
            failed: Vec::new(),
            broken: BTreeSet::new(),
            troubles: BTreeMap::new(),
            suspects: BTreeMap::new(),
            swaps: BTreeMap::new(),
            next_task: 1,
            until_caught_up: request.until_caught_up,
            accepted: BTreeMap::new(),
            commands: request.commands,
            shutdown: request.shutdown,
            ended: mpsc::unbounded_channel(),
            take_overs: mpsc::channel(64),
        };
        let records = supervisor.recover_letters()?;
        supervisor.show(&records);
        let waiting = supervisor.repair(&records);
        supervisor.keep_failures();
        let requested: BTreeSet<String> = supervisor.shared.store().rebuilds_requested()?.into_iter().collect();
        for component in supervisor.components.clone() {
            let is_requested = component.views.iter().any(|view| requested.contains(&view.name));
            let asked = if is_requested { Accept::AnotherStream } else { Accept::default() };
            supervisor.accepted.insert(component.name().to_owned(), request.accept.max(asked));
            if !waiting.contains(component.name()) {
                let rebuilder = supervisor.rebuilder(component.name());
                rebuilder.may_begin();
                supervisor.start_component(&component, &records, &requested, true);
                rebuilder.decided();
            }
        }
        Ok(supervisor)
    }

    /// Returns the last record of each view.
    fn records(&self) -> Result<BTreeMap<String, Record>, Error> {
        Ok(self.shared.store().records()?.into_iter().map(|record| (record.view.clone(), record)).collect())
    }

    /// Publishes dead letters that were committed but not published, and removes those that were not committed. Returns the last record
    /// of each view.
    fn recover_letters(&self) -> Result<BTreeMap<String, Record>, Error> {
        // The lock comes before the records are read: a commit in between would stage letters that the records read here do not name.
        let letters = self.shared.dead_letters();
        let records = self.records()?;
        let staged: HashSet<String> = records.values().flat_map(|record| record.dead_letters.iter().cloned()).collect();
        letters.recover(&staged)?;
        Ok(records)
    }

    /// Shows every recorded and every declared view on the board.
    fn show(&self, records: &BTreeMap<String, Record>) {
        let declared = |view: &str| self.components.iter().any(|component| component.holds(view));
        for record in records.values() {
            self.shared.board().show_recorded(ViewStatus::of_record(record), declared(&record.view));
        }
        for component in &self.components {
            for view in &component.views {
                self.shared.board().declare(&view.name, component.sources_behind(&view.name));
            }
        }
    }

    /// Publishes the last commit of each view again. If that fails for a view, the view and those that read it are failed until they are
    /// rebuilt; the others go on. If the disk is full or fails, the whole component waits, and it is tried again: views that went on alone
    /// would leave the others behind. Returns the names of the components that wait.
    fn repair(&mut self, records: &BTreeMap<String, Record>) -> BTreeSet<String> {
        let mut waiting = BTreeSet::new();
        for (view, record) in records {
            let Err(error) = repair(&self.shared, record) else { continue };
            let Some(component) = self.components.iter().find(|component| component.holds(view)).cloned() else {
                tracing::warn!(view, %error, "the last commit of a view that no SQL file declares cannot be published again");
                continue;
            };
            if error.kind() == Kind::Unavailable {
                if waiting.insert(component.name().to_owned()) {
                    let wait = Backoff::default().wait(self.shared.surroundings().as_ref());
                    let (task, pipeline) = (self.next_task, self.idle(component.clone(), component.name()));
                    self.next_task += 1;
                    self.wait(task, pipeline, &error, wait);
                }
                continue;
            }
            tracing::error!(view, %error, help = error.help(), "the last commit cannot be published again: stopped");
            self.broken.insert(view.clone());
            // The views that read it cannot go on either.
            let readers = component.downstream(&BTreeSet::from([view.clone()]));
            for reader in &readers {
                self.shared.board().failed(reader, &error.to_string());
            }
            let parts = component.parts_of(&readers.iter().map(String::as_str).collect(), &BTreeSet::new());
            // One that reads views outside can only be restarted together with them.
            let only = parts.into_iter().find(|part| part.holds(view) && part.is_whole());
            let whole = component.name().to_owned();
            let pipeline = self.idle(only.unwrap_or(component), &whole);
            self.failed.push(Failed { pipeline, views: readers, error });
        }
        waiting
    }

    /// A pipeline that has not begun to run.
    fn idle(&self, component: Component, whole: &str) -> Running {
        let (whole, shared) = (whole.to_owned(), Arc::clone(&self.shared));
        Running { component, whole, shared, rebuilds: false, began: None, stop: CancellationToken::new(), thread: None }
    }

    /// Saves the errors that stopped views of this run, for readers after it has ended.
    fn keep_failures(&self) {
        let mut views: Vec<ViewStatus> = self.shared.board().all();
        views.retain(|status| self.components.iter().any(|component| component.holds(&status.view)));
        failures::keep(self.shared.layout(), &views);
    }

    /// Runs until every pipeline has ended, or until a shutdown has taken `shutdown_timeout`.
    pub(super) async fn run(mut self) -> Result<Outcome, Error> {
        let mut measure = tokio::time::interval(memory::MEASURE_INTERVAL);
        let mut commands_open = true;
        let mut deadline = None;
        while !self.running.is_empty() || !self.waiting.is_empty() {
            let due = self.waiting.iter().map(|waiting| waiting.at).min();
            let wake = tokio::select! {
                biased;
                Some(ended) = self.ended.1.recv() => Wake::Ended(ended),
                Some(take_over) = self.take_overs.1.recv() => Wake::TakeOver(take_over),
                command = self.commands.recv(), if commands_open => match command {
                    Some(command) => Wake::Command(command),
                    None => { commands_open = false; continue }
                },
                _ = measure.tick() => Wake::Measure,
                () = sleep_until(due) => Wake::Due,
                () = self.shutdown.cancelled(), if deadline.is_none() => Wake::Shutdown,
                () = sleep_until(deadline) => Wake::Overdue,
            };
            match wake {
                Wake::Ended(ended) => self.take_end(ended),
                Wake::TakeOver(take_over) => self.begin_swap(take_over),
                Wake::Command(command) => self.obey(command),
                Wake::Measure => self.shared.memory().measure(),
                Wake::Due => self.start_waiting(),
                Wake::Shutdown => {
                    deadline = Some(Instant::now() + self.shared.settings().shutdown_timeout);
                    // Dropping the replies tells rebuilt pipelines that there will be no swap.
                    self.swaps.clear();
                    self.waiting.clear();
                }
                Wake::Overdue => {
                    tracing::warn!(
                        busy = listed(self.running.values().map(|running| running.component.name())),
                        "the shutdown took too long: uncommitted work is discarded, and its events are read again at the next start"
                    );
                    return Ok(Outcome::CutShort);
                }
            }
        }
        self.keep_failures();
        let board = self.shared.board();
        let lasting = self.failed.into_iter().find(|failed| {
            // A view that was rebuilt or restarted since has not failed any more.
            failed.views.iter().any(|view| board.has_failed(view))
        });
        lasting.map_or(Ok(Outcome::Complete), |failed| Err(failed.error))
    }

    /// Whether a rebuild of the component is under way, from its start until it is swapped in or given up.
    fn is_rebuilding(&self, whole: &str) -> bool {
        self.rebuilders.get(whole).is_some_and(|rebuilder| rebuilder.is_under_way())
    }

    /// Whether this task rebuilds its component and is not yet swapped in.
    fn rebuilds(&self, task: u64, whole: &str) -> bool {
        self.rebuilders.get(whole).is_some_and(|rebuilder| rebuilder.is_done_by(task))
    }

    fn rebuilder(&mut self, whole: &str) -> Arc<Rebuilder> {
        Arc::clone(self.rebuilders.entry(whole.to_owned()).or_default())
    }

    /// Whether a pipeline that follows the view, and does not rebuild it, is running or waits to be restarted.
    fn is_followed(&self, view: &str) -> bool {
        let running =
            self.running.iter().any(|(task, running)| running.component.holds(view) && !self.rebuilds(*task, &running.whole));
        running || self.waiting.iter().any(|waiting| waiting.pipeline.component.holds(view) && !waiting.pipeline.rebuilds)
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
