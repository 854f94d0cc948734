//! All English about plans: explains to people how a view is maintained. The caller chooses the colours.
//!
//! | module | what it holds |
//! | --- | --- |
//! | `tree` | the tree of a view's nodes as text and as JSON |
//! | `mermaid` | the same as a flowchart |
//! | `summary` | what `check` says about a view as a whole |
//! | `warnings` | what could surprise its user later |
//! | `title` | what a node does |
//! | `words` | its class, key, cost, state and reason |

mod mermaid;
mod summary;
mod title;
mod tree;
mod warnings;
mod words;

pub use mermaid::to_mermaid;
pub use summary::{ViewSummary, summary};
pub use tree::{explain, to_json};
pub use warnings::Warning;
#[cfg(test)]
pub(crate) use words::{cost, reasons, state};
