//! Sinks: where the rows of views go. The engine uses a sink only through its contract. A commit records a [`Token`] of each sink.
//!
//! | module | what it holds |
//! | --- | --- |
//! | `contract` | [`Sink`], [`SinkWriter`], and their types: [`Delta`], [`Token`], [`CommitFacts`] |
//! | [`parquet`] | views as Parquet parts with snapshots |

mod contract;
pub mod parquet;

pub use contract::{CommitFacts, Delta, Sink, SinkWriter, Size, Staged, Token, ViewRows};
