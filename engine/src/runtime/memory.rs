//! Keeps the process within `memory_limit`.
//!
//! | memory of the process | what happens |
//! | --- | --- |
//! | from nine tenths of the limit on | each pipeline commits what it has, if that is much, before it reads on |
//! | from the limit on | no pipeline reads |
//! | at the limit for [`AT_LIMIT`] | the pipeline with the most state stops, and the others go on |
//!
//! What one step of an operator allocates is not bounded here.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::surroundings::Surroundings;
use crate::metrics;

/// How long the process may stay at its limit, with all pipelines waiting, before one is stopped. The allocator gives memory back after a
/// while.
const AT_LIMIT: Duration = Duration::from_secs(10);
/// How often memory is measured.
pub(super) const MEASURE_INTERVAL: Duration = Duration::from_millis(200);
/// How often it is said that memory is short.
const WARN_INTERVAL: Duration = Duration::from_secs(60);

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
    /// Since when the process is at its limit while all pipelines wait.
    at_limit_since: Option<Instant>,
    warned: Option<Instant>,
}

impl Pipelines {
    /// Says that there is less room, at most once in [`WARN_INTERVAL`].
    fn warn(&mut self, room: Room, limit: u64) {
        let said = match room {
            Room::Enough => return tracing::info!(limit, "there is room in memory again"),
            Room::Little => "memory is short: events are committed before more are read",
            Room::None => "the process is at memory_limit: no events are read",
        };
        if self.warned.is_none_or(|warned| warned.elapsed() >= WARN_INTERVAL) {
            self.warned = Some(Instant::now());
            tracing::warn!(limit, "{said}");
        }
    }
}

#[derive(Debug)]
struct Weight {
    state_bytes: u64,
    /// It rebuilds views beside the versions that serve.
    rebuilds: bool,
    /// It has nothing to do at present.
    waits: bool,
    stop: CancellationToken,
}

impl Memory {
    pub(crate) fn new(limit: Option<u64>, surroundings: Arc<dyn Surroundings>) -> Memory {
        if let Some(limit) = limit {
            metrics::memory_limit(limit);
            if surroundings.memory_used().is_none() {
                tracing::warn!(limit, "memory_limit cannot be kept: this system does not say how much memory the process takes");
            }
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

    /// Takes part with a pipeline until the membership is dropped.
    pub(crate) fn join(self: &Arc<Self>, rebuilds: bool) -> Membership {
        let mut pipelines = self.pipelines();
        let (id, stop) = (pipelines.next, CancellationToken::new());
        pipelines.next += 1;
        pipelines.all.insert(id, Weight { state_bytes: 0, rebuilds, waits: false, stop: stop.clone() });
        Membership { memory: Arc::clone(self), id, room: self.room.subscribe(), stop }
    }

    /// Measures, tells the pipelines how much room there is, and stops the largest where waiting has not helped. Called at
    /// [`MEASURE_INTERVAL`].
    pub(crate) fn measure(&self) {
        let Some(limit) = self.limit else { return };
        // What cannot be measured cannot be kept within a limit.
        let room = match self.surroundings.memory_used() {
            Some(used) if used >= limit => Room::None,
            Some(used) if used >= limit / 10 * 9 => Room::Little,
            _ => Room::Enough,
        };
        let mut pipelines = self.pipelines();
        if self.room.send_if_modified(|known| std::mem::replace(known, room) != room) {
            pipelines.warn(room, limit);
        }
        if room != Room::None {
            pipelines.at_limit_since = None;
            return;
        }
        // Work under way, or a pipeline that is ending, may free memory.
        let now = Instant::now();
        if pipelines.all.values().any(|weight| !weight.waits || weight.stop.is_cancelled()) {
            pipelines.at_limit_since = Some(now);
        }
        if now.duration_since(*pipelines.at_limit_since.get_or_insert(now)) < AT_LIMIT {
            return;
        }
        pipelines.at_limit_since = Some(now);
        // One that rebuilds beside a version that serves goes first.
        let holding = pipelines.all.values().filter(|weight| weight.state_bytes > 0);
        match holding.max_by_key(|weight| (weight.rebuilds, weight.state_bytes)) {
            Some(largest) => largest.stop.cancel(),
            None => tracing::warn!(limit, "the process is at memory_limit, and no pipeline holds state that could be given up"),
        }
    }

    fn pipelines(&self) -> MutexGuard<'_, Pipelines> {
        self.pipelines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One pipeline among those that share the memory.
#[derive(Debug)]
pub(crate) struct Membership {
    memory: Arc<Memory>,
    id: u64,
    room: watch::Receiver<Room>,
    stop: CancellationToken,
}

impl Membership {
    /// How much room there is at present. [`Membership::changed`] waits for a change from here on.
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
        self.note(|weight| weight.state_bytes = state_bytes);
    }

    /// Notes whether the pipeline waits, or is at work.
    pub(crate) fn waits(&self, waits: bool) {
        if self.memory.limit.is_some() {
            self.note(|weight| weight.waits = waits);
        }
    }

    /// Notes that the pipeline, once swapped in, is the version that serves.
    pub(crate) fn serves(&self) {
        self.note(|weight| weight.rebuilds = false);
    }

    fn note(&self, change: impl FnOnce(&mut Weight)) {
        if let Some(weight) = self.memory.pipelines().all.get_mut(&self.id) {
            change(weight);
        }
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.memory.pipelines().all.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::SystemTime;

    use futures::FutureExt;

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
        let (mut small, large, larger, none) = (memory.join(false), memory.join(false), memory.join(false), memory.join(false));
        for (member, bytes) in [(&small, 10), (&large, 100), (&larger, 200), (&none, 0)] {
            member.holds(bytes);
            member.waits(true);
        }
        for (used, room) in
            [(899, Room::Enough), (900, Room::Little), (1_000, Room::None), (950, Room::Little), (1_500, Room::None)]
        {
            measured.0.store(used, Ordering::SeqCst);
            memory.measure();
            assert_eq!(small.room(), room, "{used}");
        }
        let after_long = || {
            memory.pipelines().at_limit_since = Instant::now().checked_sub(AT_LIMIT);
            memory.measure();
        };
        let stopped = |member: &Membership| member.stop().is_cancelled();
        memory.measure();
        assert!(!stopped(&larger), "it waits first");
        small.waits(false);
        after_long();
        assert!(!stopped(&larger), "work under way may free memory");
        small.waits(true);
        after_long();
        assert_eq!([&small, &large, &larger].map(stopped), [false, false, true]);
        after_long();
        assert!(!stopped(&large), "the memory of the first is given back first");
        drop(larger);
        let rebuild = memory.join(true);
        rebuild.holds(1);
        rebuild.waits(true);
        after_long();
        assert_eq!([&large, &rebuild].map(stopped), [false, true], "the version that serves stays");
        drop((small, large, rebuild));
        after_long();
        assert!(!stopped(&none), "nothing is gained by it");
    }

    #[test]
    fn only_a_change_of_room_wakes_a_pipeline() {
        let memory = Arc::new(Memory::new(Some(1_000), Arc::new(Measured::default())));
        let mut member = memory.join(false);
        member.room();
        memory.measure();
        memory.measure();
        assert!(member.changed().now_or_never().is_none());
    }
}
