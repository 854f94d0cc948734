//! From SQL text to an incremental plan.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`catalog`] | all `.sql` files of a folder as one catalog: sources, views in the order in which they feed each other |
//! | [`plan`] | the incremental plan: facts only |
//! | [`dialect`] | what is read beyond DataFusion's grammar |
//! | [`session`] | how DataFusion is set up, the same for everyone who plans or runs a query |
//! | [`describe`] | how a view is kept, for people |
//! | [`error`] | errors that point into a file |
//! | `planner` | from a view's query to its incremental plan |
//! | `time_windows` | TUMBLE, HOP and SESSION in FROM |
//! | `cause` | what has to change about an error of DataFusion |
//! | [`wording`] | DataFusion's messages in the words of SQL |
//! | `names` | the name that was meant |
//!
//! No I/O, no state, no clock: this crate is given text and gives plans.

pub mod catalog;
mod cause;
pub mod describe;
pub mod dialect;
pub mod error;
mod names;
pub mod plan;
mod planner;
pub mod session;
mod time_windows;
pub mod wording;

pub use catalog::{Catalog, Emit, Source, SqlFile, View, Watermark, query_error};
pub use cause::{Cause, cause, cause_of_arrow};
pub use error::{Error, Errors, Location};
pub use plan::{
    Class, Expiry, KeyedInput, Lateness, Node, Op, OperatorKind, Reason, RelationKind, RowTime, ViewPlan, leaf_index, leaf_name,
    leaf_scan,
};
pub use session::{plan_query, session_config, session_state};
pub use time_windows::relations_named;
