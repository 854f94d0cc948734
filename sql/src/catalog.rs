//! All `.sql` files of a folder as one catalog.
//!
//! | module | what it holds |
//! | --- | --- |
//! | `bytes` | from a file's bytes to its text |
//! | `load` | from files to a catalog |
//! | `read` | what the files declare, statement by statement |
//! | `relations` | the relations that a query names |
//! | `order` | views in the order in which they feed each other |
//! | `statements` | a file cut into statements, each parsed |
//! | `sources`, `watermarks`, `types` | `CREATE EXTERNAL TABLE` |
//! | `views` | `CREATE MATERIALIZED VIEW` |
//! | `functions` | `CREATE FUNCTION` |
//! | `diagnose` | from DataFusion's errors to ours |
//! | `contents` | what a catalog holds |

mod bytes;
mod contents;
mod diagnose;
mod functions;
mod load;
mod order;
mod read;
mod relations;
mod sources;
mod statements;
mod types;
mod views;
mod watermarks;

pub use contents::{Catalog, View};
pub use diagnose::query_error;

#[cfg(test)]
mod tests;
