//! Everything that runs: readers, pipelines, commits, rebuilds.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`feed`], [`intake`] | one live reader a source, and each pipeline's way to it |
//! | [`component`] | which views are committed together |
//! | [`pipeline`], [`assemble`] | the operators of such views; from nothing, from a checkpoint, for a rebuild |
//! | [`driver`] | takes events, decides when to commit, swaps a rebuilt pipeline in |
//! | [`commit`], [`state_files`] | the commit, step by step |
//! | [`supervisor`] | starts and ends pipelines, answers commands |
//! | [`failpoint`] | crash points for tests |

mod assemble;
mod commit;
mod component;
mod driver;
pub mod failpoint;
mod feed;
mod intake;
mod pipeline;
mod shared;
mod state_files;
mod supervisor;

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
    /// Remove a view whose SQL file is gone; answered when it is removed or was refused.
    Drop {
        /// The view.
        view: String,
        /// The answer.
        reply: oneshot::Sender<Result<(), Error>>,
    },
}

/// Runs until shut down, caught up where so asked, or until nothing is left that could run. The caller holds the lock of the
/// data folder.
///
/// # Errors
/// The first error of any pipeline, once all have ended; the others have gone on in the meantime.
pub async fn run(request: RunRequest) -> Result<(), Error> {
    supervisor::Supervisor::start(request).await?.run().await
}
