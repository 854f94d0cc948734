//! The building blocks of operators. No operator imports another: what two of them need is here.
//!
//! | module | what it holds |
//! | --- | --- |
//! | `sort_keys` | sort keys of rows, encoded |
//! | `stateful` | the contract of a stateful operator |
//! | `staging` | the node around a stateful operator: its staged and pending input |
//! | `rows` | record batches under another schema, and rows repeated by their weights |
//! | `columns` | expressions evaluated on rows, and columns under another type |
//! | `bucketed` | the net change of one input, with the bucket of each row |
//! | `pairing` | the changed rows of one side of a join with the stored rows of the other |
//! | `evaluated` | the expressions that a recompute evaluates on each row of an input |
//! | `groups` | the stored and new rows of the touched keys |
//! | `aggregate` | the keys, arguments and accumulators of DataFusion's aggregates |
//! | `expiry` | rows that the watermark has passed |
//! | `tree` | a tree of operators within an operator |
//! | `unnest_limit` | how much an UNNEST may produce |

pub(crate) mod aggregate;
pub(crate) mod bucketed;
pub(crate) mod columns;
pub(crate) mod evaluated;
pub(crate) mod expiry;
pub(crate) mod groups;
pub(crate) mod pairing;
pub(crate) mod rows;
pub(crate) mod sort_keys;
pub(crate) mod staging;
pub(crate) mod stateful;
pub(crate) mod tree;
pub(crate) mod unnest_limit;
