//! From SQL text to an incremental plan.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`catalog`] | all `.sql` files of a folder as one catalog: sources, views in the order in which they feed each other |
//! | [`plan`] | the incremental plan: nodes with a class each |
//! | [`error`] | errors that point into a file |
//!
//! No I/O, no state, no clock: this crate is given text and gives plans.

pub mod catalog;
pub mod error;
pub mod plan;

pub use catalog::{Catalog, Source, SqlFile, View};
pub use error::{Error, Errors, Location};
pub use plan::{Class, Node, Op, RelationKind, ViewPlan};
