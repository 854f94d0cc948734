//! Tests the law: after every flush a view equals its SQL, run by DataFusion as one batch query over all pushed rows.
//!
//! | module | what it holds |
//! | --- | --- |
//! | `pipeline` | views that read each other, fed and flushed as the engine does it |
//! | `oracle` | the same SQL as one batch query |
//! | `rows` | rows that can be compared |
//! | `law` | runs pipelines with different cuts and restarts, and compares them with the oracle |
//! | `large` | steps of many rows, which are spread over the cores |
//! | `slt` | the queries in `tests/slt` |
//! | `stored` | values of all types, written as Parquet |
//! | `duckdb` | random queries and time windows, compared with DuckDB |
//! | `postgres` | the queries in `tests/slt`, compared with PostgreSQL |
//! | `search` | random queries over random events |
//! | `suites` | Nexmark and TPC-H |
//! | `temporal` | `watermark()` in queries |
//! | `watermarks` | views that the watermark bounds |
//! | `upstream` | faults of DataFusion that our session fixes |
//! | `rejected` | rows of a source whose expressions fail |
//! | `left_out` | other rows whose expressions fail |
//! | `limits` | rows that ask for more memory than there is |

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, unreachable_pub)]

mod duckdb;
mod large;
mod law;
mod left_out;
mod limits;
mod oracle;
mod pipeline;
mod postgres;
mod rejected;
mod rows;
mod search;
mod slt;
mod stored;
mod suites;
mod temporal;
mod upstream;
mod watermarks;
