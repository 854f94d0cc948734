//! What is done about a pipeline that has ended with an error.
//!
//! | error | policy |
//! | --- | --- |
//! | unavailable | tried again for ever, after a bounded back-off |
//! | a panic or a bug | started again from the last commit, [`RESTARTS`] times within [`WINDOW`], then failed |
//! | configuration, corruption | failed at once |

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::error::{Error, Kind};
use crate::runtime::backoff::Backoff;
use crate::runtime::surroundings::Surroundings;

/// Restarts after a bug, within [`WINDOW`].
pub(super) const RESTARTS: usize = 5;
/// A bug that lies further back no longer counts.
pub(super) const WINDOW: Duration = Duration::from_secs(600);
/// A pipeline that ran so long before it failed begins with the shortest wait again.
const STEADY: Duration = Duration::from_secs(60);

/// What is done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Start it again after this wait.
    Wait(Duration),
    /// It has failed: only a command starts it again.
    Fail,
}

/// The failures of one pipeline.
#[derive(Debug, Default)]
pub(super) struct Troubles {
    backoff: Backoff,
    bugs: VecDeque<Instant>,
}

impl Troubles {
    /// Decides about an error of a pipeline that ran for `ran`. `patient`: what is not there yet is waited for.
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
