//! How long to wait before the next attempt: twice as long after each failure, bounded, spread by chance.

use std::time::Duration;

use super::surroundings::Surroundings;

/// Before the first new attempt.
const LEAST: Duration = Duration::from_millis(100);
/// Before any new attempt, at most.
const MOST: Duration = Duration::from_secs(30);

/// The waits between attempts at one thing.
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
    /// The wait before the next attempt: between half of the bound and the bound, so that those who failed together do not come
    /// back together.
    pub(crate) fn wait(&mut self, surroundings: &dyn Surroundings) -> Duration {
        let bound = self.next;
        self.next = (bound * 2).min(MOST);
        let half = bound / 2;
        half + half.mul_f64(surroundings.random() as f64 / u64::MAX as f64)
    }

    /// The last attempt went well.
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
