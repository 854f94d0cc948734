//! Sinks: where the rows of views go. The engine knows a sink by its contract only; what a commit records of it is a [`Token`].
//!
//! | module | what it holds |
//! | --- | --- |
//! | `contract` | [`Sink`], [`SinkWriter`], and what they exchange: [`Delta`], [`Token`], [`CommitFacts`] |
//! | [`parquet`] | views as Parquet parts with snapshots |

mod contract;
pub mod parquet;

pub use contract::{CommitFacts, Delta, Sink, SinkWriter, Size, Staged, Token, ViewRows};
