//! Tests of a decider without a server: given these events, when this command comes, then these events follow.

use std::fmt::Debug;

use super::decider::{Decider, decode, encode};

/// The past of an aggregate in a test.
///
/// # Example
/// ```
/// use alluvium_connectors::event_store::{Decider, Given};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
/// enum Event {
///     #[serde(rename = "account.deposited")]
///     Deposited { amount: u32 },
///     #[serde(rename = "account.withdrawn")]
///     Withdrawn { amount: u32 },
/// }
///
/// #[derive(Clone)]
/// enum Ask {
///     Withdraw(u32),
/// }
///
/// #[derive(Debug, PartialEq, Serialize, Deserialize)]
/// struct NotEnough {
///     balance: u32,
/// }
///
/// struct Account;
///
/// impl Decider for Account {
///     const AGGREGATE_TYPE: &'static str = "account";
///     type State = u32;
///     type Command = Ask;
///     type Event = Event;
///     type Rejection = NotEnough;
///
///     fn decide(&self, balance: &u32, Ask::Withdraw(amount): Ask) -> Result<Vec<Event>, NotEnough> {
///         match amount <= *balance {
///             true => Ok(vec![Event::Withdrawn { amount }]),
///             false => Err(NotEnough { balance: *balance }),
///         }
///     }
///
///     fn evolve(&self, balance: u32, event: &Event) -> u32 {
///         match event {
///             Event::Deposited { amount } => balance + amount,
///             Event::Withdrawn { amount } => balance - amount,
///         }
///     }
/// }
///
/// let past = || Given::new(Account, [Event::Deposited { amount: 10 }]);
/// past().when(Ask::Withdraw(4)).then([Event::Withdrawn { amount: 4 }]).then_state(&6);
/// past().when(Ask::Withdraw(11)).then_rejected(&NotEnough { balance: 10 });
/// ```
#[derive(Debug)]
pub struct Given<D: Decider> {
    decider: D,
    state: D::State,
}

/// What a command has led to in a test.
#[derive(Debug)]
pub struct Then<D: Decider> {
    decider: D,
    state: D::State,
    outcome: Result<Vec<D::Event>, D::Rejection>,
}

impl<D: Decider> Given<D>
where
    D::Event: Debug + PartialEq,
{
    /// An aggregate to which these events have happened.
    ///
    /// # Panics
    /// If an event does not come back from JSON as it was.
    pub fn new(decider: D, events: impl IntoIterator<Item = D::Event>) -> Given<D> {
        let state = evolve(&decider, D::State::default(), &events.into_iter().collect::<Vec<_>>());
        Given { decider, state }
    }

    /// Has the aggregate decide about a command.
    pub fn when(self, command: D::Command) -> Then<D> {
        let outcome = self.decider.decide(&self.state, command);
        Then { decider: self.decider, state: self.state, outcome }
    }
}

impl<D: Decider> Then<D>
where
    D::Event: Debug + PartialEq,
    D::Rejection: Debug + PartialEq,
    D::State: Debug + PartialEq,
{
    /// Expects these events, in this order. For none: that the command was accepted and changed nothing.
    ///
    /// # Panics
    /// If something else has happened, or an event does not come back from JSON as it was.
    #[track_caller]
    pub fn then(self, expected: impl IntoIterator<Item = D::Event>) -> Then<D> {
        let expected: Result<Vec<D::Event>, D::Rejection> = Ok(expected.into_iter().collect());
        assert_eq!(self.outcome, expected, "the outcome of the command, and the expected one");
        self
    }

    /// Expects a rejection.
    ///
    /// # Panics
    /// If something else has happened.
    #[track_caller]
    pub fn then_rejected(self, expected: &D::Rejection) -> Then<D> {
        assert_eq!(self.outcome.as_ref().err(), Some(expected), "the outcome of the command: {:?}", self.outcome);
        self
    }

    /// Expects this state after the command.
    ///
    /// # Panics
    /// If it is another one, or does not come back from JSON as it was.
    #[track_caller]
    pub fn then_state(self, expected: &D::State) {
        let events = self.outcome.unwrap_or_default();
        let state = evolve(&self.decider, self.state, &events);
        assert_eq!(&state, expected, "the state after the command, and the expected one");
        let read = serde_json::to_string(&state).and_then(|text| serde_json::from_str(&text));
        assert_eq!(read.ok().as_ref(), Some(&state), "the state, read back from JSON");
    }
}

#[track_caller]
fn evolve<D: Decider>(decider: &D, mut state: D::State, events: &[D::Event]) -> D::State
where
    D::Event: Debug + PartialEq,
{
    for event in events {
        let read = encode(event).and_then(|(event_type, data)| decode(&event_type, &data));
        assert_eq!(read.as_ref(), Ok(event), "the event, read back from JSON");
        state = decider.evolve(state, event);
    }
    state
}
