//! `alluvium.toml`, the environment, defaults.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// All settings of a folder; each has a default.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The data folder.
    pub data: PathBuf,
    /// How often changes are committed.
    pub commit_interval: Duration,
    /// Old snapshots kept of each view.
    pub snapshots_kept: usize,
    /// An old snapshot is kept at least this long.
    pub snapshots_min_age: Duration,
    /// Where /metrics listens; none: off.
    pub http: Option<SocketAddr>,
    /// What to do when a stream is not the one of the checkpoint or has lost unread events.
    pub on_stream_change: OnStreamChange,
    /// Events in a micro-batch, at most.
    pub batch_events: usize,
    /// Bytes of bodies in a micro-batch, at most.
    pub batch_bytes: usize,
}

/// The policy for a stream that changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnStreamChange {
    /// The views that read it stop, with an error.
    Stop,
    /// The views that read it are rebuilt from the first event that the stream has.
    Rebuild,
}
