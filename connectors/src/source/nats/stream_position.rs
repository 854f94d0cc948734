//! How far a stream was read, and which stream it was: what a position says, in this source's own terms.

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::source::position::{Identity, LastEvent, Position};

/// The kind of source in identities.
const KIND: &str = "nats";

/// A position in a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StreamPosition {
    /// The next sequence to read.
    pub(super) offset: u64,
    /// The stream's name.
    pub(super) stream: String,
    /// The stream's creation time, RFC 3339 with nanoseconds.
    pub(super) created: String,
    /// The last event that was read, if any.
    pub(super) last: Option<LastEvent>,
    /// The last event of the stream before `offset`, where it lies behind `last`: one that was not selected. That it is still the same says
    /// that the stream has not lost its tail and grown again beyond `offset`.
    pub(super) seen: Option<LastEvent>,
}

/// What the identity of a position in a stream holds.
#[derive(Serialize, Deserialize)]
struct Known {
    stream: String,
    created: String,
    last: Option<LastEvent>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seen: Option<LastEvent>,
}

impl StreamPosition {
    /// Of a position that was recorded, for a source that reads `stream`.
    ///
    /// # Errors
    /// What is wrong with a position that no stream gave.
    pub(super) fn of(stream: &str, position: &Position) -> Result<StreamPosition, String> {
        match position.identity.content(KIND) {
            Some(Known { stream, created, last, seen }) => {
                Ok(StreamPosition { offset: position.offset, stream, created, last, seen })
            }
            None => Err(format!(
                "the checkpoint was read from a source of another kind ({}), and the source is now the stream {stream}",
                position.identity.kind()
            )),
        }
    }

    /// Everything before `offset` has been read: the last event of it, and the last one of the stream that was passed over, where there is one.
    pub(super) fn advance(&mut self, offset: u64, last: Option<LastEvent>, seen: Option<LastEvent>) {
        self.offset = offset;
        if let Some(last) = last {
            self.seen.take_if(|seen| seen.sequence <= last.sequence);
            self.last = Some(last);
        }
        if seen.is_some() {
            self.seen = seen;
        }
    }

    /// For a checkpoint.
    ///
    /// # Errors
    /// [`Error::Bug`] only.
    pub(super) fn to_record(&self) -> Result<Position, Error> {
        let known = Known {
            stream: self.stream.clone(),
            created: self.created.clone(),
            last: self.last.clone(),
            seen: self.seen.clone(),
        };
        Ok(Position::new(self.offset, Identity::new(KIND, &known)?))
    }
}
