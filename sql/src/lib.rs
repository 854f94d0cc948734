//! From SQL text to an incremental plan.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`catalog`] | all `.sql` files of a folder as one catalog: sources, and views in the order in which they feed each other |
//! | [`plan`] | the incremental plan: facts only |
//! | [`dialect`] | extends DataFusion's grammar |
//! | [`session`] | sets up DataFusion, the same for everyone who plans or runs a query |
//! | [`describe`] | explains to people how a view is maintained |
//! | [`error`] | errors that point into a file |
//! | `file` | SQL files and places in them |
//! | `text` | a statement's tokens with their places |
//! | `walk` | the one walk over sqlparser's syntax tree |
//! | `declarations` | what statements declare, before planning |
//! | `schemas` | what is asked about schemas in files of their own |
//! | `set_aside` | what becomes of events that a view cannot apply |
//! | `planner` | turns a view's query into its incremental plan |
//! | `time_windows` | TUMBLE, HOP and SESSION in FROM |
//! | `durations` | lengths of time as people write them |
//! | `cause` | what has to change so that an error of DataFusion does not come again |
//! | [`wording`] | DataFusion's messages in the words of someone who writes SQL |
//! | `type_names` | the names of types in SQL |
//! | `time_units` | lengths of time in a timestamp's units |
//! | `sizes` | how many bytes values take, and the limits |
//! | `nesting` | how deep statements may nest |
//! | `names` | finds the nearest name to a misspelt one |
//! | `other_engines` | what other engines call things |
//!
//! No I/O, no state, no clock: this crate takes text and returns plans.

pub mod catalog;
mod cause;
mod declarations;
pub mod describe;
pub mod dialect;
mod durations;
pub mod error;
mod file;
mod names;
mod nested_types;
mod nesting;
mod other_engines;
pub mod plan;
mod planner;
mod schemas;
pub mod session;
mod set_aside;
mod sizes;
mod text;
mod time_units;
mod time_windows;
mod type_names;
mod walk;
pub mod wording;

pub use catalog::{Catalog, View, plan_error, query_error};
pub use cause::{Cause, cause, cause_of_arrow};
pub use declarations::{ChangeKind, Changes, Emit, EventId, Once, Source, ViewOptions, Watermark};
pub use durations::duration;
pub use error::{Error, Errors};
pub use file::{Location, SqlFile};
pub use names::{listed, nearest, quoted};
pub use nesting::{THREAD_STACK, deep};
pub use plan::{
    Class, ColumnsRead, Expiry, KeyedInput, Lateness, Node, Op, OperatorKind, Reason, RelationKind, RowTime, ViewPlan,
    leaf_index, leaf_name, leaf_scan,
};
pub use schemas::{SchemaColumns, SchemaRefusal, Schemas};
pub use session::{PassesOn, Passing, RecursionBound, left_out_of_steps, optimized, plan_query, session_config, session_state};
pub use set_aside::{MaxDeadLetters, OnError};
pub use sizes::{BATCH_BYTES, VALUE_BYTES, add_bytes};
pub use time_windows::relations_named;
