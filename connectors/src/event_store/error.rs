//! The errors of the event store, by what the caller does next.
//!
//! They are not [`crate::Error`]: that one tells the operator of the engine what to do, and these tell the code of a service.

use super::aggregate::{AggregateId, InvalidName};

/// An error of the event store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Another writer was faster, or the expectation is wrong. Nothing of this call is stored. Load again, and decide again. If an earlier call
    /// with the same events was [`StoreError::Unknown`], look for their ids first: they may be stored.
    #[error("{aggregate}: expected version {expected}, but the version is {actual}; load the aggregate again and repeat")]
    Conflict {
        /// The aggregate.
        aggregate: AggregateId,
        /// The version that the caller expected.
        expected: u64,
        /// The version that the stream has.
        actual: u64,
    },
    /// The server did not answer in time, and could not be asked either. The events are stored whole, or not at all, or will be soon.
    #[error("{aggregate}: it is unknown whether the events are stored: {reason}; {}", if *.repeatable {
        "repeat the command with the same id"
    } else {
        "load the aggregate and look for the ids of the events"
    })]
    Unknown {
        /// The aggregate.
        aggregate: AggregateId,
        /// What was tried and how it failed.
        reason: String,
        /// Whether the caller may repeat the call as it is, because its command has an id.
        repeatable: bool,
    },
    /// The server is unavailable for now. Nothing was written. Retrying later can help.
    #[error("stream {stream}: {reason}")]
    Unavailable {
        /// The stream.
        stream: String,
        /// What was asked and how it failed.
        reason: String,
    },
    /// An option, a name or a value is wrong and must be fixed. Nothing was written. Retrying cannot help.
    #[error("{0}")]
    Config(String),
    /// The stream does not hold each version of the aggregate once. Events were deleted, expired or written by something else.
    #[error(
        "{aggregate}: expected version {expected}, found version {found} at sequence {sequence} of the stream; events were deleted, \
         or something else writes to the subject"
    )]
    Gap {
        /// The aggregate.
        aggregate: AggregateId,
        /// The version that has to follow.
        expected: u64,
        /// The version that was found.
        found: u64,
        /// The sequence of the message that was found.
        sequence: u64,
    },
    /// A message on the aggregate's subject is not an event of this store, or an event does not decode.
    #[error("{aggregate}: the message at sequence {sequence} of the stream does not decode: {reason}")]
    Undecodable {
        /// The aggregate.
        aggregate: AggregateId,
        /// The message's sequence.
        sequence: u64,
        /// What is wrong with it.
        reason: String,
    },
}

impl From<InvalidName> for StoreError {
    fn from(name: InvalidName) -> StoreError {
        StoreError::Config(name.to_string())
    }
}
