//! What every view is doing now. The [`Board`] owns the status of all views, `health` tells whether sources answer, `staleness` how old
//! a view may be, [`failures`] what stopped a view in the last run, `set_aside` which events a run set aside, `warnings` what looks like
//! a mistake though nothing failed, and [`words`] says it all to people.

mod board;
pub mod failures;
mod health;
mod set_aside;
mod staleness;
mod warnings;
pub mod words;

use std::collections::BTreeMap;
use std::time::Duration;

use alluvium_connectors::source::Gap;
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
    /// Not running. The status is that of the last commit.
    Stopped,
    /// Reading events that its sources already held.
    CatchingUp,
    /// At the end of its sources.
    Live,
    /// The old view serves while a new one is built.
    Rebuilding,
    /// One of its sources is away, so nobody knows how far it is behind.
    Disconnected,
    /// An error occurred, named by `error`. The pipeline tries again.
    Retrying,
    /// An error stopped it.
    Failed,
    /// Its SQL file is gone. Its data stays.
    Orphaned,
}

/// A view's progress in one source.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceStatus {
    /// The committed offset: all events before it are committed.
    pub offset: u64,
    /// The next sequence to apply; at or after the committed offset while the engine runs.
    #[serde(default)]
    pub applied: u64,
    /// One past the source's last known sequence.
    pub end: u64,
    /// When the newest applied event was stored, in nanoseconds since the Unix epoch, if known.
    pub newest_ns: Option<i64>,
    /// When everything in the source was last known to be committed, in nanoseconds since the Unix epoch.
    #[serde(default)]
    pub current_ns: Option<i64>,
    /// How many events, good and bad, the view has read since its first one; 0 if it reads the source through another view.
    #[serde(default)]
    pub events: u64,
    /// How many of them were set aside and are not in the view.
    #[serde(default)]
    pub set_aside: u64,
    /// How many sequences the source no longer held when the view was to read them, and which the view goes on without.
    #[serde(default)]
    pub missing: u64,
}

/// What a verification has found of a view.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verification {
    /// `equal`, or what is wrong, or why it cannot tell.
    pub verdict: String,
    /// Whether the view differs from its SQL.
    pub differs: bool,
    /// Whether it could tell.
    pub known: bool,
    /// When it ended, in milliseconds since the epoch.
    pub at_ms: u64,
    /// By source: the committed offset that was verified.
    pub offsets: BTreeMap<String, u64>,
}

/// The status of one view.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ViewStatus {
    /// Its name.
    pub view: String,
    /// What it is doing.
    pub phase: Phase,
    /// The epoch of its last commit; `None` before the first.
    pub epoch: Option<u64>,
    /// Its progress, by source.
    pub sources: BTreeMap<String, SourceStatus>,
    /// How many rows it has.
    pub rows: u64,
    /// How many Parquet parts it has.
    pub parts: u64,
    /// The size of its parts, in bytes.
    pub bytes: u64,
    /// Rows of operator state.
    pub state_rows: u64,
    /// The size of its operator state in memory, in bytes. For a stopped view, that of the files.
    pub state_bytes: u64,
    /// When it was last committed, in milliseconds since the Unix epoch.
    pub committed_ms: Option<u64>,
    /// An upper bound on the age, in seconds, of the oldest event that its sources hold and it has not committed; 0 if there is none.
    /// `None` while a source is away, or if a source does not say when its events were stored.
    #[serde(default)]
    pub staleness_seconds: Option<f64>,
    /// Dead letters since the start of this process.
    pub dead_letters: u64,
    /// Rows left out since the start of this process because an expression failed on them and no single event produced them.
    #[serde(default)]
    pub left_out: u64,
    /// The error that stopped it, or after which it tries again.
    pub error: Option<String>,
    /// How often its pipeline was restarted after an error since the start of this process.
    #[serde(default)]
    pub restarts: u64,
    /// What looks like a mistake of the declaration though nothing fails.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// By source: what the source no longer held when the view was to read it, and which the view goes on without.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub gaps: BTreeMap<String, Vec<Gap>>,
    /// What the last verification by `verify_interval` of this process found.
    #[serde(default)]
    pub verification: Option<Verification>,
    /// The progress of a rebuild that is under way, by source.
    pub rebuild: BTreeMap<String, SourceStatus>,
    /// The error that stopped its last rebuild, or after which the rebuild tries again. The old version goes on serving.
    #[serde(default)]
    pub rebuild_error: Option<String>,
    /// Why a new version of it does not take its place: what would be lost. The version that serves goes on.
    #[serde(default)]
    pub held: Option<String>,
}

