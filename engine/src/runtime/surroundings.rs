//! The clock, the randomness and the memory of the runtime, injected so that a test can control them.

use std::fmt::Debug;
use std::hash::{BuildHasher, RandomState};
use std::time::SystemTime;

/// What the runtime takes from its surroundings beside files and sources.
///
/// # Contract
/// - [`Surroundings::now`] may go back (unchecked): nothing but timestamps, names and retention depends on it.
/// - [`Surroundings::random`] gives numbers that two processes do not share (unchecked).
pub(crate) trait Surroundings: Debug + Send + Sync {
    /// The wall clock.
    fn now(&self) -> SystemTime;
    /// A uniformly distributed number.
    fn random(&self) -> u64;
    /// The bytes of memory that the process takes; `None` if the system does not say.
    fn memory_used(&self) -> Option<u64>;
}

/// The clock, the randomness and the memory of the machine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Machine;

impl Surroundings for Machine {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    fn random(&self) -> u64 {
        RandomState::new().hash_one(0_u8)
    }

    fn memory_used(&self) -> Option<u64> {
        crate::metrics::resident_bytes()
    }
}
