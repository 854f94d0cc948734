//! Messages to Arrow rows: one message, one row or one dead letter, in one pass and without an allocation for each row.
//! A value that does not fit its column is marked, and concerns those alone that read the column.
//!
//! | module | what it holds |
//! | --- | --- |
//! | `contract` | [`Format`]: how payloads of one kind become columns |
//! | `message` | [`Message`]: one event as a source hands it over |
//! | `decoder` | [`Decoder`]: messages to rows and dead letters |
//! | `envelope`, `header_map` | the columns that are filled from the message around the payload |
//! | `fault` | [`Fault`]: why a payload or a member does not decode, and where; [`Unfit`]: the mark of one in a batch |
//! | `bytes` | columns of text and bytes, for formats and the envelope alike |
//! | `reading` | [`Reading`]: what the source's options say of a column |
//! | `odd_times` | a warning of times that are read in another unit than they were written in |
//! | `registry` | the formats by their names |
//! | [`json`] | JSON |
//!
//! It stands between sources, which know nothing of formats, and formats, which know nothing of messages. The columns `_sequence`,
//! `_subject`, `_timestamp`, `_headers` and `_payload` are filled from the message, never from the payload.

mod bytes;
mod contract;
mod decoder;
mod envelope;
mod fault;
mod header_map;
pub mod json;
mod message;
mod odd_times;
mod reading;
mod registry;

pub use contract::{Format, Member, RowBuilder};
pub use decoder::{Decoded, Decoder};
pub use fault::{Fault, Faults, MemberFault, Refusal, Unfit};
pub use message::{Headers, Message};
pub use reading::Reading;
pub(crate) use reading::{OPTIONS, is_option};
