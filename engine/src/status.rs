//! What every view is doing now: the types that are shown, the [`Board`] that owns them, the `health` of sources, the `staleness` of
//! views, in [`failures`] what stopped a view in the last run, and what a run has set aside ([`ReadEvents`]).

mod board;
pub mod failures;
mod health;
mod set_aside;
mod staleness;

use std::collections::BTreeMap;
use std::time::Duration;

use alluvium_projections::LeftOut;
use serde::{Deserialize, Serialize};

pub use board::Board;
pub use health::SourceHealth;
pub use set_aside::{ReadEvents, SetAside};

use crate::record::Tally;

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
    /// A source of it is away: what it shows may be older than it seems, and nobody knows by how much.
    Disconnected,
    /// Something went wrong: it is tried again, and `error` says what it was.
    Retrying,
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
    /// When the source was last known to hold nothing that was not committed, nanoseconds since the epoch.
    #[serde(default)]
    pub current_ns: Option<i64>,
    /// Events of the source that the view has read since its first one, good and bad; 0 where it reads them through another view.
    #[serde(default)]
    pub events: u64,
    /// Those of them that were set aside: they are not in the view.
    #[serde(default)]
    pub set_aside: u64,
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
    /// At most the age, in seconds, of the oldest event that a source of it is known to hold and that it has not committed; 0 where there
    /// is none. None while a source is away, and where a source does not say when its events were stored.
    #[serde(default)]
    pub staleness_seconds: Option<f64>,
    /// Dead letters since the start of this process.
    pub dead_letters: u64,
    /// Rows left out since the start of this process, because an expression fails on them and no event can be named.
    #[serde(default)]
    pub left_out: u64,
    /// What stopped it, or what it is tried again after.
    pub error: Option<String>,
    /// Times that its pipeline was started again after an error, since the start of this process.
    #[serde(default)]
    pub restarts: u64,
    /// Of a rebuild under way: offset reached, by source.
    pub rebuild: BTreeMap<String, SourceStatus>,
    /// What the last rebuild failed with, or is tried again after; the view that serves goes on.
    #[serde(default)]
    pub rebuild_error: Option<String>,
}

impl ViewStatus {
    /// Of a view of which nothing is known yet.
    pub fn new(view: impl Into<String>, phase: Phase) -> ViewStatus {
        ViewStatus {
            view: view.into(),
            phase,
            epoch: None,
            sources: BTreeMap::new(),
            rows: 0,
            parts: 0,
            bytes: 0,
            state_rows: 0,
            state_bytes: 0,
            committed_ms: None,
            staleness_seconds: None,
            dead_letters: 0,
            left_out: 0,
            error: None,
            restarts: 0,
            rebuild: BTreeMap::new(),
            rebuild_error: None,
        }
    }
}

/// What one commit of a pipeline did: told to the board and to the metrics.
#[derive(Debug, Clone, Default)]
pub struct Committed {
    /// The epoch.
    pub epoch: u64,
    /// When, milliseconds since the epoch of Unix.
    pub committed_ms: u64,
    /// From the beginning of the commit until it was published.
    pub took: Duration,
    /// The committed offset of each source.
    pub offsets: BTreeMap<String, u64>,
    /// When the newest applied event of each source was stored, nanoseconds since the epoch, where known.
    pub newest_ns: BTreeMap<String, i64>,
    /// Each view of the pipeline.
    pub views: Vec<CommittedView>,
    /// Source and kind of each dead letter that was kept.
    pub dead_letters: Vec<(String, &'static str)>,
}

/// What one commit did to one view.
#[derive(Debug, Clone, Default)]
pub struct CommittedView {
    /// Its name.
    pub view: String,
    /// Rows of the view after it.
    pub rows: u64,
    /// Its Parquet parts.
    pub parts: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Rows of operator state.
    pub state_rows: u64,
    /// Bytes of operator state in memory.
    pub state_bytes: u64,
    /// Bytes of operator state that were written.
    pub state_written: u64,
    /// Bytes of Parquet files that were written.
    pub view_written: u64,
    /// Dead letters that concern it.
    pub dead_letters: u64,
    /// Rows that it left out since the commit before, because an expression fails on them.
    pub left_out: LeftOut,
    /// What it has read of each source since the commit before.
    pub read: BTreeMap<String, ReadEvents>,
    /// The same since its first event.
    pub tallies: BTreeMap<String, Tally>,
}
