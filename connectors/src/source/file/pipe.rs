//! The thread that reads standard input. It cannot seek: to resume, it skips the lines that were read before.

use std::io::{self, Read};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Instant;

use memchr::{memchr_iter, memrchr};
use xxhash_rust::xxh3::xxh3_64;

use super::chunk::{Sender, Stop};
use super::follower::QUIET;
use super::lines::{self, MAX_LINE};
use crate::Error;
use crate::durable::io_error;
use crate::source::decoding::Item;

const READ_BYTES: usize = 64 << 10;
/// The maximum number of parts that wait to be split into lines.
const PARTS: usize = 32;

/// Whether standard input was taken. Two readers in the process would each get only a part of it.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// Takes standard input for one reader, for the life of the process.
///
/// # Errors
/// [`Error::Config`] if it was taken before.
pub(super) fn take(source_name: &str) -> Result<io::Stdin, Error> {
    if TAKEN.swap(true, Ordering::SeqCst) {
        return Err(Error::Config {
            message: format!("source {source_name}: standard input can be read only once, and another reader has taken it"),
            help: Some("write the events to a file, and name the file in LOCATION".into()),
        });
    }
    Ok(io::stdin())
}

/// Reads `input` to its end, or until the reader is dropped.
pub(super) fn run(mut sender: Sender, input: impl Read + Send + 'static) {
    let to_skip = sender.position.offset - 1;
    if to_skip == 0 {
        sender.begin("-");
    }
    let result = match parts_of(input) {
        Ok(parts) => Pipe { sender: &mut sender, parts, buffer: Vec::new(), to_skip }.read(),
        Err(error) => Err(Stop::Failed(error)),
    };
    if let Err(Stop::Failed(error)) = result {
        let _ = sender.send(Item::Failed(error));
    }
}

/// Reads the input on a second thread, so that this one can wait for it with a time limit.
fn parts_of(mut input: impl Read + Send + 'static) -> Result<Receiver<io::Result<Vec<u8>>>, Error> {
    let (sender, parts) = sync_channel(PARTS);
    let read = move || {
        loop {
            let mut part = vec![0; READ_BYTES];
            let part = match input.read(&mut part) {
                Ok(0) => return,
                Ok(length) => {
                    part.truncate(length);
                    Ok(part)
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
            let failed = part.is_err();
            if sender.send(part).is_err() || failed {
                return;
            }
        }
    };
    let spawned = thread::Builder::new().name("read standard input".into()).spawn(read);
    spawned.map_err(|error| Error::Bug(format!("cannot start a thread to read standard input: {error}")))?;
    Ok(parts)
}

struct Pipe<'s> {
    sender: &'s mut Sender,
    parts: Receiver<io::Result<Vec<u8>>>,
    buffer: Vec<u8>,
    /// The number of lines that were read before and must be skipped.
    to_skip: u64,
}

impl Pipe<'_> {
    fn read(mut self) -> Result<(), Stop> {
        let max_wait = self.sender.limits().max_wait;
        // When to send the buffered lines. While nothing arrives, when to report again that the reader has caught up.
        let mut deadline = Instant::now() + max_wait;
        let mut quiet = false;
        loop {
            match self.parts.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(part) => {
                    if quiet {
                        deadline = Instant::now() + max_wait;
                        quiet = false;
                    }
                    let part = part.map_err(io_error("reading", Path::new("standard input")))?;
                    self.buffer.extend_from_slice(&part);
                    if self.buffer.len() >= self.sender.chunk_bytes() || Instant::now() >= deadline {
                        self.flush(false)?;
                        deadline = Instant::now() + max_wait;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    self.flush(false)?;
                    self.sender.caught_up()?;
                    deadline = Instant::now() + QUIET;
                    quiet = true;
                }
                Err(RecvTimeoutError::Disconnected) => {
                    self.flush(true)?;
                    return self.sender.send(Item::End);
                }
            }
        }
    }

    /// Sends the complete lines. At the end of the input, also sends the text after the last line end.
    fn flush(&mut self, ended: bool) -> Result<(), Stop> {
        let end = match memrchr(b'\n', &self.buffer) {
            _ if ended => self.buffer.len(),
            Some(newline) => newline + 1,
            None if self.buffer.len() > MAX_LINE => {
                let message = format!("line {} is longer than {MAX_LINE} bytes", self.sender.position.offset);
                return Err(Stop::Failed(Error::Corrupt { path: "standard input".into(), message }));
            }
            None => return Ok(()),
        };
        let start = self.skip(end)?;
        if ended && self.to_skip > 0 {
            let message = format!("standard input ended {} lines before the last one that was read", self.to_skip);
            return Err(self.sender.changed(message).into());
        }
        let mut next = self.sender.buffer();
        next.extend_from_slice(&self.buffer[end..]);
        self.sender.lines(std::mem::replace(&mut self.buffer, next), start..end)
    }

    /// Skips the lines that were read before. Returns where the new lines begin in the first `end` bytes of the buffer.
    fn skip(&mut self, end: usize) -> Result<usize, Error> {
        let mut start = 0;
        let bytes = &self.buffer[..end];
        let open = (!bytes.ends_with(b"\n") && end > 0).then_some(end);
        for line_end in memchr_iter(b'\n', bytes).map(|end| end + 1).chain(open) {
            if self.to_skip == 0 {
                break;
            }
            self.to_skip -= 1;
            if self.to_skip == 0
                && let Some(last) = &self.sender.position.last
                && xxh3_64(lines::body(&bytes[start..line_end])) != last.payload_hash
            {
                let message = format!("line {} of standard input is not the one that was read", last.sequence);
                return Err(self.sender.changed(message));
            }
            start = line_end;
        }
        Ok(start)
    }
}
