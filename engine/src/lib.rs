//! The program: it ties sources, plans and operators together, decides when to commit, restarts and rebuilds views, and reports. It also
//! holds the CLI.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`cli`] | the command line, one command a file |
//! | [`project`] | a project: settings and SQL files, loaded and checked |
//! | [`settings`] | `alluvium.toml`, the environment, defaults |
//! | [`runtime`] | everything that runs: readers, pipelines, commits, rebuilds |
//! | [`record`] | the record of a commit |
//! | [`query`] | SQL over the committed views, on one consistent snapshot |
//! | [`infer`] | writes the declaration of a source from a sample of its events |
//! | [`rehearsal`] | runs views over a sample of their events, in memory |
//! | [`sample`] | reads some events of a source |
//! | `source_timeout` | ends a command that reads a source which has gone away |
//! | [`dead_letters`] | selects, reads and drops events that were set aside |
//! | [`verify`] | compares views with their SQL over the events, which it reads again |
//! | [`view_tests`] | tests of views: given events, expected rows |
//! | [`doctor`] | every file against its checksum, records against files; mends what can be mended |
//! | [`backup`] | a consistent copy of a data folder |
//! | [`held`] | the files of commits, held by hard links |
//! | [`layout`] | the paths of the data folder |
//! | [`lock`] | lets one process at a time write there |
//! | [`status`] | what every view is doing, for the HTTP server, the progress bars and `status` |
//! | [`demo`] | the events and the project of `alluvium demo` |
//! | [`dev`] | what `alluvium dev` watches, and what it starts |
//! | `nats_server` | a nats-server that those two start |
//! | [`serve`] | metrics, health, status and commands of a running engine, over HTTP |
//! | [`metrics`] | every metric, with its help text |
//! | `address_space` | refuses to run where an allocation would soon end the process |
//! | [`progress`], [`logging`] | progress bars and log lines |
//! | [`error`] | the program's error, sorted by what its operator has to do |

mod address_space;
pub mod backup;
pub mod cli;
pub mod dead_letters;
pub mod demo;
pub mod dev;
pub mod doctor;
pub mod error;
pub mod held;
pub mod infer;
pub mod layout;
pub mod lock;
pub mod logging;
pub mod metrics;
mod nats_server;
pub mod progress;
pub mod project;
pub mod query;
pub mod record;
pub mod rehearsal;
pub mod runtime;
pub mod sample;
pub mod serve;
pub mod settings;
mod source_timeout;
pub mod status;
pub mod verify;
pub mod view_tests;

pub use error::Error;
