//! Verifies all views at an interval, beside the engine: on a thread of its own and at low priority. What it finds is on the board.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{Scope, Verdict, Verified, verify};
use crate::error::Error;
use crate::metrics;
use crate::project::Project;
use crate::status::{Board, Verification};

/// Memory for its queries, in bytes.
const MEMORY: usize = 512 << 20;
/// The niceness of its thread, as `nice` counts it.
const NICENESS: i32 = 15;

/// Starts to verify, until `ended`. The first time is one interval from now.
///
/// # Errors
/// No thread can be started.
pub fn start(
    project: Arc<Project>,
    board: Arc<Board>,
    interval: Duration,
    ended: CancellationToken,
) -> Result<JoinHandle<()>, Error> {
    let work = move || {
        // The work is done on this thread alone.
        if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
            tracing::debug!(%error, "the priority of the verification stays as it is");
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        match runtime {
            Ok(runtime) => {
                let repeated = || runtime.block_on(repeat(&project, &board, interval, &ended));
                while std::panic::catch_unwind(AssertUnwindSafe(repeated)).is_err() {
                    fail(&project, &board, "internal error: it panicked; see the log");
                }
            }
            Err(error) => tracing::error!(%error, "views are not verified: no runtime for it"),
        }
    };
    let thread = std::thread::Builder::new().name("verify".to_owned()).stack_size(alluvium_sql::THREAD_STACK).spawn(work);
    let failed = |error| {
        Error::unavailable(format!("starting a thread to verify views: {error}"), "see the limits of this user (ulimit -u)")
    };
    thread.map_err(failed)
}

async fn repeat(project: &Project, board: &Board, interval: Duration, ended: &CancellationToken) {
    loop {
        tokio::select! {
            () = ended.cancelled() => return,
            () = tokio::time::sleep(interval) => {}
        }
        let scope = Scope { memory: MEMORY, ..Scope::default() };
        // Views may be changed while the engine runs.
        let found = async {
            let now = project.read_again()?;
            verify(&now, &scope).await
        };
        let found = tokio::select! {
            () = ended.cancelled() => return,
            found = found => found,
        };
        match found {
            Ok(verified) => verified.iter().for_each(|verified| tell(board, verified)),
            Err(error) => {
                tracing::warn!(%error, help = error.help(), "views could not be verified; tried again in {interval:?}");
                fail(project, board, &error.to_string());
            }
        }
    }
}

/// Says of all views that they could not be verified.
fn fail(project: &Project, board: &Board, reason: &str) {
    for view in &project.catalog.views {
        let verdict = Verdict::Unknown { reason: reason.to_owned() };
        let (offsets, gaps) = (BTreeMap::new(), BTreeMap::new());
        tell(board, &Verified { view: view.name.clone(), offsets, gaps, rows: 0, verdict });
    }
}

fn tell(board: &Board, verified: &Verified) {
    let view = &verified.view;
    let verdict = match &verified.verdict {
        Verdict::Equal => "equal".to_owned(),
        Verdict::Differs { count, at_least, .. } => {
            let least = if *at_least { "at least " } else { "" };
            let help = "keep a copy of the data folder and report it; `alluvium verify` shows the rows, `alluvium rebuild` rebuilds the view";
            tracing::error!(view, rows = count, help, "the view differs from its SQL");
            format!(
                "differs: {least}{count} rows are only in the view or only in the answer of its SQL; `alluvium verify {view}` shows them"
            )
        }
        Verdict::Unknown { reason } => format!("cannot tell: {reason}"),
    };
    let differs = matches!(verified.verdict, Verdict::Differs { .. });
    let known = !matches!(verified.verdict, Verdict::Unknown { .. });
    board.verified(view, Verification { verdict, differs, known, at_ms: metrics::now_ms(), offsets: verified.offsets.clone() });
}
