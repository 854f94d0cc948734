//! Faults on demand, for tests of the real binary. While the variable is unset, a point costs one comparison.
//!
//! | `ALLUVIUM_FAILPOINT` | what happens |
//! | --- | --- |
//! | `name`, `name:n` | the process aborts, as if killed, the n-th time it passes that point of a commit |
//! | `panic:VIEW:SEQUENCE` | the view panics on the event with that sequence, or with `*` on every event |
//! | `hang:VIEW:SEQUENCE` | the view hangs for ten minutes on that event |

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The points of a commit, in order. `after_state` is passed once for each view, while its parts are being written.
pub const COMMIT_POINTS: [&str; 7] =
    ["before_state", "after_state", "after_parts", "after_dead_letters", "after_commit", "after_twin", "after_publish"];

struct Armed {
    name: String,
    left: AtomicU64,
}

/// Passes the point `name`. Aborts the process if this is the armed point and its n-th passing.
pub(crate) fn pass(name: &str) {
    #[cfg(test)]
    in_tests::pass(name);
    static ARMED: OnceLock<Option<Armed>> = OnceLock::new();
    let armed = ARMED.get_or_init(|| {
        let text = std::env::var("ALLUVIUM_FAILPOINT").ok()?;
        let (name, count) = text.split_once(':').unwrap_or((&text, "1"));
        Some(Armed { name: name.to_owned(), left: AtomicU64::new(count.parse().unwrap_or(1)) })
    });
    if let Some(armed) = armed
        && armed.name == name
        && armed.left.fetch_sub(1, Ordering::SeqCst) == 1
    {
        // Abort runs no destructor and flushes nothing, so it leaves what a kill leaves.
        std::process::abort();
    }
}

/// A fault of one view on one event, or on all.
struct OnEvent {
    hangs: bool,
    view: String,
    /// `None`: every event.
    sequence: Option<u64>,
}

/// Panics or hangs if `view` is the armed view and `sequences` contain the armed event. The sequences are sorted.
pub(crate) fn pass_events(view: &str, sequences: &[u64]) {
    static ARMED: OnceLock<Option<OnEvent>> = OnceLock::new();
    let armed = ARMED.get_or_init(|| {
        let text = std::env::var("ALLUVIUM_FAILPOINT").ok()?;
        let (fault, place) = text.split_once(':')?;
        let (view, sequence) = place.rsplit_once(':')?;
        let hangs = fault == "hang";
        (hangs || fault == "panic").then(|| OnEvent { hangs, view: view.to_owned(), sequence: sequence.parse().ok() })
    });
    let Some(armed) = armed else { return };
    if armed.view == view && armed.sequence.is_none_or(|sequence| sequences.binary_search(&sequence).is_ok()) {
        assert!(armed.hangs, "capacity overflow, as a test asked for");
        std::thread::sleep(Duration::from_secs(600));
    }
}

/// Faults on demand, for tests of the runtime within one process.
#[cfg(test)]
pub(crate) mod in_tests {
    use std::sync::{Mutex, PoisonError};

    static ARMED: Mutex<Vec<(String, String, u64)>> = Mutex::new(Vec::new());

    /// Makes a pipeline panic the n-th time it passes a point of its commits.
    pub(crate) fn panic_at(pipeline: &str, point: &str, passing: u64) {
        ARMED.lock().unwrap_or_else(PoisonError::into_inner).push((pipeline.to_owned(), point.to_owned(), passing));
    }

    pub(super) fn pass(name: &str) {
        let thread = std::thread::current();
        let mut armed = ARMED.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(due) = armed.iter().position(|(pipeline, point, _)| thread.name() == Some(pipeline.as_str()) && point == name)
        else {
            return;
        };
        armed[due].2 = armed[due].2.saturating_sub(1);
        let panics = armed[due].2 == 0;
        if panics {
            armed.remove(due);
        }
        drop(armed);
        assert!(!panics, "{name}, as a test asked for");
    }
}
