//! Sources: where events come from. The engine uses a source only through its contract, whatever its kind.
//!
//! | module | what it holds |
//! | --- | --- |
//! | `contract` | [`Source`], [`Reader`], and what a source [`Promises`] |
//! | `declaration` | [`SourceConfig`]: the declaration of a source |
//! | `position` | [`Position`] and [`Identity`]: how far a source was read, and how to recognize it |
//! | `batch` | [`Batch`]: decoded events with the sequences that they cover |
//! | `gap` | [`Gap`]: sequences that a source no longer held when they were to be read |
//! | `registry` | [`open`]: creates a source of a kind given by name |
//! | `decoding` | the queue of batches from a reading task to a reader |
//! | [`nats`] | JetStream streams |
//! | [`file`] | files, and standard input |
//! | [`scripted`] | an in-memory source for tests that follows a script |

mod batch;
mod contract;
mod declaration;
mod decoding;
pub mod file;
mod gap;
pub mod nats;
mod position;
mod registry;
pub mod scripted;

pub use batch::{Batch, CommitPoints, Origin};
pub use contract::{Audited, Contact, Extent, Held, Past, Promises, Read, Reader, Source, Start};
pub use declaration::{BatchLimits, SourceConfig, decoded_schema};
pub use gap::Gap;
pub use position::{Identity, LastEvent, Position};
pub use registry::open;
