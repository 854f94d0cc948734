//! The events of some messages, as places in their bodies or in text that is made of them. The memory is used again.

use std::ops::Range;

use crate::decode::fault::Fault;

/// Where a text is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    /// It is the body of the message.
    Whole,
    /// It is a part of the body.
    Part(Range<usize>),
    /// It was made of the body.
    Made(Range<usize>),
}

/// An event of a message.
#[derive(Debug)]
pub(in crate::decode) struct Event {
    /// The index of the message among those that were unpacked.
    pub(in crate::decode) message: usize,
    /// Its place in the message, from 1; 0 if it is all that the message holds.
    pub(in crate::decode) ordinal: u32,
    /// Why it is no event.
    pub(in crate::decode) fault: Option<Fault>,
    body: Place,
    text: Place,
}

/// Collects the events of messages.
#[derive(Debug, Default)]
pub(in crate::decode) struct Events {
    events: Vec<Event>,
    /// Text that is made of bodies.
    pub(super) made: Vec<u8>,
    /// The number of messages so far.
    messages: usize,
    /// The number of events before the current message.
    first: usize,
    /// The length of `made` before the current message.
    made_before: usize,
}

/// The most events of a message.
const MOST: usize = 100_000;

impl Events {
    /// Removes all.
    pub(in crate::decode) fn clear(&mut self) {
        self.events.clear();
        self.made.clear();
        (self.messages, self.first, self.made_before) = (0, 0, 0);
    }

    /// Returns the events in their order.
    pub(in crate::decode) fn iter(&self) -> std::slice::Iter<'_, Event> {
        self.events.iter()
    }

    /// Returns the number of events, or of messages if that is larger.
    pub(in crate::decode) fn len(&self) -> usize {
        self.events.len().max(self.messages)
    }

    /// Returns the body of an event: its part of that of the message, `payload`.
    #[inline]
    pub(in crate::decode) fn body<'b>(&'b self, event: &Event, payload: &'b [u8]) -> &'b [u8] {
        self.at(&event.body, payload)
    }

    /// Returns the text of an event, which its format reads.
    #[inline]
    pub(in crate::decode) fn text<'b>(&'b self, event: &Event, payload: &'b [u8]) -> &'b [u8] {
        self.at(&event.text, payload)
    }

    #[inline]
    fn at<'b>(&'b self, place: &Place, payload: &'b [u8]) -> &'b [u8] {
        match place {
            Place::Whole => payload,
            Place::Part(range) => &payload[range.clone()],
            Place::Made(range) => &self.made[range.clone()],
        }
    }

    fn push(&mut self, ordinal: u32, body: Place, text: Place) {
        self.events.push(Event { message: self.messages, ordinal, fault: None, body, text });
    }

    fn next_ordinal(&self) -> Result<u32, Fault> {
        let ordinal = self.events.len() - self.first + 1;
        if ordinal > MOST {
            return Err(Fault::of_payload("out_of_range", format!("the message holds more than {MOST} events")));
        }
        Ok(ordinal as u32)
    }

    /// Returns the length of the text that was made of the current message.
    pub(super) fn made_of_message(&self) -> usize {
        self.made.len() - self.made_before
    }

    /// Adds an event that is all that the message holds, as it is.
    pub(super) fn push_whole(&mut self) {
        self.push(0, Place::Whole, Place::Whole);
    }

    /// Adds an event that is all that the message holds. Its text is what was made from `start` on.
    pub(super) fn push_whole_as(&mut self, start: usize) {
        self.push(0, Place::Whole, Place::Made(start..self.made.len()));
    }

    /// Adds an event that is a part of the body.
    ///
    /// # Errors
    /// There are too many.
    pub(super) fn push_part(&mut self, part: Range<usize>) -> Result<(), Fault> {
        self.push(self.next_ordinal()?, Place::Part(part.clone()), Place::Part(part));
        Ok(())
    }

    /// Adds an event that is a part of the body. Its text is what was made from `start` on.
    ///
    /// # Errors
    /// There are too many.
    pub(super) fn push_part_as(&mut self, part: Range<usize>, start: usize) -> Result<(), Fault> {
        self.push(self.next_ordinal()?, Place::Part(part), Place::Made(start..self.made.len()));
        Ok(())
    }

    /// Adds an event whose body is what was made from `start` to `end`.
    ///
    /// # Errors
    /// There are too many.
    pub(super) fn push_made(&mut self, made: Range<usize>) -> Result<(), Fault> {
        self.push(self.next_ordinal()?, Place::Made(made.clone()), Place::Made(made));
        Ok(())
    }

    /// Marks the last event as none.
    pub(super) fn reject_last(&mut self, fault: Fault) {
        if let Some(event) = self.events.last_mut() {
            event.fault = Some(fault);
        }
    }

    /// Ends the message: what follows is of the next one.
    pub(super) fn end_message(&mut self) {
        self.messages += 1;
        self.first = self.events.len();
        self.made_before = self.made.len();
    }

    /// Ends the message, which holds no events.
    pub(super) fn reject_message(&mut self, fault: Fault) {
        self.events.truncate(self.first);
        self.made.truncate(self.made_before);
        self.push_whole();
        self.reject_last(fault);
        self.end_message();
    }
}
