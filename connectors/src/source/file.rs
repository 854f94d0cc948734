//! The source for files of JSON, CSV, Parquet, Arrow and Avro. Each line or row is one event. Events are numbered from 1 over all files in the
//! order of their names.
//!
//! | module | what it holds |
//! | --- | --- |
//! | `location` | parses `LOCATION` and lists the files that it names |
//! | `declared` | the declared kind of the files |
//! | `text`, `values` | the lines of a file that is compressed, a JSON array, or has values that span several lines |
//! | `records`, `columns`, `avro_blocks` | the lines of CSV files, of Parquet and Arrow files, and of Avro files |
//! | `lines` | the parts of lines, and the last line before a byte |
//! | `line_counts` | counts the lines of files |
//! | `file_position` | the position in files |
//! | `chunk` | turns whole lines into batches |
//! | `follower` | the thread that reads files, and follows them as they grow |
//! | `pipe` | the thread that reads standard input |
//!
//! Sequences depend on the names of files. The files before the current one must not change after they were read: if one appears among
//! them, changes or disappears, reading fails with [`Error::StreamChanged`]. It also fails if the last line read is no longer the same.
//! Files that come later in the order of names are read when they appear, and so are lines appended to the last file. Other changes to
//! text that was read are not detected.
//!
//! A file may be compressed with gzip or zstd, be one JSON array, hold objects that span several lines, or be CSV, Parquet, Arrow or Avro. `text`
//! then converts each value, record or row to a line. When such a file grows, it is read again from its start up to the position. A file
//! that does not match its declared kind is refused. All existing files are checked before the first is read.
//!
//! A byte order mark at the start of a file is skipped. A blank line counts as a line but holds no event. Text after the last line end of a
//! file is a line once a later file exists, at the end of standard input, or if it is one whole JSON object. After that, only white space
//! may be appended to it before the next line end.

mod avro_blocks;
mod chunk;
mod columns;
mod declared;
mod file_position;
mod follower;
mod line_counts;
mod lines;
mod location;
mod pipe;
mod records;
#[cfg(test)]
mod tests;
mod text;
mod values;

use std::fmt;
use std::sync::Arc;

use futures::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use self::chunk::Sender;
use self::file_position::FilePosition;
use self::follower::Follower;
use self::line_counts::LineCounts;
use self::location::Location;
use crate::Error;
use crate::decode::{self, Decoder};
use crate::source::contract::{Extent, Promises, Read, Reader, Source, Start};
use crate::source::declaration::SourceConfig;
use crate::source::decoding::Decoding;
use crate::source::position::Position;

/// Every option.
const KNOWN: &[&str] = &["delimiter", "format", "header", "quote"];

/// A declared file, folder, glob or standard input. Clones share the line counts of files.
#[derive(Clone)]
pub struct FileSource {
    config: Arc<SourceConfig>,
    decoder: Arc<Decoder>,
    location: Location,
    counts: Arc<LineCounts>,
}

impl fmt::Debug for FileSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileSource").field("name", &self.config.name).field("location", &self.location).finish_non_exhaustive()
    }
}

impl FileSource {
    /// Creates the source and checks its declaration. Opens nothing.
    ///
    /// # Errors
    /// [`Error::Config`] with the option, column or pattern concerned.
    pub fn new(mut config: SourceConfig) -> Result<FileSource, Error> {
        for name in config.options.keys() {
            if !KNOWN.contains(&name.as_str()) && !decode::is_option(name) {
                let known = || KNOWN.iter().copied().chain(decode::options());
                let near = known().find(|known| strsim::jaro_winkler(name, known) > 0.75);
                return Err(Error::Config {
                    message: match name.as_str() {
                        "on_gap" => format!(
                            "source {}: option 'on_gap' is 'continue', but files cannot be read on without events",
                            config.name
                        ),
                        _ => format!("source {}: option '{name}' is not known", config.name),
                    },
                    help: Some(match near {
                        _ if name == "on_gap" => "write on_gap 'stop' or 'rebuild'".into(),
                        Some(known) => format!("did you mean '{known}'?"),
                        None => format!("a source STORED AS FILE takes: {}", known().collect::<Vec<_>>().join(", ")),
                    }),
                });
            }
        }
        let location = Location::parse(&config)?;
        if location.holds_csv() {
            // An empty field is the only way to write NULL in CSV.
            config.options.entry("null_text".into()).or_default();
        }
        let decoder = Arc::new(Decoder::new(&config)?);
        Ok(FileSource { config: Arc::new(config), decoder, location, counts: Arc::default() })
    }

