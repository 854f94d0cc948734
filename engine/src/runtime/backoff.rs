//! Exponential back-off with jitter and an upper bound.

use std::time::Duration;

use super::surroundings::Surroundings;

/// The bound of the first wait.
const LEAST: Duration = Duration::from_millis(100);
/// The longest wait.
const MOST: Duration = Duration::from_secs(30);

/// The waits between attempts at one action.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    next: Duration,
}

impl Default for Backoff {
    fn default() -> Backoff {
        Backoff { next: LEAST }
    }
}

impl Backoff {
    /// Returns the wait before the next attempt and doubles the bound. The wait lies between half of the bound and the bound, so that
    /// callers that failed together do not come back together.
    pub(crate) fn wait(&mut self, surroundings: &dyn Surroundings) -> Duration {
        let bound = self.next;
        self.next = (bound * 2).min(MOST);
        let half = bound / 2;
        half + half.mul_f64(surroundings.random() as f64 / u64::MAX as f64)
    }

    /// Starts again with the shortest wait, after an attempt that succeeded.
    pub(crate) fn reset(&mut self) {
        *self = Backoff::default();
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[derive(Debug)]
    struct Fixed(u64);

    impl Surroundings for Fixed {
        fn now(&self) -> SystemTime {
            SystemTime::UNIX_EPOCH
        }

        fn random(&self) -> u64 {
            self.0
        }

        fn memory_used(&self) -> Option<u64> {
            None
        }
    }

    #[test]
    fn waits_double_up_to_a_bound_and_are_spread() {
        let waits = |chance| {
            let mut backoff = Backoff::default();
            std::iter::repeat_with(|| backoff.wait(&Fixed(chance))).take(12).collect::<Vec<_>>()
        };
        let (short, long) = (waits(0), waits(u64::MAX));
        assert_eq!(long[..3], [LEAST, LEAST * 2, LEAST * 4]);
        assert_eq!((long[11], short[11]), (MOST, MOST / 2));
        assert!(short.iter().zip(&long).all(|(short, long)| *short * 2 == *long));
        let mut backoff = Backoff::default();
        backoff.wait(&Fixed(0));
        backoff.reset();
        assert_eq!(backoff.wait(&Fixed(u64::MAX)), LEAST);
    }
}
