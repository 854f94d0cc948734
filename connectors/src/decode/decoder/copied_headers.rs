//! The headers of messages in the letters of their events. Each letter has a copy, so a message of many bad events could fill the memory with
//! copies of large headers: beyond a bound, letters refer to the first ones of their message.

use crate::dead_letters::DeadLetter;
use crate::decode::fault::Fault;
use crate::decode::message::Message;

/// The most bytes of headers that the letters of one message have, not counting those of the first.
const MOST_COPIED: usize = 64 << 10;

/// The headers that letters of the message have so far.
#[derive(Debug, Default)]
pub(super) struct CopiedHeaders {
    sequence: u64,
    /// None for the message before the first.
    bytes: Option<usize>,
}

impl CopiedHeaders {
    /// Returns the letter of an event. The letters of a message come one after the other.
    #[cold]
    pub(super) fn letter(&mut self, source: &str, message: &Message<'_>, fault: &Fault, ordinal: u32) -> DeadLetter {
        let copied = self.bytes.filter(|_| self.sequence == message.sequence);
        self.sequence = message.sequence;
        let error = fault.describe(message.payload);
        let letter = match copied {
            Some(MOST_COPIED..) if message.headers.is_some() => {
                let error = format!("{error}; the headers are in the first letters of the message");
                Message { headers: None, ..*message }.letter(source, fault.kind, error)
            }
            _ => message.letter(source, fault.kind, error),
        };
        self.bytes = Some(copied.unwrap_or_default() + letter.headers.as_ref().map_or(0, String::len));
        letter.of_event(ordinal)
    }
}