    /// Returns the current extent of the files. Counts only the lines appended since the last call. The extent of standard input is empty.
    ///
    /// # Errors
    /// [`Error::Config`] if the file or folder does not exist; [`Error::Io`].
    pub async fn extent(&self) -> Result<Extent, Error> {
        let (location, counts) = (self.location.clone(), Arc::clone(&self.counts));
        if location.is_stdin() {
            return Ok(Extent { first: 1, end: 1 });
        }
        in_background(move || {
            let files = location.files()?;
            let lines = counts.lines_of(&location, &files)?;
            Ok(Extent { first: 1, end: lines + 1 })
        })
        .await
    }

    /// Opens a reader.
    ///
    /// # Errors
    /// [`Error::StreamChanged`] if the files do not match the position; those of [`FileSource::extent`].
    pub async fn read(&self, start: Start) -> Result<FileReader, Error> {
        let position = match start {
            Start::First => FilePosition::default(),
            Start::At(position) => FilePosition::of(&self.config.name, &position)?,
        };
        let record = position.to_record()?;
        let workers = std::thread::available_parallelism().map_or(2, usize::from);
        let (sender, items) = mpsc::channel(workers + 1);
        let sender = Sender::new(Arc::clone(&self.config), Arc::clone(&self.decoder), position, sender, Handle::current());
        let run: Box<dyn FnOnce() + Send> = if self.location.is_stdin() {
            let input = pipe::take(&self.config.name)?;
            Box::new(move || pipe::run(sender, input))
        } else {
            let (location, counts) = (self.location.clone(), Arc::clone(&self.counts));
            let follower = in_background(move || Follower::open(location, &counts, sender)).await?;
            Box::new(move || follower.run())
        };
        // A separate thread: one that waits for standard input must not keep the runtime from shutting down.
        std::thread::Builder::new()
            .name(format!("read {}", self.config.name))
            .spawn(run)
            .map_err(|error| Error::Bug(format!("cannot start a thread to read files: {error}")))?;
        Ok(FileReader { decoding: Decoding::new(record, items) })
    }
}

impl Source for FileSource {
    fn config(&self) -> &SourceConfig {
        &self.config
    }

    fn promises(&self) -> Promises {
        let stdin = self.location.is_stdin();
        // Counting the lines of files takes a pass over them, as does reading up to their end.
        Promises { ordered: true, replayable: !stdin, read_once: stdin, knows_end: false, partitions: 1 }
    }

    fn extent(&self, _partition: u32) -> BoxFuture<'_, Result<Extent, Error>> {
        Box::pin(self.extent())
    }

    fn read(&self, start: Start) -> BoxFuture<'_, Result<Box<dyn Reader>, Error>> {
        Box::pin(async move { Ok(Box::new(self.read(start).await?) as Box<dyn Reader>) })
    }
}

/// Runs blocking work on another thread.
async fn in_background<T: Send + 'static>(work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(Error::Bug(format!("a background task on files failed: {error}"))),
    }
}

/// Reads files. Dropping it ends its thread within a poll interval; for standard input, when more input arrives.
pub struct FileReader {
    decoding: Decoding,
}

impl fmt::Debug for FileReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileReader").field("position", self.position()).finish_non_exhaustive()
    }
}

impl Reader for FileReader {
    fn next(&mut self) -> BoxFuture<'_, Result<Read, Error>> {
        Box::pin(self.decoding.next())
    }

    fn position(&self) -> &Position {
        self.decoding.position()
    }
}
