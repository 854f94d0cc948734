//! Sources: where events come from. The engine knows a source by its contract only, never by its kind.
//!
//! | module | what it holds |
//! | --- | --- |
//! | `contract` | [`Source`], [`Reader`], and what a source [`Promises`] |
//! | `declaration` | [`SourceConfig`]: what is declared of a source |
//! | `position` | [`Position`] and [`Identity`]: how far a source was read, and what proves that it is the same |
//! | `batch` | [`Batch`]: decoded events with the sequences that they cover |
//! | `registry` | [`open`]: the kinds of sources by their names |
//! | `decoding` | batches on their way from a reading task to a reader |
//! | [`nats`] | JetStream streams |
//! | [`file`] | files of JSON lines, and standard input |
//! | [`scripted`] | a source in memory for tests, which does what a script says |

mod batch;
mod contract;
mod declaration;
mod decoding;
pub mod file;
pub mod nats;
mod position;
mod registry;
pub mod scripted;

pub use batch::{Batch, CommitPoints, Origin};
pub use contract::{Contact, Extent, Promises, Read, Reader, Source, Start};
pub use declaration::{BatchLimits, SourceConfig, decoded_schema};
pub use position::{Identity, LastEvent, Position};
pub use registry::open;
