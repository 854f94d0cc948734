//! Keeps the process within `memory_limit`.
//!
//! | memory of the process | what happens |
//! | --- | --- |
//! | from nine tenths of the limit on | each pipeline commits what it has before it reads on |
//! | from the limit on | no pipeline reads |
//! | at the limit for [`PATIENCE`] | the pipeline with the most state stops, and the others go on |
//!
//! What one step of an operator allocates is not bounded here.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::surroundings::Surroundings;
use crate::metrics;

/// How long the process may stay at its limit before a pipeline is stopped. Commits that free memory, and the allocator, take a while.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often memory is looked at.
pub(super) const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// How much room there is below the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Room {
    /// Read on.
    Enough,
    /// Commit before reading on.
    Little,
    /// Do not read.
    None,
}

/// The limit, and the pipelines that share the memory.
#[derive(Debug)]
pub(crate) struct Memory {
    limit: Option<u64>,
    room: watch::Sender<Room>,
    pipelines: Mutex<Pipelines>,
    surroundings: Arc<dyn Surroundings>,
}

#[derive(Debug, Default)]
struct Pipelines {
    next: u64,
    all: BTreeMap<u64, Weight>,
    /// Since when the process is at its limit, or since a pipeline was stopped for it.
    at_limit_since: Option<Instant>,
}

#[derive(Debug)]
struct Weight {
    state_bytes: u64,
    stop: CancellationToken,
}

impl Memory {
    pub(crate) fn new(limit: Option<u64>, surroundings: Arc<dyn Surroundings>) -> Memory {
        if let Some(limit) = limit {
            metrics::memory_limit(limit);
        }
        Memory { limit, room: watch::Sender::new(Room::Enough), pipelines: Mutex::default(), surroundings }
    }

    /// The limit in bytes; 0 without one.
    pub(crate) fn limit(&self) -> u64 {
        self.limit.unwrap_or(0)
    }

    /// The bytes that the process takes; 0 if the system does not say.
    pub(crate) fn used(&self) -> u64 {
        self.surroundings.memory_used().unwrap_or(0)
    }

    /// Takes part with a pipeline until the share is dropped.
    pub(crate) fn share(self: &Arc<Self>) -> Share {
        let mut pipelines = self.pipelines();
        let (id, stop) = (pipelines.next, CancellationToken::new());
        pipelines.next += 1;
        pipelines.all.insert(id, Weight { state_bytes: 0, stop: stop.clone() });
        Share { memory: Arc::clone(self), id, room: self.room.subscribe(), stop }
    }

    /// Measures, tells the pipelines how much room there is, and stops the largest where waiting has not helped. Called at
    /// [`LOOK_INTERVAL`].
    pub(crate) fn look(&self) {
        let (Some(limit), Some(used)) = (self.limit, self.surroundings.memory_used()) else { return };
        let room = match used {
            used if used >= limit => Room::None,
            used if used >= limit / 10 * 9 => Room::Little,
            _ => Room::Enough,
        };
        let before = self.room.send_replace(room);
        if before != room && room != Room::Enough {
            tracing::warn!(
                used,
                limit,
                "memory is short: pipelines commit before they read on, and stop reading at memory_limit"
            );
        }
        let mut pipelines = self.pipelines();
        if room != Room::None {
            pipelines.at_limit_since = None;
            return;
        }
        let now = Instant::now();
        if now.duration_since(*pipelines.at_limit_since.get_or_insert(now)) < PATIENCE {
            return;
        }
        pipelines.at_limit_since = Some(now);
        let running = pipelines.all.values().filter(|weight| !weight.stop.is_cancelled());
        if let Some(largest) = running.max_by_key(|weight| weight.state_bytes) {
            largest.stop.cancel();
        }
    }

    fn pipelines(&self) -> MutexGuard<'_, Pipelines> {
        self.pipelines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One pipeline's share of the memory.
#[derive(Debug)]
pub(crate) struct Share {
    memory: Arc<Memory>,
    id: u64,
    room: watch::Receiver<Room>,
    stop: CancellationToken,
}

impl Share {
    /// How much room there is at present. [`Share::changed`] waits for a change from here on.
    pub(crate) fn room(&mut self) -> Room {
        *self.room.borrow_and_update()
    }

    /// Waits until there is more or less room.
    pub(crate) async fn changed(&mut self) {
        if self.room.changed().await.is_err() {
            std::future::pending().await
        }
    }

    /// The token that is cancelled when this pipeline has to stop.
    pub(crate) fn stop(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Notes how many bytes of state the pipeline holds.
    pub(crate) fn holds(&self, state_bytes: u64) {
        if let Some(weight) = self.memory.pipelines().all.get_mut(&self.id) {
            weight.state_bytes = state_bytes;
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.memory.pipelines().all.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::SystemTime;

    use super::*;

    #[derive(Debug, Default)]
    struct Measured(AtomicU64);

    impl Surroundings for Measured {
        fn now(&self) -> SystemTime {
            SystemTime::UNIX_EPOCH
        }
        fn random(&self) -> u64 {
            0
        }
        fn memory_used(&self) -> Option<u64> {
            Some(self.0.load(Ordering::SeqCst))
        }
    }

    #[test]
    fn the_pipeline_with_the_most_state_stops_when_waiting_has_not_helped() {
        let measured = Arc::new(Measured::default());
        let memory = Arc::new(Memory::new(Some(1_000), measured.clone()));
        let [mut small, large, larger] = [memory.share(), memory.share(), memory.share()];
        for (share, bytes) in [(&small, 10), (&large, 100), (&larger, 200)] {
            share.holds(bytes);
        }
        for (used, room) in
            [(899, Room::Enough), (900, Room::Little), (1_000, Room::None), (950, Room::Little), (1_500, Room::None)]
        {
            measured.0.store(used, Ordering::SeqCst);
            memory.look();
            assert_eq!(small.room(), room, "{used}");
        }
        let waited_long = || memory.pipelines().at_limit_since = Instant::now().checked_sub(PATIENCE);
        let stopped = |share: &Share| share.stop().is_cancelled();
        assert!(!stopped(&larger), "it waits first");
        waited_long();
        memory.look();
        assert_eq!([stopped(&small), stopped(&large), stopped(&larger)], [false, false, true]);
        memory.look();
        assert!(!stopped(&large), "the memory of the first is given back first");
        drop(larger);
        waited_long();
        memory.look();
        assert_eq!([stopped(&small), stopped(&large)], [false, true]);
    }
}
