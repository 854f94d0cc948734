//! The thread that reads files one after another, and follows them as they grow and as later ones appear.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::io::{self, Read};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use memchr::{memchr, memrchr};
use xxhash_rust::xxh3::xxh3_64;

use super::chunk::{Sender, Stop};
use super::line_counts::LineCounts;
use super::lines::{self, MAX_LINE};
use super::location::Location;
use super::text::{self, Text};
use crate::Error;
use crate::durable::io_error;
use crate::source::decoding::Item;

/// The interval at which files are polled.
const POLL: Duration = Duration::from_millis(200);
/// The interval at which the reader reports that it has caught up.
pub(super) const QUIET: Duration = Duration::from_secs(1);

/// Reads the files of a location.
pub(super) struct Follower {
    location: Location,
    sender: Sender,
    /// The files before the current one, and their lengths in bytes when reading moved on.
    passed: BTreeMap<String, u64>,
    /// Known files after the current one.
    later: VecDeque<String>,
    /// The length in bytes up to which the current file was read.
    seen: u64,
    /// Whether the last line was taken before its line end existed.
    open_line: bool,
    /// The length of the current file when its converted text was last read to the end, with nothing left over.
    exhausted: Option<u64>,
}

impl Follower {
    /// Checks that the files match the position to begin at.
    pub(super) fn open(location: Location, counts: &LineCounts, sender: Sender) -> Result<Follower, Error> {
        let files = location.files()?;
        let mut follower = Follower {
            location,
            sender,
            passed: BTreeMap::new(),
            later: VecDeque::new(),
            seen: 0,
            open_line: false,
            exhausted: None,
        };
        let position = follower.sender.position.clone();
        let Some(recorded) = position.file.as_deref() else {
            follower.check(&files)?;
            follower.later = files.into();
            return Ok(follower);
        };
        let named = follower.location.name_of(recorded, &files);
        let current = named.as_deref().unwrap_or(recorded);
        follower.sender.position.file = Some(Arc::from(current));
        let Ok(index) = files.binary_search_by(|file| file.as_str().cmp(current)) else {
            return Err(follower.sender.changed(format!("the current file {current} no longer exists")));
        };
        let before = &files[..index];
        let lines = counts.lines_of_passed(&follower.location, before)?;
        if lines != position.lines_before {
            let message = format!(
                "the files before {current} held {} lines when they were read and hold {lines} now; \
                 files that were read must stay, and new ones must come later in the order of names",
                position.lines_before
            );
            return Err(follower.sender.changed(message));
        }
        for file in before {
            let path = follower.location.path(file);
            let length = fs::metadata(&path).map_err(io_error("looking at", &path))?.len();
            follower.passed.insert(file.clone(), length);
        }
        follower.check(&files[index + 1..])?;
        follower.later = files[index + 1..].iter().cloned().collect();
        follower.reopen(current)?;
        Ok(follower)
    }

    /// Checks that files match their declared kind, before any of them is read.
    fn check(&self, files: &[String]) -> Result<(), Error> {
        files.iter().try_for_each(|file| self.location.open(file).map(|_| ()))
    }

    /// Reads until the reader is dropped or an error occurs.
    pub(super) fn run(mut self) {
        if let Err(Stop::Failed(error)) = self.follow() {
            let _ = self.sender.send(Item::Failed(error));
        }
    }

    fn follow(&mut self) -> Result<(), Stop> {
        loop {
            if let Some(current) = self.current() {
                self.read(&current, !self.later.is_empty())?;
                if self.later.is_empty() && !self.look(&current)? {
                    self.wait(&current)?;
                    continue;
                }
                if self.later.is_empty() {
                    continue;
                }
                // Read what was appended before the later file appeared, including a last line without a line end.
                self.read(&current, true)?;
                self.passed.insert(current, self.seen);
            } else if self.later.is_empty() {
                self.later = self.location.files()?.into();
            }
            match self.later.pop_front() {
                Some(next) => {
                    self.sender.begin(&next);
                    self.open_line = false;
                    self.exhausted = None;
                    self.seen = 0;
                }
                None => self.wait_for_first()?,
            }
        }
    }

    fn current(&self) -> Option<String> {
        self.sender.position.file.as_deref().map(str::to_owned)
    }

