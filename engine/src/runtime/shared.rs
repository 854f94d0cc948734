//! What all pipelines of a process share, and what those share that run under the same SQL.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use alluvium_connectors::dead_letters::DeadLetterFolder;
use alluvium_connectors::sink::parquet::ParquetSink;
use alluvium_connectors::source::{Source, SourceConfig};

use super::drive::feed::Feed;
use super::drive::tallies::Warnings;
use super::memory::Memory;
use super::surroundings::Surroundings;
use crate::layout::Layout;
use crate::project::Project;
use crate::record::Store;
use crate::settings::Settings;
use crate::status::Board;

/// The SQL, its sources, and what the process has once.
pub(crate) struct Shared {
    project: Arc<Project>,
    feeds: BTreeMap<String, Feed>,
    process: Arc<Process>,
    /// Dead-letter keys of versions of views that meet the events again that were kept from them.
    met_again: BTreeSet<String>,
}

/// The folder, its store and the board.
struct Process {
    layout: Layout,
    store: Store,
    board: Arc<Board>,
    /// Locked from the staging of dead letters until the commit that names them, so that each is kept once, however many pipelines read
    /// its event.
    dead_letters: Mutex<DeadLetterFolder>,
    warnings: Warnings,
    surroundings: Arc<dyn Surroundings>,
    memory: Arc<Memory>,
}

impl Shared {
    /// Starts a feed for each source. Connects to nothing: a feed reads only when it has a subscriber.
    pub(crate) fn new(
        project: Arc<Project>,
        sources: Vec<Arc<dyn Source>>,
        layout: Layout,
        store: Store,
        board: Arc<Board>,
        dead_letters: DeadLetterFolder,
        surroundings: Arc<dyn Surroundings>,
    ) -> Shared {
        let feeds = feeds(sources);
        board.watch(feeds.values().map(|feed: &Feed| Arc::clone(feed.source())));
        let (dead_letters, warnings) = (Mutex::new(dead_letters), Warnings::default());
        let memory = Arc::new(Memory::new(project.settings.memory_limit.bytes(), Arc::clone(&surroundings)));
        let process = Arc::new(Process { layout, store, board, dead_letters, warnings, surroundings, memory });
        Shared { project, feeds, process, met_again: BTreeSet::new() }
    }

    /// Lets the versions of views with these dead-letter keys meet the events again that were kept from them.
    pub(crate) fn meet_again(&mut self, keys: BTreeSet<String>) {
        self.met_again = keys;
    }

    /// Whether the version of a view with this dead-letter key meets the events again that were kept from it.
    pub(crate) fn meets_again(&self, key: &str) -> bool {
        self.met_again.contains(key)
    }

    /// The same process under other SQL, with feeds of its own.
    pub(crate) fn under(&self, project: Arc<Project>, sources: impl IntoIterator<Item = Arc<dyn Source>>) -> Shared {
        let feeds = feeds(sources);
        self.process.board.watch_beside(feeds.values().map(Feed::source));
        Shared { project, feeds, process: Arc::clone(&self.process), met_again: BTreeSet::new() }
    }

    /// The project: its SQL files and settings.
    pub(crate) fn project(&self) -> &Project {
        &self.project
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.project.settings
    }

    /// The declaration of a source.
    pub(crate) fn source(&self, name: &str) -> Option<&SourceConfig> {
        self.project.sources.get(name)
    }

    /// The paths of the data folder.
    pub(crate) fn layout(&self) -> &Layout {
        &self.process.layout
    }

    /// Where commits are recorded.
    pub(crate) fn store(&self) -> &Store {
        &self.process.store
    }

    /// The board with the status of every view.
    pub(crate) fn board(&self) -> &Board {
        &self.process.board
    }

    /// What keeps the process within `memory_limit`.
    pub(crate) fn memory(&self) -> &Arc<Memory> {
        &self.process.memory
    }

    /// The clock and the randomness.
    pub(crate) fn surroundings(&self) -> Arc<dyn Surroundings> {
        Arc::clone(&self.process.surroundings)
    }

    /// The declared sources.
    pub(crate) fn sources(&self) -> BTreeMap<String, Arc<dyn Source>> {
        self.feeds.iter().map(|(name, feed)| (name.clone(), Arc::clone(feed.source()))).collect()
    }

    /// The feed of a declared source.
    pub(crate) fn feed(&self, source: &str) -> Result<&Feed, crate::Error> {
        self.feeds.get(source).ok_or_else(|| crate::Error::bug(format!("source {source} has no feed")))
    }

    /// The sink of a view.
    pub(crate) fn sink(&self, view: &str) -> ParquetSink {
        ParquetSink::new(self.process.layout.view(view), self.project.retention(view))
    }

    /// The sources that can be read only once.
    pub(crate) fn read_once(&self) -> BTreeSet<String> {
        self.feeds.iter().filter(|(_, feed)| feed.source().promises().read_once).map(|(name, _)| name.clone()).collect()
    }

    /// The times of the last warnings about events that were set aside.
    pub(crate) fn warnings(&self) -> &Warnings {
        &self.process.warnings
    }

    /// Locks the dead letters. The caller holds the lock while it stages and commits some.
    pub(crate) fn dead_letters(&self) -> MutexGuard<'_, DeadLetterFolder> {
        self.process.dead_letters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn feeds(sources: impl IntoIterator<Item = Arc<dyn Source>>) -> BTreeMap<String, Feed> {
    sources.into_iter().map(|source| (source.config().name.clone(), Feed::start(source))).collect()
}
