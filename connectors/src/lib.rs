//! Where events come from and where views go.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`source`] | the contract of a source, its declaration, what a reader gives ([`Batch`], [`Position`]), and the kinds: NATS and files |
//! | [`decode`] | messages to Arrow rows: the contract of a format, the columns of the message, dead letters, and the formats: JSON |
//! | [`dead_letters`] | events that could not be applied, kept as Parquet |
//! | [`durable`] | files that survive a power failure: write, sync, rename, sync the folder |
//! | [`sink`] | the contract of a sink, and views as Parquet: parts, snapshots, `current/` and `manifest.json` |
//!
//! This crate knows nothing of SQL, of plans or of checkpoints: it is given an Arrow schema and an offset, and gives batches;
//! it is given row changes and gives files. When to commit is decided elsewhere.

pub mod dead_letters;
pub mod decode;
pub mod durable;
pub mod error;
pub mod sink;
pub mod source;

pub use dead_letters::DeadLetter;
pub use error::Error;
pub use source::{Batch, Position};
