//! Measures the real program and what a user would pick instead, in one run, and writes a table of ratios.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`measures`] | one file for each measure: live, files, commit, memory, delay, steps, nexmark |
//! | [`engine`] | the measured program, from outside: its process, metrics and views |
//! | [`duckdb`] | DuckDB, as the rival and as the judge of answers |
//! | [`flink`] | Flink, as the rival for Nexmark |
//! | [`process`] | runs a process to its end, with a time limit |
//! | [`orders`] | the events |
//! | [`auctions`] | the events of Nexmark |
//! | [`stream`] | publishes events to a stream, and drains it |
//! | [`report`] | the table |
//!
//! No measure is tuned to reach its target: a missed target is printed as missed. A wrong answer ends the run with an error.

mod auctions;
mod duckdb;
mod engine;
mod flink;
mod measures;
mod orders;
mod process;
mod report;
// The same server that the tests start.
#[allow(missing_docs)]
#[path = "../../connectors/tests/it/server.rs"]
mod server;
mod stream;

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use miette::Result;

use report::Report;

/// Measures Alluvium on this machine.
#[derive(Debug, Parser)]
struct Arguments {
    /// What to measure. By default everything but steps and nexmark.
    #[arg(value_enum)]
    measures: Vec<Measure>,
    /// The Markdown file for the main table.
    #[arg(long, default_value = "benches/RESULTS.md")]
    report: PathBuf,
    /// The fraction of the events to use, for a quick look: 0.1 is a tenth.
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// The Markdown file for the table of nexmark.
    #[arg(long, default_value = "benches/NEXMARK.md")]
    nexmark_report: PathBuf,
    /// The Markdown file for the table of steps.
    #[arg(long, default_value = "benches/STEPS.md")]
    steps_report: PathBuf,
    /// Measures only those queries of nexmark and shapes of steps whose names contain one of these, such as q05,q1.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// For nexmark: without Flink. Prints seconds and memory by query, and writes no table.
    #[arg(long)]
    alone: bool,
    /// For nexmark: a folder that keeps the events and figures. Queries that have figures there are not measured again.
    #[arg(long)]
    keep: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Measure {
    /// Events from JetStream through three views, compared with a client that only drains the stream.
    Live,
    /// Queries over files of JSON lines, compared with DuckDB.
    Files,
    /// A commit after 100 changed keys, with much state and with little.
    Commit,
    /// Memory for each key of state.
    Memory,
    /// The time from publishing an event until a reader can see it.
    Delay,
    /// The cost of a step as state grows, by class.
    Steps,
    /// Nexmark over files, compared with Flink. Takes half an hour, and nearly 1 GB to install. Only runs if named.
    Nexmark,
}

const USUAL: &[Measure] = &[Measure::Live, Measure::Files, Measure::Commit, Measure::Memory, Measure::Delay];

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let chosen = if arguments.measures.is_empty() { USUAL } else { &arguments.measures };
    let mut report = Report::new();
    for measure in chosen {
        match measure {
            Measure::Live => measures::live::measure(arguments.scale, &mut report)?,
            Measure::Files => measures::files::measure(arguments.scale, &mut report)?,
            Measure::Commit => measures::commit::measure(arguments.scale, &mut report)?,
            Measure::Memory => measures::memory::measure(arguments.scale, &mut report)?,
            Measure::Delay => measures::delay::measure(arguments.scale, &mut report)?,
            Measure::Steps => measures::steps::measure(arguments.scale, &arguments.only, &arguments.steps_report)?,
            Measure::Nexmark => measures::nexmark::measure(&measures::nexmark::Options {
                scale: arguments.scale,
                only: arguments.only.clone(),
                keep: arguments.keep.clone(),
                report: arguments.nexmark_report.clone(),
                alone: arguments.alone,
            })?,
        }
    }
    // Steps and nexmark write tables of their own.
    if chosen.iter().any(|measure| USUAL.contains(measure)) { report.write(&arguments.report) } else { Ok(()) }
}