    /// Checks whether there is more to read: the current file has changed its length, or a later one exists. Adds later files to `later`.
    fn look(&mut self, current: &str) -> Result<bool, Error> {
        let listed = match self.location.files() {
            Err(Error::Config { .. }) => Vec::new(),
            listed => listed?,
        };
        let mut there = false;
        for file in listed {
            match file.as_str().cmp(current) {
                std::cmp::Ordering::Less if !self.passed.contains_key(&file) => {
                    return Err(self.sender.changed(format!(
                        "{file} appeared, but it comes before the current file {current} in the order of names"
                    )));
                }
                std::cmp::Ordering::Less => {}
                std::cmp::Ordering::Equal => there = true,
                std::cmp::Ordering::Greater => self.later.push_back(file),
            }
        }
        for (file, length) in &self.passed {
            let now = fs::metadata(self.location.path(file)).map(|metadata| metadata.len()).ok();
            if now != Some(*length) {
                let now = now.map_or_else(|| "is gone".to_owned(), |now| format!("has {now} bytes"));
                let message = format!("{file} had {length} bytes when reading moved on to {current}, but {now} now");
                return Err(self.sender.changed(message));
            }
        }
        let length = fs::metadata(self.location.path(current)).ok().filter(|_| there).map(|metadata| metadata.len());
        match length {
            None => Err(self.sender.changed(format!("the current file {current} is gone"))),
            Some(length) => Ok(length != self.seen || !self.later.is_empty()),
        }
    }

    /// Reports the end, and waits until there is more.
    fn wait(&mut self, current: &str) -> Result<(), Stop> {
        self.sender.caught_up()?;
        let mut reported = Instant::now();
        loop {
            thread::sleep(POLL);
            if self.sender.is_dropped() {
                return Err(Stop::Dropped);
            }
            if self.look(current)? {
                return Ok(());
            }
            if reported.elapsed() >= QUIET {
                self.sender.caught_up()?;
                reported = Instant::now();
            }
        }
    }

    /// Reports the end, and waits until there is a first file.
    fn wait_for_first(&mut self) -> Result<(), Stop> {
        tracing::warn!(source = self.sender.source_name(), location = %self.location, "no file matches LOCATION yet");
        self.sender.caught_up()?;
        let mut reported = Instant::now();
        while self.later.is_empty() {
            thread::sleep(POLL);
            if self.sender.is_dropped() {
                return Err(Stop::Dropped);
            }
            self.later = self.location.files()?.into();
            if self.later.is_empty() && reported.elapsed() >= QUIET {
                self.sender.caught_up()?;
                reported = Instant::now();
            }
        }
        Ok(())
    }

