//! Measures the real program beside what a user would pick instead, in one run, and writes a table of ratios.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`measures`] | one file a measure: live, files, commit, memory, delay |
//! | [`engine`] | the program under measure, from outside: its process, its metrics, its views |
//! | [`duckdb`] | DuckDB, as the rival and as the judge of answers |
//! | [`orders`] | the events |
//! | [`stream`] | publishing them to a stream, and draining it |
//! | [`report`] | the table |
//!
//! Nothing here is fitted to a figure: what is missed is printed as missed. A wrong answer ends the run with an error.

mod duckdb;
mod engine;
mod measures;
mod orders;
mod report;
// The server that the tests start too.
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
    /// What to measure; everything unless said.
    #[arg(value_enum)]
    measures: Vec<Measure>,
    /// The Markdown file for the table.
    #[arg(long, default_value = "benches/RESULTS.md")]
    report: PathBuf,
    /// A part of the events, for a quick look: 0.1 is a tenth.
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Measure {
    /// Events from JetStream through three views, beside a client that only drains the stream.
    Live,
    /// Queries over files of JSON lines, beside DuckDB.
    Files,
    /// A commit after 100 changed keys, with much state and with little.
    Commit,
    /// Memory for each key of state.
    Memory,
    /// From publishing an event until a reader can see it.
    Delay,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let chosen = if arguments.measures.is_empty() { Measure::value_variants() } else { &arguments.measures };
    let mut report = Report::new();
    for measure in chosen {
        match measure {
            Measure::Live => measures::live::measure(arguments.scale, &mut report)?,
            Measure::Files => measures::files::measure(arguments.scale, &mut report)?,
            Measure::Commit => measures::commit::measure(arguments.scale, &mut report)?,
            Measure::Memory => measures::memory::measure(arguments.scale, &mut report)?,
            Measure::Delay => measures::delay::measure(arguments.scale, &mut report)?,
        }
    }
    report.write(&arguments.report)
}
