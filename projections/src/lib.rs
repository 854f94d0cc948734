//! Runs an incremental plan: deltas go through operators, which own their state.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`delta`] | rows with weights |
//! | [`projection`] | one view's operators: push deltas, flush an epoch, take and restore state |
//! | [`state`] | log-structured Arrow tables: what operators remember |
//! | `operator` | the operators: linear, merge, full recompute |
//! | `physical` | DataFusion's physical plans, made once and run often |
//! | `consolidate` | net changes |
//!
//! No clock, no file, no socket: state leaves as record batches and comes back as such.

mod consolidate;
pub mod delta;
pub mod error;
mod operator;
mod physical;
pub mod projection;
pub mod state;

pub use delta::Delta;
pub use error::Error;
pub use projection::{Projection, Rejected};
pub use state::{BatchId, TableCheckpoint};