    /// Opens the current file again. Checks that its last line before the position is the one that was read.
    fn reopen(&mut self, current: &str) -> Result<Text, Error> {
        let mut text = match self.location.open(current) {
            Err(Error::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => {
                return Err(self.sender.changed(format!("the current file {current} is gone")));
            }
            opened => opened?,
        };
        let byte = self.sender.position.byte;
        let length = text.file_length;
        if length < byte && text.is_plain() {
            let message = format!("{current} has {length} bytes, but {byte} bytes of it have been read");
            return Err(self.sender.changed(message));
        }
        if byte > 0 {
            let line = text.last_line_before(byte)?;
            self.open_line = !line.ends_with(b"\n");
            if let Some(last) = &self.sender.position.last
                && xxh3_64(lines::body(&line)) != last.payload_hash
            {
                let number = last.sequence.saturating_sub(self.sender.position.lines_before);
                let message = format!("line {number} of {current}, before byte {byte}, is not the one that was read");
                return Err(self.sender.changed(message));
            }
        }
        Ok(text)
    }

    /// Reads the current file to its end. Takes a last line without a line end if `ended` or if it is one whole JSON object.
    fn read(&mut self, current: &str, ended: bool) -> Result<(), Stop> {
        let path = self.location.path(current);
        if self.exhausted.is_some() && fs::metadata(&path).is_ok_and(|metadata| Some(metadata.len()) == self.exhausted) {
            return Ok(());
        }
        let mut text = self.reopen(current)?;
        let (plain, length, byte) = (text.is_plain(), text.file_length, self.sender.position.byte);
        let Some(mut file) = text.reader_at(byte)? else {
            return Err(self
                .sender
                .changed(format!("the text of {current} ends before byte {byte}, up to which it was read"))
                .into());
        };
        let mut buffer = self.sender.buffer();
        loop {
            // For a line that is longer than a chunk, read as much again, so that each byte is copied only a few times.
            let wanted = match self.sender.chunk_bytes() {
                chunk if buffer.len() < chunk => chunk - buffer.len(),
                _ => buffer.len(),
            };
            let read = Read::by_ref(&mut file)
                .take(wanted as u64)
                .read_to_end(&mut buffer)
                .map_err(|error| text::unreadable(error, &path, plain))?;
            if read == 0 {
                break;
            }
            if buffer.len() > MAX_LINE {
                let message = format!("a line after byte {} is longer than {MAX_LINE} bytes", self.sender.position.byte);
                return Err(Stop::Failed(Error::Corrupt { path, message }));
            }
            if self.open_line && !self.close_line(&mut buffer, current)? {
                continue;
            }
            if let Some(newline) = memrchr(b'\n', &buffer) {
                let end = newline + 1;
                let mut next = self.sender.buffer();
                next.extend_from_slice(&buffer[end..]);
                self.sender.lines(std::mem::replace(&mut buffer, next), 0..end)?;
            }
        }
        drop(file);
        let cut_off = text.is_cut_off();
        if cut_off {
            self.cut_off(&path, ended)?;
        }
        let ended = ended || self.rests(&path, length, &buffer)?;
        self.seen = if plain { self.sender.position.byte + buffer.len() as u64 } else { length };
        if !self.open_line
            && !buffer.is_empty()
            && (ended || !self.location.holds_csv() && lines::is_whole(&buffer, self.sender.position.byte))
        {
            let end = buffer.len();
            self.sender.lines(std::mem::take(&mut buffer), 0..end)?;
            self.open_line = true;
        }
        // One that is cut off is read again once a later file exists, since it must be whole then.
        self.exhausted = (!plain && buffer.is_empty() && !cut_off).then_some(length);
        Ok(())
    }

    /// Says that a file ends within a block, which is read once the rest of it is written. A file that others follow is not written any more.
    fn cut_off(&self, path: &std::path::Path, ended: bool) -> Result<(), Stop> {
        if ended {
            let message = "it is cut off, and later files follow; write a file under a name that begins with a point, and rename it when it is \
                           whole";
            return Err(Stop::Failed(Error::Corrupt { path: path.to_owned(), message: message.into() }));
        }
        tracing::warn!(source = self.sender.source_name(), file = %path.display(), "the last block is cut off: it is read once it is whole");
        Ok(())
    }

    /// Whether the last record of a CSV file, which no line end follows, may be taken for whole: nothing is written to the file for a
    /// while.
    fn rests(&self, path: &std::path::Path, length: u64, tail: &[u8]) -> Result<bool, Stop> {
        if tail.is_empty() || self.open_line || !self.location.holds_csv() {
            return Ok(false);
        }
        if !tail.ends_with(b"}") && !tail.ends_with(b"]") {
            tracing::warn!(source = self.sender.source_name(), file = %path.display(), "a quote of the last record is open: it is not read");
            return Ok(false);
        }
        let began = Instant::now();
        while began.elapsed() < QUIET {
            thread::sleep(POLL);
            if self.sender.is_dropped() {
                return Err(Stop::Dropped);
            }
            if !fs::metadata(path).is_ok_and(|metadata| metadata.len() == length) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Skips the rest of a line that was taken before its line end existed. Returns false while there still is no line end.
    fn close_line(&mut self, buffer: &mut Vec<u8>, current: &str) -> Result<bool, Error> {
        let newline = memchr(b'\n', buffer);
        let rest = &buffer[..newline.unwrap_or(buffer.len())];
        if !rest.trim_ascii().is_empty() {
            let message = format!("the last line of {current} was complete when it was read, but has been continued");
            return Err(self.sender.changed(message));
        }
        let Some(newline) = newline else { return Ok(false) };
        buffer.drain(..=newline);
        self.sender.position.byte += newline as u64 + 1;
        self.open_line = false;
        Ok(true)
    }
}
