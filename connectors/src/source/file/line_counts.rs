//! Counts the lines of files. If a file has only grown, counts only the new lines.

use std::collections::HashMap;
use std::io::{self, Read};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use memchr::{memchr_iter, memrchr};

use super::lines::is_whole;
use super::location::Location;
use super::text;
use crate::Error;

/// The counts of a file, from which counting continues when it has grown.
#[derive(Debug, Clone, Copy, Default)]
struct Counted {
    /// The length of the file in bytes when it was counted.
    file_length: u64,
    /// The length of its text in bytes.
    bytes: u64,
    line_ends: u64,
    /// The position in the text after the last line end.
    tail: u64,
}

/// The line counts of files.
#[derive(Debug, Default)]
pub(super) struct LineCounts {
    files: Mutex<HashMap<String, Counted>>,
}

impl LineCounts {
    /// Returns the number of lines that a reader finds in all files.
    pub(super) fn lines_of(&self, location: &Location, files: &[String]) -> Result<u64, Error> {
        let counts = self.count(location, files)?;
        let mut lines = 0;
        for (index, (file, counted)) in files.iter().zip(&counts).enumerate() {
            lines += counted.line_ends;
            if counted.tail < counted.bytes {
                let later = index + 1 < files.len();
                lines += u64::from(later || is_whole(&read_part(location, file, counted.tail, counted.bytes)?, counted.tail));
            }
        }
        Ok(lines)
    }

    /// Returns the number of lines of files that other files follow.
    pub(super) fn lines_of_passed(&self, location: &Location, files: &[String]) -> Result<u64, Error> {
        let counts = self.count(location, files)?;
        Ok(counts.iter().map(|counted| counted.line_ends + u64::from(counted.tail < counted.bytes)).sum())
    }

    fn count(&self, location: &Location, files: &[String]) -> Result<Vec<Counted>, Error> {
        let known = self.files.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let next = AtomicUsize::new(0);
        let counts: Mutex<Vec<Counted>> = Mutex::new(vec![Counted::default(); files.len()]);
        let work = || -> Result<(), Error> {
            while let Some((index, file)) = Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|i| Some((i, files.get(i)?))) {
                let counted = count_on(known.get(file).copied().unwrap_or_default(), location, file)?;
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

/// Continues a count. Counts the whole file again if it has become shorter, or if it is not plain and its length has changed.
fn count_on(mut counted: Counted, location: &Location, file: &str) -> Result<Counted, Error> {
    let mut text = location.open(file)?;
    let path = text.path().to_owned();
    let (plain, length) = (text.is_plain(), text.file_length);
    if !plain && counted.file_length == length {
        return Ok(counted);
    }
    if !plain || length < counted.bytes {
        counted = Counted::default();
    }
    if let Some(rows) = text.rows() {
        return Ok(Counted { file_length: length, line_ends: rows, ..Counted::default() });
    }
    let Some(mut reader) = text.reader_at(counted.bytes)? else { return Ok(Counted::default()) };
    let mut buffer = vec![0; 256 << 10];
    loop {
        let part = match reader.read(&mut buffer) {
            Ok(0) => return Ok(Counted { file_length: length, ..counted }),
            Ok(length) => &buffer[..length],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(text::unreadable(error, &path, plain)),
        };
        counted.line_ends += memchr_iter(b'\n', part).count() as u64;
        if let Some(newline) = memrchr(b'\n', part) {
            counted.tail = counted.bytes + newline as u64 + 1;
        }
        counted.bytes += part.len() as u64;
    }
}

fn read_part(location: &Location, file: &str, start: u64, end: u64) -> Result<Vec<u8>, Error> {
    let mut text = location.open(file)?;
    let (plain, path) = (text.is_plain(), text.path().to_owned());
    let mut part = Vec::new();
    if let Some(reader) = text.reader_at(start)? {
        reader.take(end - start).read_to_end(&mut part).map_err(|error| text::unreadable(error, &path, plain))?;
    }
    Ok(part)
}
