//! `alluvium infer`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;

use super::global::{Global, print, runtime};
use crate::error::Error;
use crate::infer::place::Place;
use crate::infer::{Inferred, infer};
use crate::settings::Settings;

const EXAMPLES: &str = "\
Examples:
  alluvium infer nats://127.0.0.1:4222/ORDERS
  alluvium infer nats://127.0.0.1:4222/ORDERS --subject 'orders.placed.>' --name placed
  alluvium -C my-views infer 'my-views/in/*.csv.gz' --out my-views/sources.sql
  alluvium infer events.json --option null_text=N/A

It reads half of the sample from the start and half from the end, and decodes each sampled event by what it writes. Comments say what was
seen of each column. JSON (lines, an array, or objects over several lines), CSV with a header, Parquet, Arrow and Avro are known by what the
files hold. It writes nothing but the file of --out, and leaves nothing on the server.";

/// How many events are sampled if nothing is said.
const SAMPLE: u64 = 4000;

/// What to sample, as `infer` and `init` take it.
#[derive(Debug, Args)]
pub(super) struct Sampled {
    /// Read only these subjects, as option `subject` of a source
    #[arg(long, value_name = "SUBJECTS")]
    subject: Option<String>,
    /// The name of the source [default: from that of the stream or the file]
    #[arg(long)]
    name: Option<String>,
    /// How many events to look at
    #[arg(long, value_name = "N", default_value_t = SAMPLE, value_parser = clap::value_parser!(u64).range(1..))]
    sample: u64,
    /// An option of the source, such as null_text=N/A; credentials are used and not written
    #[arg(long = "option", value_name = "NAME=VALUE", value_parser = option)]
    options: Vec<(String, String)>,
}

fn option(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write it as NAME=VALUE")?;
    Ok((name.trim().to_ascii_lowercase(), value.to_owned()))
}

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Infer {
    /// nats://host:port/STREAM, a file, a folder, a pattern such as 'in/*.ndjson', or - for standard input
    #[arg(value_name = "STREAM|FILE")]
    place: String,
    #[command(flatten)]
    sampled: Sampled,
    /// Write to this file, which must not exist, instead of standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl Infer {
    pub(super) fn run(&self, global: &Global) -> Result<(), Error> {
        if let Some(out) = self.out.as_ref().filter(|out| out.exists()) {
            return Err(there_already(out));
        }
        let inferred = self.sampled.infer(&self.place, &global.dir, global)?;
        match &self.out {
            None => print(&inferred.sql),
            Some(out) => write_new(out, &inferred.sql),
        }
    }
}

impl Sampled {
    /// Whether it says anything of what is sampled.
    pub(super) fn is_given(&self) -> bool {
        self.subject.is_some() || self.name.is_some() || !self.options.is_empty()
    }

    /// Infers the declaration of a place for a project in `dir`.
    pub(super) fn infer(&self, place: &str, dir: &Path, global: &Global) -> Result<Inferred, Error> {
        let mut options: BTreeMap<String, String> = self.options.iter().cloned().collect();
        options.extend(self.subject.iter().map(|subject| ("subject".to_owned(), subject.clone())));
        let settings = Settings::load(dir, &global.overrides())?;
        let place = Place::parse(place, options, dir)?;
        runtime()?.block_on(infer(&place, self.name.as_deref(), self.sample, dir, &settings))
    }
}

fn there_already(path: &Path) -> Error {
    Error::config(format!("{} exists already", path.display()), "name another file: nothing is overwritten")
}

/// Writes a file that must not exist.
pub(super) fn write_new(path: &Path, text: &str) -> Result<(), Error> {
    let mut file = File::create_new(path).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => there_already(path),
        _ => Error::io("creating", path, error),
    })?;
    file.write_all(text.as_bytes()).map_err(|error| Error::io("writing", path, error))
}
