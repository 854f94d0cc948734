//! A position in a stream, in this source's own terms: how far the stream was read, and which stream it was.

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::source::position::{Identity, LastEvent, Position};

/// The kind of source, as in identities.
const KIND: &str = "nats";

/// A position in a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StreamPosition {
    /// The next sequence to read.
    pub(super) offset: u64,
    /// The stream's name.
    pub(super) stream: String,
    /// The stream's creation time, in RFC 3339 with nanoseconds.
    pub(super) created: String,
    /// The last event that was read, if any.
    pub(super) last: Option<LastEvent>,
    /// The last event of the stream before `offset`, if it comes after `last`: an event that the filter skipped. If it is unchanged, the
    /// stream has not lost its tail and grown beyond `offset` again.
    pub(super) seen: Option<LastEvent>,
}

/// The content of the identity of a position in a stream.
#[derive(Serialize, Deserialize)]
struct Known {
    stream: String,
    created: String,
    last: Option<LastEvent>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seen: Option<LastEvent>,
}

impl StreamPosition {
    /// Converts a recorded position, for a source that reads `stream`.
    ///
    /// # Errors
    /// Says what is wrong with a position of another kind of source.
    pub(super) fn of(stream: &str, position: &Position) -> Result<StreamPosition, String> {
        match position.identity.content(KIND) {
            Some(Known { stream, created, last, seen }) => {
                Ok(StreamPosition { offset: position.offset, stream, created, last, seen })
            }
            None => Err(format!(
                "the checkpoint is from a source of another kind ({}), but the source now reads the stream {stream}",
                position.identity.kind()
            )),
        }
    }

    /// Advances to `offset`. `last` is the last event read before it, and `seen` the last event of the stream that was skipped, if any.
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

    /// Converts the position for a checkpoint.
    ///
    /// # Errors
    /// Only [`Error::Bug`].
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
