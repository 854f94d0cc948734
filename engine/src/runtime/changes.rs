//! What a change of the SQL asks of the views that serve, and what it would cost: decided here, done by `supervise`.
//!
//! | module | what it holds |
//! | --- | --- |
//! | `needs` | which views go on from their records, and which are made anew |
//! | `kept` | the SQL of records, under which views go on that the files say otherwise |
//! | `compatibility` | whether the schemas of sources still read what they read |
//! | `losses` | which events that a view has applied its source no longer holds |
//! | `plan` | all of it for people, without touching anything |

mod compatibility;
pub(super) mod kept;
pub(super) mod losses;
pub(super) mod needs;
mod plan;

pub use compatibility::{SchemaChange, schema_changes};
pub(super) use plan::accepted;
pub use plan::{Step, ViewChange, plan};
