//! Tests of views: given events, expected rows. `alluvium test` runs each in a data folder of its own, with the runtime that `run` uses.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`file`], `yaml` | what a test says, read from `tests/*.yaml` |
//! | `given` | sources that hold the given events |
//! | [`execution`] | runs a test in three ways: at once, one event after the other, and restarted after each |
//! | [`difference`] | the rows that a view lacks, and those that it should not have |

pub mod difference;
pub mod execution;
pub mod file;
mod given;
#[cfg(test)]
mod tests;
mod yaml;
