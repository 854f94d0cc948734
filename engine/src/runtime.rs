//! Everything that runs: readers, pipelines, commits and rebuilds.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`component`] | which views are committed together |
//! | [`changes`] | what a change of the SQL asks of the views that serve, and what would be lost |
//! | [`request`] | what a run is asked to do, the commands it takes, its outcome |
//! | [`supervise`] | starts, restarts and stops pipelines; answers commands |
//! | [`drive`] | reads events, decides when to commit, swaps in a rebuilt pipeline; feeds, intakes and the pipeline itself |
//! | [`commit`] | the commit, step by step; state files; crash points for tests |
//! | [`shared`] | what all pipelines of a process share |
//! | [`rebuilder`] | the rebuild of a component that is under way |
//! | [`memory`] | keeps the process within `memory_limit` |
//! | [`suspects`] | finds the event on which a pipeline panics |
//! | [`panics`], [`backoff`], [`surroundings`] | panics as errors, waits between attempts, the clock, randomness and memory |

mod backoff;
mod changes;
mod commit;
mod component;
mod drive;
mod memory;
mod panics;
mod rebuilder;
mod request;
mod shared;
mod supervise;
mod surroundings;
mod suspects;
#[cfg(test)]
mod tests;

pub use changes::{SchemaChange, Step, ViewChange, plan, schema_changes};
pub use commit::failpoint::COMMIT_POINTS;
pub(crate) use component::sources_read;
pub(crate) use drive::aside::CRASH;
pub(crate) use drive::tallies::events_before;
pub use request::{Accept, Command, Outcome, RunRequest};

use std::sync::Arc;

use alluvium_connectors::source::Source;

use crate::error::Error;

/// Runs until it is shut down, has caught up (if the request says so), or has nothing left to run.
///
/// The caller holds the lock of the data folder. After [`Outcome::CutShort`] it must keep the lock until the process ends.
///
/// # Errors
/// The first error of a pipeline that still counts as failed when all pipelines have ended. The others ran on in the meantime.
pub async fn run(request: RunRequest) -> Result<Outcome, Error> {
    supervise::Supervisor::start(request)?.run().await
}

/// Does the same with these sources in place of the declared ones.
///
/// # Errors
/// As [`run`].
pub async fn run_over(request: RunRequest, sources: Vec<Arc<dyn Source>>) -> Result<Outcome, Error> {
    supervise::Supervisor::over(request, sources)?.run().await
}
