//! What a run is asked for, what it can be told meanwhile, and how it ends.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::error::Error;
use crate::project::Project;
use crate::status::Board;

/// What `run` (and `rebuild` without a running engine) asks for.
#[derive(Debug)]
pub struct RunRequest {
    /// The folder.
    pub project: Arc<Project>,
    /// End when every view has applied all that its sources held when it started.
    pub until_caught_up: bool,
    /// Rebuild these views from the first event, whatever their checkpoint says.
    pub rebuild: Vec<String>,
    /// Run only the pipelines of these views; empty: all.
    pub only: Vec<String>,
    /// Where every view's status is shown.
    pub board: Arc<Board>,
    /// Commands while it runs.
    pub commands: mpsc::Receiver<Command>,
    /// Commit and end.
    pub shutdown: CancellationToken,
}

/// What a running engine can be told.
#[derive(Debug)]
pub enum Command {
    /// Rebuild a view; answered as soon as it has begun or was refused.
    Rebuild {
        /// The view.
        view: String,
        /// The answer.
        reply: oneshot::Sender<Result<(), Error>>,
    },
    /// Start the pipeline of a view again that has failed or waits to be tried again; answered when it has begun or was refused.
    Restart {
        /// The view.
        view: String,
        /// The answer.
        reply: oneshot::Sender<Result<(), Error>>,
    },
    /// Remove a view whose SQL file is gone; answered when it is removed or was refused.
    Drop {
        /// The view.
        view: String,
        /// The answer.
        reply: oneshot::Sender<Result<(), Error>>,
    },
}

/// How a run has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Everything that was applied is committed.
    Complete,
    /// The time that a shutdown may take was over: pipelines are still at work, and their work is lost when the process ends. What was
    /// committed is whole.
    CutShort,
}
