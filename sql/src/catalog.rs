//! All `.sql` files of a folder as one catalog.
//!
//! | module | what it holds |
//! | --- | --- |
//! | `bytes` | decodes the bytes of a file |
//! | `load` | loads files into a catalog |
//! | `read` | what the files declare, statement by statement |
//! | `relations` | the relations that a query names |
//! | `order` | orders views so that each comes after those that it reads |
//! | `statements` | splits a file into statements, and parses each |
//! | `sources`, `changes`, `once`, `batches`, `watermarks`, `types` | `CREATE EXTERNAL TABLE` |
//! | `views` | `CREATE MATERIALIZED VIEW`, `CREATE VIEW` |
//! | `named_queries` | plain views, as WITH in the queries that read them |
//! | `statement_text` | the statement of a source as text that may be kept |
//! | `functions` | `CREATE FUNCTION` |
//! | `watermark_calls` | the source of each `watermark()` |
//! | `diagnose` | turns DataFusion's errors into ours |
//! | `contents` | what a catalog holds |

mod batches;
mod bytes;
mod changes;
mod contents;
mod diagnose;
mod functions;
mod load;
mod named_queries;
mod once;
mod order;
mod read;
mod relations;
mod sources;
mod statement_text;
mod statements;
mod stored;
mod types;
mod views;
mod watermark_calls;
mod watermarks;

pub use contents::{Catalog, View};
pub use diagnose::{plan_error, query_error};

#[cfg(test)]
mod tests;