impl ViewStatus {
    /// Says what looks like a mistake, by what the view has read of its sources, each up to an offset.
    pub fn warn<'a>(&mut self, read: impl IntoIterator<Item = (&'a String, &'a Tally, u64)>) {
        self.warnings = read.into_iter().flat_map(|(source, tally, offset)| warnings::warnings(source, tally, offset)).collect();
    }

    /// Shows the counts of what the view has read of a source.
    pub(crate) fn show_read(&mut self, source: &str, tally: &Tally) {
        let place = self.sources.entry(source.to_owned()).or_default();
        (place.events, place.set_aside, place.missing) = (tally.events, tally.set_aside, tally.missing);
        match tally.gaps.as_slice() {
            [] => drop(self.gaps.remove(source)),
            gaps => drop(self.gaps.insert(source.to_owned(), gaps.to_vec())),
        }
    }

    /// The status of a view about which nothing is known yet.
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
            gaps: BTreeMap::new(),
            verification: None,
            left_out: 0,
            error: None,
            restarts: 0,
            warnings: Vec::new(),
            rebuild: BTreeMap::new(),
            rebuild_error: None,
            held: None,
        }
    }
}

/// What one commit of a pipeline did, for the board and the metrics.
#[derive(Debug, Clone, Default)]
pub struct Committed {
    /// The epoch.
    pub epoch: u64,
    /// When it was committed, in milliseconds since the Unix epoch.
    pub committed_ms: u64,
    /// How long it took, until it was published and swept.
    pub took: Duration,
    /// The committed offset of each source.
    pub offsets: BTreeMap<String, u64>,
    /// By source: when the newest applied event was stored, in nanoseconds since the Unix epoch, if known.
    pub newest_ns: BTreeMap<String, i64>,
    /// Each view of the pipeline.
    pub views: Vec<CommittedView>,
    /// Each dead letter that was kept.
    pub dead_letters: Vec<KeptLetter>,
}

/// What is counted of a dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptLetter {
    /// Its source.
    pub source: String,
    /// The views that could not apply it, by `, `; none where no view of the source could.
    pub view: Option<String>,
    /// Its kind.
    pub kind: &'static str,
}

/// What one commit did to one view.
#[derive(Debug, Clone, Default)]
pub struct CommittedView {
    /// Its name.
    pub view: String,
    /// Rows of the view after the commit.
    pub rows: u64,
    /// Its Parquet parts.
    pub parts: u64,
    /// Bytes of its parts.
    pub bytes: u64,
    /// Rows of operator state.
    pub state_rows: u64,
    /// Bytes of operator state in memory.
    pub state_bytes: u64,
    /// Bytes of operator state that the commit wrote.
    pub state_written: u64,
    /// Bytes of Parquet files that the commit wrote.
    pub view_written: u64,
    /// Dead letters about the view since the last commit.
    pub dead_letters: u64,
    /// Rows left out since the last commit because an expression failed on them.
    pub left_out: LeftOut,
    /// By source: the events that it read since the last commit.
    pub read: BTreeMap<String, ReadEvents>,
    /// By source: counts of the events since its first one.
    pub tallies: BTreeMap<String, Tally>,
}
