//! What all pipelines of a process share.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use alluvium_connectors::dead_letters::DeadLetterFolder;
use alluvium_connectors::sink::parquet::{ParquetSink, Retention};
use alluvium_connectors::source::{Source, SourceConfig};

use super::drive::feed::Feed;
use super::drive::tallies::Warnings;
use super::surroundings::Surroundings;
use crate::layout::Layout;
use crate::project::Project;
use crate::record::Store;
use crate::settings::Settings;
use crate::status::Board;

/// The project, its data folder, store and sources, and the board.
pub(crate) struct Shared {
    project: Arc<Project>,
    layout: Layout,
    store: Store,
    board: Arc<Board>,
    feeds: BTreeMap<String, Feed>,
    /// Locked from the staging of dead letters until the commit that names them, so that each is kept once, however many pipelines read
    /// its event.
    dead_letters: Mutex<DeadLetterFolder>,
    warnings: Warnings,
    surroundings: Arc<dyn Surroundings>,
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
        let mut feeds = BTreeMap::new();
        for source in sources {
            feeds.insert(source.config().name.clone(), Feed::start(source));
        }
        board.watch(feeds.values().map(|feed: &Feed| Arc::clone(feed.source())));
        let (dead_letters, warnings) = (Mutex::new(dead_letters), Warnings::default());
        Shared { project, layout, store, board, feeds, dead_letters, warnings, surroundings }
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
        &self.layout
    }

    /// Where commits are recorded.
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// The board with the status of every view.
    pub(crate) fn board(&self) -> &Board {
        &self.board
    }

    /// The clock and the randomness.
    pub(crate) fn surroundings(&self) -> Arc<dyn Surroundings> {
        Arc::clone(&self.surroundings)
    }

    /// The feed of a declared source.
    pub(crate) fn feed(&self, source: &str) -> Result<&Feed, crate::Error> {
        self.feeds.get(source).ok_or_else(|| crate::Error::bug(format!("source {source} has no feed")))
    }

    /// The sink of a view.
    pub(crate) fn sink(&self, view: &str) -> ParquetSink {
        let settings = &self.project.settings;
        let declared = self.project.catalog.views.iter().find(|declared| declared.name == view);
        let kept = declared.and_then(|declared| declared.options.snapshots_kept).unwrap_or(settings.snapshots_kept);
        ParquetSink::new(self.layout.view(view), Retention { kept, min_age: settings.snapshots_min_age })
    }

    /// The sources that can be read only once.
    pub(crate) fn read_once(&self) -> BTreeSet<String> {
        self.feeds.iter().filter(|(_, feed)| feed.source().promises().read_once).map(|(name, _)| name.clone()).collect()
    }

    /// The times of the last warnings about events that were set aside.
    pub(crate) fn warnings(&self) -> &Warnings {
        &self.warnings
    }

    /// Locks the dead letters. The caller holds the lock while it stages and commits some.
    pub(crate) fn dead_letters(&self) -> MutexGuard<'_, DeadLetterFolder> {
        self.dead_letters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
