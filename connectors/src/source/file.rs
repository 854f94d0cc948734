//! Files of JSON lines as a source: one event a line, and its sequence is the running line number, from 1.
//!
//! LOCATION is a file, a folder (all files directly in it, hidden ones left out), a glob, or `-` for standard input. Several
//! files are read in the byte order of their names. A blank line counts, and holds no event. Lines end with a line feed, or
//! with a carriage return and a line feed; a byte order mark at the beginning of a file is passed over.
//!
//! Reading follows: lines appended to the last file and files that come later in name order are found within a fifth of a
//! second. What would shift sequences that were given already is refused as [`Error::StreamChanged`]: a file that appears
//! before one that was read, lines appended to any file but the last, a file that is gone or has become shorter, and a last
//! line that is not the one that was read. Rows are not decoded again for that: see [`resume`] for what is compared.
//!
//! The way of the bytes: a thread of its own reads and cuts them into pieces of whole lines, each piece is decoded on tokio's
//! threads for blocking work, as many at a time as there are processors, and [`FileReader::next`] gives the batches in order.

mod count;
mod listing;
mod piece;
mod resume;
mod scanner;
#[cfg(test)]
mod tests;

use std::io::Read as _;
use std::num::NonZero;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::mpsc as threads;
use std::thread::{self, available_parallelism};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use self::count::Counts;
use self::listing::Location;
use self::scanner::{Input, STANDARD_INPUT, Scanner, Step};
use super::{Batch, Extent, Identity, Position, Read, SourceConfig, Start};
use crate::Error;
use crate::json::Decoder;

/// The one option.
const FORMAT: &str = "format";
/// How long the end of the files is left alone before it is looked at again.
const POLL: Duration = Duration::from_millis(200);
/// After how many looks without anything new that is reported again.
const QUIET_POLLS: u32 = 5;

/// A declared source of files; cheap to clone.
#[derive(Debug, Clone)]
pub struct FileSource {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: SourceConfig,
    location: Location,
    decoder: Arc<Decoder>,
    counts: Counts,
}

impl FileSource {
    /// Checks the declaration; looks at no file but to tell a glob from a name that looks like one.
    ///
    /// # Errors
    /// [`Error::Config`] with the option or column concerned.
    pub fn new(config: SourceConfig) -> Result<FileSource, Error> {
        let wrong = |message: String, help: &str| {
            Err(Error::Config { message: format!("source {}: {message}", config.name), help: Some(help.into()) })
        };
        if let Some(unknown) = config.options.keys().find(|name| *name != FORMAT) {
            let near = strsim::jaro_winkler(unknown, FORMAT) > 0.75;
            let help = if near { "did you mean 'format'?" } else { "a source STORED AS FILE has one option, 'format'" };
            return wrong(format!("option '{unknown}' is not known"), help);
        }
        for field in config.declared.fields() {
            if !field.is_nullable() && matches!(field.name().as_str(), "_timestamp" | "_headers") {
                return wrong(format!("column {} is NOT NULL, and lines of files have none", field.name()), "leave out NOT NULL");
            }
        }
        let location = Location::parse(&config.name, &config.location)?;
        let decoder = Arc::new(Decoder::new(&config)?);
        Ok(FileSource { inner: Arc::new(Inner { location, decoder, counts: Counts::default(), config }) })
    }

    /// The declaration.
    #[must_use]
    pub fn config(&self) -> &SourceConfig {
        &self.inner.config
    }

    /// What the files hold now: a pass over those that have grown since the last time. To follow a source to its end,
    /// [`Read::CaughtUp`] tells the same without one.
    ///
    /// # Errors
    /// [`Error::Config`] for standard input, which cannot be measured, and where the location does not exist; [`Error::Io`].
    pub async fn extent(&self) -> Result<Extent, Error> {
        let inner = Arc::clone(&self.inner);
        blocking(move || match &inner.location {
            Location::StandardInput => Err(Error::Config {
                message: format!("source {}: the length of standard input is not known before its end", inner.config.name),
                help: None,
            }),
            Location::Files(listing) => Ok(Extent { first: 1, end: 1 + inner.counts.lines(&listing.list()?)? }),
        })
        .await
    }

    /// A new reader. Standard input has one only; from a position, it passes over what was read before.
    ///
    /// # Errors
    /// [`Error::StreamChanged`] when the files are not those that `start` was made of, and those of [`FileSource::extent`].
    pub async fn read(&self, start: Start) -> Result<FileReader, Error> {
        match &self.inner.location {
            Location::StandardInput => {
                let stream = std::io::stdin().as_fd().try_clone_to_owned();
                let stream = stream.map_err(|error| Error::Io { action: "opening", path: STANDARD_INPUT.into(), error })?;
                self.read_stream(Box::new(std::fs::File::from(stream)), start).await
            }
            Location::Files(listing) => {
                let (listing, name, limits) = (listing.clone(), self.inner.config.name.clone(), self.inner.config.limits);
                let position = position(&start).cloned();
                let scanner = blocking(move || {
                    let (input, progress) = resume::files(&name, listing, position.as_ref())?;
                    Ok(Scanner::new(&name, input, progress, Vec::new(), &limits))
                })
                .await?;
                self.start(scanner, &start)
            }
        }
    }

