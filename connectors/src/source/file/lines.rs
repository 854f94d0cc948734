//! Where lines begin and end, how many a file holds, and the last one before a byte.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use memchr::{memchr_iter, memrchr};
use serde::de::IgnoredAny;

use crate::Error;
use crate::durable::io_error;

/// Longest line that is read, in bytes.
pub(super) const MAX_LINE: usize = 1 << 30;

/// A line without its end.
pub(super) fn body(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// The first line of a file, or its beginning, without the byte order mark that some programs write.
pub(super) fn without_mark(line: &[u8]) -> &[u8] {
    line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line)
}

/// Whether the bytes from `start` to the end of a file, which no line end follows, are a line all the same: one whole JSON
/// object.
pub(super) fn is_whole(tail: &[u8], start: u64) -> bool {
    let tail = if start == 0 { without_mark(tail) } else { tail };
    tail.trim_ascii_start().starts_with(b"{")
        && std::str::from_utf8(tail).is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok())
}

/// The last line that begins before `byte`, as far as it lies before it, with its line end where that lies before it.
pub(super) fn last_before(file: &mut File, byte: u64) -> io::Result<Vec<u8>> {
    let mut length = 16 << 10;
    loop {
        let start = byte.saturating_sub(length);
        let mut window = Vec::new();
        file.seek(SeekFrom::Start(start))?;
        file.take(byte - start).read_to_end(&mut window)?;
        let inner = window.strip_suffix(b"\n").unwrap_or(&window);
        if let Some(newline) = memrchr(b'\n', inner) {
            return Ok(window.split_off(newline + 1));
        }
        if start == 0 {
            return Ok(window);
        }
        length *= 4;
    }
}

/// What is known of a file: it is counted on from there when it has grown.
#[derive(Debug, Clone, Copy, Default)]
struct Counted {
    bytes: u64,
    line_ends: u64,
    /// Where the bytes after the last line end begin.
    tail: u64,
}

/// How many lines files hold.
#[derive(Debug, Default)]
pub(super) struct LineCounts {
    files: Mutex<HashMap<String, Counted>>,
}

impl LineCounts {
    /// The lines of all files as a reader numbers them that has read all of them.
    pub(super) fn lines_of(&self, files: &[String]) -> Result<u64, Error> {
        let counts = self.count(files)?;
        let mut lines = 0;
        for (index, (file, counted)) in files.iter().zip(&counts).enumerate() {
            lines += counted.line_ends;
            if counted.tail < counted.bytes {
                let later = index + 1 < files.len();
                lines += u64::from(later || is_whole(&read_part(file, counted.tail, counted.bytes)?, counted.tail));
            }
        }
        Ok(lines)
    }

    /// The lines of files that others come after.
    pub(super) fn lines_of_passed(&self, files: &[String]) -> Result<u64, Error> {
        let counts = self.count(files)?;
        Ok(counts.iter().map(|counted| counted.line_ends + u64::from(counted.tail < counted.bytes)).sum())
    }

    fn count(&self, files: &[String]) -> Result<Vec<Counted>, Error> {
        let known = self.files.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let next = AtomicUsize::new(0);
        let counts: Mutex<Vec<Counted>> = Mutex::new(vec![Counted::default(); files.len()]);
        let work = || -> Result<(), Error> {
            while let Some((index, file)) = Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|i| Some((i, files.get(i)?))) {
                let counted = count_on(known.get(file).copied().unwrap_or_default(), Path::new(file))?;
                counts.lock().unwrap_or_else(PoisonError::into_inner)[index] = counted;
            }
            Ok(())
        };
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(files.len());
        std::thread::scope(|scope| {
            let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
            let mut result = work();
            for other in others {
                let other = other.join().unwrap_or_else(|_| Err(Error::Bug("counting lines broke off".into())));
                result = result.and(other);
            }
            result
        })?;
        let counts = counts.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut known = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        known.extend(files.iter().cloned().zip(counts.iter().copied()));
        Ok(counts)
    }
}

/// Counts what lies after what was counted before; all, where the file has become shorter.
fn count_on(mut counted: Counted, path: &Path) -> Result<Counted, Error> {
    let failed = io_error("reading", path);
    let mut read = || -> io::Result<Counted> {
        let mut file = File::open(path)?;
        if file.metadata()?.len() < counted.bytes {
            counted = Counted::default();
        }
        file.seek(SeekFrom::Start(counted.bytes))?;
        let mut buffer = vec![0; 256 << 10];
        loop {
            let part = match file.read(&mut buffer) {
                Ok(0) => return Ok(counted),
                Ok(length) => &buffer[..length],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            counted.line_ends += memchr_iter(b'\n', part).count() as u64;
            if let Some(newline) = memrchr(b'\n', part) {
                counted.tail = counted.bytes + newline as u64 + 1;
            }
            counted.bytes += part.len() as u64;
        }
    };
    read().map_err(failed)
}

fn read_part(file: &str, start: u64, end: u64) -> Result<Vec<u8>, Error> {
    let mut part = Vec::new();
    let mut read = || {
        let mut file = File::open(file)?;
        file.seek(SeekFrom::Start(start))?;
        file.take(end - start).read_to_end(&mut part)
    };
    read().map_err(io_error("reading", Path::new(file)))?;
    Ok(part)
}
