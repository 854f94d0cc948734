//! What a change of the SQL asks of the views that serve, and what it would cost: decided here, done by `supervise`.
//!
//! | module | what it holds |
//! | --- | --- |
//! | `needs` | which views go on from their records, and which are made anew |
//! | `kept` | the SQL of records, under which views go on that the files say otherwise |
//! | `losses` | which events that a view has applied its source no longer holds |
//! | `plan` | all of it for people, without touching anything |

pub(super) mod kept;
pub(super) mod losses;
pub(super) mod needs;
mod plan;

pub(super) use plan::accepted;
pub use plan::{Step, ViewChange, plan};
