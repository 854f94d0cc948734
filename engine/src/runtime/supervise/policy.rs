//! Decides what happens to a pipeline that has ended with an error.
//!
//! | error | policy |
//! | --- | --- |
//! | unavailable | restarts for ever, with a bounded back-off; a run that ends by itself gives up after `source_timeout` |
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
    /// Since when it has been unavailable, attempts that did not run for long included.
    unavailable_since: Option<Instant>,
}

/// How long a pipeline may be unavailable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    /// For ever, also where something does not exist yet.
    Endless,
    /// Not at all for what does not exist, and for the rest so long.
    Until(Duration),
}

impl Troubles {
    /// Decides after an error of a pipeline that ran for `ran`.
    pub(super) fn decide(&mut self, error: &Error, ran: Duration, patience: Patience, surroundings: &dyn Surroundings) -> Next {
        if ran >= STEADY {
            self.backoff.reset();
        }
        let steady = if let Patience::Until(limit) = patience { STEADY.min(limit) } else { STEADY };
        if ran >= steady {
            self.unavailable_since = None;
        }
        match error.kind() {
            Kind::Unavailable => {
                let since = self.unavailable_since.get_or_insert_with(Instant::now).elapsed();
                let goes_on = match patience {
                    Patience::Endless => true,
                    Patience::Until(limit) => !error.is_absence() && since <= limit,
                };
                if goes_on { Next::Wait(self.backoff.wait(surroundings)) } else { Next::Fail }
            }
            Kind::Bug => {
                let now = Instant::now();
                self.bugs.retain(|then| now.duration_since(*then) < WINDOW);
                if self.bugs.len() >= RESTARTS {
                    return Next::Fail;
                }
                self.bugs.push_back(now);
                Next::Wait(self.backoff.wait(surroundings))
            }
            Kind::Config | Kind::BadData | Kind::Corrupt => Next::Fail,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::surroundings::Machine;

    fn decide(troubles: &mut Troubles, error: &Error) -> Next {
        troubles.decide(error, Duration::ZERO, Patience::Endless, &Machine)
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

    #[test]
    fn a_run_that_ends_by_itself_does_not_wait_for_ever() {
        let error = Error::unavailable("the disk is full", "make room");
        let decide = |troubles: &mut Troubles, ran, limit| troubles.decide(&error, ran, Patience::Until(limit), &Machine);
        let (mut troubles, none) = (Troubles::default(), Duration::ZERO);
        assert!(matches!(decide(&mut troubles, none, STEADY), Next::Wait(_)));
        assert!(matches!(decide(&mut troubles, none, STEADY), Next::Wait(_)));
        assert_eq!(decide(&mut troubles, none, none), Next::Fail);
        troubles.unavailable_since = Instant::now().checked_sub(STEADY * 2);
        assert_eq!(decide(&mut troubles, none, STEADY), Next::Fail);
        assert!(matches!(decide(&mut troubles, STEADY, STEADY), Next::Wait(_)), "it ran in between");
    }
}
