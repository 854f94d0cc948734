//! Everything that runs: readers, pipelines, commits, rebuilds.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`component`] | which views are committed together |
//! | [`request`] | what a run is asked for, what it can be told, how it ends |
//! | [`supervise`] | starts and ends pipelines, answers commands |
//! | [`drive`] | takes events, decides when to commit, swaps a rebuilt pipeline in; feeds, intakes, the pipeline itself |
//! | [`commit`] | the commit, step by step; state files, crash points for tests |
//! | [`shared`] | what all pipelines of a process share |
//! | [`suspects`] | finds the event on which a pipeline panics |
//! | [`panics`], [`backoff`], [`surroundings`] | panics as errors, waits between attempts, the clock and randomness |

mod backoff;
mod commit;
mod component;
mod drive;
mod panics;
mod request;
mod shared;
mod supervise;
mod surroundings;
mod suspects;
#[cfg(test)]
mod tests;

pub use commit::failpoint::COMMIT_POINTS;
pub(crate) use drive::tallies::events_before;
pub use request::{Command, Outcome, RunRequest};

use crate::error::Error;

/// Runs until shut down, caught up where so asked, or until nothing is left that could run. The caller holds the lock of the
/// data folder, and does not let go of it before the process has ended where the run was cut short.
///
/// # Errors
/// The first error of any pipeline that has not been mended since, once all have ended; the others have gone on in the meantime.
pub async fn run(request: RunRequest) -> Result<Outcome, Error> {
    supervise::Supervisor::start(request)?.run().await
}
