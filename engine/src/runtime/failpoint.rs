//! Crash points: `ALLUVIUM_FAILPOINT=name` or `name:n` ends the process at the n-th passing of that point, as a kill would.
//! Tests of the real binary use it; unset, a point costs one comparison.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// The points of a commit, in order; `after_state` is passed for each view, while its parts are being written.
pub const COMMIT_POINTS: [&str; 7] =
    ["before_state", "after_state", "after_parts", "after_dead_letters", "after_commit", "after_twin", "after_publish"];

struct Armed {
    name: String,
    left: AtomicU64,
}

/// Passes the point `name`; does not return when it is the armed one and its turn has come.
pub(crate) fn pass(name: &str) {
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
        // Abort runs no destructor and flushes nothing: what a kill leaves is what this leaves.
        std::process::abort();
    }
}
