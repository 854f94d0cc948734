//! What all commands share: global options, and how they print.

use std::io::Write;
use std::path::PathBuf;

use alluvium_sql::THREAD_STACK;
use clap::{Args, ValueEnum};

use crate::error::Error;
use crate::layout::Layout;
use crate::logging::LogFormat;
use crate::project::Project;
use crate::settings::{Overrides, Settings};

#[derive(Debug, Args)]
pub(super) struct Global {
    /// The folder with alluvium.toml and the SQL files
    #[arg(short = 'C', long, global = true, env = "ALLUVIUM_DIR", default_value = ".", value_name = "DIR")]
    pub(super) dir: PathBuf,
    /// Whether the command line names the folder. A variable does not count.
    #[arg(skip)]
    pub(super) dir_given: bool,
    /// Whether the command line names the data folder.
    #[arg(skip)]
    pub(super) data_given: bool,
    /// The data folder [default: the setting `data`, or else DIR/data]
    #[arg(long, global = true, env = "ALLUVIUM_DATA", value_name = "DIR")]
    pub(super) data: Option<PathBuf>,
    /// The format of log lines on standard error
    #[arg(long, global = true, env = "ALLUVIUM_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub(super) log_format: LogFormat,
    /// Log more; give it twice to log everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(super) verbose: u8,
    /// Log errors only, and show no progress
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(super) quiet: bool,
}

/// The format of a small answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Shape {
    /// For people
    Table,
    /// For programs
    Json,
}

impl Global {
    pub(super) fn overrides(&self) -> Overrides {
        Overrides { data: self.data.clone(), ..Overrides::from_environment() }
    }

    pub(super) fn project(&self) -> Result<Project, Error> {
        Project::load(&self.dir, &self.overrides())
    }

    /// Returns the layout of the data folder, for commands that need no SQL file.
    pub(super) fn layout(&self) -> Result<Layout, Error> {
        Ok(Layout::new(Settings::load(&self.dir, &self.overrides())?.data))
    }
}

/// Writes a text to standard output and flushes it.
pub(super) fn print(text: &str) -> Result<(), Error> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| Error::io("writing", "standard output", error))
}

/// Formats a value as indented JSON.
pub(super) fn json(value: &impl serde::Serialize) -> Result<String, Error> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Error::bug(format!("writing JSON: {error}")))?;
    Ok(text + "\n")
}

pub(super) fn runtime() -> Result<tokio::runtime::Runtime, Error> {
    // Operators compute on these threads, too. Fails where they have been made, and nothing is to be done then.
    let _ = rayon::ThreadPoolBuilder::new().stack_size(THREAD_STACK).build_global();
    let built = tokio::runtime::Builder::new_multi_thread().thread_stack_size(THREAD_STACK).enable_all().build();
    built.map_err(|error| Error::unavailable(format!("starting threads: {error}"), "see the limits of this user (ulimit -a)"))
}
