//! Runs an incremental plan: deltas go through operators, which own their state.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`delta`] | rows with weights |
//! | [`projection`] | one view's operators: push deltas, flush an epoch, take and restore state |
//! | [`state`] | log-structured Arrow tables: what operators remember |
//!
//! No clock, no file, no socket: state leaves as record batches and comes back as such.

mod consolidate;
pub mod delta;
pub mod error;
pub mod projection;
pub mod state;

pub use delta::Delta;
pub use error::Error;
pub use projection::{Projection, Rejected};
pub use state::{BatchId, TableCheckpoint};
