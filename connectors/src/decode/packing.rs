//! What a message holds where it is not just the body of one event: several events, or an event in an envelope of its own. Unpacking makes
//! of a message the texts that the format reads.
//!
//! | option | meaning |
//! | --- | --- |
//! | `batch 'lines'` | each line of a body is an event |
//! | `batch 'array'` | a body is a JSON array of events |
//! | `format 'arrow'` | a body is a stream or a file of Arrow IPC; each row is an event |
//! | `format 'cloudevents'` | a message is a CloudEvent, or a batch of them |
//!
//! | module | what it holds |
//! | --- | --- |
//! | `unpack` | [`Packing`]: which of these a source has |
//! | `events` | the events of some messages, as places in their bodies or in text that is made of them |
//! | `texts` | lines and arrays |
//! | `arrow_stream` | the rows of Arrow IPC |
//! | `cloud_events` | CloudEvents: attributes and data as the members of one object |
//! | `ordinals` | the places of rows in their messages |
//!
//! A message is never split between two commits: its events share its sequence. They are told apart by their ordinal, which counts from 1.

mod arrow_stream;
mod cloud_events;
mod events;
mod ordinals;
#[cfg(test)]
mod tests;
mod texts;
mod unpack;

pub(super) use self::events::Events;
pub use self::ordinals::Ordinals;
pub(super) use self::unpack::Packing;
