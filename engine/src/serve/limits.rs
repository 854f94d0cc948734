//! What served queries may take, whichever server they come from.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

/// What served queries may take.
#[derive(Debug, Clone)]
pub struct Limits {
    /// How many run at once.
    pub at_once: usize,
    /// How long one may take, until its last row is sent.
    pub time: Duration,
    /// A permit for each query that may run.
    pub turns: Arc<Semaphore>,
}

impl Limits {
    /// Allows so many queries at once, each for so long.
    #[must_use]
    pub fn new(at_once: usize, time: Duration) -> Limits {
        Limits { at_once, time, turns: Arc::new(Semaphore::new(at_once)) }
    }
}
