//! The command line: its commands, one a file below, and its exit codes.
//!
//! Exit codes: 0 for success; 1 for an error, with a message that says what, where and what to do; 2 for wrong usage; 3 if
//! `run --until-caught-up` has set events aside, or some still are after `dead-letters retry`; 4 if `verify` cannot tell; 5 if a run found
//! what looks like a mistake; 130 after a second Ctrl-C.

mod backup;
mod check;
mod client;
mod dead_letters;
mod demo;
mod dev;
mod doctor;
mod drop;
mod explain;
mod global;
mod infer;
mod init;
mod masked;
mod plan;
mod problems;
mod query;
mod rebuild;
mod report;
mod restart;
mod run;
mod sample;
mod signals;
mod status;
mod table;
mod test;
#[cfg(test)]
mod tests;
mod verify;
mod wait;
mod words;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use clap::parser::ValueSource;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use self::global::{Global, print};
use crate::error::Error;
use crate::logging::{self, LogFormat};

/// Materialized views of an event stream: SQL files in, Parquet out.
#[derive(Debug, Parser)]
#[command(name = "alluvium", version, propagate_version = true, after_help = EXAMPLES)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  alluvium demo                             a shop's events and six views over them, with nothing to set up
  alluvium init my-views                    create a project that runs as it is
  alluvium init my-views --from nats://127.0.0.1:4222/ORDERS
  alluvium -C my-views run                  keep its views up to date until stopped
  alluvium -C my-views query 'SELECT * FROM revenue_by_country'
  alluvium -C my-views status

Every setting of alluvium.toml is also an environment variable (ALLUVIUM_COMMIT_INTERVAL, ALLUVIUM_HTTP, ...), as are the options
of sources (ALLUVIUM_NATS_URL, ALLUVIUM_NATS_CREDS, ALLUVIUM_SOURCE_<NAME>_<OPTION>).";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run every view until stopped: catch up, then follow its sources
    Run(run::Run),
    /// Run while you edit: each saved file is checked and deployed, and the rows that change are printed
    Dev(dev::Dev),
    /// Check all SQL and settings, and show how each view is maintained
    Check(check::Check),
    /// Run the tests of views in the folder `tests`: given events, expected rows
    Test(test::Test),
    /// Say what the next run does with each view: leaves it, makes it from state, rebuilds it, or holds it back
    Plan(plan::Plan),
    /// Show the incremental plan of a view, operator by operator
    Explain(explain::Explain),
    /// Show offset, lag, rows, state, last commit and errors of each view
    Status(status::Status),
    /// Run a SELECT over the committed views, on one consistent snapshot
    Query(query::Query),
    /// Wait until a view has committed an event
    Wait(wait::Wait),
    /// List, show, retry or drop events that were set aside
    DeadLetters(dead_letters::DeadLetters),
    /// Recompute views in batch and compare them with what is committed
    Verify(verify::Verify),
    /// Rebuild a view from the first event; the old version serves until the new one has caught up
    Rebuild(rebuild::Rebuild),
    /// Check every file against its checksum, and mend what is damaged
    Doctor(doctor::Doctor),
    /// Take a consistent copy of the data folder, of a running engine or a stopped one
    Backup(backup::Backup),
    /// Restart a failed view from its last commit
    Restart(restart::Restart),
    /// Remove a view whose SQL file is gone
    Drop(drop::Drop),
    /// Show events of a source as they are decoded, and why others are not
    Sample(sample::Sample),
    /// Write CREATE EXTERNAL TABLE for a stream or for files, from a sample of their events
    Infer(infer::Infer),
    /// Run six views over the events of a shop that it makes up: nothing has to be set up
    Demo(demo::Demo),
    /// Create a project that runs as it is, without a server, or over a stream or files that are there
    Init(init::Init),
    /// Print the completion script of a shell
    #[command(after_help = "Example:\n  alluvium completions bash > ~/.local/share/bash-completion/completions/alluvium")]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// Parses the command line, runs the command, and reports its errors. Returns the exit code.
#[must_use]
pub fn main() -> ExitCode {
    let cli = parsed();
    let level = match (&cli.command, cli.global.quiet, cli.global.verbose) {
        (_, true, _) => logging::Level::Errors,
        // They say themselves what comes of their events.
        (Command::Test(_) | Command::Demo(_), false, 0) => logging::Level::Errors,
        (Command::Run(_) | Command::Rebuild(_), false, 0) => logging::Level::Normal,
        (_, false, 0) => logging::Level::Warnings,
        (_, false, 1) => logging::Level::Debug,
        _ => logging::Level::Everything,
    };
    let bars = logging::install(cli.global.log_format, level);
    match dispatch(&cli, bars) {
        Ok(()) => ExitCode::SUCCESS,
        // The reader of our output has read enough (`alluvium query ... | head`).
        Err(error) if report::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let text = report::render(&error, report::Style::of_stderr());
            let _ = writeln!(std::io::stderr(), "{}", text.trim_end());
            ExitCode::from(error.exit_code())
        }
    }
}

/// The command line, with what it says and variables do not.
fn parsed() -> Cli {
    let matches = Cli::command().get_matches();
    let mut cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let of_command = matches.subcommand().map_or(&matches, |(_, matches)| matches);
    let is_given = |name: &str| of_command.value_source(name) == Some(ValueSource::CommandLine);
    (cli.global.dir_given, cli.global.data_given) = (is_given("dir"), is_given("data"));
    cli
}

fn dispatch(cli: &Cli, bars: indicatif::MultiProgress) -> Result<(), Error> {
    if matches!(cli.command, Command::Run(_) | Command::Rebuild(_) | Command::Demo(_) | Command::Dev(_)) {
        crate::address_space::check(std::path::Path::new("/"))?;
    }
    let global = &cli.global;
    let show_bars = !global.quiet && std::io::stderr().is_terminal() && global.log_format == LogFormat::Text;
    let progress = crate::progress::Progress::new(bars, show_bars);
    match &cli.command {
        Command::Run(command) => command.run(global, &progress),
        Command::Demo(command) => command.run(global),
        Command::Dev(command) => command.run(global),
        Command::Check(command) => command.run(global),
        Command::Test(command) => command.run(global),
        Command::Plan(command) => command.run(global),
        Command::Explain(command) => command.run(global),
        Command::Status(command) => command.run(global),
        Command::Query(command) => command.run(global),
        Command::Wait(command) => command.run(global),
        Command::DeadLetters(command) => command.run(global, &progress),
        Command::Verify(command) => command.run(global),
        Command::Doctor(command) => command.run(global),
        Command::Backup(command) => command.run(global),
        Command::Rebuild(command) => command.run(global, &progress),
        Command::Restart(command) => command.run(global),
        Command::Drop(command) => command.run(global),
        Command::Sample(command) => command.run(global),
        Command::Infer(command) => command.run(global),
        Command::Init(command) => command.run(global),
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "alluvium", &mut text);
            print(&String::from_utf8_lossy(&text))
        }
    }
}
