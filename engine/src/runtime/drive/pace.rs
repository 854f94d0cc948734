//! Decides when a pipeline commits: at intervals, later while there is a backlog, and at once where a commit must not wait.

use std::time::{Duration, Instant};

/// After a commit, wait this many times its duration before the next one while there is a backlog.
const BACKLOG_SHARE: u32 = 4;

/// Commit after about this many bytes of bodies: operators hold their input in memory until then.
const UNCOMMITTED_BYTES: u64 = 1 << 30;

/// When the next commit is due.
pub(super) struct Pace {
    interval: Duration,
    last: Instant,
    pub(super) took: Duration,
    /// Events have been applied but not committed.
    pub(super) dirty: bool,
    /// Commit at once: a new pipeline's views exist, and are right, before any event.
    pub(super) first: bool,
    pub(super) bytes: u64,
}

impl Pace {
    pub(super) fn new(interval: Duration) -> Pace {
        Pace { interval, last: Instant::now(), took: Duration::ZERO, dirty: true, first: true, bytes: 0 }
    }

    fn due(&self, caught_up: bool) -> Instant {
        let wait = if caught_up { self.took } else { self.took * BACKLOG_SHARE };
        let at_once = self.first || self.bytes >= UNCOMMITTED_BYTES;
        self.last + if at_once { Duration::ZERO } else { self.interval.max(wait + self.took) }
    }

    /// Waits until the next commit is due. Ready at once when that has passed: a timer is only ready after the runtime has looked at its
    /// clock, and batches that lie ready would be applied before.
    pub(super) async fn is_due(&self, caught_up: bool) {
        let due = self.due(caught_up);
        if due > Instant::now() {
            tokio::time::sleep_until(due.into()).await;
        }
    }

    pub(super) fn committed(&mut self, began: Instant, took: Duration) {
        *self = Pace { last: began, took, dirty: false, first: false, bytes: 0, ..*self };
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_commit_that_is_due_does_not_wait_for_the_timer() {
        let mut pace = Pace::new(Duration::from_secs(3600));
        // As in the search for one event: each batch of one event is committed before the next is applied.
        for _ in 0..100 {
            pace.first = true;
            assert!(pace.is_due(false).now_or_never().is_some());
            pace.committed(Instant::now(), Duration::ZERO);
            assert!(pace.is_due(false).now_or_never().is_none(), "the interval has not passed");
        }
    }
}
