//! Decodes messages that hold several events, or an event in an envelope of its own.

use super::{CHUNK, Decoded, Rows};
use crate::Error;
use crate::decode::message::Message;
use crate::decode::packing::{Events, Packing};

/// The number of events of a message of which each has a letter of its own, even if all fail in the same way.
const MOST_ALIKE: usize = 1000;

impl Rows<'_> {
    /// Decodes the events that messages hold.
    pub(super) fn unpack<'a>(
        mut self,
        packing: Packing,
        mut messages: impl Iterator<Item = Message<'a>>,
    ) -> Result<Decoded, Error> {
        let (mut unpacked, mut events) = (Vec::with_capacity(CHUNK), Events::default());
        loop {
            unpacked.clear();
            events.clear();
            while events.len() < CHUNK
                && let Some(message) = messages.next()
            {
                packing.unpack(&message, &mut events);
                unpacked.push(message);
            }
            if unpacked.is_empty() {
                return self.finish();
            }
            self.append_events(&unpacked, &events)?;
        }
    }

    /// Appends the events of some messages.
    fn append_events(&mut self, unpacked: &[Message<'_>], events: &Events) -> Result<(), Error> {
        let (mut chunk, mut payloads, mut ordinals) =
            (Vec::with_capacity(CHUNK), Vec::with_capacity(CHUNK), Vec::with_capacity(CHUNK));
        let first_letter = self.dead_letters.len();
        let mut left = events.iter().peekable();
        while left.peek().is_some() {
            chunk.clear();
            payloads.clear();
            ordinals.clear();
            while chunk.len() < CHUNK
                && let Some(event) = left.next_if(|event| event.fault.is_none())
            {
                let message = &unpacked[event.message];
                payloads.push(events.text(event, message.payload));
                chunk.push(Message { payload: events.body(event, message.payload), ..*message });
                ordinals.push(event.ordinal);
            }
            if !chunk.is_empty() {
                self.decoder.format.prepare(&payloads)?;
                self.append(&chunk, &payloads, &ordinals);
            }
            while let Some(event) = left.next_if(|event| event.fault.is_some()) {
                let message = &unpacked[event.message];
                let message = Message { payload: events.body(event, message.payload), ..*message };
                self.events += 1;
                self.bytes += message.payload.len() as u64;
                let source = &self.decoder.source;
                self.dead_letters
                    .extend(event.fault.as_ref().map(|fault| self.headers.letter(source, &message, fault, event.ordinal)));
            }
        }
        self.merge_letters(unpacked, events, first_letter);
        Ok(())
    }

    /// Makes one letter of the letters of a message whose many events all fail in the same way: its writer has another format.
    fn merge_letters(&mut self, unpacked: &[Message<'_>], events: &Events, first: usize) {
        let mut counts = vec![0; unpacked.len()];
        events.iter().for_each(|event| counts[event.message] += 1);
        for (message, count) in unpacked.iter().zip(counts).filter(|(_, count)| *count > MOST_ALIKE) {
            let letters = &self.dead_letters[first..];
            let start = first + letters.partition_point(|letter| letter.sequence < message.sequence);
            let end = first + letters.partition_point(|letter| letter.sequence <= message.sequence);
            let [one, others @ ..] = &self.dead_letters[start..end] else { continue };
            if end - start == count && others.iter().all(|other| other.kind == one.kind) {
                let error = format!("none of its {count} events decodes; the first: {}", one.error);
                let whole = message.letter(&self.decoder.source, one.kind, error);
                self.dead_letters.splice(start..end, [whole]);
            }
        }
    }
}
