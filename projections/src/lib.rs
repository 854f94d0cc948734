//! Runs an incremental plan: deltas pass through operators, which own their state.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`delta`] | rows with weights |
//! | [`projection`] | one view's operators: push deltas, flush an epoch, take and restore state |
//! | `operator` | one module for each operator, and the kit that they are built from |
//! | [`state`] | operator state: log-structured Arrow tables |
//! | [`left_out`] | rows on which an expression fails |
//! | `physical` | DataFusion's physical plans, planned once and run many times |
//! | `consolidate` | net changes: equal rows become one, their weights summed |
//! | [`error`] | what can go wrong, and what can be done about it |
//!
//! This crate reads no clock, file or socket. A checkpoint returns record batches, and a restore takes them.

mod consolidate;
pub mod delta;
pub mod error;
pub mod left_out;
mod operator;
mod physical;
pub mod projection;
pub mod state;

pub use delta::Delta;
pub use error::Error;
pub use left_out::LeftOut;
pub use projection::{Projection, Rejected};
pub use state::{BatchId, TableCheckpoint};
