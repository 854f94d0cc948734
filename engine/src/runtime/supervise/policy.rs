//! Decides what happens to a pipeline that has ended with an error.
//!
//! | error | policy |
//! | --- | --- |
//! | unavailable | restarts for ever, with a bounded back-off |
//! | a panic or a bug | restarts from the last commit, [`RESTARTS`] times within [`WINDOW`], then fails |
//! | configuration, corruption | fails at once |

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::error::{Error, Kind};
use crate::runtime::backoff::Backoff;
use crate::runtime::surroundings::Surroundings;

/// How many restarts after bugs are allowed within [`WINDOW`].
pub(super) const RESTARTS: usize = 5;
/// A bug longer ago than this no longer counts.
pub(super) const WINDOW: Duration = Duration::from_secs(600);
/// A pipeline that ran at least this long before it failed begins with the shortest wait again.
const STEADY: Duration = Duration::from_secs(60);

/// What happens next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// The pipeline restarts after this wait.
    Wait(Duration),
    /// The pipeline has failed: only a command starts it again.
    Fail,
}

/// The failures of one pipeline.
#[derive(Debug, Default)]
pub(super) struct Troubles {
    backoff: Backoff,
    bugs: VecDeque<Instant>,
}

impl Troubles {
    /// Decides after an error of a pipeline that ran for `ran`. With `patient`, waits for something that does not exist yet.
    pub(super) fn decide(&mut self, error: &Error, ran: Duration, patient: bool, surroundings: &dyn Surroundings) -> Next {
        if ran >= STEADY {
            self.backoff.reset();
        }
        match error.kind() {
            Kind::Unavailable if patient || !error.is_absence() => Next::Wait(self.backoff.wait(surroundings)),
            Kind::Bug => {
                let now = Instant::now();
                self.bugs.retain(|then| now.duration_since(*then) < WINDOW);
                if self.bugs.len() >= RESTARTS {
                    return Next::Fail;
                }
                self.bugs.push_back(now);
                Next::Wait(self.backoff.wait(surroundings))
            }
            Kind::Unavailable | Kind::Config | Kind::BadData | Kind::Corrupt => Next::Fail,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::surroundings::Machine;

    fn decide(troubles: &mut Troubles, error: &Error) -> Next {
        troubles.decide(error, Duration::ZERO, true, &Machine)
    }

    #[test]
    fn each_kind_of_error_has_its_policy() {
        let mut troubles = Troubles::default();
        for _ in 0..100 {
            assert!(matches!(decide(&mut troubles, &Error::unavailable("away", "wait")), Next::Wait(_)));
        }
        for error in [Error::config("wrong", "mend it"), Error::corrupt("damaged", "rebuild")] {
            assert_eq!(decide(&mut troubles, &error), Next::Fail);
        }
        for _ in 0..RESTARTS {
            assert!(matches!(decide(&mut troubles, &Error::bug("a fault")), Next::Wait(_)));
        }
        assert_eq!(decide(&mut troubles, &Error::bug("a fault")), Next::Fail);
    }
}
