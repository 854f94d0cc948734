//! The program: ties sources, plans and operators together, decides when to commit, restarts, rebuilds, reports; the CLI.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`project`] | a folder: settings and SQL files, loaded and checked |
//! | [`settings`] | `alluvium.toml`, the environment, defaults |
//! | [`runtime`] | everything that runs: readers, pipelines, commits, rebuilds |
//! | [`layout`] | the paths of the data folder |
//! | [`status`] | what every view is doing, shared by the HTTP server, the progress bars and `status` |
//! | [`error`] | one error for the program, by what its operator has to do |

pub mod error;
pub mod layout;
pub mod project;
pub mod runtime;
pub mod settings;
pub mod status;

pub use error::Error;
