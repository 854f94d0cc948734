//! The program: ties sources, plans and operators together, decides when to commit, restarts, rebuilds, reports; the CLI.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`cli`] | the command line, one command a file |
//! | [`project`] | a folder: settings and SQL files, loaded and checked |
//! | [`settings`] | `alluvium.toml`, the environment, defaults |
//! | [`runtime`] | everything that runs: readers, pipelines, commits, rebuilds |
//! | [`record`] | what is recorded of a commit |
//! | [`query`] | SQL over the committed views, on one consistent snapshot |
//! | [`dead_letters`] | events that were set aside: selected, read, dropped |
//! | [`verify`] | views against their SQL over the events, read again |
//! | [`layout`] | the paths of the data folder |
//! | [`lock`] | one process at a time writes there |
//! | [`status`] | what every view is doing, shared by the HTTP server, the progress bars and `status` |
//! | [`serve`] | metrics, health, status and commands of a running engine, over HTTP |
//! | [`metrics`] | every metric, with its help text |
//! | [`progress`], [`logging`] | what is shown while it runs |
//! | [`error`] | one error for the program, by what its operator has to do |

pub mod cli;
pub mod dead_letters;
pub mod error;
pub mod layout;
pub mod lock;
pub mod logging;
pub mod metrics;
pub mod progress;
pub mod project;
pub mod query;
pub mod record;
pub mod runtime;
pub mod serve;
pub mod settings;
pub mod status;
pub mod verify;

pub use error::Error;
