//! What operators are built from. No operator imports another: what two of them need is here.
//!
//! | module | what it gives |
//! | --- | --- |
//! | `stateful` | the contract of an operator that remembers |
//! | `staging` | the node around such an operator: its staged and its pending input |
//! | `rows` | record batches under another schema, and rows by their weights |
//! | `columns` | expressions over rows, and columns under another type |
//! | `bucketed` | the net change of one input, with the bucket of each row |
//! | `evaluated` | what a recompute evaluates on each row of an input |
//! | `groups` | the rows of the keys that new rows touch |
//! | `aggregate` | what DataFusion's aggregates read of their input |
//! | `expiry` | which rows the watermark has passed |
//! | `unnest_limit` | how much an UNNEST may make of its rows |

pub(crate) mod aggregate;
pub(crate) mod bucketed;
pub(crate) mod columns;
pub(crate) mod evaluated;
pub(crate) mod expiry;
pub(crate) mod groups;
pub(crate) mod rows;
pub(crate) mod staging;
pub(crate) mod stateful;
pub(crate) mod unnest_limit;