    async fn read_stream(&self, mut stream: Box<dyn std::io::Read + Send>, start: Start) -> Result<FileReader, Error> {
        let (name, limits) = (self.inner.config.name.clone(), self.inner.config.limits);
        let from = position(&start).cloned();
        let scanner = blocking(move || {
            let (progress, rest) = match &from {
                Some(from) => resume::stream(&name, stream.by_ref(), from)?,
                None => (resume::beginning(), Vec::new()),
            };
            Ok(Scanner::new(&name, Input::Stream(stream), progress, rest, &limits))
        })
        .await?;
        self.start(scanner, &start)
    }

    fn start(&self, scanner: Scanner, start: &Start) -> Result<FileReader, Error> {
        let (sender, ahead) = mpsc::channel(available_parallelism().map_or(1, NonZero::get));
        let decoder = Arc::clone(&self.inner.decoder);
        let runtime = Handle::current();
        // Not one of tokio's threads: those are waited for at the end of the program, and standard input may never say more.
        thread::Builder::new()
            .name(format!("read {}", self.inner.config.name))
            .spawn(move || feed(scanner, &decoder, &runtime, &sender))
            .map_err(|error| Error::Bug(format!("no thread to read files with: {error}")))?;
        let identity = Identity::File { file: None, byte: 0, lines_before: 0, bytes_before: 0, last: None };
        let position = position(start).cloned().unwrap_or(Position { offset: 1, identity });
        Ok(FileReader { position, ahead, decoding: None, ended: false })
    }
}

/// The position of a start that names one.
fn position(start: &Start) -> Option<&Position> {
    match start {
        Start::First => None,
        Start::At(position) => Some(position),
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Error::Bug(format!("reading files: {error}")))?
}

/// What the reading thread has ready, in order.
#[derive(Debug)]
enum Ahead {
    Decoding(JoinHandle<Result<Batch, Error>>),
    CaughtUp,
    End,
    Failed(Error),
}

/// The reading thread: ends when the reader is dropped. The bounded channel keeps it from running far ahead.
fn feed(mut scanner: Scanner, decoder: &Arc<Decoder>, runtime: &Handle, sender: &mpsc::Sender<Ahead>) {
    let (give_back, used) = threads::channel::<Vec<u8>>();
    let mut quiet = 0;
    loop {
        let ahead = match scanner.next(used.try_recv().ok()) {
            Ok(Step::Piece(piece)) => {
                quiet = 0;
                let (decoder, give_back) = (Arc::clone(decoder), give_back.clone());
                Ahead::Decoding(runtime.spawn_blocking(move || {
                    let (batch, memory) = piece.decode(&decoder)?;
                    let _ = give_back.send(memory);
                    Ok(batch)
                }))
            }
            Ok(Step::Idle) => {
                quiet += 1;
                // Said again only to a reader that has heard all that was said before.
                let say = quiet == 1 || (quiet % QUIET_POLLS == 0 && sender.capacity() == sender.max_capacity());
                if say && sender.blocking_send(Ahead::CaughtUp).is_err() {
                    return;
                }
                if sender.is_closed() {
                    return;
                }
                thread::sleep(POLL);
                match scanner.refresh() {
                    Ok(()) => continue,
                    Err(error) => Ahead::Failed(error),
                }
            }
            Ok(Step::End) => Ahead::End,
            Err(error) => Ahead::Failed(error),
        };
        let last = matches!(ahead, Ahead::End | Ahead::Failed(_));
        if sender.blocking_send(ahead).is_err() || last {
            return;
        }
    }
}

/// Reads files from a position on. Dropping it ends it.
#[derive(Debug)]
pub struct FileReader {
    position: Position,
    ahead: mpsc::Receiver<Ahead>,
    /// The next batch: kept here while it is awaited, so that a dropped future loses none.
    decoding: Option<JoinHandle<Result<Batch, Error>>>,
    ended: bool,
}

impl FileReader {
    /// As [`super::Reader::next`].
    ///
    /// # Errors
    /// [`Error::StreamChanged`], [`Error::Io`]; after an error there is nothing more to read.
    pub async fn next(&mut self) -> Result<Read, Error> {
        loop {
            if let Some(decoding) = &mut self.decoding {
                let decoded = decoding.await;
                self.decoding = None;
                let batch = decoded.map_err(|error| Error::Bug(format!("decoding lines: {error}")))??;
                self.position.clone_from(&batch.position);
                return Ok(Read::Batch(batch));
            }
            if self.ended {
                return Ok(Read::End);
            }
            match self.ahead.recv().await {
                Some(Ahead::Decoding(decoding)) => self.decoding = Some(decoding),
                Some(Ahead::CaughtUp) => return Ok(Read::CaughtUp { offset: self.position.offset }),
                Some(Ahead::End) => self.ended = true,
                Some(Ahead::Failed(error)) => return Err(error),
                None => return Err(Error::Bug("files are read no more, after an error".into())),
            }
        }
    }

    /// Where the reader stands: after the last batch that it gave.
    #[must_use]
    pub fn position(&self) -> &Position {
        &self.position
    }
}
