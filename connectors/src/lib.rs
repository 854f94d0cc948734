//! Sources of events and sinks for views.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`source`] | the contract of a source, its declaration, its results ([`Batch`], [`Position`]), and the kinds: NATS and files |
//! | [`decode`] | decodes messages into Arrow rows: the contract of a format, the columns of the message, and the formats: JSON, Avro, Protobuf |
//! | [`dead_letters`] | keeps events that could not be applied as Parquet files |
//! | [`durable`] | writes files that survive a power failure |
//! | [`event_store`] | an event store for services: appends and loads events of aggregates, handles commands; the engine does not use it |
//! | [`sink`] | the contract of a sink, and views as Parquet: parts, snapshots, `current/` and `manifest.json` |
//!
//! This crate knows nothing of SQL, plans or checkpoints. A source gets an Arrow schema and a position, and returns batches. A sink gets
//! row changes, and writes files. The engine decides when to commit.

pub mod dead_letters;
pub mod decode;
pub mod durable;
pub mod error;
pub mod event_store;
pub mod sink;
pub mod source;

pub use dead_letters::DeadLetter;
pub use error::Error;
pub use source::{Batch, Position};
