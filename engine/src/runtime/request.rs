//! What a run is asked to do, the commands that it takes, and how it ends.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::error::Error;
use crate::project::Project;
use crate::status::Board;

/// What a view may lose that is made anew, from least to most.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Accept {
    /// Nothing that the version that serves has applied.
    #[default]
    Nothing,
    /// What only a stream had that is not there any more, or has lost events that were not read: the version that serves has stopped.
    AnotherStream,
    /// Whatever the sources no longer hold.
    Loss,
}

/// What `run` asks for, and `rebuild` where no engine is running.
#[derive(Debug)]
pub struct RunRequest {
    /// The project to run.
    pub project: Arc<Project>,
    /// End when every view has applied everything that its sources held when it started.
    pub until_caught_up: bool,
    /// Rebuild these views from the first event, whatever their checkpoints say.
    pub rebuild: Vec<String>,
    /// What views may lose that are made anew.
    pub accept: Accept,
    /// Dead-letter keys of versions of views whose rebuild meets the events again that were kept from them. Its swap decides which stay.
    pub meet_again: BTreeSet<String>,
    /// Run only the pipelines of these views; all if empty.
    pub only: Vec<String>,
    /// Shows the status of every view.
    pub board: Arc<Board>,
    /// Commands for the running engine.
    pub commands: mpsc::Receiver<Command>,
    /// When cancelled, the run commits and ends.
    pub shutdown: CancellationToken,
}

/// A command to a running engine.
#[derive(Debug)]
pub enum Command {
    /// Rebuild a view. Answered as soon as the rebuild has begun or was refused.
    Rebuild {
        /// The view.
        view: String,
        /// What it may lose.
        accept: Accept,
        /// The answer.
        reply: oneshot::Sender<Result<(), Error>>,
    },
    /// Restart the pipeline of a view that has failed or waits to be restarted. Answered when it has begun or was refused.
    Restart {
        /// The view.
        view: String,
        /// The answer.
        reply: oneshot::Sender<Result<(), Error>>,
    },
    /// Remove a view whose SQL file is gone. Answered when it is removed or was refused.
    Drop {
        /// The view.
        view: String,
        /// The answer.
        reply: oneshot::Sender<Result<(), Error>>,
    },
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Everything applied is committed.
    Complete,
    /// The shutdown took longer than `shutdown_timeout`: pipelines are still at work, and their work is lost when the process ends. All
    /// commits are whole.
    CutShort,
}
