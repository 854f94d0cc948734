//! What served queries may take, whichever server they come from.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::query::memory::QueryMemory;

/// What served queries may take.
#[derive(Debug, Clone)]
pub struct Limits {
    /// How many run at once.
    pub at_once: usize,
    /// How long one may take, until its last row is sent.
    pub time: Duration,
    /// A permit for each query that may run.
    pub turns: Arc<Semaphore>,
    /// What all of them may keep in memory.
    pub memory: QueryMemory,
}

impl Limits {
    /// Allows so many queries at once, each for so long, and so many bytes for all of them; any number with `None`.
    #[must_use]
    pub fn new(at_once: usize, time: Duration, memory: Option<u64>) -> Limits {
        Limits { at_once, time, turns: Arc::new(Semaphore::new(at_once)), memory: QueryMemory::new(memory) }
    }
}
