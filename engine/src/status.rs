//! What every view is doing now, and in [`failures`] what stopped it in the last run.

pub mod failures;

use std::collections::BTreeMap;
use std::sync::Mutex;

use serde::{Deserialize, Serialize};

/// The state of one view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Not running: what the last commit left.
    Stopped,
    /// Reading what its sources already held.
    CatchingUp,
    /// At the live end.
    Live,
    /// The old view serves while a new one is built.
    Rebuilding,
    /// An error stopped it.
    Failed,
    /// Its SQL file is gone; its data is left alone.
    Orphaned,
}

/// A view's place in one source.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceStatus {
    /// The committed offset: the next sequence to read.
    pub offset: u64,
    /// The next sequence that is not applied yet; at or after the committed offset while the engine runs.
    #[serde(default)]
    pub applied: u64,
    /// One past the source's last known sequence.
    pub end: u64,
    /// When the newest applied event was stored, nanoseconds since the epoch, where known.
    pub newest_ns: Option<i64>,
}

/// One view.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ViewStatus {
    /// Its name.
    pub view: String,
    /// What it is doing.
    pub phase: Phase,
    /// The last commit; none before the first.
    pub epoch: Option<u64>,
    /// By source.
    pub sources: BTreeMap<String, SourceStatus>,
    /// Rows of the view.
    pub rows: u64,
    /// Its Parquet parts.
    pub parts: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Rows of operator state.
    pub state_rows: u64,
    /// Bytes of operator state in memory (of its files, when stopped).
    pub state_bytes: u64,
    /// When it was last committed, milliseconds since the epoch.
    pub committed_ms: Option<u64>,
    /// Dead letters since the start of this process.
    pub dead_letters: u64,
    /// What stopped it.
    pub error: Option<String>,
    /// Of a rebuild under way: offset reached, by source.
    pub rebuild: BTreeMap<String, SourceStatus>,
}

/// Every view's status, shared by those who write it (the pipelines) and those who show it.
#[derive(Debug, Default)]
pub struct Board {
    views: Mutex<BTreeMap<String, ViewStatus>>,
}

impl Board {
    /// Changes one view's status, making it when it is not there.
    pub fn update(&self, view: &str, change: impl FnOnce(&mut ViewStatus)) {
        let mut views = self.views.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let status = views.entry(view.to_owned()).or_insert_with(|| ViewStatus {
            view: view.to_owned(),
            phase: Phase::CatchingUp,
            epoch: None,
            sources: BTreeMap::new(),
            rows: 0,
            parts: 0,
            bytes: 0,
            state_rows: 0,
            state_bytes: 0,
            committed_ms: None,
            dead_letters: 0,
            error: None,
            rebuild: BTreeMap::new(),
        });
        change(status);
    }

    /// Takes a dropped view off.
    pub fn remove(&self, view: &str) {
        self.views.lock().unwrap_or_else(std::sync::PoisonError::into_inner).remove(view);
    }

    /// A copy of all, by name.
    #[must_use]
    pub fn all(&self) -> Vec<ViewStatus> {
        self.views.lock().unwrap_or_else(std::sync::PoisonError::into_inner).values().cloned().collect()
    }
}
