//! Decodes messages into Arrow rows in one pass, without an allocation per row. Each message becomes one row or one dead letter.
//! A value that does not fit its column is marked, and affects only the readers of that column.
//!
//! | module | what it holds |
//! | --- | --- |
//! | `contract` | [`Format`]: how payloads of one kind become columns |
//! | `message` | [`Message`]: one event as a source passes it on |
//! | `decoder` | [`Decoder`]: turns messages into rows and dead letters |
//! | `envelope`, `header_map` | the columns that are filled from the message around the payload |
//! | `fault` | [`Fault`]: why and where a payload or a member does not decode; [`Unfit`]: its mark in a batch |
//! | `bytes` | text and binary columns, for formats and the envelope |
//! | `packing` | what a message holds: several events, or an event in an envelope |
//! | `reading` | [`Reading`]: the source's options for reading a column |
//! | `odd_times` | warns if times were probably read in a wrong unit |
//! | `registry` | the formats by name |
//! | `rows` | the rows of a batch, whatever the format |
//! | `value`, `written`, `written_rows` | values of formats that have types of their own; writes values, and Arrow rows, as JSON |
//! | `schema_file` | the options that name a schema, and the file with it |
//! | `schema_registry` | the schemas of bodies that name theirs by a number, and of a subject |
//! | `derived` | the columns that a schema gives, whatever its format |
//! | `comparison`, `compatibility` | what a change of a schema breaks; what of it is allowed |
//! | `sql_type` | the names of types in SQL, for messages |
//! | `changes` | the options of a source of changes |
//! | `csv` | CSV records, as files pass them on |
//! | [`json`] | JSON |
//! | `json_schema` | JSON that is checked against a schema |
//! | `avro`, `protobuf`, `message_pack` | Avro, Protobuf and MessagePack |
//!
//! The decoder stands between sources, which know nothing of formats, and formats, which know nothing of messages. The columns
//! `_sequence`, `_ordinal`, `_subject`, `_timestamp`, `_headers` and `_payload` are filled from the message, never from the payload.

pub(crate) mod avro;
mod bytes;
mod changes;
mod comparison;
mod compatibility;
mod contract;
mod csv;
mod decoder;
mod derived;
mod envelope;
mod fault;
mod header_map;
pub mod json;
mod json_schema;
mod message;
mod message_pack;
mod odd_times;
mod packing;
mod protobuf;
mod reading;
mod registry;
mod rows;
mod schema_file;
mod schema_registry;
mod sql_type;
#[cfg(test)]
mod tests;
pub(crate) mod value;
pub(crate) mod written;
pub(crate) mod written_rows;

pub use comparison::{Break, Comparison, KeptSchema};
pub use compatibility::{Compatibility, Direction, InForce, compare, kept_schemas};
pub use contract::{Format, Member, RowBuilder};
pub use decoder::{Absent, Decoded, Decoder};
pub use derived::Derived;
pub use fault::{Fault, Faults, MemberFault, Refusal, Unfit};
pub use message::{Headers, Message};
pub use packing::Ordinals;
pub use reading::Reading;
pub use registry::columns;

/// Options that say what a message holds: see `packing`.
const OF_MESSAGES: [&str; 1] = ["batch"];
/// Options that plans of views follow, and no payload.
const OF_PLANS: [&str; 2] = ["deduplicate", "deduplicate_within"];

/// Returns the names of the options that affect decoding, for error messages.
pub(crate) fn options() -> impl Iterator<Item = &'static str> {
    reading::OPTIONS
        .into_iter()
        .chain(changes::OPTIONS)
        .chain(schema_file::OPTIONS)
        .chain(schema_registry::OPTIONS)
        .chain(OF_MESSAGES)
        .chain(OF_PLANS)
}

/// Checks whether an option of a source is one of these.
pub(crate) fn is_option(name: &str) -> bool {
    reading::is_option(name)
        || changes::OPTIONS.contains(&name)
        || schema_file::OPTIONS.contains(&name)
        || schema_registry::OPTIONS.contains(&name)
        || OF_MESSAGES.contains(&name)
        || OF_PLANS.contains(&name)
}
