//! Commands and their outcomes.

use std::collections::BTreeMap;

/// A command for one aggregate.
#[derive(Debug, Clone)]
pub struct Command<C> {
    /// Identifies the command for ever. Repeated, it has the first outcome. It becomes the causation id of its events.
    pub id: String,
    /// Identifies the business process. `None`: the command begins one, and its id is the correlation id of its events.
    pub correlation_id: Option<String>,
    /// Headers for its events.
    pub metadata: BTreeMap<String, String>,
    /// What is asked.
    pub command: C,
}

impl<C> Command<C> {
    /// A command with an id.
    pub fn new(id: impl Into<String>, command: C) -> Command<C> {
        Command { id: id.into(), correlation_id: None, metadata: BTreeMap::new(), command }
    }
}

/// What became of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handled<R> {
    /// The outcome of the first time.
    pub outcome: CommandOutcome<R>,
    /// Whether it was handled before.
    pub repeated: bool,
}

/// The outcome of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandOutcome<R> {
    /// It was accepted.
    Accepted {
        /// The version of its first event. One more than `version` if it emitted none.
        first_version: u64,
        /// The version of the aggregate after it.
        version: u64,
        /// The sequence of its last message in the stream, up to which a view has to read to have seen it.
        sequence: u64,
    },
    /// It was rejected, and emitted nothing.
    Rejected(R),
}
